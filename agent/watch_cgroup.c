#include "agent/watch_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watch_file.h"
#include "agent/watch_place.h"
#include "base/cleanup.h"

#define BUCKETS 512
#define PATH_ROOM 4096
#define REVIEW_TICKS 10 /* how seldom limits and quotas are looked for anew */
#define PSI_TICKS 5

struct gd_watch_group {
	struct gd_watch_group *next;
	unsigned refs;
	unsigned until_review;
	struct gd_watch_place *own_events, *limit_events; /* the second NULL when it is the first */
	struct gd_watch_place *usage, *cpu, *psi;         /* cpu NULL: no quota */
	double cpus;
	const char *note;
	char *membership;
};

struct gd_watch_cgroups {
	int proc_fd;
	int v2_fd, memory_fd, cpu_fd; /* hierarchies; -1: not there */
	bool memory_v1, cpu_v1;
	bool pressure;
	uint64_t machine; /* bytes of memory; 0 unknown */
	unsigned tick;
	struct gd_watch_group *groups[BUCKETS];
	struct gd_watch_place *places[BUCKETS];
};

static unsigned bucket_of(const char *text, unsigned seed)
{
	uint32_t hash = 2166136261u ^ seed;
	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 16777619u;
	return hash % BUCKETS;
}

static int open_dir(const char *base, const char *name)
{
	char path[PATH_ROOM];
	(void)snprintf(path, sizeof(path), "%s%s%s", base, *name != '\0' ? "/" : "", name);
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Which hierarchies there are: all in one (2), one for each controller (1), or both kinds. */
static void find_mounts(struct gd_watch_cgroups *cgroups, const char *base)
{
	int root = open_dir(base, "");
	struct stat st;
	if (root >= 0 && fstatat(root, "cgroup.controllers", &st, 0) == 0) {
		cgroups->v2_fd = root;
		return;
	}
	gd_watch_file_close(&root);
	cgroups->v2_fd = open_dir(base, "unified");
	cgroups->memory_fd = open_dir(base, "memory");
	cgroups->cpu_fd = open_dir(base, "cpu");
	if (cgroups->cpu_fd < 0)
		cgroups->cpu_fd = open_dir(base, "cpu,cpuacct");
	cgroups->memory_v1 = cgroups->memory_fd >= 0;
	cgroups->cpu_v1 = cgroups->cpu_fd >= 0;
}

int gd_watch_cgroups_create(const char *cgroup, int proc_fd, bool pressure,
                            struct gd_watch_cgroups **ret, struct gd_error *err)
{
	struct gd_watch_cgroups *cgroups = calloc(1, sizeof(*cgroups));
	if (cgroups == NULL)
		return gd_fail_errno(err, -ENOMEM, "control groups");
	cgroups->proc_fd = proc_fd;
	cgroups->v2_fd = cgroups->memory_fd = cgroups->cpu_fd = -1;
	cgroups->pressure = pressure;
	cgroups->machine = gd_watch_place_machine(proc_fd);
	find_mounts(cgroups, cgroup);
	*ret = cgroups;
	return 0;
}

static void drop_place(struct gd_watch_cgroups *cgroups, struct gd_watch_place *place)
{
	if (place == NULL || --place->refs > 0)
		return;
	struct gd_watch_place **at = &cgroups->places[bucket_of(place->path, place->kind)];
	while (*at != place)
		at = &(*at)->next;
	*at = place->next;
	gd_watch_place_close(place);
	free(place);
}

/* NULL only without memory. */
static struct gd_watch_place *take_place(struct gd_watch_cgroups *cgroups,
                                         enum gd_watch_place_kind kind, int mount_fd, bool v1,
                                         const char *path)
{
	unsigned bucket = bucket_of(path, kind);
	for (struct gd_watch_place *p = cgroups->places[bucket]; p != NULL; p = p->next)
		if (p->kind == kind && p->mount_fd == mount_fd && strcmp(p->path, path) == 0) {
			p->refs++;
			return p;
		}
	size_t n = strlen(path) + 1;
	struct gd_watch_place *place = calloc(1, sizeof(*place) + n);
	if (place == NULL)
		return NULL;
	place->kind = kind;
	place->mount_fd = mount_fd;
	place->v1 = v1;
	place->refs = 1;
	memcpy(place->path, path, n);
	gd_watch_place_open(place);
	place->next = cgroups->places[bucket];
	cgroups->places[bucket] = place;
	return place;
}

static void replace(struct gd_watch_cgroups *cgroups, struct gd_watch_place **to,
                    struct gd_watch_place *by)
{
	drop_place(cgroups, *to);
	*to = by;
}

static bool has_word(const char *list, size_t n, const char *word)
{
	size_t len = strlen(word);
	for (size_t i = 0; i + len <= n; i++)
		if (memcmp(list + i, word, len) == 0 && (i == 0 || list[i - 1] == ',') &&
		    (i + len == n || list[i + len] == ','))
			return true;
	return false;
}

/* Path of one line without its leading '/', "." for the root; false when we may not walk it. */
static bool usable(const char *path, size_t n, char to[PATH_ROOM])
{
	if (n == 0 || path[0] != '/' || n >= PATH_ROOM)
		return false;
	if (n == 1) {
		(void)snprintf(to, PATH_ROOM, ".");
		return true;
	}
	memcpy(to, path + 1, n - 1);
	to[n - 1] = '\0';
	/* "/../x": outside of our cgroup namespace. */
	for (const char *part = to; part != NULL; part = strchr(part, '/')) {
		part += *part == '/';
		if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
			return false;
	}
	return true;
}

/*
 * The path of the line whose controllers have `controller` ("": the unified hierarchy's, NULL: any).
 * A path holds what its creator liked, but a newline is refused by the kernel.
 */
static bool path_of(const char *membership, const char *controller, char to[PATH_ROOM])
{
	for (const char *line = membership; *line != '\0';) {
		const char *end = strchrnul(line, '\n');
		const char *first = memchr(line, ':', (size_t)(end - line));
		const char *second =
			first != NULL ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
		line = *end == '\n' ? end + 1 : end;
		if (second == NULL)
			continue;
		size_t n = (size_t)(second - first - 1);
		bool here = controller == NULL || (*controller == '\0' && n == 0) ||
		            (*controller != '\0' && has_word(first + 1, n, controller));
		if (here && usable(second + 1, (size_t)(end - second - 1), to))
			return true;
	}
	return false;
}

void gd_watch_cgroup_path(const char *membership, char *to, size_t size)
{
	char path[PATH_ROOM];
	static const char *const by[] = { "", "name=systemd", "memory", NULL };
	to[0] = '\0';
	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		if (!path_of(membership, by[i], path))
			continue;
		bool root = strcmp(path, ".") == 0;
		(void)snprintf(to, size, "/%.*s", (int)size - 2, root ? "" : path);
		if (!root)
			return;
	}
}

/* Cuts the last part off; false at the root. */
static bool go_up(char path[PATH_ROOM])
{
	char *slash = strrchr(path, '/');
	if (slash != NULL)
		*slash = '\0';
	else if (strcmp(path, ".") == 0)
		return false;
	else
		(void)snprintf(path, PATH_ROOM, ".");
	return true;
}

static void review_memory(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group)
{
	char path[PATH_ROOM];
	bool v1 = cgroups->memory_v1;
	int fd = v1 ? cgroups->memory_fd : cgroups->v2_fd;
	uint64_t limit = 0;
	if (fd >= 0 && path_of(group->membership, v1 ? "memory" : "", path)) {
		if (group->own_events == NULL)
			group->own_events = take_place(cgroups, GD_PLACE_EVENTS, fd, v1, path);
		do {
			limit = gd_watch_place_limit(fd, path, v1);
			/* More than there is limits nothing. */
			if (cgroups->machine > 0 && limit >= cgroups->machine)
				limit = 0;
		} while (limit == 0 && go_up(path));
	}
	if (limit == 0) {
		replace(cgroups, &group->usage,
		        take_place(cgroups, GD_PLACE_USAGE, cgroups->proc_fd, false, ""));
		replace(cgroups, &group->limit_events, NULL);
		return;
	}
	replace(cgroups, &group->usage, take_place(cgroups, GD_PLACE_USAGE, fd, v1, path));
	if (group->usage != NULL)
		group->usage->usage.limit = limit;
	bool own = group->own_events != NULL && strcmp(group->own_events->path, path) == 0;
	replace(cgroups, &group->limit_events,
	        own ? NULL : take_place(cgroups, GD_PLACE_EVENTS, fd, v1, path));
}

/* The tightest quota on the way to the root: that is the one which throttles. */
static void review_cpu(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group)
{
	char path[PATH_ROOM];
	char tightest[PATH_ROOM] = "";
	bool v1 = cgroups->cpu_v1;
	int fd = v1 ? cgroups->cpu_fd : cgroups->v2_fd;
	double cpus = 0;
	if (fd >= 0 && path_of(group->membership, v1 ? "cpu" : "", path)) {
		do {
			double quota = gd_watch_place_quota(fd, path, v1);
			if (quota > 0 && (cpus <= 0 || quota < cpus)) {
				cpus = quota;
				memcpy(tightest, path, strlen(path) + 1);
			}
		} while (go_up(path));
	}
	group->cpus = cpus;
	replace(cgroups, &group->cpu,
	        cpus > 0 ? take_place(cgroups, GD_PLACE_CPU, fd, v1, tightest) : NULL);
}

static void find_pressure(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group)
{
	char path[PATH_ROOM];
	struct gd_watch_place *place = NULL;
	/* The root's pressure is the host's. */
	if (cgroups->v2_fd >= 0 && path_of(group->membership, "", path) && strcmp(path, ".") != 0)
		place = take_place(cgroups, GD_PLACE_PSI, cgroups->v2_fd, false, path);
	if (place != NULL && place->psi.fds[GD_WATCH_PSI_CPU] < 0) {
		drop_place(cgroups, place);
		place = NULL;
	}
	if (place == NULL)
		place = take_place(cgroups, GD_PLACE_PSI, cgroups->proc_fd, false, "");
	group->psi = place;
}

static void review(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group)
{
	review_memory(cgroups, group);
	review_cpu(cgroups, group);
	group->until_review = REVIEW_TICKS;
}

static const char *note_of(struct gd_watch_cgroups *cgroups, const struct gd_watch_group *group)
{
	if (cgroups->v2_fd < 0 && cgroups->memory_fd < 0)
		return "no cgroup file system: the machine's memory is taken for the limit";
	if (group->own_events == NULL)
		return "its memory cgroup is outside of our view";
	bool root = strcmp(group->own_events->path, ".") == 0;
	return root || group->own_events->events.fds[0] >= 0 ? "" : "no memory controller for it";
}

int gd_watch_cgroups_get(struct gd_watch_cgroups *cgroups, const char *membership,
                         struct gd_watch_group **ret)
{
	unsigned bucket = bucket_of(membership, 0);
	for (struct gd_watch_group *g = cgroups->groups[bucket]; g != NULL; g = g->next)
		if (strcmp(g->membership, membership) == 0) {
			g->refs++;
			*ret = g;
			return 0;
		}
	GD_FREE char *copy = strdup(membership);
	struct gd_watch_group *group = copy != NULL ? calloc(1, sizeof(*group)) : NULL;
	if (group == NULL)
		return -ENOMEM;
	group->membership = gd_steal_ptr(&copy);
	group->refs = 1;
	review(cgroups, group);
	/* Not all of them in the same tick. */
	group->until_review = 1 + bucket % REVIEW_TICKS;
	find_pressure(cgroups, group);
	group->note = note_of(cgroups, group);
	group->next = cgroups->groups[bucket];
	cgroups->groups[bucket] = group;
	*ret = group;
	return 0;
}

void gd_watch_cgroups_put(struct gd_watch_cgroups *cgroups, struct gd_watch_group *group)
{
	if (group == NULL || --group->refs > 0)
		return;
	struct gd_watch_group **at = &cgroups->groups[bucket_of(group->membership, 0)];
	while (*at != group)
		at = &(*at)->next;
	*at = group->next;
	drop_place(cgroups, group->own_events);
	drop_place(cgroups, group->limit_events);
	drop_place(cgroups, group->usage);
	drop_place(cgroups, group->cpu);
	drop_place(cgroups, group->psi);
	free(group->membership);
	free(group);
}

void gd_watch_cgroups_destroy(struct gd_watch_cgroups *cgroups)
{
	if (cgroups == NULL)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		while (cgroups->groups[i] != NULL) {
			cgroups->groups[i]->refs = 1;
			gd_watch_cgroups_put(cgroups, cgroups->groups[i]);
		}
	gd_watch_file_close(&cgroups->v2_fd);
	gd_watch_file_close(&cgroups->memory_fd);
	gd_watch_file_close(&cgroups->cpu_fd);
	free(cgroups);
}

void gd_watch_cgroups_tick(struct gd_watch_cgroups *cgroups, int64_t monotonic_ns)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct gd_watch_group *g = cgroups->groups[i]; g != NULL; g = g->next)
			if (--g->until_review == 0)
				review(cgroups, g);
	bool psi = cgroups->pressure || cgroups->tick % PSI_TICKS == 0;
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct gd_watch_place *p = cgroups->places[i]; p != NULL; p = p->next)
			if (p->kind != GD_PLACE_PSI || psi || p->psi.n < 2)
				gd_watch_place_read(p, monotonic_ns);
	cgroups->tick++;
}

bool gd_watch_group_is(const struct gd_watch_group *group, const char *membership)
{
	return strcmp(group->membership, membership) == 0;
}

double gd_watch_group_cpus(const struct gd_watch_group *group)
{
	return group->cpus;
}

void gd_watch_group_values(const struct gd_watch_group *group, double values[GD_METRICS])
{
	const struct gd_watch_place *usage = group->usage;
	if (usage != NULL && usage->usage.known && usage->usage.limit > 0) {
		values[GD_METRIC_MEMORY_OF_LIMIT] =
			(double)usage->usage.used / (double)usage->usage.limit;
		values[GD_METRIC_TIME_TO_LIMIT] = gd_watch_place_time_to_limit(usage);
	}
	if (group->cpu != NULL && group->cpu->cpu.known)
		values[GD_METRIC_CGROUP_THROTTLED] = group->cpu->cpu.part;
	if (group->psi != NULL)
		gd_watch_psi_values(&group->psi->psi, values);
}

unsigned gd_watch_group_events(const struct gd_watch_group *group)
{
	unsigned bits = group->own_events != NULL ? group->own_events->events.bits : 0;
	return bits | (group->limit_events != NULL ? group->limit_events->events.bits : 0);
}

const char *gd_watch_group_note(const struct gd_watch_group *group)
{
	return group->note;
}
