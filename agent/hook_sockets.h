#pragma once
/*
 * What the launcher holds for its server: the listening sockets and the place of the tokens file.
 * Sends both over a control socket (hook_record.h), tokens first, so that nobody is served without
 * them.  Keeps no secret.
 */
#include <stdbool.h>
#include <stddef.h>

#include "agent/hook_record.h"

#define GD_HOOK_SOCKETS_MAX 8

struct gd_hook_sockets {
	int fds[GD_HOOK_SOCKETS_MAX];
	size_t n;
	bool tcp;                     /* one of them is */
	char listen[sizeof(((struct gd_hook_place *)NULL)->listen)]; /* what was opened; "" adopted */
	const char *tokens_option;    /* NULL: as the policy says */
	char tokens_policy[sizeof(((struct gd_hook_place *)NULL)->tokens)];
	char tokens_path[1100];       /* where they were looked for last */
	bool has_tokens;
};

/* Opens `text` (hook_listen.h), closing what was open; the same again is left as it is. */
int gd_hook_sockets_open(struct gd_hook_sockets *sockets, const char *text, struct gd_error *err);
/* The n sockets that we were started with. */
int gd_hook_sockets_adopt(struct gd_hook_sockets *sockets, int n, struct gd_error *err);
void gd_hook_sockets_close(struct gd_hook_sockets *sockets);

/* Tokens and sockets to the server.  -ENOKEY: TCP without tokens. */
int gd_hook_sockets_give(struct gd_hook_sockets *sockets, int control_fd, struct gd_error *err);

/* The tokens again; on failure the server keeps what it has. */
int gd_hook_sockets_reload(struct gd_hook_sockets *sockets, int control_fd, struct gd_error *err);
