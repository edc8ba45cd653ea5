/*
 * What needs time: samples, and the service's own profile and trace.  They run beside all the others, so that
 * they see what these and the freezer do to the target, too, and write when all is over.
 */
#include <poll.h>

#include "agent/capture_state.h"
#include "base/clock.h"

#define TICK_MS 50

static void end_debug_port(struct gd_capture_state *c, const struct gd_debug_port_result *result)
{
	const struct gd_plan_item *planned =
		&c->options->plan->list[gd_plan_apart(c->options->plan)];
	const char *name = planned->collector->name;
	gd_capture_step_end(c->debug_port_step, result->outcome);
	gd_capture_progress(c, name, c->debug_port_step, result->bytes);
	gd_capture_count(c, name, planned->named, result->outcome);
	c->debug_port_step = NULL;
}

/* Finds it, so that what it is asked for begins with the samples. */
static void begin_debug_port(struct gd_capture_state *c)
{
	const struct gd_plan *plan = c->options->plan;
	size_t item = gd_plan_apart(plan);
	struct gd_error err = { 0 };
	if (item == SIZE_MAX || c->target == NULL || gd_capture_cancelled(c))
		return;
	const struct gd_debug_port_options options = {
		.target = c->target,
		.port = plan->debug_port.port,
		.duration_ns = plan->window.duration_ns,
		.trace_ns = plan->debug_port.trace_ns,
		.connector = c->options->connector,
		.cancelled = c->options->cancelled,
	};
	c->debug_port_step = gd_capture_step_begin(c, "collect:", plan->list[item].collector->name);
	if (gd_debug_port_begin(&options, &c->debug_port, &err) < 0) {
		c->debug_port_result.outcome = gd_outcome_of(GD_GRADE_FAILED, &err);
		end_debug_port(c, &c->debug_port_result);
	}
}

static void begin_samples(struct gd_capture_state *c)
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

void gd_capture_window_begin(struct gd_capture_state *c)
{
	begin_debug_port(c);
	begin_samples(c);
	if (c->debug_port_step != NULL)
		gd_debug_port_go(&c->debug_port);
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
		if (c->debug_port_step != NULL)
			gd_debug_port_serve(&c->debug_port);
		int64_t left_ms = (duration_ns - now_ns) / 1000000 + 1;
		if (!gd_parser_order_window_serve(&c->parser, left_ms < TICK_MS ? (int)left_ms
		                                                                : TICK_MS))
			return;
	}
}

static void end_samples(struct gd_capture_state *c)
{
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

/* The packer takes one of them at a time. */
void gd_capture_window_end(struct gd_capture_state *c)
{
	if (c->window != NULL)
		end_samples(c);
	if (c->debug_port_step == NULL)
		return;
	gd_capture_progress(c, gd_collector_debug_port.name, NULL, 0);
	gd_debug_port_end(&c->debug_port, &c->packer, &c->debug_port_result);
	end_debug_port(c, &c->debug_port_result);
}
