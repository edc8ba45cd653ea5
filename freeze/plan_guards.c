/*
 * What forbids a method, and what has to be known before one is used.  The numbers are those of
 * docs/freeze.md.  Of what forbids, the first row counts; warnings add up as far as there is room.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "freeze/plan.h"

enum {
	SOFT_DIRTY = 1u << GD_FREEZE_SOFT_DIRTY,
	UFFD = 1u << GD_FREEZE_UFFD,
	FORK = 1u << GD_FREEZE_FORK,
	COPY = 1u << GD_FREEZE_COPY,
	TORN = 1u << GD_FREEZE_TORN,
	PRECOPY = SOFT_DIRTY | UFFD,
	INJECTING = UFFD | FORK,
	STOPPING = PRECOPY | FORK | COPY,
};

#define WHY 160

/* A child, and one for the target itself. */
#define PIDS_NEEDED 2

struct question {
	const struct gd_freeze_facts *facts;
	const struct gd_freeze_options *options;
	enum gd_freeze_method method;
};

/* True when it holds; why says what, and what to do. */
typedef bool (*holds_fn)(const struct question *q, char why[WHY]);

__attribute__((format(printf, 2, 3))) static bool say(char why[WHY], const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(why, WHY, fmt, ap);
	va_end(ap);
	return true;
}

static bool is_off(const struct question *q, char why[WHY])
{
	return q->options->methods_off[q->method] && say(why, "switched off by request");
}

static bool is_traced(const struct question *q, char why[WHY])
{
	return q->facts->tracer_pid != 0 &&
	       say(why, "pid %d traces it (a debugger, strace): end that first, a process has one "
	                "tracer at most", q->facts->tracer_pid);
}

static bool is_frozen(const struct question *q, char why[WHY])
{
	return q->facts->frozen &&
	       say(why, "its control group is frozen: no thread answers until it is thawed");
}

static bool is_stopped(const struct question *q, char why[WHY])
{
	return q->facts->state == 'T' &&
	       say(why, "it is stopped already (SIGSTOP): a plain copy is of one instant");
}

static bool lacks_soft_dirty(const struct question *q, char why[WHY])
{
	return !q->facts->kernel_soft_dirty &&
	       say(why, "this kernel does not mark written pages (CONFIG_MEM_SOFT_DIRTY)");
}

static bool lacks_uffd(const struct question *q, char why[WHY])
{
	return (!q->facts->kernel_uffd_wp || !q->facts->kernel_pagemap_scan) &&
	       say(why, "this kernel has no asynchronous write protection (userfaultfd and "
	                "PAGEMAP_SCAN of Linux 6.7), or it is forbidden here");
}

static bool has_userfaultfd(const struct question *q, char why[WHY])
{
	return q->facts->userfaultfd &&
	       say(why, "it has a userfaultfd of its own, and a page can be watched by one only");
}

static bool is_filtered(const struct question *q, char why[WHY])
{
	return q->facts->seccomp != 0 &&
	       say(why, "its system calls are filtered (Seccomp: %d): an injected one could kill "
	                "it", q->facts->seccomp);
}

static bool has_shadow_stack(const struct question *q, char why[WHY])
{
	return q->facts->shadow_stack &&
	       say(why, "it has a shadow stack: a frame of ours could not return");
}

static bool is_32bit(const struct question *q, char why[WHY])
{
	return q->facts->native_32bit && say(why, "a 32-bit program: no frame is built for it");
}

static bool cannot_be_injected(const struct question *q, char why[WHY])
{
	return q->facts->no_injection.code != 0 && say(why, "%s", q->facts->no_injection.msg);
}

static bool is_all_uninterruptible(const struct question *q, char why[WHY])
{
	return q->facts->uninterruptible > 0 && q->facts->uninterruptible >= q->facts->threads &&
	       say(why, "all its threads wait in the kernel (state D; vfork?): none could make the "
	                "call");
}

static bool has_uninterruptible(const struct question *q, char why[WHY])
{
	return q->facts->uninterruptible > 0 &&
	       say(why, "%" PRIu64 " threads in state D (vfork, disk?) will not stop: no registers "
	                "of them", q->facts->uninterruptible);
}

static bool is_short_of_memory(const struct question *q, char why[WHY])
{
	char need[GD_UNITS_TEXT];
	char have[GD_UNITS_TEXT];
	uint64_t needed = gd_freeze_plan_fork_bytes(q->facts);
	return q->facts->memory_headroom_bytes < needed &&
	       say(why, "its memory limit leaves %s and a fork may take %s: the kernel would kill",
	           gd_units_bytes(have, q->facts->memory_headroom_bytes),
	           gd_units_bytes(need, needed));
}

static bool is_short_of_pids(const struct question *q, char why[WHY])
{
	return q->facts->pids_headroom < PIDS_NEEDED &&
	       say(why, "its control group may have %" PRIu64 " more tasks (pids.max), a fork "
	                "needs %d", q->facts->pids_headroom, PIDS_NEEDED);
}

static bool is_throttled(const struct question *q, char why[WHY])
{
	return q->facts->throttled &&
	       say(why, "its CPU quota throttles it: a thread may stop a period (100 ms) late");
}

static bool is_namespace_init(const struct question *q, char why[WHY])
{
	return q->facts->namespace_init &&
	       say(why, "PID 1 of its namespace: only itself can reap the child");
}

static bool loses_huge_pages(const struct question *q, char why[WHY])
{
	char size[GD_UNITS_TEXT];
	return q->facts->huge_bytes > 0 && !q->options->keep_huge &&
	       say(why, "may split %s of huge pages", gd_units_bytes(size, q->facts->huge_bytes));
}

static bool has_hugetlb(const struct question *q, char why[WHY])
{
	char size[GD_UNITS_TEXT];
	return q->facts->hugetlb_bytes > 0 &&
	       say(why, "%s of hugetlb pages stay out",
	           gd_units_bytes(size, q->facts->hugetlb_bytes));
}

static bool has_dontdump(const struct question *q, char why[WHY])
{
	char size[GD_UNITS_TEXT];
	return q->facts->dontdump_bytes > 0 && !q->options->secret &&
	       say(why, "%s marked MADV_DONTDUMP stay out",
	           gd_units_bytes(size, q->facts->dontdump_bytes));
}

static bool does_not_fit(const struct question *q, char why[WHY])
{
	char need[GD_UNITS_TEXT];
	char have[GD_UNITS_TEXT];
	uint64_t needed = gd_freeze_plan_bytes(q->facts, q->options);
	return q->facts->space_bytes < needed &&
	       say(why, "the image needs %s and %s are free where it would go",
	           gd_units_bytes(need, needed), gd_units_bytes(have, q->facts->space_bytes));
}

static bool is_torn(const struct question *q, char why[WHY])
{
	(void)q;
	return say(why, "read while it runs: not of one instant");
}

static const struct guard {
	unsigned number, forbids, warns;
	holds_fn holds;
} guards[] = {
	{ 0, STOPPING | TORN, 0, is_off },
	{ 0, STOPPING | TORN, 0, does_not_fit },
	{ 6, STOPPING, 0, is_traced },
	{ 8, STOPPING, 0, is_frozen },
	{ 8, PRECOPY | FORK, COPY, is_stopped },
	{ 0, SOFT_DIRTY, 0, lacks_soft_dirty },
	{ 0, UFFD, 0, lacks_uffd },
	{ 0, UFFD, 0, has_userfaultfd },
	{ 4, INJECTING, 0, is_filtered },
	{ 1, INJECTING, 0, has_shadow_stack },
	{ 1, INJECTING, 0, is_32bit },
	{ 1, INJECTING, 0, cannot_be_injected },
	{ 7, INJECTING, 0, is_all_uninterruptible },
	{ 5, FORK, 0, is_short_of_memory },
	{ 11, FORK, 0, is_short_of_pids },
	{ 7, 0, STOPPING, has_uninterruptible },
	{ 17, 0, STOPPING, is_throttled },
	{ 0, 0, TORN, is_torn },
	{ 3, 0, FORK, is_namespace_init },
	{ 12, 0, STOPPING | TORN, has_hugetlb },
	{ 0, 0, STOPPING | TORN, has_dontdump },
	{ 9, 0, INJECTING, loses_huge_pages },
};

static void warn(struct gd_freeze_estimate *estimate, const char *text)
{
	size_t n = strlen(estimate->why);
	const char *between = n > 0 ? "; " : "";
	if (n + strlen(between) + strlen(text) < sizeof(estimate->why))
		(void)snprintf(estimate->why + n, sizeof(estimate->why) - n, "%s%s", between, text);
}

void gd_freeze_plan_guard(const struct gd_freeze_facts *facts,
                          const struct gd_freeze_options *options,
                          struct gd_freeze_estimate *estimate)
{
	struct question q = { facts, options, estimate->method };
	unsigned method = 1u << estimate->method;
	char why[WHY];
	estimate->possible = true;
	estimate->guard = 0;
	estimate->why[0] = '\0';
	for (size_t i = 0; i < sizeof(guards) / sizeof(guards[0]); i++) {
		const struct guard *guard = &guards[i];
		if (((guard->forbids | guard->warns) & method) == 0 || !guard->holds(&q, why))
			continue;
		if ((guard->forbids & method) != 0) {
			estimate->possible = false;
			estimate->guard = guard->number;
			(void)snprintf(estimate->why, sizeof(estimate->why), "%s", why);
			return;
		}
		warn(estimate, why);
	}
}
