#pragma once
/*
 * What happened when: every sample and every time that a thread was away, with the collector's stops and
 * ours, on one clock (CLOCK_MONOTONIC).  Kept as numbers while the window lasts, with a ceiling, and
 * written as JSON lines (samples.jsonl, docs/archive-format.md) when it has ended.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/sink.h"
#include "collectors/samples_profile.h"

#define GD_SAMPLES_EVENTS_MAX (1u << 20)

struct gd_samples_timeline;

int gd_samples_timeline_create(struct gd_samples_timeline **ret, struct gd_error *err);
void gd_samples_timeline_destroy(struct gd_samples_timeline *timeline); /* NULL allowed */

/* number: of gd_samples_profile_number in that profile. */
void gd_samples_timeline_sample(struct gd_samples_timeline *timeline, int64_t time_ns, uint32_t cpu,
                                uint32_t number);
void gd_samples_timeline_away(struct gd_samples_timeline *timeline, int64_t time_ns, uint32_t number,
                              enum gd_switch_state state, uint64_t weight, int64_t ns);

/* Events that did not fit. */
uint64_t gd_samples_timeline_dropped(const struct gd_samples_timeline *timeline);

struct gd_samples_timeline_write {
	const struct gd_samples_profile *cpu, *away; /* away NULL: there is none */
	const struct gd_samples_write *names;        /* whose fields but for `away` say how */
	struct gd_clock started, ended;
	int64_t stopped_ns, stop_ns; /* the middle of a stop of ours and how long it was; 0: none */
};

int gd_samples_timeline_write(struct gd_samples_timeline *timeline,
                              const struct gd_samples_timeline_write *how,
                              struct gd_stream *stream, struct gd_error *err);
