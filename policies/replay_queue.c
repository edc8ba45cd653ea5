#include "policies/replay_queue.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void gd_replay_queue_end(struct gd_replay_queue *queue, int64_t now_ns, gd_replay_queue_fn *ended,
                         void *arg)
{
	size_t n = 0;
	while (n < queue->n && queue->jobs[n].end_ns <= now_ns) {
		ended(arg, queue->jobs[n].id, queue->jobs[n].end_ns);
		n++;
	}
	queue->n -= n;
	memmove(queue->jobs, queue->jobs + n, queue->n * sizeof(queue->jobs[0]));
}

void gd_replay_queue_look(const struct gd_replay_queue *queue, int64_t now_ns,
                          unsigned *ret_running, unsigned *ret_queued)
{
	*ret_running = *ret_queued = 0;
	for (size_t i = 0; i < queue->n; i++) {
		if (queue->jobs[i].start_ns > now_ns)
			(*ret_queued)++;
		else if (queue->jobs[i].end_ns > now_ns)
			(*ret_running)++;
	}
}

void gd_replay_queue_add(struct gd_replay_queue *queue, const char *id, int64_t now_ns,
                         uint64_t takes_ns)
{
	assert(queue->n < GD_REPLAY_JOBS_MAX);
	struct gd_replay_job *job = &queue->jobs[queue->n];
	job->start_ns = now_ns;
	if (queue->n > 0 && queue->jobs[queue->n - 1].end_ns > now_ns)
		job->start_ns = queue->jobs[queue->n - 1].end_ns;
	job->end_ns = job->start_ns + (int64_t)takes_ns;
	(void)snprintf(job->id, sizeof(job->id), "%s", id);
	queue->n++;
}
