#include <errno.h>
#include <stdio.h>

#include "agent/capture_state.h"
#include "base/clock.h"

bool gd_capture_cancelled(const struct gd_capture_state *c)
{
	return c->options->cancelled != NULL && *c->options->cancelled != 0;
}

struct gd_step *gd_capture_step_begin(struct gd_capture_state *c, const char *prefix,
                                      const char *name)
{
	struct gd_snapshot *s = c->snapshot;
	/* One step per state and collector: a plan cannot have more (see GD_PLAN_MAX). */
	struct gd_step *step = &s->steps[s->n_steps < GD_STEPS_MAX ? s->n_steps++
	                                                           : GD_STEPS_MAX - 1];
	*step = (struct gd_step){ .started_ns = gd_clock_monotonic_ns() };
	(void)snprintf(step->name, sizeof(step->name), "%s%s", prefix, name);
	return step;
}

void gd_capture_step_end(struct gd_step *step, struct gd_outcome outcome)
{
	step->ended_ns = gd_clock_monotonic_ns();
	step->outcome = outcome;
}

/*
 * Skipped is no shortcoming (profiling is not linked in, not a Go process) unless that very collector
 * was asked for.
 */
void gd_capture_count(struct gd_capture_state *c, const char *name, bool named,
                      struct gd_outcome outcome)
{
	if (outcome.grade == GD_GRADE_SKIPPED && !named)
		outcome = GD_OUTCOME_COMPLETE;
	if (outcome.grade != GD_GRADE_COMPLETE)
		(void)gd_error_wrap(&outcome.why, outcome.why.code, "%s %s", name,
		                    gd_grade_name(outcome.grade));
	c->worst = gd_outcome_worse(c->worst, outcome);
}

void gd_capture_progress(struct gd_capture_state *c, const char *name, const struct gd_step *step,
                         uint64_t bytes)
{
	if (c->options->progress != NULL)
		c->options->progress(c->options->progress_arg, name, step, bytes);
}

/* `prefix` is "collect:" or "image:". */
void gd_capture_collector(struct gd_capture_state *c, const char *prefix, size_t item)
{
	const struct gd_plan_item *planned = &c->options->plan->list[item];
	const char *name = planned->collector->name;
	struct gd_step *step = gd_capture_step_begin(c, prefix, name);
	struct gd_parser_order_result result = { .bytes = 0 };
	const char *shown = c->frozen.file_fd >= 0 ? step->name : name;

	gd_capture_progress(c, shown, NULL, 0);
	if (gd_capture_cancelled(c))
		result.outcome = gd_outcome(GD_GRADE_SKIPPED, -ECANCELED, "interrupted");
	else
		gd_parser_order_collect(&c->parser, item, &c->packer, &result);
	gd_capture_step_end(step, result.outcome);
	step->torn_reads = result.torn_reads;
	step->torn_repeated = result.torn_repeated;
	gd_capture_progress(c, shown, step, result.bytes);
	gd_capture_count(c, shown, planned->named, result.outcome);
}

/* Is a core in the plan, and did somebody name it? */
const struct gd_plan_item *gd_capture_core(const struct gd_capture_state *c)
{
	for (size_t i = 0; i < c->options->plan->n; i++)
		if (c->options->plan->list[i].collector->of_image)
			return &c->options->plan->list[i];
	return NULL;
}
