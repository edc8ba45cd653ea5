#include "agent/watch_go.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch_file.h"
#include "base/message.h"

/* A runtime that is still starting shows later; one that cannot be read does not. */
#define TRIES 5

void gd_watch_go_init(struct gd_watch_go *go)
{
	*go = (struct gd_watch_go){ .mem_fd = -1, .runtime_fd = -1 };
}

static void drop(struct gd_watch_go *go)
{
	gd_memory_close(go->memory);
	free(go->at);
	free(go->window);
	free(go->seen);
	go->memory = NULL;
	go->at = NULL;
	go->window = NULL;
	go->seen = NULL;
	gd_watch_file_close(&go->mem_fd);
	gd_watch_file_close(&go->runtime_fd);
}

void gd_watch_go_deinit(struct gd_watch_go *go)
{
	drop(go);
}

/* Nothing for now: again after 1, 2, 4, ... ticks, or never. */
static void put_off(struct gd_watch_go *go, uint32_t tick, const char *why)
{
	drop(go);
	(void)snprintf(go->note, sizeof(go->note), "%s", why);
	go->state = go->tries < TRIES ? GD_WATCH_GO_WANTED : GD_WATCH_GO_NONE;
	go->due = tick + (1u << go->tries);
	go->tries++;
}

int gd_watch_go_ask(struct gd_watch_go *go, struct gd_watch_ask *ask, uint32_t slot,
                    const struct gd_subject_id *id, uint32_t tick, int64_t monotonic_ns)
{
	char why[124] = "";
	int r = gd_watch_ask_memory(ask, slot, id, &go->mem_fd, &go->runtime_fd, why);
	if (r == -EPIPE)
		return r;
	if (r == -EAGAIN) {
		go->due = tick + 1;
		return 0;
	}
	if (r < 0) {
		put_off(go, tick, why);
		return 0;
	}
	go->state = GD_WATCH_GO_FINDING;
	go->asked_ns = monotonic_ns;
	return 0;
}

static int begin(struct gd_watch_go *go, const struct gd_gauges_at *at, struct gd_error *err)
{
	int r = gd_gauges_at_check(at, err);
	if (r < 0)
		return r;
	r = gd_memory_live(go->mem_fd, &go->memory, err);
	if (r < 0)
		return r;
	go->at = malloc(sizeof(*go->at));
	go->window = calloc(1, sizeof(*go->window));
	go->seen = calloc(1, sizeof(*go->seen));
	if (go->at == NULL || go->window == NULL || go->seen == NULL)
		return gd_fail_errno(err, -ENOMEM, "Go runtime");
	*go->at = *at;
	return 0;
}

void gd_watch_go_found(struct gd_watch_go *go, uint32_t tick, bool late)
{
	struct gd_watch_runtime found;
	GD_MESSAGE struct gd_message message = { .n_fds = 0 };
	struct gd_error err = { 0 };
	if (late) {
		put_off(go, tick, "looking for its Go runtime took too long");
		return;
	}
	int r = gd_message_recv(go->runtime_fd, &message, &found, sizeof(found), NULL);
	gd_watch_file_close(&go->runtime_fd);
	if (r <= 0 || message.type != GD_WATCH_RUNTIME || message.len != sizeof(found)) {
		put_off(go, tick, "the child that looked for its Go runtime has died");
		return;
	}
	found.why[sizeof(found.why) - 1] = '\0';
	if (found.code == -ENOENT && go->tries >= 1) {
		/* Asked twice, so that a runtime that was not up yet is not taken for C. */
		put_off(go, tick, "");
		go->state = GD_WATCH_GO_NONE;
		return;
	}
	if (found.code < 0) {
		put_off(go, tick, found.code == -ENOENT ? "" : found.why);
		return;
	}
	if (begin(go, &found.at, &err) < 0) {
		put_off(go, tick, err.msg);
		return;
	}
	go->state = GD_WATCH_GO_READING;
	go->note[0] = '\0';
}

static void put_values(const struct gd_gauges_values *from, double values[GD_METRICS])
{
	values[GD_METRIC_GO_GOROUTINES] = from->goroutines;
	values[GD_METRIC_GO_GOROUTINES_GROWTH] = from->goroutines_growth;
	values[GD_METRIC_GO_HEAP_LIVE] = from->heap_live;
	values[GD_METRIC_GO_HEAP_GOAL] = from->heap_goal;
	values[GD_METRIC_GO_HEAP_OF_GOAL] = from->heap_of_goal;
	values[GD_METRIC_GO_GC_PAUSE_P99] = from->gc_pause_p99_s;
	values[GD_METRIC_GO_GC_CPU] = from->gc_cpu;
	values[GD_METRIC_GO_SCHED_LATENCY_P99] = from->sched_latency_p99_s;
}

int gd_watch_go_sample(struct gd_watch_go *go, uint32_t tick, int64_t monotonic_ns,
                       bool slept, double values[GD_METRICS])
{
	struct gd_gauges gauges;
	struct gd_gauges_values got;
	struct gd_error err = { 0 };
	if (go->state != GD_WATCH_GO_READING)
		return 0;
	unsigned wanted = gd_gauges_window_wants(go->window, monotonic_ns);
	int r = gd_gauges_read_again(go->memory, go->at, go->seen, slept, wanted, &gauges, &err);
	if (r == -ESRCH) {
		drop(go);
		go->state = GD_WATCH_GO_WANTED;
		go->tries = 0;
		go->due = tick;
		return -ESRCH;
	}
	if (r < 0) {
		(void)snprintf(go->note, sizeof(go->note), "%.110s", err.msg);
		return 0;
	}
	(void)snprintf(go->note, sizeof(go->note), "%.110s", err.msg);
	gd_gauges_window_add(go->window, &gauges, monotonic_ns, &got);
	put_values(&got, values);
	return 0;
}
