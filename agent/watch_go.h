#pragma once
/*
 * The Go runtime of one watched process, read every second from its memory without stopping it.
 * Where its gauges are is found by a short-lived child of the broker in a jail of its own; until its
 * answer comes, and when it is not Go, there are no values.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/watch_ask.h"
#include "golang/gauges_window.h"
#include "target/memory.h"

enum gd_watch_go_state {
	GD_WATCH_GO_WANTED,  /* not asked yet, or again from tick `due` on */
	GD_WATCH_GO_FINDING, /* the child is at work: runtime_fd */
	GD_WATCH_GO_READING,
	GD_WATCH_GO_NONE,    /* not Go, or cannot be read; `note` says why */
};

struct gd_watch_go {
	enum gd_watch_go_state state;
	int mem_fd, runtime_fd;    /* -1 */
	uint8_t tries;
	uint32_t due;
	int64_t asked_ns;
	struct gd_memory *memory;  /* READING: on mem_fd */
	struct gd_gauges_at *at;
	struct gd_gauges_window *window;
	struct gd_gauges_seen *seen;
	char note[120];            /* raw; "" */
};

void gd_watch_go_init(struct gd_watch_go *go);
void gd_watch_go_deinit(struct gd_watch_go *go);

/* Asks for its memory.  -EPIPE: the broker has gone; else it is in *go. */
int gd_watch_go_ask(struct gd_watch_go *go, struct gd_watch_ask *ask, uint32_t slot,
                    const struct gd_subject_id *id, uint32_t tick, int64_t monotonic_ns);

/* runtime_fd is readable, or it took too long (late). */
void gd_watch_go_found(struct gd_watch_go *go, uint32_t tick, bool late);

/*
 * One reading into values; when it `slept` since the one before, without touching its memory.  -ESRCH: this address space is gone, so the process has ended or called
 * execve; it is WANTED again.
 */
int gd_watch_go_sample(struct gd_watch_go *go, uint32_t tick, int64_t monotonic_ns,
                       bool slept, double values[GD_METRICS]);
