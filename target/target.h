#pragma once
/*
 * A process being looked at.  Its identity is a pidfd plus its start time, never a bare pid:
 * everything is opened once at gd_target_open and read relative to those descriptors afterwards, so
 * that a reused pid can never be mistaken for the target.  Nothing here stops, signals or writes to
 * the target, and nothing enters its namespaces.
 *
 * A target can also be made from descriptors that somebody more privileged opened and passed on
 * (gd_target_open_fds); all later reads then need no privilege.  Used by one thread at a time.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "target/access.h"
#include "target/maps.h"
#include "target/memory.h"

struct gd_target_fds {
	int pid_fd;  /* pidfd_open(2) */
	int proc_fd; /* /proc/PID, O_PATH or O_DIRECTORY */
	int mem_fd;  /* /proc/PID/mem, O_RDONLY; -1 when it could not be opened */
	int exe_fd;  /* /proc/PID/exe, O_RDONLY; -1 when it could not be opened */
};

struct gd_target {
	pid_t pid;            /* in our pid namespace; for messages and paths of output only */
	uint64_t start_ticks; /* field 22 of /proc/PID/stat, clock ticks since boot */
	struct gd_target_fds fds;
	struct gd_access *access; /* how all its files are reached; owned */
	struct gd_error mem_error; /* code 0, or why there is no memory (-EACCES, -EPERM, ...) */
	struct gd_error exe_error;
	struct gd_error maps_error; /* code 0, or why there are no maps */
	uint32_t uid;              /* owner of /proc/PID: its effective uid, or 0 when not dumpable */
	char comm[16];             /* raw foreign bytes, NUL-terminated */
	bool kernel_thread;
	bool zombie;               /* all of it has exited, not only the main thread */
	struct gd_memory *memory;  /* live kind; NULL when mem_fd is -1 */
	struct gd_maps maps;       /* as of gd_target_open; n == 0 when unreadable */
	uint64_t exec_mark;        /* private to identity.c: 0, or changes with execve */
	/* "" or "task/TID/": the main thread has exited alone (state Z) and took its view of the
	 * memory with it; a living thread's stands in for mem, exe and maps. */
	char via[24];
};

/*
 * Opens pid.  -ESRCH no such process; -EACCES/-EPERM when not even /proc/PID/stat may be read.
 * A process whose memory may not be read, a kernel thread and a zombie are opened all the same
 * (memory NULL, mem_error says why): the caller decides what that is worth.
 */
int gd_target_open(pid_t pid, struct gd_target **ret, struct gd_error *err);

/* The same from passed descriptors, which the target owns from now on (also on failure). */
int gd_target_open_fds(const struct gd_target_fds *fds, pid_t pid, struct gd_target **ret,
                       struct gd_error *err);

/*
 * For the privileged side, which looks at no more than it must to know whom it opened: no maps, no
 * memory object; everything else as gd_target_open.
 */
int gd_target_open_unread(pid_t pid, struct gd_target **ret, struct gd_error *err);

/*
 * For the side without privilege: fds as passed (proc_fd may be -1, the target owns them), every file
 * through `access` (owned as well, also on failure).  uid is the owner of /proc/PID.
 */
int gd_target_open_access(const struct gd_target_fds *fds, struct gd_access *access, pid_t pid,
                          uint32_t uid, struct gd_target **ret, struct gd_error *err);

void gd_target_close(struct gd_target *target); /* NULL allowed */
static inline void gd_cleanup_target(struct gd_target **target)
{
	gd_target_close(*target);
}
#define GD_TARGET __attribute__((cleanup(gd_cleanup_target)))

/*
 * 0 when it is still the same running process with the same program; -ESRCH when it has exited;
 * -ESTALE when it has called execve since it was opened.
 */
int gd_target_check(struct gd_target *target, struct gd_error *err);

/* Opens /proc/PID/<path> for reading, for what is too long for a buffer; else as the next. */
int gd_target_open_file(struct gd_target *target, const char *path, int *ret_fd,
                        struct gd_error *err);

/*
 * Appends /proc/PID/<path>, or a host's file when path is absolute; the buffer's ceiling bounds it.
 * Raw bytes, may be torn.  -EACCES and
 * -EPERM say what would have to be allowed; -ENOENT when this kernel has no such file.  `path` is
 * ours and never leads through a link of the target's (root/, cwd/, fd/N).
 */
int gd_target_read_file(struct gd_target *target, const char *path, struct gd_buf *buf,
                        struct gd_error *err);

/* readlink below /proc/PID ("cwd", "fd/3", "ns/net"); NUL-terminated, -E2BIG when too long. */
ssize_t gd_target_read_link(struct gd_target *target, const char *path, char *to, size_t size,
                            struct gd_error *err);

/* Reads maps anew into target->maps. */
int gd_target_refresh_maps(struct gd_target *target, struct gd_error *err);

/* Thread ids now, ascending; malloc'ed, at most GD_TARGET_THREADS_MAX. */
#define GD_TARGET_THREADS_MAX 100000
int gd_target_threads(struct gd_target *target, pid_t **ret, size_t *ret_n, struct gd_error *err);

/* One parsed /proc/PID/stat or /proc/PID/task/TID/stat line (fields as in proc(5)). */
struct gd_stat {
	int32_t pid;
	char comm[64]; /* raw; found between the first '(' and the last ')' */
	char state;
	int32_t ppid, pgrp, session;
	uint32_t flags; /* PF_*: 0x00200000 is PF_KTHREAD */
	uint64_t minflt, majflt, utime_ticks, stime_ticks;
	int32_t nice; /* -20 to 19 */
	int64_t num_threads;
	uint64_t start_ticks;
	uint64_t vsize_bytes;
	int64_t rss_pages;
	int32_t processor; /* last CPU it ran on; -1 when the line ends before */
};
/* Foreign text: comm may hold anything, also ") S 1".  -EBADMSG. */
int gd_stat_parse(const char *text, size_t len, struct gd_stat *ret, struct gd_error *err);
