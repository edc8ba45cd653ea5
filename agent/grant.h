#pragma once
/*
 * The granting side: the broker's answers to what jailed readers ask for (request.h).  It opens, and
 * copies where the kernel wants to see who reads; it looks into nothing but /proc directory entries
 * and the target's cgroup file, which it compares with what was asked for.
 */
#include <sys/types.h>

#include "agent/request.h"
#include "base/error.h"
#include "base/message.h"
#include "target/target.h"

struct gd_grant {
	struct gd_target *target;  /* borrowed; opened by us */
	enum gd_asker asker;
	struct gd_request_count count;
	bool syscalls;             /* it may have them counted */
	int fd;                    /* our end of its socket; non-blocking */
	struct gd_buf memberships; /* the target's cgroup file, once it was needed */
};

/* What the asker told, when it was no question; body has been checked. */
struct gd_grant_told {
	enum gd_request type; /* 0: it was a question, and has been answered */
	union {
		struct gd_request_subject subject;
		struct gd_request_runtime runtime;
		struct gd_request_forked forked;
		struct gd_request_done done;
	};
};

/*
 * Takes one message: answers it, or hands out what it tells.  1: done; 0: the asker has closed its
 * socket; -EAGAIN: there was nothing; -EBADMSG: it asked for what it may not have, or in a way no
 * reader of ours does.  The caller ends it then.
 */
int gd_grant_next(struct gd_grant *grant, struct gd_grant_told *told, struct gd_error *err);

void gd_grant_deinit(struct gd_grant *grant); /* the socket stays the caller's */

/* One question whose message has been checked; for the fuzzer and gd_grant_next. */
int gd_grant_answer(struct gd_grant *grant, uint16_t type, uint32_t seq, const void *body,
                    struct gd_error *err);
