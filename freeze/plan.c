#include "freeze/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/units.h"
#include "freeze/facts.h"

/* Both pre-copies see a page that was written by its page fault. */
static bool misses_pinned(const struct gd_freeze_facts *facts)
{
	return facts->vm_pinned || facts->io_uring;
}

__attribute__((format(printf, 3, 4))) static void forbid(struct gd_freeze_estimate *estimate,
                                                         unsigned guard, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	estimate->possible = false;
	estimate->guard = guard;
	(void)vsnprintf(estimate->why, sizeof(estimate->why), fmt, ap);
	va_end(ap);
}

/* G15: the budget. */
static void check_pause(const struct gd_freeze_facts *facts,
                        const struct gd_freeze_options *options,
                        struct gd_freeze_estimate *estimate)
{
	char predicted[GD_UNITS_TEXT];
	char budget[GD_UNITS_TEXT];
	if (!estimate->possible || estimate->pause_ns == 0)
		return;
	if (options->max_pause_ns <= 0) {
		forbid(estimate, 15, "no pause is allowed (max-pause 0), and it would be about %s",
		       gd_units_duration(predicted, (uint64_t)estimate->pause_ns));
		return;
	}
	if (estimate->pause_ns <= options->max_pause_ns)
		return;
	forbid(estimate, 15,
	       "would pause for about %s, allowed are %s (%llu threads, %llu mappings)",
	       gd_units_duration(predicted, (uint64_t)estimate->pause_ns),
	       gd_units_duration(budget, (uint64_t)options->max_pause_ns),
	       (unsigned long long)facts->threads, (unsigned long long)facts->maps);
}

/* What stop-and-copy leaves out under the budget. */
static void warn_truncated(const struct gd_freeze_facts *facts,
                           const struct gd_freeze_options *options,
                           struct gd_freeze_estimate *copy)
{
	size_t n = strlen(copy->why);
	if (!copy->possible || copy->pause_ns < options->max_pause_ns || copy->pause_ns == 0)
		return;
	char all[GD_UNITS_TEXT];
	(void)snprintf(copy->why + n, sizeof(copy->why) - n,
	               "%sonly what fits the pause of %s: stacks first", n > 0 ? "; " : "",
	               gd_units_bytes(all, gd_freeze_plan_bytes(facts, options)));
}

/*
 * G12: a device or io_uring may write to pinned pages without a page fault, and a pre-copy would
 * keep the page of before.  fork copies pinned pages at once; only where it cannot be had is a
 * pre-copy better than none.
 */
static void check_pinned(struct gd_freeze_plan *plan)
{
	bool fork = plan->methods[GD_FREEZE_FORK].possible;
	const char *what = plan->facts.vm_pinned ? "pinned pages" : "buffers of io_uring";
	for (int m = GD_FREEZE_SOFT_DIRTY; m <= GD_FREEZE_UFFD; m++) {
		struct gd_freeze_estimate *e = &plan->methods[m];
		size_t n = strlen(e->why);
		if (!e->possible || !misses_pinned(&plan->facts))
			continue;
		if (fork)
			forbid(e, 12, "it has %s, which are written without a page fault: fork "
			              "sees them", what);
		else
			(void)snprintf(e->why + n, sizeof(e->why) - n,
			               "%s%s: pages written without a page fault may be old",
			               n > 0 ? "; " : "", what);
	}
}

__attribute__((format(printf, 2, 3))) static void refuse(struct gd_freeze_plan *plan,
                                                         const char *fmt, ...)
{
	va_list ap;
	if (plan->refused)
		return;
	va_start(ap, fmt);
	plan->refused = true;
	(void)vsnprintf(plan->why, sizeof(plan->why), fmt, ap);
	va_end(ap);
}

/*
 * G10, where it cannot be told from here: a method that makes the target do a call asks it first (stop.h),
 * the others do not get to know.  False: none can ask.
 */
static bool leave_to_the_target(struct gd_freeze_plan *plan)
{
	if (!plan->methods[GD_FREEZE_UFFD].possible && !plan->methods[GD_FREEZE_FORK].possible)
		return false;
	for (int m = 0; m < GD_FREEZE_METHODS; m++)
		if (m != GD_FREEZE_UFFD && m != GD_FREEZE_FORK && plan->methods[m].possible)
			forbid(&plan->methods[m], 10, "whether it is dumpable cannot be told with our "
			                              "rights, and this does not ask it");
	return true;
}

/* G10: what its owner does not want dumped. */
static void check_secret(const struct gd_freeze_options *options, struct gd_freeze_plan *plan)
{
	if (options->secret)
		return;
	if (plan->facts.dumpable_unknown && !leave_to_the_target(plan))
		refuse(plan, "whether it is dumpable cannot be told of this process with our "
		             "rights: capture as root, or allow secret memory");
	else if (!plan->facts.dumpable && !plan->facts.dumpable_unknown)
		refuse(plan, "it is not dumpable (setuid, or PR_SET_DUMPABLE 0): its memory counts "
		             "as secret; allow secret memory to take it");
	else if (plan->facts.core_limit_zero)
		refuse(plan, "its hard limit for core files is 0: it wants none of its memory; "
		             "allow secret memory to take it");
}

void gd_freeze_plan_decide(const struct gd_freeze_options *options, struct gd_freeze_plan *ret)
{
	const struct gd_freeze_facts *facts = &ret->facts;
	for (int m = 0; m < GD_FREEZE_METHODS; m++) {
		struct gd_freeze_estimate *e = &ret->methods[m];
		*e = (struct gd_freeze_estimate){ .method = (enum gd_freeze_method)m };
		gd_freeze_plan_predict(facts, options, e);
		gd_freeze_plan_guard(facts, options, e);
		check_pause(facts, options, e);
	}
	warn_truncated(facts, options, &ret->methods[GD_FREEZE_COPY]);
	check_pinned(ret);
	check_secret(options, ret);
	int chosen = 0;
	while (chosen < GD_FREEZE_METHODS && !ret->methods[chosen].possible)
		chosen++;
	if (chosen == GD_FREEZE_METHODS) {
		chosen = GD_FREEZE_TORN;
		refuse(ret, "%s", ret->methods[chosen].why);
	}
	ret->chosen = (enum gd_freeze_method)chosen;
}

/* Without it a mapping of `skip` counts in full, though only part of it may be there. */
static uint64_t thin(const struct gd_freeze_facts *facts, const struct gd_freeze_options *options)
{
	uint64_t skipped = 0;
	for (size_t i = 0; i < options->n_skip; i++)
		skipped += options->skip[i].end - options->skip[i].start;
	return facts->anon_bytes > skipped ? facts->anon_bytes - skipped : 0;
}

/* Nothing to read, so nothing to look at either. */
static void refuse_all(struct gd_freeze_plan *plan, const char *why)
{
	plan->facts.space_bytes = UINT64_MAX;
	plan->facts.memory_headroom_bytes = UINT64_MAX;
	plan->facts.pids_headroom = UINT64_MAX;
	plan->chosen = GD_FREEZE_TORN;
	for (int m = 0; m < GD_FREEZE_METHODS; m++) {
		plan->methods[m].method = (enum gd_freeze_method)m;
		forbid(&plan->methods[m], 0, "%s", why);
	}
	refuse(plan, "%s", why);
}

int gd_freeze_plan(struct gd_target *target, const struct gd_freeze_options *options, int space_fd,
                   struct gd_freeze_plan *ret, struct gd_error *err)
{
	struct gd_freeze_plan plan = { 0 };
	struct gd_error why = { 0 };
	struct statvfs fs;
	if (target->fds.mem_fd < 0) {
		refuse_all(&plan, target->mem_error.msg);
		*ret = plan;
		return 0;
	}
	int r = gd_freeze_facts_gather(target, &plan.facts, &why);
	int now = gd_target_check(target, &why);
	if (r == -ESRCH || now == -ESRCH)
		return gd_fail(err, -ESRCH, "%s", why.msg);
	if (r < 0)
		gd_freeze_facts_miss(&plan.facts, &why);
	plan.facts.thin_bytes = thin(&plan.facts, options);
	if (space_fd >= 0 && fstatvfs(space_fd, &fs) == 0)
		plan.facts.space_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (r < 0 || now < 0)
		refuse(&plan, "%s", why.msg);
	gd_freeze_plan_decide(options, &plan);
	*ret = plan;
	return 0;
}
