#pragma once
/*
 * What a plan knows of its target: gathered from /proc and control groups through the target's own
 * descriptors.  Reads only; what cannot be read becomes what makes the plan careful, and the first
 * such thing is in facts->unreadable.
 */
#include "freeze/freeze.h"

/* All of them but thin_bytes and space_bytes, which are the request's. */
int gd_freeze_facts_gather(struct gd_target *target, struct gd_freeze_facts *ret,
                           struct gd_error *err);

/* ---- its parts ------------------------------------------------------------------------------- */

/* Notes that a fact could not be had; the first one stays. */
void gd_freeze_facts_miss(struct gd_freeze_facts *facts, const struct gd_error *err);

/* Bytes by kind; status has been read before, for the counters there are the fall-back. */
void gd_freeze_facts_memory(struct gd_target *target, struct gd_freeze_facts *facts);

/* Headrooms, throttled, frozen: over all groups it is in and all that these are in. */
void gd_freeze_facts_cgroup(struct gd_target *target, struct gd_freeze_facts *facts);

/* dumpable and dumpable_unknown.  `status` is the text of that file. */
void gd_freeze_facts_dumpable(struct gd_target *target, const char *status,
                              struct gd_freeze_facts *facts);

/* The text after "Name:" and blanks on a line of its own, or NULL. */
const char *gd_freeze_facts_field(const char *text, const char *name);
uint64_t gd_freeze_facts_number(const char *text, const char *name, int base);
