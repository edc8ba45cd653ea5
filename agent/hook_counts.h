#pragma once
/*
 * What the hook counts of itself, for /metrics.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define GD_HOOK_STATUS_MIN 200
#define GD_HOOK_STATUS_MAX 599

struct gd_hook_counts {
	uint64_t answers[GD_HOOK_STATUS_MAX - GD_HOOK_STATUS_MIN + 1]; /* by status */
	uint64_t connections; /* accepted */
	uint64_t evicted;     /* closed to make room for others */
	uint64_t alerts;      /* firing ones that meant a rule */
};

void gd_hook_counts_answer(struct gd_hook_counts *counts, int status);

/* Prometheus text. */
void gd_hook_counts_put(const struct gd_hook_counts *counts, unsigned open_connections,
                        bool broker_up, struct gd_buf *to);
