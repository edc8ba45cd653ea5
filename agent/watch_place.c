#include "agent/watch_place.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agent/watch_file.h"
#include "base/text.h"
#include "policies/policy.h"

#define PATH_ROOM 4352        /* PATH_MAX and a file's name */
#define NO_LIMIT (1ull << 60) /* version 1 says LONG_MAX in whole pages for "none" */
#define LOOK_TICKS 10         /* how seldom memory.stat is read */
#define SLOPE_MIN_POINTS 10
#define SLOPE_MIN_NS 9000000000

static void join(char to[PATH_ROOM], const char *path, const char *file)
{
	(void)snprintf(to, PATH_ROOM, "%s/%s", path, file);
}

static int open_in(const struct gd_watch_place *place, const char *file)
{
	char path[PATH_ROOM];
	join(path, place->path, file);
	int fd = gd_watch_file_open(place->mount_fd, path);
	return fd >= 0 ? fd : -1;
}

static ssize_t read_in(int mount_fd, const char *dir, const char *file, char *to, size_t size)
{
	char path[PATH_ROOM];
	join(path, dir, file);
	return gd_watch_file_read(mount_fd, path, to, size);
}

static void open_usage(struct gd_watch_place *place)
{
	place->usage = (struct gd_watch_usage){ .fd = -1 };
	if (place->path[0] == '\0')
		place->usage.fd = gd_watch_file_open(place->mount_fd, "meminfo");
	else
		place->usage.fd =
			open_in(place, place->v1 ? "memory.usage_in_bytes" : "memory.current");
}

static void open_psi(struct gd_watch_place *place)
{
	char path[PATH_ROOM];
	bool host = place->path[0] == '\0';
	join(path, host ? "pressure" : place->path, "");
	int dir_fd = gd_watch_file_open(place->mount_fd, path);
	if (dir_fd < 0 || gd_watch_psi_open(dir_fd, host ? "" : ".pressure", &place->psi) < 0)
		place->psi = (struct gd_watch_psi){ .fds = { -1, -1, -1 } };
	gd_watch_file_close(&dir_fd);
}

void gd_watch_place_open(struct gd_watch_place *place)
{
	switch (place->kind) {
	case GD_PLACE_USAGE:
		open_usage(place);
		break;
	case GD_PLACE_EVENTS:
		place->events = (struct gd_watch_memory_events){ .fds = { -1, -1 } };
		place->events.fds[0] =
			open_in(place, place->v1 ? "memory.oom_control" : "memory.events");
		if (place->v1)
			place->events.fds[1] = open_in(place, "memory.failcnt");
		break;
	case GD_PLACE_CPU:
		place->cpu = (struct gd_watch_throttled){ .fd = open_in(place, "cpu.stat") };
		break;
	case GD_PLACE_PSI:
		open_psi(place);
		break;
	}
}

void gd_watch_place_close(struct gd_watch_place *place)
{
	switch (place->kind) {
	case GD_PLACE_USAGE:
		gd_watch_file_close(&place->usage.fd);
		break;
	case GD_PLACE_EVENTS:
		gd_watch_file_close(&place->events.fds[0]);
		gd_watch_file_close(&place->events.fds[1]);
		break;
	case GD_PLACE_CPU:
		gd_watch_file_close(&place->cpu.fd);
		break;
	case GD_PLACE_PSI:
		gd_watch_psi_close(&place->psi);
		break;
	}
}

uint64_t gd_watch_place_limit(int mount_fd, const char *path, bool v1)
{
	char text[64];
	uint64_t limit;
	const char *file = v1 ? "memory.limit_in_bytes" : "memory.max";
	if (read_in(mount_fd, path, file, text, sizeof(text)) <= 0 ||
	    !gd_watch_file_number(text, &limit) || limit >= NO_LIMIT)
		return 0;
	return limit;
}

/* cpu.max: "QUOTA PERIOD" or "max PERIOD"; version 1 has two files, -1 is "none". */
double gd_watch_place_quota(int mount_fd, const char *path, bool v1)
{
	char text[64];
	char second[64];
	uint64_t quota_us;
	uint64_t period_us;
	const char *end = text;
	const char *file = v1 ? "cpu.cfs_quota_us" : "cpu.max";
	if (read_in(mount_fd, path, file, text, sizeof(text)) <= 0 ||
	    !gd_text_u64(text, &end, 10, &quota_us))
		return 0;
	if (v1) {
		if (read_in(mount_fd, path, "cpu.cfs_period_us", second, sizeof(second)) <= 0)
			return 0;
		end = second;
	} else {
		end += *end == ' ';
	}
	if (!gd_text_u64(end, NULL, 10, &period_us) || period_us == 0 || quota_us == 0)
		return 0;
	return (double)quota_us / (double)period_us;
}

uint64_t gd_watch_place_machine(int proc_fd)
{
	char text[4096];
	uint64_t total_kib;
	if (gd_watch_file_read(proc_fd, "meminfo", text, sizeof(text)) <= 0 ||
	    !gd_watch_file_key(text, "MemTotal:", &total_kib) || total_kib > NO_LIMIT / 1024)
		return 0;
	return total_kib * 1024;
}

/* Inactive file pages go first when memory gets short; looking is dear, so seldom. */
static void look_at_droppable(struct gd_watch_place *place, uint64_t current)
{
	struct gd_watch_usage *usage = &place->usage;
	bool near = usage->limit > 0 && (double)current > 0.7 * (double)usage->limit;
	if (usage->ticks > 0 && !near) {
		usage->ticks--;
		return;
	}
	char text[8192];
	usage->ticks = LOOK_TICKS;
	if (read_in(place->mount_fd, place->path, "memory.stat", text, sizeof(text)) <= 0 ||
	    !gd_watch_file_key(text, place->v1 ? "total_inactive_file" : "inactive_file",
	                       &usage->droppable))
		usage->droppable = 0;
}

static bool read_machine(struct gd_watch_usage *usage, uint64_t *used)
{
	char text[4096];
	uint64_t total_kib;
	uint64_t available_kib;
	if (gd_watch_file_again(usage->fd, text, sizeof(text)) <= 0 ||
	    !gd_watch_file_key(text, "MemTotal:", &total_kib) ||
	    !gd_watch_file_key(text, "MemAvailable:", &available_kib) ||
	    available_kib > total_kib || total_kib > NO_LIMIT / 1024)
		return false;
	usage->limit = total_kib * 1024;
	*used = (total_kib - available_kib) * 1024;
	return true;
}

static void read_usage(struct gd_watch_place *place, int64_t now_ns)
{
	struct gd_watch_usage *usage = &place->usage;
	uint64_t used;
	char text[64];
	if (place->path[0] == '\0') {
		usage->known = read_machine(usage, &used);
	} else {
		usage->known = gd_watch_file_again(usage->fd, text, sizeof(text)) > 0 &&
		               gd_watch_file_number(text, &used);
		if (usage->known) {
			look_at_droppable(place, used);
			used -= usage->droppable < used ? usage->droppable : used;
		}
	}
	if (!usage->known)
		return;
	usage->used = used;
	usage->at_ns[usage->next] = now_ns;
	usage->points[usage->next] = used;
	usage->next = (usage->next + 1) % GD_WATCH_SLOPE_POINTS;
	if (usage->n < GD_WATCH_SLOPE_POINTS)
		usage->n++;
}

static void read_events(struct gd_watch_place *place)
{
	static const struct {
		const char *v2, *v1;
		enum gd_event event;
	} rows[4] = {
		{ "high", NULL, GD_EVENT_MEMORY_HIGH },
		{ "max", NULL, GD_EVENT_MEMORY_MAX }, /* version 1: failcnt */
		{ "oom", NULL, GD_EVENT_OOM },
		{ "oom_kill", "oom_kill", GD_EVENT_OOM_KILL },
	};
	struct gd_watch_memory_events *events = &place->events;
	char text[1024];
	char failures[64] = "";
	events->bits = 0;
	if (gd_watch_file_again(events->fds[0], text, sizeof(text)) <= 0)
		return;
	if (place->v1)
		(void)gd_watch_file_again(events->fds[1], failures, sizeof(failures));
	for (int i = 0; i < 4; i++) {
		const char *key = place->v1 ? rows[i].v1 : rows[i].v2;
		uint64_t now;
		bool there = key != NULL ? gd_watch_file_key(text, key, &now)
		             : i == 1    ? gd_watch_file_number(failures, &now)
		                         : false;
		if (!there)
			continue;
		if (events->seen && now > events->counters[i])
			events->bits |= 1u << rows[i].event;
		events->counters[i] = now;
	}
	events->seen = true;
}

static void read_cpu(struct gd_watch_place *place)
{
	struct gd_watch_throttled *cpu = &place->cpu;
	char text[1024];
	uint64_t periods;
	uint64_t throttled;
	cpu->known = false;
	if (gd_watch_file_again(cpu->fd, text, sizeof(text)) <= 0 ||
	    !gd_watch_file_key(text, "nr_periods", &periods) ||
	    !gd_watch_file_key(text, "nr_throttled", &throttled))
		return;
	/* No period began: nobody ran, nobody was throttled. */
	if (cpu->seen && periods >= cpu->periods && throttled >= cpu->throttled) {
		uint64_t n = periods - cpu->periods;
		cpu->part = n == 0 ? 0 : (double)(throttled - cpu->throttled) / (double)n;
		cpu->part = cpu->part > 1 ? 1 : cpu->part;
		cpu->known = true;
	}
	cpu->periods = periods;
	cpu->throttled = throttled;
	cpu->seen = true;
}

void gd_watch_place_read(struct gd_watch_place *place, int64_t monotonic_ns)
{
	switch (place->kind) {
	case GD_PLACE_USAGE:
		read_usage(place, monotonic_ns);
		break;
	case GD_PLACE_EVENTS:
		read_events(place);
		break;
	case GD_PLACE_CPU:
		read_cpu(place);
		break;
	case GD_PLACE_PSI:
		gd_watch_psi_read(&place->psi, monotonic_ns);
		break;
	}
}

double gd_watch_place_time_to_limit(const struct gd_watch_place *place)
{
	const struct gd_watch_usage *usage = &place->usage;
	if (!usage->known || usage->limit == 0 || usage->n < SLOPE_MIN_POINTS)
		return NAN;
	unsigned last = (usage->next + GD_WATCH_SLOPE_POINTS - 1) % GD_WATCH_SLOPE_POINTS;
	unsigned first = (usage->next + GD_WATCH_SLOPE_POINTS - usage->n) % GD_WATCH_SLOPE_POINTS;
	int64_t end_ns = usage->at_ns[last];
	if (end_ns - usage->at_ns[first] < SLOPE_MIN_NS)
		return NAN;
	/* Least squares, relative to the last point so that the sums keep their digits. */
	double n = usage->n;
	double sum_x = 0;
	double sum_y = 0;
	double sum_xx = 0;
	double sum_xy = 0;
	for (unsigned i = 0; i < usage->n; i++) {
		double x = (double)(usage->at_ns[i] - end_ns) / 1e9;
		double y = (double)usage->points[i] - (double)usage->used;
		sum_x += x;
		sum_y += y;
		sum_xx += x * x;
		sum_xy += x * y;
	}
	double under = n * sum_xx - sum_x * sum_x;
	double slope = under > 0 ? (n * sum_xy - sum_x * sum_y) / under : 0;
	if (usage->used >= usage->limit)
		return 0;
	/* Known and endless, not unknown: it has to break a row of samples and to clear a rule. */
	return slope > 0 ? (double)(usage->limit - usage->used) / slope : (double)INFINITY;
}
