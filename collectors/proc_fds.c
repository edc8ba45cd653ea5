/*
 * The target's descriptors: what the links in /proc/PID/fd say, and flags and position from fdinfo.
 * The links are read, never followed: behind them is whatever the target chose.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/proc.h"
#include "collectors/proc_sockets.h"

#define NAME "proc/fds.jsonl"
#define FDS_MAX 200000
/* fdinfo costs three system calls, the link one. */
#define FDINFO_MAX 5000

struct walk {
	struct gd_proc *proc;
	struct gd_buf lines;
	struct gd_proc_sockets sockets;
	size_t n, n_fdinfo;
};

static bool starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* What the text of a link means; paths are files or devices. */
static const char *type_of(const char *link)
{
	static const struct {
		const char *prefix, *type;
	} types[] = {
		{ "socket:[", "socket" },
		{ "pipe:[", "pipe" },
		{ "anon_inode:[eventpoll]", "epoll" },
		{ "anon_inode:[eventfd]", "eventfd" },
		{ "anon_inode:[timerfd]", "timerfd" },
		{ "anon_inode:[signalfd]", "signalfd" },
		{ "anon_inode:[pidfd]", "pidfd" },
		{ "pidfd:[", "pidfd" },
		{ "anon_inode:inotify", "inotify" },
		{ "anon_inode:[fanotify]", "fanotify" },
		{ "anon_inode:[perf_event]", "perf_event" },
		{ "anon_inode:[userfaultfd]", "userfaultfd" },
		{ "anon_inode:[io_uring]", "io_uring" },
		{ "anon_inode:bpf", "bpf" },
		{ "anon_inode:", "anonymous" },
		{ "/memfd:", "memfd" },
		{ "/dev/", "device" },
		{ "/", "file" },
	};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (starts(link, types[i].prefix))
			return types[i].type;
	return strchr(link, ':') != NULL ? "namespace" : "unknown";
}

/*
 * Of a socket it says nothing of interest, and there may be many.  For the others left out the
 * kernel goes through everything they watch, with the lock held that the target needs to wait on
 * them: not worth their flags.
 */
static bool wants_fdinfo(const char *type)
{
	static const char *const without[] = { "socket", "epoll", "inotify", "fanotify", "io_uring",
		                               "bpf", "perf_event", "anonymous" };
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		if (strcmp(type, without[i]) == 0)
			return false;
	return true;
}

/* "pos:\t<decimal>\nflags:\t<octal>\n..." */
static void put_fdinfo(struct gd_proc *proc, int fd, struct gd_json *json)
{
	char path[32];
	struct gd_buf text = GD_BUF_INIT(4096);
	(void)snprintf(path, sizeof(path), "fdinfo/%d", fd);
	/* At the ceiling is enough: what is wanted comes first. */
	int r = gd_target_read_file(proc->target, path, &text, NULL);
	if (r == 0 || r == -E2BIG) {
		const char *s = gd_buf_str(&text);
		const char *flags = strstr(s, "flags:\t");
		uint64_t pos;
		uint64_t bits;
		if (starts(s, "pos:\t") && gd_text_u64(s + 5, NULL, 10, &pos))
			gd_json_u64(json, "position", pos);
		if (flags != NULL && gd_text_u64(flags + 7, NULL, 8, &bits)) {
			static const char *const access[] = { "r", "w", "rw", "none" };
			gd_json_string(json, "access",
			               (bits & O_PATH) != 0 ? "path" : access[bits & O_ACCMODE]);
			gd_json_bool(json, "nonblock", (bits & O_NONBLOCK) != 0);
			gd_json_bool(json, "cloexec", (bits & O_CLOEXEC) != 0);
			gd_json_bool(json, "append", (bits & O_APPEND) != 0);
		}
	}
	gd_buf_deinit(&text);
}

/* Length of the link's text, 0 when the kernel would not tell (a path longer than a page). */
static ssize_t put_link(struct walk *walk, int fd, char *link, size_t size, struct gd_json *json,
                        struct gd_error *err)
{
	static const char deleted[] = " (deleted)";
	size_t suffix = sizeof(deleted) - 1;
	char path[32];
	(void)snprintf(path, sizeof(path), "fd/%d", fd);
	ssize_t len = gd_target_read_link(walk->proc->target, path, link, size, err);
	if (len == -ESRCH || len == -ENOENT)
		return len;
	gd_json_object(json, NULL);
	gd_json_i64(json, "fd", fd);
	if (len < 0) {
		link[0] = '\0';
		gd_json_string(json, "error", err->msg);
		return 0;
	}
	gd_json_string(json, "type", type_of(link));
	gd_json_bytes(json, "target", link, (size_t)len);
	if ((size_t)len > suffix && link[0] == '/' &&
	    strcmp(link + (size_t)len - suffix, deleted) == 0)
		gd_json_bool(json, "deleted", true);
	return len;
}

static int put_fd(struct walk *walk, int fd, struct gd_error *err)
{
	char link[4096];
	struct gd_json json = GD_JSON_INIT(&walk->lines);
	ssize_t len = put_link(walk, fd, link, sizeof(link), &json, err);
	if (len == -ENOENT)
		return 0; /* closed meanwhile */
	if (len < 0)
		return (int)len;
	walk->n++;
	if (wants_fdinfo(type_of(link)) && walk->n_fdinfo++ < FDINFO_MAX)
		put_fdinfo(walk->proc, fd, &json);
	gd_json_object_end(&json);
	gd_json_line_end(&json);

	uint64_t inode;
	if (starts(link, "socket:[") && gd_text_u64(link + 8, NULL, 10, &inode))
		return gd_proc_sockets_add(&walk->sockets, inode, fd, err);
	return 0;
}

#define AT_ONCE 32

/* The links of the next ones; which of them have an fdinfo worth reading is seen only then. */
static void prepare(struct gd_proc *proc, const struct gd_buf *list, size_t from)
{
	struct gd_access_wanted wanted[AT_ONCE];
	char paths[AT_ONCE][32];
	size_t n = 0;
	for (; n < AT_ONCE && from + n < list->len / sizeof(int32_t); n++) {
		int32_t fd;
		memcpy(&fd, list->data + (from + n) * sizeof(fd), sizeof(fd));
		(void)snprintf(paths[n], sizeof(paths[n]), "fd/%d", fd);
		wanted[n] = (struct gd_access_wanted){ .kind = GD_ACCESS_LINK, .path = paths[n] };
	}
	gd_access_prepare(proc->target->access, wanted, n);
}

static struct gd_outcome walk_fds(struct walk *walk, const struct gd_buf *list, bool cut)
{
	for (size_t i = 0; i < list->len / sizeof(int32_t); i++) {
		struct gd_error err = { 0 };
		int32_t fd;
		memcpy(&fd, list->data + i * sizeof(fd), sizeof(fd));
		if (gd_collect_cancelled(walk->proc->collect))
			return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
		if (i % AT_ONCE == 0)
			prepare(walk->proc, list, i);
		if (put_fd(walk, fd, &err) < 0)
			return walk->n > 0 ? gd_outcome_of(GD_GRADE_PARTIAL, &err)
			                   : gd_proc_outcome(&err);
	}
	if (cut)
		return gd_outcome(GD_GRADE_PARTIAL, -E2BIG, "the first %d only", FDS_MAX);
	if (walk->n_fdinfo > FDINFO_MAX)
		return gd_outcome(GD_GRADE_PARTIAL, -E2BIG,
		                  "flags and positions of the first %d of %zu only", FDINFO_MAX,
		                  walk->n_fdinfo);
	return GD_OUTCOME_COMPLETE;
}

void gd_proc_fds_collect(struct gd_proc *proc)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf list = GD_BUF_INIT(FDS_MAX * sizeof(int32_t));
	struct gd_access *access = proc->target->access;
	int r = access->ops->list(access, "fd", FDS_MAX, &list, &err);
	if (r < 0 && r != -E2BIG) {
		gd_proc_absent(proc, NAME, GD_PROC_JSON_LINES, gd_proc_outcome(&err));
		gd_proc_absent(proc, GD_PROC_SOCKETS_NAME, GD_PROC_JSON_LINES,
		               gd_proc_outcome(&err));
		return;
	}
	struct walk walk = { .proc = proc, .lines = GD_BUF_INIT(GD_PROC_LIST_MAX) };
	struct gd_outcome outcome = walk_fds(&walk, &list, r < 0);
	if (outcome.grade <= GD_GRADE_PARTIAL)
		gd_proc_put(proc, NAME, GD_PROC_JSON_LINES, &walk.lines, outcome);
	else
		gd_proc_absent(proc, NAME, GD_PROC_JSON_LINES, outcome);
	gd_proc_sockets_collect(proc, &walk.sockets, outcome);
	gd_proc_sockets_deinit(&walk.sockets);
	gd_buf_deinit(&walk.lines);
}
