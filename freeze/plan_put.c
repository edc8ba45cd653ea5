#include "freeze/freeze.h"

static const char *const names[GD_FREEZE_METHODS] = {
	[GD_FREEZE_SOFT_DIRTY] = "soft-dirty",
	[GD_FREEZE_UFFD] = "uffd",
	[GD_FREEZE_FORK] = "fork",
	[GD_FREEZE_COPY] = "copy",
	[GD_FREEZE_TORN] = "torn",
};

const char *gd_freeze_method_name(enum gd_freeze_method method)
{
	return method < GD_FREEZE_METHODS ? names[method] : "?";
}

/* No limit, and not asked, are null. */
static void put_limit(struct gd_json *json, const char *key, uint64_t value)
{
	if (value == UINT64_MAX)
		gd_json_null(json, key);
	else
		gd_json_u64(json, key, value);
}

static void put_sizes(const struct gd_freeze_facts *f, struct gd_json *json)
{
	gd_json_u64(json, "threads", f->threads);
	gd_json_u64(json, "maps", f->maps);
	gd_json_u64(json, "rss_bytes", f->rss_bytes);
	gd_json_u64(json, "anon_bytes", f->anon_bytes);
	gd_json_u64(json, "shmem_bytes", f->shmem_bytes);
	gd_json_u64(json, "huge_bytes", f->huge_bytes);
	gd_json_u64(json, "thin_bytes", f->thin_bytes);
	gd_json_u64(json, "hugetlb_bytes", f->hugetlb_bytes);
	gd_json_u64(json, "dontdump_bytes", f->dontdump_bytes);
	put_limit(json, "memory_headroom_bytes", f->memory_headroom_bytes);
	put_limit(json, "pids_headroom", f->pids_headroom);
	put_limit(json, "space_bytes", f->space_bytes);
}

static void put_facts(const struct gd_freeze_facts *f, struct gd_json *json)
{
	gd_json_object(json, "facts");
	put_sizes(f, json);
	gd_json_i64(json, "tracer_pid", f->tracer_pid);
	gd_json_i64(json, "seccomp", f->seccomp);
	gd_json_bytes(json, "state", &f->state, f->state != '\0');
	gd_json_u64(json, "uninterruptible", f->uninterruptible);
	if (f->dumpable_unknown)
		gd_json_null(json, "dumpable");
	else
		gd_json_bool(json, "dumpable", f->dumpable);
	gd_json_bool(json, "core_limit_zero", f->core_limit_zero);
	gd_json_bool(json, "shadow_stack", f->shadow_stack);
	gd_json_bool(json, "throttled", f->throttled);
	gd_json_bool(json, "frozen", f->frozen);
	gd_json_bool(json, "vm_pinned", f->vm_pinned);
	gd_json_bool(json, "io_uring", f->io_uring);
	gd_json_bool(json, "userfaultfd", f->userfaultfd);
	gd_json_bool(json, "go_signal", f->go_signal);
	gd_json_bool(json, "namespace_init", f->namespace_init);
	gd_json_bool(json, "native_32bit", f->native_32bit);
	gd_json_bool(json, "kernel_soft_dirty", f->kernel_soft_dirty);
	gd_json_bool(json, "kernel_uffd_wp", f->kernel_uffd_wp);
	gd_json_bool(json, "kernel_pagemap_scan", f->kernel_pagemap_scan);
	if (f->unreadable.code != 0)
		gd_json_string(json, "unreadable", f->unreadable.msg);
	gd_json_object_end(json);
}

static void put_method(const struct gd_freeze_estimate *e, struct gd_json *json)
{
	gd_json_object(json, NULL);
	gd_json_string(json, "method", gd_freeze_method_name(e->method));
	gd_json_bool(json, "possible", e->possible);
	if (!e->possible && e->guard != 0)
		gd_json_u64(json, "guard", e->guard);
	if (e->why[0] != '\0')
		gd_json_string(json, "why", e->why);
	gd_json_i64(json, "pause_ns", e->pause_ns);
	gd_json_i64(json, "total_ns", e->total_ns);
	gd_json_u64(json, "extra_bytes", e->extra_bytes);
	gd_json_object_end(json);
}

void gd_freeze_plan_put(const struct gd_freeze_plan *plan, struct gd_json *json)
{
	gd_json_object(json, "freeze");
	/* Nothing is chosen for whom there will be no image. */
	gd_json_string(json, "method", plan->refused ? NULL : gd_freeze_method_name(plan->chosen));
	gd_json_bool(json, "refused", plan->refused);
	if (plan->why[0] != '\0')
		gd_json_string(json, "why", plan->why);
	gd_json_array(json, "methods");
	for (int m = 0; m < GD_FREEZE_METHODS; m++)
		put_method(&plan->methods[m], json);
	gd_json_array_end(json);
	put_facts(&plan->facts, json);
	gd_json_object_end(json);
}
