#include "agent/watch_process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watch_file.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "target/target.h"

#define STAT_TEXT 1024 /* 52 numbers of at most 20 digits do not fit, but those that we read do */

bool gd_watch_process_counts_fds(int proc_fd)
{
	/* Our own has entries for certain: at least the descriptor we ask through. */
	struct stat st;
	return fstatat(proc_fd, "self/fd", &st, 0) == 0 && st.st_size > 0;
}

/* Reads and checks stat; -ESRCH also for another process of that pid. */
static int read_stat(int stat_fd, const struct gd_subject_id *id, struct gd_stat *ret)
{
	char text[STAT_TEXT];
	ssize_t n = gd_watch_file_again(stat_fd, text, sizeof(text));
	if (n <= 0)
		return n == 0 ? -ESRCH : (int)n;
	struct gd_stat stat;
	int r = gd_stat_parse(text, (size_t)n, &stat, NULL);
	if (r < 0)
		return r;
	/* A leader that exited alone is a zombie too, but the process lives in its threads. */
	bool ended = stat.state == 'X' || (stat.state == 'Z' && stat.num_threads <= 1);
	if (ended || stat.start_ticks != id->start_ticks)
		return -ESRCH;
	*ret = stat;
	return 0;
}

/* Clocks go by pid: those of this /proc must be those of the processes that we would name so. */
static clockid_t clock_of(int proc_fd, pid_t pid)
{
	char self[16] = "";
	uint64_t own = 0;
	clockid_t clock;
	bool ours = readlinkat(proc_fd, "self", self, sizeof(self) - 1) > 0 &&
	            gd_text_u64(self, NULL, 10, &own) && own == (uint64_t)getpid();
	return ours && clock_getcpuclockid(pid, &clock) == 0 ? clock : 0;
}

/*
 * Whether nothing of it has run since this was asked last.  Time that a thread has been on a CPU counts
 * from the next timer tick on, so that one which began less than that ago shows at the next sample.
 */
static bool stands_still(struct gd_watch_process *process)
{
	struct timespec t;
	if (process->clock == 0 || clock_gettime(process->clock, &t) < 0)
		return false;
	int64_t before_ns = process->clock_ns;
	process->clock_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	return process->clock_ns == before_ns;
}

int gd_watch_process_open(int proc_fd, const struct gd_subject_id *id,
                          struct gd_watch_process *ret)
{
	char name[16];
	(void)snprintf(name, sizeof(name), "%d", id->pid);
	GD_CLOSE int dir_fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir_fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	GD_CLOSE int stat_fd = gd_watch_file_open(dir_fd, "stat");
	if (stat_fd < 0)
		return stat_fd == -ENOENT ? -ESRCH : stat_fd;
	struct gd_stat stat;
	int r = read_stat(stat_fd, id, &stat);
	if (r < 0)
		return r;
	*ret = (struct gd_watch_process){
		.id = *id,
		.fds_fd = openat(dir_fd, "fd", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
	};
	ret->stat_fd = gd_steal_fd(&stat_fd);
	ret->clock = clock_of(proc_fd, id->pid);
	ret->age = (uint8_t)(id->pid % GD_WATCH_PROCESS_WHOLE); /* not all in one tick */
	ret->stat = stat;
	return 0;
}

void gd_watch_process_close(struct gd_watch_process *process)
{
	gd_watch_file_close(&process->stat_fd);
	gd_watch_file_close(&process->fds_fd);
}

uint64_t gd_watch_process_parse_nofile(const char *limits)
{
	static const char name[] = "Max open files";
	const char *line = strstr(limits, name);
	if (line == NULL || (line != limits && line[-1] != '\n'))
		return 0;
	const char *value = line + sizeof(name) - 1;
	value += strspn(value, " ");
	if (strncmp(value, "unlimited", 9) == 0)
		return UINT64_MAX;
	uint64_t soft = 0;
	return gd_text_u64(value, NULL, 10, &soft) ? soft : 0;
}

void gd_watch_process_review(struct gd_watch_process *process, int proc_fd)
{
	char path[32];
	char text[2048];
	(void)snprintf(path, sizeof(path), "%d/limits", process->id.pid);
	if (gd_watch_file_read(proc_fd, path, text, sizeof(text)) > 0)
		process->nofile = gd_watch_process_parse_nofile(text);
	cpu_set_t set[8]; /* 8192 CPUs */
	if (sched_getaffinity(process->id.pid, sizeof(set), set) == 0)
		process->affinity = CPU_COUNT_S(sizeof(set), set);
}

static double cpus_of(const struct gd_watch_process *process, double quota)
{
	double cpus = process->affinity;
	if (quota > 0 && (cpus <= 0 || quota < cpus))
		cpus = quota;
	return cpus > 0 ? cpus : 1;
}

/* What is a difference between this sample and the one before. */
static void put_deltas(struct gd_watch_process *process, const struct gd_stat *stat,
                       int64_t now_ns, double quota, double values[GD_METRICS])
{
	uint64_t ticks = stat->utime_ticks + stat->stime_ticks;
	double seconds = (double)(now_ns - process->at_ns) / 1e9;
	/* Totals never sink in one process; a kernel that lets them gives no sample. */
	if (process->sampled && seconds > 0 && ticks >= process->cpu_ticks &&
	    stat->majflt >= process->major_faults) {
		double cpu_s = (double)(ticks - process->cpu_ticks) / (double)sysconf(_SC_CLK_TCK);
		values[GD_METRIC_CPU] = cpu_s / seconds / cpus_of(process, quota);
		values[GD_METRIC_MAJOR_FAULTS] =
			(double)(stat->majflt - process->major_faults) / seconds;
	}
	process->cpu_ticks = ticks;
	process->major_faults = stat->majflt;
	process->at_ns = now_ns;
	process->sampled = true;
}

static void count_fds(struct gd_watch_process *process, bool counts_fds)
{
	struct stat st;
	process->fds = process->counted;
	if (counts_fds && process->fds_fd >= 0 && fstat(process->fds_fd, &st) == 0)
		process->fds = (uint64_t)st.st_size;
}

int gd_watch_process_sample(struct gd_watch_process *process, int64_t monotonic_ns, double cpus,
                            bool counts_fds, double values[GD_METRICS])
{
	process->slept = stands_still(process) && process->sampled;
	if (!process->slept || ++process->age >= GD_WATCH_PROCESS_WHOLE) {
		int r = read_stat(process->stat_fd, &process->id, &process->stat);
		if (r < 0)
			return r;
		count_fds(process, counts_fds);
		process->age = 0;
	}
	const struct gd_stat *stat = &process->stat;
	put_deltas(process, stat, monotonic_ns, cpus, values);
	values[GD_METRIC_THREADS] = (double)stat->num_threads;
	if (stat->rss_pages >= 0)
		values[GD_METRIC_RSS] = (double)stat->rss_pages * (double)sysconf(_SC_PAGESIZE);
	if (stat->state != 'D')
		process->d_since_ns = 0;
	else if (process->d_since_ns == 0)
		process->d_since_ns = monotonic_ns;
	values[GD_METRIC_STATE_D] =
		process->d_since_ns == 0 ? 0 : (double)(monotonic_ns - process->d_since_ns) / 1e9;
	if (process->fds > 0 && process->nofile > 0)
		values[GD_METRIC_FDS_OF_LIMIT] = (double)process->fds / (double)process->nofile;
	return 0;
}
