#include "policies/engine_machine.h"

#include <math.h>

#include "policies/engine.h"

const char *const gd_engine_phase_names[GD_ENGINE_PHASES] = {
	[GD_ENGINE_ARMED] = "armed",
	[GD_ENGINE_PENDING] = "pending",
	[GD_ENGINE_FIRED] = "fired",
	[GD_ENGINE_CLEARING] = "clearing",
};

void gd_engine_machine_init(struct gd_engine_machine *machine)
{
	*machine = (struct gd_engine_machine){ .seen_ns = GD_ENGINE_NEVER };
}

bool gd_engine_condition_holds(const struct gd_condition *condition, double value)
{
	return condition->below ? value < condition->level : value > condition->level;
}

/* At the clear level or beyond it; a clear level on the wrong side of the level clears nothing. */
static bool is_clear(const struct gd_rule *rule, double value)
{
	if (gd_engine_condition_holds(&rule->when, value))
		return false;
	return rule->when.below ? value >= rule->clear : value <= rule->clear;
}

/* How long a row of `row_ns` may go without a value before it is no row any more. */
static uint64_t patience(uint64_t row_ns, uint64_t interval_ns)
{
	uint64_t least = GD_ENGINE_GAP_INTERVALS * interval_ns;
	return (row_ns / 2 > least ? row_ns / 2 : least) + gd_engine_slack(interval_ns);
}

static bool is_long_enough(const struct gd_engine_machine *machine, int64_t now_ns,
                           uint64_t row_ns, uint64_t interval_ns)
{
	uint64_t slack_ns = gd_engine_slack(interval_ns);
	return row_ns <= slack_ns || (uint64_t)(now_ns - machine->since_ns) >= row_ns - slack_ns;
}

static bool is_stale(const struct gd_engine_machine *machine, const struct gd_rule *rule,
                     int64_t now_ns, uint64_t interval_ns)
{
	uint64_t row_ns = machine->phase == GD_ENGINE_PENDING ? rule->for_ns : rule->clear_for_ns;
	return (uint64_t)(now_ns - machine->seen_ns) > patience(row_ns, interval_ns);
}

static void break_row(struct gd_engine_machine *machine)
{
	if (machine->phase == GD_ENGINE_PENDING)
		machine->phase = GD_ENGINE_ARMED;
	else if (machine->phase == GD_ENGINE_CLEARING)
		machine->phase = GD_ENGINE_FIRED;
}

static bool step_up(struct gd_engine_machine *machine, const struct gd_rule *rule, int64_t now_ns,
                    double value, uint64_t interval_ns)
{
	if (!gd_engine_condition_holds(&rule->when, value)) {
		machine->phase = GD_ENGINE_ARMED;
		return false;
	}
	if (machine->phase == GD_ENGINE_ARMED) {
		machine->phase = GD_ENGINE_PENDING;
		machine->since_ns = now_ns;
	}
	if (!is_long_enough(machine, now_ns, rule->for_ns, interval_ns))
		return false;
	machine->phase = GD_ENGINE_FIRED;
	return true;
}

static void step_down(struct gd_engine_machine *machine, const struct gd_rule *rule,
                      int64_t now_ns, double value, uint64_t interval_ns)
{
	if (!is_clear(rule, value)) {
		machine->phase = GD_ENGINE_FIRED;
		return;
	}
	if (machine->phase == GD_ENGINE_FIRED) {
		machine->phase = GD_ENGINE_CLEARING;
		machine->since_ns = now_ns;
	}
	if (is_long_enough(machine, now_ns, rule->clear_for_ns, interval_ns))
		machine->phase = GD_ENGINE_ARMED;
}

bool gd_engine_machine_step(struct gd_engine_machine *machine, const struct gd_rule *rule,
                            int64_t now_ns, double value, bool gap, uint64_t interval_ns)
{
	bool in_row = machine->phase == GD_ENGINE_PENDING || machine->phase == GD_ENGINE_CLEARING;
	if (in_row && (gap || is_stale(machine, rule, now_ns, interval_ns)))
		break_row(machine);
	if (isnan(value))
		return false;
	machine->seen_ns = now_ns;
	if (machine->phase == GD_ENGINE_ARMED || machine->phase == GD_ENGINE_PENDING)
		return step_up(machine, rule, now_ns, value, interval_ns);
	step_down(machine, rule, now_ns, value, interval_ns);
	return false;
}
