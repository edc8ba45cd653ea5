/*
 * Everything /proc and the cgroups say about a target, as it is or as JSON lines.
 *
 * Fifty small files in a few milliseconds, so no file is opened that nobody reads in an incident,
 * and none whose reading costs the target something: no numa_maps or smaps (they walk all pages
 * with the memory map locked), no fdinfo of an epoll (it lists all watched descriptors with the
 * epoll locked).
 */
#include "collectors/proc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Not on this kernel, or switched off: nobody did wrong and nothing was lost. */
static bool is_absence(const struct gd_outcome *outcome)
{
	int code = outcome->why.code;
	return outcome->grade == GD_GRADE_SKIPPED &&
	       (code == -ENOENT || code == -ENOTSUP || code == -ENOSYS);
}

static void note(struct gd_proc *proc, const char *name, const struct gd_outcome *outcome)
{
	proc->n_artifacts++;
	if (outcome->grade <= GD_GRADE_PARTIAL)
		proc->n_usable++;
	if (outcome->grade == GD_GRADE_COMPLETE || is_absence(outcome))
		return;
	if (proc->n_missing++ == 0) {
		proc->missing = *outcome;
		(void)gd_error_wrap(&proc->missing.why, outcome->why.code, "%s %s", name,
		                    gd_grade_name(outcome->grade));
	}
}

struct gd_outcome gd_proc_outcome(const struct gd_error *err)
{
	switch (err->code) {
	case 0:
		return GD_OUTCOME_COMPLETE;
	case -EACCES:
	case -EPERM:
	case -ENOENT:
	case -ENOTSUP:
	case -ENOSYS:
	case -ECANCELED:
		return gd_outcome_of(GD_GRADE_SKIPPED, err);
	case -E2BIG:
		return gd_outcome_of(GD_GRADE_PARTIAL, err);
	default:
		return gd_outcome_of(GD_GRADE_FAILED, err);
	}
}

static struct gd_artifact artifact_of(const char *name, const char *media_type)
{
	return (struct gd_artifact){
		.name = name,
		.media_type = media_type,
		.collector = gd_collector_proc.name,
		.compress = 1,
	};
}

void gd_proc_absent(struct gd_proc *proc, const char *name, const char *media_type,
                    struct gd_outcome outcome)
{
	struct gd_artifact artifact = artifact_of(name, media_type);
	note(proc, name, &outcome);
	int r = proc->collect->sink->absent(proc->collect->sink, &artifact, &outcome, NULL);
	if (r < 0)
		proc->sink_code = r;
}

/* What is whole of a text that hit its ceiling: everything up to the last line's end. */
static size_t whole_lines(const struct gd_buf *bytes)
{
	const char *newline = bytes->len > 0 ? memrchr(bytes->data, '\n', bytes->len) : NULL;
	return newline != NULL ? (size_t)(newline + 1 - bytes->data) : 0;
}

void gd_proc_put(struct gd_proc *proc, const char *name, const char *media_type,
                 const struct gd_buf *bytes, struct gd_outcome outcome)
{
	struct gd_artifact artifact = artifact_of(name, media_type);
	struct gd_error err = { 0 };
	size_t len = bytes->len;
	if (gd_buf_check(bytes, "list", &err) < 0) {
		outcome = gd_outcome_worse(outcome, gd_proc_outcome(&err));
		len = whole_lines(bytes);
	}
	note(proc, name, &outcome);
	int r = gd_sink_put(proc->collect->sink, &artifact, bytes->data, len, &outcome, NULL);
	if (r < 0)
		proc->sink_code = r;
}

static ssize_t read_again(int fd, void *to, size_t n)
{
	ssize_t got;
	do {
		got = read(fd, to, n);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Copies what comes after the first piece; says how it ended. */
static struct gd_outcome copy_rest(struct gd_proc *proc, int fd, struct gd_stream *stream,
                                   char *piece, size_t size, size_t first)
{
	size_t total = 0;
	ssize_t n = (ssize_t)first;
	while (n > 0) {
		int r = stream->write(stream, piece, (size_t)n, NULL);
		if (r < 0) {
			proc->sink_code = r;
			return gd_outcome(GD_GRADE_FAILED, r, "could not be written");
		}
		total += (size_t)n;
		if (total >= GD_PROC_FILE_MAX)
			return gd_outcome(GD_GRADE_PARTIAL, -E2BIG, "cut at %u bytes",
			                  GD_PROC_FILE_MAX);
		if (gd_collect_cancelled(proc->collect))
			return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
		n = read_again(fd, piece, size);
	}
	if (n < 0)
		return gd_outcome(GD_GRADE_PARTIAL, (int)n, "ended after %zu bytes: %s", total,
		                  strerror((int)-n));
	return GD_OUTCOME_COMPLETE;
}

void gd_proc_copy(struct gd_proc *proc, const char *name, int fd)
{
	struct gd_artifact artifact = artifact_of(name, GD_PROC_TEXT);
	struct gd_sink *sink = proc->collect->sink;
	struct gd_stream *stream;
	char piece[16384];
	/* Rights, a dead target or a switched-off file show at the first read, not at open. */
	ssize_t n = read_again(fd, piece, sizeof(piece));
	if (n < 0) {
		struct gd_error err = { 0 };
		(void)gd_fail_errno(&err, (int)n, "%s", name);
		gd_proc_absent(proc, name, GD_PROC_TEXT, gd_proc_outcome(&err));
		return;
	}
	int r = sink->open(sink, &artifact, &stream, NULL);
	if (r < 0) {
		proc->sink_code = r;
		return;
	}
	struct gd_outcome outcome = copy_rest(proc, fd, stream, piece, sizeof(piece), (size_t)n);
	note(proc, name, &outcome);
	r = stream->close(stream, &outcome, NULL);
	if (r < 0)
		proc->sink_code = r;
}

static struct gd_outcome verdict(const struct gd_proc *proc)
{
	if (proc->sink_code < 0)
		return gd_outcome(GD_GRADE_FAILED, proc->sink_code, "could not be written: %s",
		                  strerror(-proc->sink_code));
	if (proc->n_missing == 0)
		return GD_OUTCOME_COMPLETE;
	struct gd_outcome outcome = proc->missing;
	outcome.grade = proc->n_usable > 0 ? GD_GRADE_PARTIAL : GD_GRADE_FAILED;
	(void)gd_error_wrap(&outcome.why, outcome.why.code, "%u of %u artifacts", proc->n_missing,
	                    proc->n_artifacts);
	return outcome;
}

static struct gd_outcome collect(struct gd_collect *c)
{
	struct gd_proc proc = { .collect = c, .target = c->target };
	/* First what changes fastest and what is asked for first. */
	gd_proc_files_collect(&proc);
	gd_proc_threads_collect(&proc);
	gd_proc_fds_collect(&proc);
	gd_proc_identity_collect(&proc);
	gd_proc_cgroup_collect(&proc, "", NULL, NULL);
	gd_proc_host_collect(&proc);
	return verdict(&proc);
}

const struct gd_collector gd_collector_proc = {
	.name = "proc",
	.profile = GD_PROFILE_LIGHT,
	.needs_go = false,
	.collect = collect,
};
