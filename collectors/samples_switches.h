#pragma once
/*
 * Pairs a thread's leaving of the CPU with its coming back, which may be on another one: how long it was
 * away, whether it had to go or had nothing to do, and where wake-ups are told, from when on it could have
 * run again.  Records of several CPUs come one CPU after the
 * other, so they are kept until all of an instant must have come, and are then told in order.
 *
 * Pure; not thread safe.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum gd_switch_state {
	GD_SWITCH_BLOCKED,   /* it waited for something (and for a CPU, when no wake-up was told) */
	GD_SWITCH_PREEMPTED, /* it could have run on: it waited for a CPU */
	GD_SWITCH_RUNNABLE,  /* it was blocked and has been woken: it waited for a CPU */
	GD_SWITCH_STATES,
};
const char *gd_switch_state_name(uint32_t state); /* "blocked", "preempted", "runnable" */

/* Records kept at most, and threads known. */
#define GD_SWITCHES_MAX (1u << 18)
#define GD_SWITCHES_THREADS_MAX (1u << 16)

struct gd_samples_switches;

int gd_samples_switches_create(struct gd_samples_switches **ret, struct gd_error *err);
void gd_samples_switches_destroy(struct gd_samples_switches *switches); /* NULL allowed */

/* A sample of the switch: whose stack it is is the caller's number; it stands for `weight` switches. */
void gd_samples_switches_sampled(struct gd_samples_switches *switches, uint32_t tid, int64_t time_ns,
                                 uint32_t stack, uint64_t weight);
/* The record of a switch, sampled or not. */
void gd_samples_switches_switched(struct gd_samples_switches *switches, uint32_t tid,
                                  int64_t time_ns, bool out, bool preempted);

/* The thread may run from here on; it does so when it comes in. */
void gd_samples_switches_woken(struct gd_samples_switches *switches, uint32_t tid, int64_t time_ns);

/*
 * A thread was away for `ns` from `since_ns` on, `weight` times.  Being blocked and then runnable is one
 * absence, told in two parts.
 */
typedef void gd_samples_switches_fn(void *arg, uint32_t tid, uint32_t stack,
                                    enum gd_switch_state state, uint64_t weight, int64_t since_ns,
                                    int64_t ns);

/* Tells of all that ended before `until_ns`; no record older than that may come any more. */
void gd_samples_switches_settle(struct gd_samples_switches *switches, int64_t until_ns,
                                gd_samples_switches_fn *each, void *arg);

/* Who is still away is so until `end_ns`. */
void gd_samples_switches_end(struct gd_samples_switches *switches, int64_t end_ns,
                             gd_samples_switches_fn *each, void *arg);

/* Records that did not fit. */
uint64_t gd_samples_switches_dropped(const struct gd_samples_switches *switches);
