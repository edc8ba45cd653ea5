#pragma once
/* samples.json: how samples were taken, and how good they are (docs/archive-format.md). */
#include "base/json.h"
#include "collectors/samples_take.h"

/* `away` NULL: of context switches there is nothing. */
struct gd_samples_facts {
	const struct gd_samples_taken *taken;
	uint32_t frequency_hz;
	bool go, syscalls; /* these were asked for */
	const struct gd_samples_written *cpu, *away;
	struct gd_error no_kernel_names; /* code 0, or why there are none */
};

void gd_samples_facts_put(const struct gd_samples_facts *facts, struct gd_json *json);

/* The same in a line, as a comment of the profiles. */
void gd_samples_facts_comment(const struct gd_samples_facts *facts, bool away, char *to, size_t size);
