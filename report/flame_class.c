#include <string.h>

#include "report/flame.h"

/* The first row that any frame matches, in this order; `prefix`: of the function's name. */
static const struct rule {
	const char *name;
	bool prefix;
	const char *class;
} rules[] = {
	{ "runtime.gcBgMarkWorker", true, "gc background" },
	{ "runtime.gcAssistAlloc", true, "gc assist" },
	{ "runtime.bgsweep", false, "sweep" },
	{ "runtime.bgscavenge", false, "sweep" },
	{ "runtime.sysmon", false, "scheduler" },
	{ "runtime.schedule", false, "scheduler" },
	{ "runtime.findRunnable", false, "scheduler" },
	{ "runtime.findrunnable", false, "scheduler" }, /* until Go 1.19 */
	{ "runtime.park_m", false, "scheduler" },
	{ "runtime.mcall", false, "scheduler" },
	{ "runtime.newstack", false, "stack growth" },
	{ "runtime.morestack", true, "stack growth" },
	{ "runtime.mallocgc", true, "malloc" },
};

static bool is_any(const struct rule *rule, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rule->prefix ? strncmp(names[i], rule->name, strlen(rule->name)) == 0
		                 : strcmp(names[i], rule->name) == 0)
			return true;
	return false;
}

const char *gd_flame_class(const char *const *names, size_t n, bool in_kernel)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (is_any(&rules[i], names, n))
			return rules[i].class;
	return in_kernel ? "kernel" : "user";
}
