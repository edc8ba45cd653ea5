#pragma once
/*
 * The inside of the proc collector: what its files share.  Each file gathers one family of
 * artifacts from /proc/PID, the target's cgroups or the host, and records every one of them in the
 * sink, with its own grade.  Nothing here follows a path that the target chose: all reads are
 * relative to its /proc directory, or below cgroup mounts of our own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "collectors/collector.h"

/* Lists of JSON lines end here, as partial. */
#define GD_PROC_LIST_MAX (16u << 20)

/* A plain file ends here, as partial; it is copied in pieces and never held in memory. */
#define GD_PROC_FILE_MAX (64u << 20)

struct gd_proc {
	struct gd_collect *collect;
	struct gd_target *target;
	unsigned n_artifacts;
	unsigned n_missing;        /* of these: could have been there and is not, or not all of it */
	unsigned n_usable;         /* complete or partial */
	struct gd_outcome missing; /* the first of n_missing, its reason preceded by its name */
	int sink_code;             /* the sink's own error: nothing more can be recorded */
};

#define GD_PROC_TEXT "text/plain"
#define GD_PROC_JSON "application/json"
#define GD_PROC_JSON_LINES "application/jsonl"

/*
 * The grade of an error: refused or unknown to this kernel is skipped, our own limit is partial,
 * all else is failed.
 */
struct gd_outcome gd_proc_outcome(const struct gd_error *err);

/* A whole artifact from a buffer; a buffer that failed makes it partial or failed. */
void gd_proc_put(struct gd_proc *proc, const char *name, const char *media_type,
                 const struct gd_buf *bytes, struct gd_outcome outcome);

/* An artifact without bytes. */
void gd_proc_absent(struct gd_proc *proc, const char *name, const char *media_type,
                    struct gd_outcome outcome);

/* Copies an open file as a text artifact; the descriptor stays the caller's. */
void gd_proc_copy(struct gd_proc *proc, const char *name, int fd);

/* The families, in the order they run. */
void gd_proc_files_collect(struct gd_proc *proc);   /* status, maps, limits, ... as they are */
void gd_proc_threads_collect(struct gd_proc *proc); /* threads.jsonl, kernel_stacks.txt */
void gd_proc_fds_collect(struct gd_proc *proc);     /* fds.jsonl, sockets.jsonl */
void gd_proc_identity_collect(struct gd_proc *proc); /* cmdline, environ, links, namespaces */
void gd_proc_host_collect(struct gd_proc *proc);    /* host: load, memory, pressure, CPU */

/*
 * cgroup: the target's groups of both versions.  Where they are mounted is read from `mountinfo`
 * (NULL: our own); mount points are looked up below `root` ("" in reality), and `memberships` (NULL:
 * the target's cgroup file) says which groups they are: tests bring trees of their own.
 */
void gd_proc_cgroup_collect(struct gd_proc *proc, const char *root, const char *mountinfo,
                            const char *memberships);
