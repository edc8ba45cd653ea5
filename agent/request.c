#include "agent/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collectors/collector.h"

#define BY(asker) (UINT32_C(1) << (asker))
#define READERS (BY(GD_ASKER_OPENING) | BY(GD_ASKER_COLLECTOR))
#define MANY 4000000u /* five files of each of 100,000 threads, and then some */

const struct gd_request_info gd_requests[GD_REQUESTS] = {
	[GD_REQUEST_OPEN] = { "open", sizeof(struct gd_request_path), READERS, false, 4096 },
	[GD_REQUEST_READ] = { "read", sizeof(struct gd_request_path), READERS, false, MANY },
	[GD_REQUEST_LINK] = { "link", sizeof(struct gd_request_path), READERS, false, MANY },
	[GD_REQUEST_LIST] = { "list", sizeof(struct gd_request_path), READERS, false, 64 },
	[GD_REQUEST_GROUP] = { "group", sizeof(struct gd_request_group), BY(GD_ASKER_COLLECTOR),
	                       false, 65536 },
	[GD_REQUEST_PERF] = { "perf", sizeof(struct gd_request_perf), BY(GD_ASKER_COLLECTOR),
	                      false, 192 },
	[GD_REQUEST_SAMPLER] = { "sampler", sizeof(struct gd_perf_wanted),
	                         BY(GD_ASKER_COLLECTOR), false, 16384 },
	[GD_REQUEST_SUBJECT] = { "subject", sizeof(struct gd_request_subject),
	                         BY(GD_ASKER_OPENING), true, 1 },
	[GD_REQUEST_RUNTIME] = { "runtime", sizeof(struct gd_request_runtime),
	                         BY(GD_ASKER_OPENING), true, 1 },
	[GD_REQUEST_FORKED] = { "forked", sizeof(struct gd_request_forked), BY(GD_ASKER_FORKING),
	                        false, 256 },
	[GD_REQUEST_BEGUN] = { "begun", sizeof(uint32_t), BY(GD_ASKER_COLLECTOR), true, 1 },
	[GD_REQUEST_IMAGED] = { "imaged", sizeof(struct gd_request_runtime), BY(GD_ASKER_FORKING),
	                        false, 8 },
	[GD_REQUEST_DONE] = { "done", sizeof(struct gd_request_done), BY(GD_ASKER_COLLECTOR), true,
	                      1 },
	/* Never checked itself: what it holds is. */
	[GD_REQUEST_MANY] = { "many", 0, 0, false, 0 },
};

/* ---- names ----------------------------------------------------------------------------------- */

static const struct {
	const char *pattern; /* N is a number */
	enum gd_request_way way;
} files[] = {
	/* What the kernel shows only to whom it would let trace: asked again at every read. */
	{ "stat", GD_REQUEST_CHECKED },
	{ "wchan", GD_REQUEST_CHECKED },
	{ "io", GD_REQUEST_CHECKED },
	{ "fdinfo/N", GD_REQUEST_CHECKED },
	{ "task/N/stat", GD_REQUEST_CHECKED },
	{ "task/N/wchan", GD_REQUEST_CHECKED },
	{ "task/N/stack", GD_REQUEST_CHECKED },
	{ "task/N/syscall", GD_REQUEST_CHECKED },
	{ "status", GD_REQUEST_PLAIN },
	{ "statm", GD_REQUEST_PLAIN },
	{ "sched", GD_REQUEST_PLAIN },
	{ "schedstat", GD_REQUEST_PLAIN },
	{ "limits", GD_REQUEST_PLAIN },
	{ "oom_score", GD_REQUEST_PLAIN },
	{ "oom_score_adj", GD_REQUEST_PLAIN },
	{ "coredump_filter", GD_REQUEST_PLAIN },
	{ "cgroup", GD_REQUEST_PLAIN },
	{ "auxv", GD_REQUEST_PLAIN },
	{ "uid_map", GD_REQUEST_PLAIN },
	{ "gid_map", GD_REQUEST_PLAIN },
	{ "task/N/status", GD_REQUEST_PLAIN },
	{ "task/N/statm", GD_REQUEST_PLAIN },
	{ "task/N/schedstat", GD_REQUEST_PLAIN },
	{ "task/N/coredump_filter", GD_REQUEST_PLAIN },
	{ "maps", GD_REQUEST_LARGE },
	{ "smaps_rollup", GD_REQUEST_LARGE },
	{ "mountinfo", GD_REQUEST_LARGE },
	{ "cmdline", GD_REQUEST_LARGE },
	{ "environ", GD_REQUEST_LARGE },
	{ "task/N/maps", GD_REQUEST_LARGE },
	{ "task/N/smaps_rollup", GD_REQUEST_LARGE },
	{ "net/unix", GD_REQUEST_LARGE },
	{ "net/udp", GD_REQUEST_LARGE },
	{ "net/udp6", GD_REQUEST_LARGE },
	{ "net/netlink", GD_REQUEST_LARGE },
	{ "net/packet", GD_REQUEST_LARGE },
	{ "net/raw", GD_REQUEST_LARGE },
	{ "net/raw6", GD_REQUEST_LARGE },
	{ "net/tcp", GD_REQUEST_LARGE },
	{ "net/tcp6", GD_REQUEST_LARGE },
	/* the host's */
	{ "/proc/loadavg", GD_REQUEST_PLAIN },
	{ "/proc/pressure/cpu", GD_REQUEST_PLAIN },
	{ "/proc/pressure/memory", GD_REQUEST_PLAIN },
	{ "/proc/pressure/io", GD_REQUEST_PLAIN },
	{ "/proc/pressure/irq", GD_REQUEST_PLAIN },
	{ "/proc/meminfo", GD_REQUEST_PLAIN },
	{ "/proc/vmstat", GD_REQUEST_PLAIN },
	{ "/proc/uptime", GD_REQUEST_PLAIN },
	{ "/proc/version", GD_REQUEST_PLAIN },
	{ "/proc/self/mountinfo", GD_REQUEST_LARGE },
	{ "/proc/kallsyms", GD_REQUEST_LARGE },
	{ "/sys/devices/system/cpu/online", GD_REQUEST_PLAIN },
	{ "/sys/devices/system/cpu/present", GD_REQUEST_PLAIN },
	{ "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", GD_REQUEST_PLAIN },
};

static const char *const links[] = {
	"exe", "cwd", "root", "fd/N",
	"ns/cgroup", "ns/ipc", "ns/mnt", "ns/net", "ns/pid", "ns/pid_for_children", "ns/time",
	"ns/user", "ns/uts",
	"/proc/self/ns/cgroup", "/proc/self/ns/ipc", "/proc/self/ns/mnt", "/proc/self/ns/net",
	"/proc/self/ns/pid", "/proc/self/ns/pid_for_children", "/proc/self/ns/time",
	"/proc/self/ns/user", "/proc/self/ns/uts",
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* N stands for one to ten digits; everything else for itself. */
static bool matches(const char *pattern, const char *path)
{
	for (; *pattern != '\0'; pattern++) {
		if (*pattern != 'N') {
			if (*path++ != *pattern)
				return false;
			continue;
		}
		size_t n = 0;
		for (; is_digit(*path); path++)
			n++;
		if (n == 0 || n > 10)
			return false;
	}
	return *path == '\0';
}

enum gd_request_way gd_request_file(const char *path)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (matches(files[i].pattern, path))
			return files[i].way;
	return GD_REQUEST_NO;
}

bool gd_request_link(const char *path)
{
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (matches(links[i], path))
			return true;
	return false;
}

bool gd_request_list(const char *path)
{
	return strcmp(path, "task") == 0 || strcmp(path, "fd") == 0;
}

/* ---- control groups -------------------------------------------------------------------------- */

/* "<controller>.<file>" of the kernel's own: letters, digits, dots, underscores. */
static bool is_group_file(const char *name)
{
	static const char *const prefixes[] = { "cgroup.", "cpu.", "cpuacct.", "cpuset.", "memory.",
		                                "io.", "blkio.", "pids.", "freezer." };
	/* They are opened for reading only; cgroup.kill and its like have no read at all, and the
	 * slow ones are the collector's to leave out. */
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789.");
	if (name[n] != '\0' || strstr(name, "..") != NULL)
		return false;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return name[strlen(prefixes[i])] != '\0';
	return false;
}

/* "/sys/fs/cgroup" or one hierarchy in it. */
static bool is_group_mount(const char *mount)
{
	static const char top[] = "/sys/fs/cgroup";
	if (strncmp(mount, top, sizeof(top) - 1) != 0)
		return false;
	mount += sizeof(top) - 1;
	if (*mount == '\0')
		return true;
	if (*mount++ != '/' || *mount == '\0')
		return false;
	return mount[strspn(mount, "abcdefghijklmnopqrstuvwxyz_,")] == '\0';
}

static bool goes_down(const char *path)
{
	if (*path == '/')
		return false;
	while (*path != '\0') {
		size_t n = strcspn(path, "/");
		if (n == 0 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += n;
		if (*path == '/' && *++path == '\0')
			return false;
	}
	return true;
}

bool gd_request_group(const struct gd_request_group *group)
{
	return is_group_mount(group->mount) && goes_down(group->relative) &&
	       (group->exists ? group->name[0] == '\0' : is_group_file(group->name));
}

bool gd_request_group_is_its(const char *memberships, const char *relative)
{
	size_t n = strlen(relative);
	if (n == 0)
		return true; /* the whole hierarchy as we see it */
	for (const char *at = memberships; (at = strstr(at, relative)) != NULL; at++)
		if (at > memberships && at[-1] == '/' &&
		    (at[n] == '/' || at[n] == '\n' || at[n] == '\0'))
			return true;
	return false;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}
#define ENDS(text) ends(text, sizeof(text))

static bool is_bool(const void *at)
{
	return *(const unsigned char *)at <= 1;
}

static bool is_outcome(const struct gd_outcome *outcome)
{
	int grade;
	memcpy(&grade, &outcome->grade, sizeof(grade));
	return grade >= GD_GRADE_COMPLETE && grade <= GD_GRADE_FAILED && ENDS(outcome->why.msg) &&
	       outcome->why.code <= 0;
}

static bool is_sound(uint16_t type, const void *body)
{
	switch ((enum gd_request)type) {
	case GD_REQUEST_OPEN:
	case GD_REQUEST_READ:
	case GD_REQUEST_LINK:
	case GD_REQUEST_LIST:
		return ENDS(((const struct gd_request_path *)body)->path);
	case GD_REQUEST_GROUP: {
		const struct gd_request_group *group = body;
		return is_bool(&group->exists) && ENDS(group->mount) && ENDS(group->name) &&
		       ENDS(group->relative);
	}
	case GD_REQUEST_PERF:
		return ((const struct gd_request_perf *)body)->tid > 0;
	case GD_REQUEST_SAMPLER: {
		const struct gd_perf_wanted *wanted = body;
		return gd_perf_wanted_is_sound(wanted) &&
		       wanted->stack_bytes <= GD_SAMPLES_STACK_BYTES &&
		       wanted->frequency_hz <= GD_WINDOW_FREQUENCY_MAX_HZ;
	}
	case GD_REQUEST_SUBJECT: {
		const struct gd_request_subject *s = body;
		return is_bool(&s->exe_deleted) && ENDS(s->exe) && ENDS(s->cmdline) &&
		       ENDS(s->build_id) && ENDS(s->container_id) && ENDS(s->pod_uid) &&
		       ENDS(s->cgroup);
	}
	case GD_REQUEST_RUNTIME:
	case GD_REQUEST_IMAGED: {
		const struct gd_request_runtime *r = body;
		return ENDS(r->why.msg) && r->why.code <= 0 && ENDS(r->version) && ENDS(r->note);
	}
	case GD_REQUEST_FORKED:
		return ((const struct gd_request_forked *)body)->pid > 0;
	case GD_REQUEST_BEGUN:
		return true;
	case GD_REQUEST_DONE:
		return is_outcome(&((const struct gd_request_done *)body)->outcome);
	case GD_REQUEST_MANY:
	case GD_REQUESTS:
		break;
	}
	return false;
}

int gd_request_check(enum gd_asker asker, struct gd_request_count *count, uint16_t type,
                     const void *body, size_t len, struct gd_error *err)
{
	if (type == 0 || type >= GD_REQUESTS)
		return gd_fail(err, -EBADMSG, "a request of unknown type %u", type);
	const struct gd_request_info *info = &gd_requests[type];
	if (len != info->size)
		return gd_fail(err, -EBADMSG, "%s: %zu bytes instead of %zu", info->name, len,
		               info->size);
	if ((info->askers & BY(asker)) == 0)
		return gd_fail(err, -EBADMSG, "%s: not allowed at this point", info->name);
	if (count->n[type] >= info->max)
		return gd_fail(err, -EBADMSG, "%s: more than %u times", info->name, info->max);
	if (!is_sound(type, body))
		return gd_fail(err, -EBADMSG, "%s: its fields make no sense", info->name);
	count->n[type]++;
	return 0;
}

int gd_request_next_part(const char **at, size_t *len, size_t n, uint16_t *ret_type,
                         const void **ret_body, size_t *ret_n, struct gd_error *err)
{
	struct gd_request_part part;
	if (*len == 0)
		return 0;
	if (*len < sizeof(part) || n >= GD_REQUEST_MANY_MAX)
		return gd_fail(err, -EBADMSG, "many questions that make no sense");
	memcpy(&part, *at, sizeof(part));
	size_t padded = ((size_t)part.n + 7) & ~(size_t)7;
	if (padded > *len - sizeof(part) || part.type == 0 || part.type >= GD_REQUEST_SUBJECT)
		return gd_fail(err, -EBADMSG, "many questions that make no sense");
	*ret_type = (uint16_t)part.type;
	*ret_body = *at + sizeof(part);
	*ret_n = part.n;
	*at += sizeof(part) + padded;
	*len -= sizeof(part) + padded;
	return 1;
}
