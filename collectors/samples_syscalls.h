#pragma once
/* System calls that were counted, as an object of samples.json: with names, most first (docs/archive-format.md). */
#include <stdint.h>

#include "base/json.h"

/* counts: of gd_perf_sampler_syscalls; why_not: NULL, or why they have not been counted. */
void gd_samples_syscalls_put(const uint64_t *counts, const char *why_not, struct gd_json *json);
