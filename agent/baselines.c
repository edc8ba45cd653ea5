#include "agent/baselines.h"

#include <stdio.h>
#include <string.h>

#define EVERY_NS (86400 * INT64_C(1000000000))

/* policy->n_services: there is none of that name. */
static size_t service_of(const struct gd_policy *policy, const char *name)
{
	size_t i = 0;
	while (i < policy->n_services && strcmp(policy->services[i].name, name) != 0)
		i++;
	return i;
}

void gd_baselines_renumber(struct gd_baselines *baselines, const struct gd_policy *before,
                           const struct gd_policy *policy)
{
	struct gd_baselines kept = { 0 };
	for (size_t i = 0; i < policy->n_services; i++) {
		size_t was = service_of(before, policy->services[i].name);
		if (was < before->n_services)
			kept.list[i] = baselines->list[was];
	}
	*baselines = kept;
}

static bool is_wanted(const struct gd_policy *policy, size_t service)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (policy->rules[i].service == service && policy->rules[i].baseline)
			return true;
	return false;
}

bool gd_baselines_is_due(const struct gd_baselines *baselines, const struct gd_policy *policy,
                         size_t service, int64_t now_ns)
{
	int64_t taken_ns = baselines->list[service].taken_ns;
	return is_wanted(policy, service) && (taken_ns == 0 || now_ns - taken_ns >= EVERY_NS);
}

void gd_baselines_asked(struct gd_baselines *baselines, size_t service, int64_t now_ns)
{
	baselines->list[service].taken_ns = now_ns;
}

void gd_baselines_sealed(struct gd_baselines *baselines, const struct gd_policy *policy,
                         const char *service, const char *id, int64_t now_ns)
{
	size_t i = service_of(policy, service);
	if (i == policy->n_services)
		return;
	(void)snprintf(baselines->list[i].id, sizeof(baselines->list[i].id), "%s", id);
	baselines->list[i].taken_ns = now_ns;
}
