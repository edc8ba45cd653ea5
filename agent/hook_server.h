#pragma once
/*
 * The jailed half of godiag-hook: one thread, one epoll, everything that strangers send.  It opens
 * nothing and connects to nobody; sockets come from the launcher (hook.c) over `control_fd`.
 */

struct gd_hook_server_options {
	int control_fd; /* records of hook_record.h, launcher's end elsewhere */
};

/* What it was given to listen at is no longer what the policy says: start anew. */
#define GD_HOOK_SERVER_AGAIN 75

/* Until the launcher closes its end.  Returns an exit status; arg is the options. */
int gd_hook_server_run(void *arg);
