#pragma once
/*
 * The decision apart from the looking: what would each method cost, what forbids it, which is
 * taken. Pure functions of the facts and the request.
 */
#include "freeze/freeze.h"

/* Everything of ret but `facts`, which is filled already. */
void gd_freeze_plan_decide(const struct gd_freeze_options *options, struct gd_freeze_plan *ret);

/* pause_ns, total_ns and extra_bytes for one method; GD_FREEZE_COPY: of the bytes that fit. */
void gd_freeze_plan_predict(const struct gd_freeze_facts *facts,
                            const struct gd_freeze_options *options,
                            struct gd_freeze_estimate *estimate);

/* Bytes the image would hold. */
uint64_t gd_freeze_plan_bytes(const struct gd_freeze_facts *facts,
                              const struct gd_freeze_options *options);

/* Memory its group must have left for a fork. */
uint64_t gd_freeze_plan_fork_bytes(const struct gd_freeze_facts *facts);

/* Marks the estimate not possible, or appends warnings to it; predicted before. */
void gd_freeze_plan_guard(const struct gd_freeze_facts *facts,
                          const struct gd_freeze_options *options,
                          struct gd_freeze_estimate *estimate);
