/*
 * Who the target is by its own account and the kernel's: command line and environment without
 * their secrets, where its links point, which namespaces it shares with us.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collectors/proc.h"
#include "collectors/proc_redact.h"

/* Twice what execve takes by default would be 4 MiB; beyond one nobody reads it. */
#define STRINGS_MAX (1u << 20)

/* Reads a file that may be cut; false when there is nothing to write, then it is recorded. */
static bool read_or_absent(struct gd_proc *proc, const char *path, const char *name,
                           const char *media_type, struct gd_buf *text,
                           struct gd_outcome *outcome)
{
	struct gd_error err = { 0 };
	if (gd_collect_cancelled(proc->collect))
		(void)gd_fail(&err, -ECANCELED, "interrupted");
	else
		(void)gd_target_read_file(proc->target, path, text, &err);
	*outcome = gd_proc_outcome(&err);
	if (outcome->grade <= GD_GRADE_PARTIAL)
		return true;
	gd_proc_absent(proc, name, media_type, *outcome);
	return false;
}

static void put_argument(void *arg, const char *bytes, size_t n)
{
	gd_json_bytes(arg, NULL, bytes, n);
}

static void collect_cmdline(struct gd_proc *proc)
{
	static const char name[] = "proc/cmdline.json";
	GD_BUF struct gd_buf text = GD_BUF_INIT(STRINGS_MAX);
	GD_BUF struct gd_buf out = GD_BUF_INIT(GD_PROC_LIST_MAX);
	struct gd_outcome outcome;
	struct gd_error err = { 0 };
	if (!read_or_absent(proc, "cmdline", name, GD_PROC_JSON, &text, &outcome))
		return;
	struct gd_json json = GD_JSON_INIT(&out);
	gd_json_object(&json, NULL);
	gd_json_array(&json, "arguments");
	int masked = gd_proc_redact_cmdline(text.data, text.len, put_argument, &json, &err);
	gd_json_array_end(&json);
	gd_json_i64(&json, "masked", masked);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	if (masked < 0)
		gd_proc_absent(proc, name, GD_PROC_JSON, gd_outcome_of(GD_GRADE_FAILED, &err));
	else
		gd_proc_put(proc, name, GD_PROC_JSON, &out, outcome);
}

static void collect_environ(struct gd_proc *proc)
{
	static const char name[] = "proc/environ.jsonl";
	GD_BUF struct gd_buf text = GD_BUF_INIT(STRINGS_MAX);
	GD_BUF struct gd_buf out = GD_BUF_INIT(GD_PROC_LIST_MAX);
	struct gd_outcome outcome;
	if (!read_or_absent(proc, "environ", name, GD_PROC_JSON_LINES, &text, &outcome))
		return;
	struct gd_json json = GD_JSON_INIT(&out);
	gd_proc_redact_environ(text.data, text.len, &json);
	gd_proc_put(proc, name, GD_PROC_JSON_LINES, &out, outcome);
}

/* One link as a member: its text, or null. */
static void put_link(struct gd_proc *proc, struct gd_json *json, const char *key, const char *path,
                     struct gd_error *err)
{
	char link[4096];
	struct gd_error one = { 0 };
	ssize_t n = gd_target_read_link(proc->target, path, link, sizeof(link), &one);
	if (n >= 0)
		gd_json_bytes(json, key, link, (size_t)n);
	else
		gd_json_null(json, key);
	if (n < 0 && n != -ENOENT && err->code == 0)
		*err = one;
}

static void collect_links(struct gd_proc *proc)
{
	static const char name[] = "proc/links.json";
	GD_BUF struct gd_buf out = GD_BUF_INIT(64u << 10);
	struct gd_json json = GD_JSON_INIT(&out);
	struct gd_error err = { 0 };
	gd_json_object(&json, NULL);
	put_link(proc, &json, "exe", "exe", &err);
	put_link(proc, &json, "cwd", "cwd", &err);
	put_link(proc, &json, "root", "root", &err);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	struct gd_outcome outcome = gd_proc_outcome(&err);
	if (outcome.grade > GD_GRADE_PARTIAL)
		gd_proc_absent(proc, name, GD_PROC_JSON, outcome);
	else
		gd_proc_put(proc, name, GD_PROC_JSON, &out, outcome);
}

/* "net:[4026531840]" and whether it is the one we are in. */
static int put_namespace(struct gd_proc *proc, struct gd_json *json, const char *kind,
                         struct gd_error *err)
{
	char path[48];
	char theirs[64];
	char ours[64];
	(void)snprintf(path, sizeof(path), "ns/%s", kind);
	ssize_t n = gd_target_read_link(proc->target, path, theirs, sizeof(theirs), err);
	if (n == -ENOENT)
		return 0; /* of a newer kernel */
	if (n < 0)
		return (int)n;
	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	ssize_t own = gd_target_read_link(proc->target, path, ours, sizeof(ours), NULL);
	gd_json_object(json, kind);
	gd_json_bytes(json, "id", theirs, (size_t)n);
	gd_json_bool(json, "same_as_ours",
	             own == n && memcmp(ours, theirs, (size_t)n) == 0);
	gd_json_object_end(json);
	return 0;
}

static void collect_namespaces(struct gd_proc *proc)
{
	static const char name[] = "proc/namespaces.json";
	static const char *const kinds[] = { "cgroup", "ipc", "mnt", "net", "pid",
		                             "pid_for_children", "time", "user", "uts" };
	GD_BUF struct gd_buf out = GD_BUF_INIT(4096);
	struct gd_json json = GD_JSON_INIT(&out);
	gd_json_object(&json, NULL);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct gd_error err = { 0 };
		if (put_namespace(proc, &json, kinds[i], &err) < 0) {
			gd_proc_absent(proc, name, GD_PROC_JSON, gd_proc_outcome(&err));
			return;
		}
	}
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	gd_proc_put(proc, name, GD_PROC_JSON, &out, GD_OUTCOME_COMPLETE);
}

void gd_proc_identity_collect(struct gd_proc *proc)
{
	collect_cmdline(proc);
	collect_environ(proc);
	collect_links(proc);
	collect_namespaces(proc);
}
