#pragma once
/*
 * Which capture of a good time there is of each service, for later ones to be compared with: a light
 * one a day, of a process that has run for a while.  Services are known by their number in the policy.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/id.h"
#include "policies/policy.h"

struct gd_baseline {
	char id[GD_ID_SIZE]; /* of the last capture in a good time; "" */
	int64_t taken_ns;    /* CLOCK_BOOTTIME, also of one that was refused; 0 never */
};

struct gd_baselines {
	struct gd_baseline list[GD_POLICY_SERVICES_MAX];
};

/* Another policy numbers services anew: what was taken stays with the service of that name. */
void gd_baselines_renumber(struct gd_baselines *baselines, const struct gd_policy *before,
                           const struct gd_policy *policy);

/* Whether a rule of this service wants one and the last is a day old.  now_ns: CLOCK_BOOTTIME. */
bool gd_baselines_is_due(const struct gd_baselines *baselines, const struct gd_policy *policy,
                         size_t service, int64_t now_ns);

/* It was asked for: whatever comes of it, not every second again. */
void gd_baselines_asked(struct gd_baselines *baselines, size_t service, int64_t now_ns);

/* It was sealed; a service that the policy does not name any more is forgotten. */
void gd_baselines_sealed(struct gd_baselines *baselines, const struct gd_policy *policy,
                         const char *service, const char *id, int64_t now_ns);
