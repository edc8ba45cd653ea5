#include "golang/class.h"

#include <stddef.h>
#include <string.h>

const char *gd_go_class_name(enum gd_go_class class_)
{
	static const char *const names[GD_CLASSES] = {
		[GD_CLASS_GC_BACKGROUND] = "gc background",
		[GD_CLASS_GC_ASSIST] = "gc assist",
		[GD_CLASS_SWEEP] = "sweep",
		[GD_CLASS_SCHEDULER] = "scheduler",
		[GD_CLASS_STACK_GROWTH] = "stack growth",
		[GD_CLASS_MALLOC] = "malloc",
		[GD_CLASS_KERNEL] = "kernel",
		[GD_CLASS_USER] = "user",
	};
	return names[class_];
}

/* Prefixes: "gcAssistAlloc1" and closures like "gcBgMarkWorker.func2" belong to theirs. */
static const struct {
	const char *prefix; /* behind "runtime." */
	enum gd_go_class class_;
} signs[] = {
	{ "gcBgMarkWorker", GD_CLASS_GC_BACKGROUND },
	{ "gcMarkDone", GD_CLASS_GC_BACKGROUND },
	{ "gcMarkTermination", GD_CLASS_GC_BACKGROUND },
	{ "gcStart", GD_CLASS_GC_BACKGROUND },
	{ "gcAssistAlloc", GD_CLASS_GC_ASSIST },
	{ "bgsweep", GD_CLASS_SWEEP },
	{ "bgscavenge", GD_CLASS_SWEEP },
	{ "sweepone", GD_CLASS_SWEEP },
	{ "deductSweepCredit", GD_CLASS_SWEEP },
	{ "(*sweepLocked).sweep", GD_CLASS_SWEEP },
	{ "sysmon", GD_CLASS_SCHEDULER },
	{ "schedule", GD_CLASS_SCHEDULER },
	{ "findRunnable", GD_CLASS_SCHEDULER },
	{ "findrunnable", GD_CLASS_SCHEDULER },
	{ "park_m", GD_CLASS_SCHEDULER },
	{ "goschedImpl", GD_CLASS_SCHEDULER },
	{ "gosched_m", GD_CLASS_SCHEDULER },
	{ "gopreempt_m", GD_CLASS_SCHEDULER },
	{ "goexit0", GD_CLASS_SCHEDULER },
	{ "exitsyscall0", GD_CLASS_SCHEDULER },
	{ "mcall", GD_CLASS_SCHEDULER },
	{ "newstack", GD_CLASS_STACK_GROWTH },
	{ "morestack", GD_CLASS_STACK_GROWTH },
	{ "copystack", GD_CLASS_STACK_GROWTH },
	{ "mallocgc", GD_CLASS_MALLOC },
};

uint32_t gd_go_class_signs(const char *function)
{
	uint32_t found = 0;
	if (strncmp(function, "runtime.", 8) != 0)
		return 0;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (strncmp(function + 8, signs[i].prefix, strlen(signs[i].prefix)) == 0)
			found |= UINT32_C(1) << signs[i].class_;
	return found;
}

enum gd_go_class gd_go_class_of(uint32_t found, bool in_kernel)
{
	for (unsigned i = 0; i < GD_CLASS_KERNEL; i++)
		if ((found & UINT32_C(1) << i) != 0)
			return (enum gd_go_class)i;
	return in_kernel ? GD_CLASS_KERNEL : GD_CLASS_USER;
}
