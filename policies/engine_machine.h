#pragma once
/*
 * The machine of one rule on one process: what one sample after the other makes of it.  24 bytes
 * and no allocation, because there are as many as rules times processes.
 *
 *	armed     waits for a sample that holds
 *	pending   held on every sample since `since_ns`, not yet for `for`
 *	fired     told once; waits for the clear level
 *	clearing  at the clear level on every sample since `since_ns`, not yet for `clear_for`
 */
#include <stdbool.h>
#include <stdint.h>

#include "policies/policy.h"

enum gd_engine_phase {
	GD_ENGINE_ARMED,
	GD_ENGINE_PENDING,
	GD_ENGINE_FIRED,
	GD_ENGINE_CLEARING,
	GD_ENGINE_PHASES,
};
/* "armed", "pending", ... */
extern const char *const gd_engine_phase_names[GD_ENGINE_PHASES];

#define GD_ENGINE_NEVER INT64_MIN

struct gd_engine_machine {
	int64_t since_ns; /* first sample of the row that made it pending, fired or clearing */
	int64_t seen_ns;  /* last sample that had a value, or GD_ENGINE_NEVER */
	uint8_t phase;    /* enum gd_engine_phase */
	bool danger;      /* `unless` of a rule that is not METRIC held on the last sample */
};

/*
 * A sample a second comes when the machine has time for it: by so much it may be late or early, and
 * a row of 30 s still ends with its 31st sample.
 */
static inline uint64_t gd_engine_slack(uint64_t interval_ns)
{
	return interval_ns / 10;
}

void gd_engine_machine_init(struct gd_engine_machine *machine);

/* Strictly above or below; a value at the level itself does not hold, and NaN never does. */
bool gd_engine_condition_holds(const struct gd_condition *condition, double value);

/*
 * One sample of a METRIC rule's metric, NaN included; true: fires now.  `gap`: nothing at all was
 * sampled for more than three intervals, so no row reaches over it.
 */
bool gd_engine_machine_step(struct gd_engine_machine *machine, const struct gd_rule *rule,
                            int64_t now_ns, double value, bool gap, uint64_t interval_ns);
