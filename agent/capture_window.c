/*
 * The collector that needs time: samples.  It runs beside all the others, so that it sees what they and
 * the freezer do to the target, too, and writes when all is over.
 */
#include <poll.h>

#include "agent/capture_state.h"
#include "base/clock.h"

#define TICK_MS 50

void gd_capture_window_begin(struct gd_capture_state *c)
{
	size_t item = gd_plan_windowed(c->options->plan);
	struct gd_error err = { 0 };
	if (item == SIZE_MAX || c->target == NULL || gd_capture_cancelled(c))
		return;
	const struct gd_plan_item *planned = &c->options->plan->list[item];
	const char *name = planned->collector->name;
	struct gd_step *step = gd_capture_step_begin(c, "collect:", name);
	if (gd_parser_order_window_begin(&c->parser, item, c->packer.pid, &err) == 0) {
		c->window = step;
		return;
	}
	gd_capture_step_end(step, gd_outcome_of(GD_GRADE_FAILED, &err));
	gd_capture_progress(c, name, step, 0);
	gd_capture_count(c, name, planned->named, step->outcome);
}

/* A process that has ended makes no more samples. */
static bool has_ended(const struct gd_capture_state *c)
{
	struct pollfd end = { .fd = c->target->fds.pid_fd, .events = POLLIN };
	return poll(&end, 1, 0) > 0;
}

/* Until its time is up; what it asks meanwhile is answered. */
static void wait_for_end(struct gd_capture_state *c, const char *name)
{
	int64_t duration_ns = c->options->plan->window.duration_ns;
	for (;;) {
		int64_t now_ns = gd_clock_monotonic_ns() - c->window->started_ns;
		if (now_ns >= duration_ns || gd_capture_cancelled(c) || has_ended(c))
			return;
		if (c->options->progress_time != NULL)
			c->options->progress_time(c->options->progress_arg, name, now_ns,
			                          duration_ns);
		int64_t left_ms = (duration_ns - now_ns) / 1000000 + 1;
		if (!gd_parser_order_window_serve(&c->parser, left_ms < TICK_MS ? (int)left_ms
		                                                                : TICK_MS))
			return;
	}
}

void gd_capture_window_end(struct gd_capture_state *c)
{
	if (c->window == NULL)
		return;
	const struct gd_plan_item *planned =
		&c->options->plan->list[gd_plan_windowed(c->options->plan)];
	const char *name = planned->collector->name;
	struct gd_parser_order_result result;
	gd_capture_progress(c, name, NULL, 0);
	wait_for_end(c, name);
	const struct gd_frozen *frozen = &c->snapshot->frozen;
	gd_parser_order_window_end(&c->parser, &c->packer, frozen->instant_ns, frozen->pause_ns,
	                           &result);
	gd_capture_step_end(c->window, result.outcome);
	c->window->torn_reads = result.torn_reads;
	c->window->torn_repeated = result.torn_repeated;
	gd_capture_progress(c, name, c->window, result.bytes);
	gd_capture_count(c, name, planned->named, result.outcome);
	c->window = NULL;
}
