#pragma once
/*
 * The control socket: how the command line talks to the agent.  Unlike the hook it may name a pid;
 * whoever may connect (root, the agent's own user, members of the socket's group) is an operator.
 * Requests are fixed records; long answers (status) come as a descriptor of a sealed memory file.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/operations.h"
#include "base/buf.h"
#include "base/error.h"
#include "policies/admission.h"

enum gd_control_type {
	/* questions */
	GD_CONTROL_STATUS = 1,  /* no body */
	GD_CONTROL_CAPTURE,     /* struct gd_control_capture */
	GD_CONTROL_ENABLE,      /* struct gd_control_name: a rule, "" all */
	GD_CONTROL_RELOAD,      /* no body */
	GD_CONTROL_PRUNE,       /* no body: retention now */
	/* answers */
	GD_CONTROL_TEXT = 100,  /* one descriptor: JSON */
	GD_CONTROL_ADMITTED,    /* struct gd_control_verdict, GD_CONTROL_ENDED follows */
	GD_CONTROL_REFUSED,     /* struct gd_control_verdict */
	GD_CONTROL_ENDED,       /* struct gd_control_ended */
	GD_CONTROL_DONE,        /* struct gd_control_done */
};

struct gd_control_capture {
	int32_t pid;             /* 0: by unit or service */
	uint32_t profile;        /* enum gd_profile */
	char unit[256];          /* "checkout.service"; "" */
	char service[GD_POLICY_NAME_MAX];
	char reason[248];
	char trigger[16];        /* "manual", "unit" (OnFailure=) or "signal" (SIGUSR2) */
	char exit_json[1024];    /* what systemd said about the unit's end; "" */
};

struct gd_control_name {
	char name[GD_POLICY_NAME_MAX];
};

struct gd_control_verdict {
	uint32_t verdict;        /* enum gd_verdict */
	char id[64];
	char why[248];
};

struct gd_control_ended {
	int32_t exit;
	uint64_t bytes, pause_ns;
	char id[64];
	char path[600];
	char digest[72];
	char error[248];
};

struct gd_control_done {
	int32_t code;            /* negative errno or 0 */
	char text[248];
};

/* ---- the asking side: blocking, for commands ---- */

/* Connects; -ENOENT, -ECONNREFUSED: no agent runs there; -EACCES: not an operator. */
int gd_control_connect(const char *path, int *ret_fd, struct gd_error *err);

/* The agent's status as JSON. */
int gd_control_ask_status(int fd, struct gd_buf *ret, struct gd_error *err);

/* Enable, reload and prune: 0 and what the agent said, or its failure. */
int gd_control_ask(int fd, enum gd_control_type type, const void *body, size_t len, char text[248],
                   struct gd_error *err);

/* Waits for the end.  Refused: 1 and *verdict. */
int gd_control_ask_capture(int fd, const struct gd_control_capture *request,
                           struct gd_control_verdict *verdict, struct gd_control_ended *ended,
                           struct gd_error *err);

/* ---- the granting side ---- */

struct gd_control_ops {
	void (*status)(void *arg, struct gd_buf *to);
	/* Fills the verdict; `waiter` is told at the end by gd_control_ended. */
	void (*capture)(void *arg, const struct gd_control_capture *request, uint64_t waiter,
	                struct gd_control_verdict *verdict);
	int (*command)(void *arg, enum gd_control_type type, const char *name, char text[248]);
};

struct gd_control;
struct gd_loop;

int gd_control_create(struct gd_loop *loop, const char *path, const char *group,
                      const struct gd_control_ops *ops, void *arg, struct gd_control **ret,
                      struct gd_error *err);
void gd_control_destroy(struct gd_control *control); /* NULL allowed */
void gd_control_ended(struct gd_control *control, uint64_t waiter,
                      const struct gd_operation *operation);
