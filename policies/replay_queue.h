#pragma once
/*
 * The captures of a replay: one at a time, each as long as the others, the rest waiting in a queue.
 */
#include <stddef.h>
#include <stdint.h>

struct gd_replay_job {
	char id[64];
	int64_t start_ns, end_ns;
};

#define GD_REPLAY_JOBS_MAX 64

/* Oldest first; zero is an empty one. */
struct gd_replay_queue {
	struct gd_replay_job jobs[GD_REPLAY_JOBS_MAX];
	size_t n;
};

typedef void gd_replay_queue_fn(void *arg, const char *id, int64_t at_ns);

/* Takes out those that have ended by now, oldest first. */
void gd_replay_queue_end(struct gd_replay_queue *queue, int64_t now_ns, gd_replay_queue_fn *ended,
                         void *arg);

void gd_replay_queue_look(const struct gd_replay_queue *queue, int64_t now_ns,
                          unsigned *ret_running, unsigned *ret_queued);

/* Starts now or after the last one.  There is room: whoever admits looks at the queue first. */
void gd_replay_queue_add(struct gd_replay_queue *queue, const char *id, int64_t now_ns,
                         uint64_t takes_ns);
