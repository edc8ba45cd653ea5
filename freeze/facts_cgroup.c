/*
 * Limits are those of all groups above as well: the tightest one counts, and a frozen or throttled
 * parent freezes and throttles.  Version 1, version 2 and both at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "freeze/facts.h"
#include "target/cgroup.h"

#define FILE_MAX_BYTES (64u << 10)
#define GROUPS_MAX_BYTES (64u << 10)
#define MOUNTS_MAX_BYTES (8u << 20)
#define DEPTH_MAX 64

/* Version 1 says "no limit" by the largest number of pages. */
#define NO_LIMIT (UINT64_C(1) << 62)

/* Of its periods a group may have been throttled in one of so many before we call it throttled. */
#define THROTTLED_ONE_OF 100

struct walk {
	struct gd_target *target;
	struct gd_freeze_facts *facts;
	const struct gd_cgroup *group;
	bool memory_seen, memory_hidden;
	struct gd_buf text; /* the file that was read last */
};

/* NULL: there is no such file here. */
static const char *read_file(struct walk *w, const char *name)
{
	GD_CLOSE int fd = -1;
	gd_buf_reset(&w->text);
	if (gd_cgroup_open_file(w->target->access, "", w->group, name, &fd, NULL) < 0 ||
	    gd_io_read_all(fd, &w->text, NULL) < 0)
		return NULL;
	return gd_buf_str(&w->text);
}

/* A file that is one number, or "max"; false when it is neither, or no limit. */
static bool read_limit(struct walk *w, const char *name, uint64_t *ret)
{
	const char *text = read_file(w, name);
	uint64_t number;
	if (text == NULL || !gd_text_u64(text, NULL, 10, &number) || number >= NO_LIMIT)
		return false;
	*ret = number;
	return true;
}

/* "name number" on a line of its own; 0 when it is not there. */
static uint64_t read_count(struct walk *w, const char *file, const char *name)
{
	const char *line = read_file(w, file);
	size_t n = strlen(name);
	uint64_t number = 0;
	while (line != NULL && *line != '\0') {
		if (strncmp(line, name, n) == 0 && line[n] == ' ')
			return gd_text_u64(line + n + 1, NULL, 10, &number) ? number : 0;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return 0;
}

static void lower(uint64_t *headroom, uint64_t limit, uint64_t used)
{
	uint64_t left = limit > used ? limit - used : 0;
	if (left < *headroom)
		*headroom = left;
}

/* What the kernel can simply drop (inactive file pages) does not stand in anybody's way. */
static void look_at_memory(struct walk *w)
{
	bool v2 = w->group->version == 2;
	uint64_t limit = UINT64_MAX;
	uint64_t high = UINT64_MAX;
	uint64_t used = 0;
	/* memory.high does not kill, it slows the group down until it is below. */
	if (v2 && read_limit(w, "memory.high", &high))
		limit = high;
	if (read_limit(w, v2 ? "memory.max" : "memory.limit_in_bytes", &high) && high < limit)
		limit = high;
	if (limit == UINT64_MAX)
		return;
	if (!read_limit(w, v2 ? "memory.current" : "memory.usage_in_bytes", &used))
		used = limit;
	uint64_t droppable =
		read_count(w, "memory.stat", v2 ? "inactive_file" : "total_inactive_file");
	lower(&w->facts->memory_headroom_bytes, limit, used > droppable ? used - droppable : 0);
}

static void look_at_pids(struct walk *w)
{
	uint64_t limit;
	uint64_t used;
	if (!read_limit(w, "pids.max", &limit))
		return;
	if (!read_limit(w, "pids.current", &used))
		used = limit;
	lower(&w->facts->pids_headroom, limit, used);
}

/* Quotas are a number; without one it is -1 in version 1 and "max" in version 2. */
static void look_at_cpu(struct walk *w)
{
	uint64_t quota;
	if (!read_limit(w, w->group->version == 2 ? "cpu.max" : "cpu.cfs_quota_us", &quota))
		return;
	uint64_t periods = read_count(w, "cpu.stat", "nr_periods");
	uint64_t throttled = read_count(w, "cpu.stat", "nr_throttled");
	if (throttled > 0 && throttled >= periods / THROTTLED_ONE_OF)
		w->facts->throttled = true;
}

static void look_at_freezer(struct walk *w)
{
	uint64_t frozen = 0;
	if (w->group->version == 2) {
		frozen = read_count(w, "cgroup.events", "frozen");
		const char *wish = read_file(w, "cgroup.freeze");
		frozen |= wish != NULL && wish[0] == '1';
	} else {
		/* "THAWED", "FREEZING" or "FROZEN" */
		const char *state = read_file(w, "freezer.state");
		frozen = state != NULL && strncmp(state, "FR", 2) == 0;
	}
	w->facts->frozen |= frozen != 0;
}

static bool controls(const struct gd_cgroup *group, const char *controller)
{
	return group->version == 2 || gd_cgroup_has(group->controllers, controller);
}

static void look_at_group(struct walk *w, struct gd_cgroup *group)
{
	w->group = group;
	if (gd_cgroup_open_file(w->target->access, "", group, NULL, NULL, NULL) < 0) {
		/* Not in our view.  Many hosts mount no version 2, and nothing is lost there. */
		w->memory_hidden |= group->version == 1 && controls(group, "memory");
		return;
	}
	w->memory_seen |= controls(group, "memory");
	int depth = 0;
	do {
		if (controls(group, "memory"))
			look_at_memory(w);
		if (controls(group, "pids"))
			look_at_pids(w);
		if (controls(group, "cpu"))
			look_at_cpu(w);
		if (controls(group, "freezer"))
			look_at_freezer(w);
	} while (++depth < DEPTH_MAX && gd_cgroup_up(group));
}

/* The machine is the outermost limit. */
static void look_at_machine(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(FILE_MAX_BYTES);
	if (gd_target_read_file(target, "/proc/meminfo", &text, NULL) < 0 ||
	    gd_freeze_facts_field(gd_buf_str(&text), "MemAvailable") == NULL)
		return;
	lower(&facts->memory_headroom_bytes,
	      gd_freeze_facts_number(gd_buf_str(&text), "MemAvailable", 10) << 10, 0);
}

void gd_freeze_facts_cgroup(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf mounts = GD_BUF_INIT(MOUNTS_MAX_BYTES);
	GD_BUF struct gd_buf groups = GD_BUF_INIT(GROUPS_MAX_BYTES);
	struct walk w = {
		.target = target,
		.facts = facts,
		.text = GD_BUF_INIT(FILE_MAX_BYTES),
	};
	struct gd_error err = { 0 };
	struct gd_cgroup group;
	const char *cursor = NULL;
	bool member = false;
	facts->memory_headroom_bytes = UINT64_MAX;
	facts->pids_headroom = UINT64_MAX;
	int r = gd_target_read_file(target, "/proc/self/mountinfo", &mounts, &err);
	if (r == 0)
		r = gd_target_read_file(target, "cgroup", &groups, &err);
	while (r == 0 &&
	       gd_cgroup_next(gd_buf_str(&groups), gd_buf_str(&mounts), &cursor, &group)) {
		member = true;
		look_at_group(&w, &group);
	}
	gd_buf_deinit(&w.text);
	look_at_machine(target, facts);
	if (r == 0 && !w.memory_hidden && (w.memory_seen || !member))
		return;
	/* A limit may be there that we cannot see: as if it were reached. */
	facts->memory_headroom_bytes = 0;
	if (r == 0)
		(void)gd_fail(&err, -ENOENT, "cgroup: its groups are not mounted in our view");
	gd_freeze_facts_miss(facts, &err);
}
