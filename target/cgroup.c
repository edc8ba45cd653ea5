#include "target/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The fields of a mountinfo line that matter here, pointing into it. */
struct mount {
	const char *root, *point, *type, *options;
	size_t root_n, point_n, type_n, options_n;
};

static const char *word_end(const char *p)
{
	return p + strcspn(p, " \n");
}

static const char *next_word(const char *p)
{
	p = word_end(p);
	return *p == ' ' ? p + 1 : p;
}

/*
 * "36 35 98:0 /root /point rw,noatime master:1 - type source options" (proc(5)); optional fields
 * until the lone '-'.  False at the end of the text.
 */
static bool parse_mount(const char *line, struct mount *m)
{
	const char *p = line;
	for (int i = 0; i < 3; i++)
		p = next_word(p);
	m->root = p;
	m->root_n = (size_t)(word_end(p) - p);
	p = next_word(p);
	m->point = p;
	m->point_n = (size_t)(word_end(p) - p);
	while (*p != '\0' && *p != '\n' && !(p[0] == '-' && p[1] == ' '))
		p = next_word(p);
	if (*p != '-')
		return false;
	p = next_word(p);
	m->type = p;
	m->type_n = (size_t)(word_end(p) - p);
	p = next_word(next_word(p));
	m->options = p;
	m->options_n = (size_t)(word_end(p) - p);
	return true;
}

bool gd_cgroup_has(const char *words, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = words; *p != '\0'; p += strspn(p, ",")) {
		size_t len = strcspn(p, ",");
		if (len == n && memcmp(p, name, n) == 0)
			return true;
		p += len;
	}
	return false;
}

static bool is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(s, word, n) == 0;
}

/* Undoes \040 and the like; false when it does not fit. */
static bool unescape(char *to, size_t size, const char *s, size_t n)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		if (c == '\\' && n - i >= 4 && s[i + 1] >= '0' && s[i + 1] <= '3' &&
		    s[i + 2] >= '0' && s[i + 2] <= '7' && s[i + 3] >= '0' && s[i + 3] <= '7') {
			c = (char)((s[i + 1] - '0') << 6 | (s[i + 2] - '0') << 3 | (s[i + 3] - '0'));
			i += 3;
		}
		if (at + 1 >= size)
			return false;
		to[at++] = c;
	}
	to[at] = '\0';
	return true;
}

static bool is_its_hierarchy(const struct gd_cgroup *group, const struct mount *m)
{
	if (group->version == 2)
		return is(m->type, m->type_n, "cgroup2");
	if (!is(m->type, m->type_n, "cgroup"))
		return false;
	char first[sizeof(group->controllers)];
	char options[1024];
	size_t n = strcspn(group->controllers, ",");
	memcpy(first, group->controllers, n);
	first[n] = '\0';
	return unescape(options, sizeof(options), m->options, m->options_n) &&
	       gd_cgroup_has(options, first);
}

/* What of the path lies below the mount's root; NULL when it does not. */
static const char *below(const char *path, const char *root)
{
	size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	path += n;
	return path + strspn(path, "/");
}

static void find_mount(struct gd_cgroup *group, const char *mountinfo)
{
	for (const char *line = mountinfo; *line != '\0';) {
		struct mount m;
		char root[GD_CGROUP_PATH];
		const char *relative;
		if (parse_mount(line, &m) && is_its_hierarchy(group, &m) &&
		    unescape(root, sizeof(root), m.root, m.root_n) &&
		    (relative = below(group->path, root)) != NULL &&
		    unescape(group->mount, sizeof(group->mount), m.point, m.point_n)) {
			memcpy(group->relative, relative, strlen(relative) + 1);
			return;
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	group->mount[0] = '\0';
}

/* "hierarchy:controllers:path", version 2 is "0::path"; false for what is passed over. */
static bool parse_membership(const char *line, size_t n, struct gd_cgroup *group)
{
	const char *first = memchr(line, ':', n);
	if (first == NULL)
		return false;
	const char *second = memchr(first + 1, ':', n - (size_t)(first + 1 - line));
	if (second == NULL)
		return false;
	size_t controllers = (size_t)(second - first - 1);
	size_t path = n - (size_t)(second + 1 - line);
	bool unified = is(line, (size_t)(first - line), "0") && controllers == 0;
	if ((!unified && controllers == 0) || controllers >= sizeof(group->controllers) ||
	    path >= sizeof(group->path) || path == 0 || second[1] != '/' ||
	    (controllers >= 5 && memcmp(first + 1, "name=", 5) == 0))
		return false;
	group->version = unified ? 2 : 1;
	memcpy(group->controllers, first + 1, controllers);
	group->controllers[controllers] = '\0';
	memcpy(group->path, second + 1, path);
	group->path[path] = '\0';
	group->relative[0] = '\0';
	return true;
}

bool gd_cgroup_next(const char *memberships, const char *mountinfo, const char **cursor,
                              struct gd_cgroup *ret)
{
	const char *line = *cursor != NULL ? *cursor : memberships;
	while (*line != '\0') {
		size_t n = strcspn(line, "\n");
		const char *next = line + n + (line[n] == '\n');
		if (parse_membership(line, n, ret)) {
			find_mount(ret, mountinfo);
			*cursor = next;
			return true;
		}
		line = next;
	}
	*cursor = line;
	return false;
}

static bool has_dot_dot(const char *path)
{
	for (const char *p = path; *p != '\0'; p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0)
			return true;
		p += n;
	}
	return false;
}

static void cut_last(char *path)
{
	char *slash = strrchr(path, '/');
	*(slash != NULL ? slash : path) = '\0';
}

bool gd_cgroup_up(struct gd_cgroup *group)
{
	if (group->relative[0] == '\0')
		return false;
	cut_last(group->relative);
	cut_last(group->path);
	if (group->path[0] == '\0')
		memcpy(group->path, "/", 2);
	return true;
}

static int check(const struct gd_cgroup *group, struct gd_error *err)
{
	if (group->mount[0] == '\0' || has_dot_dot(group->relative))
		return gd_fail(err, -ENOENT, "the group is not mounted in our view (it lies outside "
		               "of our cgroup namespace, or nothing is mounted)");
	return 0;
}

int gd_cgroup_open(const char *root, const struct gd_cgroup *group, int *ret_fd,
                             struct gd_error *err)
{
	char mount[2 * GD_CGROUP_PATH];
	int r = check(group, err);
	if (r < 0)
		return r;
	(void)snprintf(mount, sizeof(mount), "%s%s", root, group->mount);
	GD_CLOSE int mount_fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mount_fd < 0)
		return gd_fail_errno(err, -errno, "%s", group->mount);
	int fd = gd_access_open_beneath(mount_fd, group->relative[0] != '\0' ? group->relative : ".");
	if (fd < 0)
		return gd_fail_errno(err, fd, "group below %s", group->mount);
	*ret_fd = fd;
	return 0;
}

int gd_cgroup_open_file(struct gd_access *access, const char *root,
                                  const struct gd_cgroup *group, const char *name,
                                  int *ret_fd, struct gd_error *err)
{
	char mount[2 * GD_CGROUP_PATH];
	int r = check(group, err);
	if (r < 0)
		return r;
	(void)snprintf(mount, sizeof(mount), "%s%s", root, group->mount);
	return access->ops->open_group(access, mount, group->relative, name, ret_fd, err);
}
