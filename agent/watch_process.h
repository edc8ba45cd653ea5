#pragma once
/*
 * One watched process as /proc/PID/stat and its neighbours tell it, once a second: the metrics whose
 * source is GD_SOURCE_PROCESS.  Its files are opened once and read again from their start, which is
 * half as dear as opening them and cannot end up at another process that got the same pid.
 *
 * Most processes sleep most of the time, and reading what a sleeper has is dear: all of it is cold. So
 * its CPU clock is asked first (clock_getcpuclockid(3); a call, nanoseconds, all threads): while that
 * stands still none of its code has run, and what was read before still holds. What others may do to
 * it, as reclaim to its RSS, shows at one sample in GD_WATCH_PROCESS_WHOLE.
 */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "policies/engine.h"
#include "target/target.h"

#define GD_WATCH_PROCESS_WHOLE 16

struct gd_watch_process {
	struct gd_subject_id id;
	int stat_fd;
	int fds_fd;          /* O_PATH of /proc/PID/fd; -1 */
	uint64_t nofile;     /* RLIMIT_NOFILE soft; 0 unknown */
	double affinity;     /* CPUs it may run on; 0 unknown */
	uint64_t counted;    /* descriptors, where the kernel does not count them; 0 unknown */
	clockid_t clock;     /* of the CPU time of its threads together; 0: cannot be read here */
	int64_t clock_ns;    /* at the last sample */
	uint8_t age;         /* samples since its files were read */
	bool slept;          /* at the last sample: no thread of it had run since the one before */
	struct gd_stat stat; /* as last read, and so the descriptors */
	uint64_t fds;        /* 0 unknown */
	bool sampled;        /* the next four are of the sample before */
	int64_t at_ns;       /* monotonic */
	uint64_t cpu_ticks, major_faults;
	int64_t d_since_ns;  /* monotonic; 0: not in state D */
};

/* How many descriptors /proc/PID/fd holds is its st_size since Linux 6.2. */
bool gd_watch_process_counts_fds(int proc_fd);

/*
 * Opens it below proc_fd (/proc).  -ESRCH: it has gone, or the pid is another process's by now.
 */
int gd_watch_process_open(int proc_fd, const struct gd_subject_id *id,
                          struct gd_watch_process *ret);
void gd_watch_process_close(struct gd_watch_process *process);

/*
 * What changes seldom: limits and affinity.  Reads by pid, so only what a sample after it confirms
 * (not -ESRCH) counts.
 */
void gd_watch_process_review(struct gd_watch_process *process, int proc_fd);

/*
 * Fills its part of values, the rest stays.  `cpus` is what its cgroup leaves it (0: no quota).
 * -ESRCH: it has ended (also as a zombie).  counts_fds: see above.
 */
int gd_watch_process_sample(struct gd_watch_process *process, int64_t monotonic_ns, double cpus,
                            bool counts_fds, double values[GD_METRICS]);

/* "Max open files  1024  4096 files": the soft one; 0 when it is not there, UINT64_MAX unlimited. */
uint64_t gd_watch_process_parse_nofile(const char *limits);
