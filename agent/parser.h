#pragma once
/*
 * The parser: jailed processes that read a target through descriptors and answers of the broker.  The
 * first opens the target and its Go runtime once; then it forks one process for each collector, which
 * starts with all that was found, has sockets of its own to the broker and the packer, and may fork
 * and signal no more.  The children are the broker's, not the first one's (CLONE_PARENT): it waits
 * for them, and knows their end from the kernel.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/plan.h"
#include "base/error.h"
#include "target/target.h"

/*
 * Words that broker and parsers share.  Whether to stop, and whether the window is over, is the broker's
 * to write: parsers have it through a descriptor that maps it read-only.  How far they are is theirs: one
 * word for whoever runs alone, one for the windowed collector, which runs beside.
 */
struct gd_parser_shared {
	volatile sig_atomic_t *cancelled; /* the broker's mapping */
	int cancelled_fd;
	volatile sig_atomic_t *over; /* beside `cancelled` */
	volatile int64_t *stopped_ns; /* and two that say when we stopped the target for how long */
	volatile uint64_t *progress, *window_progress;
	void *cancelled_page, *progress_page; /* the same, to be unmapped */
};
#define GD_PARSER_SHARED_INIT ((struct gd_parser_shared){ .cancelled_fd = -1 })
int gd_parser_shared_init(struct gd_parser_shared *ret, struct gd_error *err);
void gd_parser_shared_deinit(struct gd_parser_shared *shared);

/* How much is tried: less after it went wrong. */
enum gd_parser_level {
	GD_PARSER_ALL,
	GD_PARSER_NO_RUNTIME, /* opening the Go runtime has killed two */
	GD_PARSER_NO_SUBJECT, /* and what says who the target is, one more */
};

struct gd_parser_options {
	const struct gd_target *target; /* as the broker opened it; its descriptors are passed on */
	const struct gd_plan *plan;
	const struct gd_parser_shared *shared;
	enum gd_parser_level level;
	struct gd_error why; /* for the collectors that need Go, when level is not ALL */
	int fd;              /* the socket to the broker */
	pid_t broker;
};

/* Artifacts read from an image have this before their name. */
#define GD_PARSER_IMAGE_PREFIX "image/"

/* A run of gd_role_fork; `arg` is a struct gd_parser_options. */
int gd_parser_run(void *arg);

/* The descriptors it needs; at most GD_PARSER_FDS. */
#define GD_PARSER_FDS 8
size_t gd_parser_keep(const struct gd_parser_options *options, int keep[GD_PARSER_FDS]);
