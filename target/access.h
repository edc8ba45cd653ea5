#pragma once
/*
 * How files about a target are reached.  Directly, by opening them; or, in a process that may open
 * nothing, by asking somebody more privileged for each one (agent/ask.h).  Whoever reads a target
 * names files the same way in both:
 *
 *	"task/7/stat"       below the target's /proc directory; never through a link of the target's
 *	"/proc/loadavg"     of the host itself
 *
 * One thread at a time.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "target/perf_event.h"

struct gd_access;

/* What will be asked for next. */
struct gd_access_wanted {
	enum gd_access_kind { GD_ACCESS_OPEN, GD_ACCESS_READ, GD_ACCESS_LINK, GD_ACCESS_GROUP } kind;
	const char *path;             /* of a group's file: its name, NULL whether it is there */
	const char *mount, *relative; /* of a group */
};
#define GD_ACCESS_WANTED_MAX 64

struct gd_access_ops {
	/* Opens for reading, not through a link in the last component. */
	int (*open_file)(struct gd_access *access, const char *path, int *ret_fd,
	                 struct gd_error *err);
	/* Appends the file to buf, whose ceiling bounds it. */
	int (*read_file)(struct gd_access *access, const char *path, struct gd_buf *buf,
	                 struct gd_error *err);
	/* The text of a link, NUL-terminated; -E2BIG when it does not fit. */
	ssize_t (*read_link)(struct gd_access *access, const char *path, char *to, size_t size,
	                     struct gd_error *err);
	/* The entries of "task" or "fd" that are numbers, in the kernel's order: int32_t each, at
	 * most `max` of them (then the answer is -E2BIG, and the first ones are there). */
	int (*list)(struct gd_access *access, const char *path, size_t max, struct gd_buf *to,
	            struct gd_error *err);
	/* A file of a control group: `name` in `relative` (no "..", no links) below `mount`; name NULL
	 * only says whether there is such a group (*ret_fd stays untouched). */
	int (*open_group)(struct gd_access *access, const char *mount, const char *relative,
	                  const char *name, int *ret_fd, struct gd_error *err);
	/* A perf event that samples the target's thread (see gd_access_open_perf). */
	int (*open_perf)(struct gd_access *access, pid_t tid, int *ret_fd, struct gd_error *err);
	/* An event that samples the target (see gd_perf_open). */
	int (*open_sampler)(struct gd_access *access, const struct gd_perf_wanted *wanted,
	                    struct gd_perf_opened *ret, int *ret_fd, struct gd_error *err);
	/*
	 * These, at most GD_ACCESS_WANTED_MAX, are about to be wanted once each: who has to ask may
	 * ask for all in one go.  Only a hint, NULL allowed (the direct kind does not need it).
	 */
	void (*prepare)(struct gd_access *access, const struct gd_access_wanted *wanted, size_t n);
	void (*close)(struct gd_access *access); /* frees it */
};

struct gd_access {
	const struct gd_access_ops *ops;
};

/* The direct kind for a /proc/PID directory and a pidfd, which stay the caller's.  pid and uid are for
 * messages; uid is what owns the directory. */
int gd_access_direct(int proc_fd, int pid_fd, pid_t pid, uint32_t uid, struct gd_access **ret,
                     struct gd_error *err);
void gd_access_close(struct gd_access *access); /* NULL allowed */

static inline void gd_access_prepare(struct gd_access *access,
                                     const struct gd_access_wanted *wanted, size_t n)
{
	if (access->ops->prepare != NULL)
		access->ops->prepare(access, wanted, n);
}

/* Opens (O_PATH) a directory below dir_fd: no links, no "..", no other file system; or -errno. */
int gd_access_open_beneath(int dir_fd, const char *path);

/* Bytes of stack that come with a sample; a multiple of 8 below 64 KiB. */
#define GD_ACCESS_STACK_BYTES (16 << 10)

/*
 * One sample of the CPU clock each time it is armed (PERF_EVENT_IOC_REFRESH): tid, user registers
 * sp and pc, a copy of the top of the stack.
 */
int gd_access_open_perf(pid_t tid);

/*
 * Why the kernel refused, and what would have to be allowed: code is -EACCES, -EPERM or any other
 * of opening `name` of that pid.
 */
int gd_access_explain(pid_t pid, uint32_t uid, const char *name, int code, struct gd_error *err);
