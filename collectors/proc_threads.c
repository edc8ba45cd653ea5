/*
 * One line per thread, and the kernel's stack of each where that is allowed.  Both come from one
 * walk, so that a thread's state and its stack are as close together as they can be without a stop
 * (a handful of threads at once where files have to be asked for).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/proc.h"

#define THREADS_NAME "proc/threads.jsonl"
#define STACKS_NAME "proc/kernel_stacks.txt"

/* Beyond, only the line: five files for each of 100,000 threads would take seconds. */
#define DETAILED_MAX 10000

struct walk {
	struct gd_proc *proc;
	struct gd_buf lines, stacks;
	struct gd_buf file; /* the one being read */
	struct gd_outcome stacks_outcome;
	size_t n_seen, n_ended;
	long ticks_per_s;
};

/* Reads task/TID/<name> into walk->file; its text, or NULL with the reason in *err. */
static const char *read_of(struct walk *walk, pid_t tid, const char *name, struct gd_error *err)
{
	char path[48];
	(void)snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	gd_buf_reset(&walk->file);
	if (gd_target_read_file(walk->proc->target, path, &walk->file, err) < 0)
		return NULL;
	return gd_buf_str(&walk->file);
}

/* The number after "\n<key>:\t" in a status file. */
static void put_status_number(struct gd_json *json, const char *key, const char *status,
                              const char *line_start)
{
	const char *at = status != NULL ? strstr(status, line_start) : NULL;
	uint64_t value;
	if (at != NULL && gd_text_u64(at + strlen(line_start), NULL, 10, &value))
		gd_json_u64(json, key, value);
	else
		gd_json_null(json, key);
}

static void put_details(struct walk *walk, struct gd_json *json, pid_t tid)
{
	const char *status = read_of(walk, tid, "status", NULL);
	put_status_number(json, "voluntary_switches", status, "\nvoluntary_ctxt_switches:\t");
	put_status_number(json, "nonvoluntary_switches", status,
	                  "\nnonvoluntary_ctxt_switches:\t");
	/* "<ns on a CPU> <ns runnable but waiting for one> <slices>" */
	uint64_t on_cpu_ns;
	uint64_t waited_ns;
	const char *end;
	const char *schedstat = read_of(walk, tid, "schedstat", NULL);
	if (schedstat != NULL && gd_text_u64(schedstat, &end, 10, &on_cpu_ns) && *end == ' ' &&
	    gd_text_u64(end + 1, NULL, 10, &waited_ns)) {
		gd_json_u64(json, "cpu_ns", on_cpu_ns);
		gd_json_u64(json, "run_delay_ns", waited_ns);
	}
	/* "0" means running, or that we may not know. */
	const char *wchan = read_of(walk, tid, "wchan", NULL);
	if (wchan != NULL && strcmp(wchan, "0") != 0)
		gd_json_string(json, "wchan", wchan);
}

static void put_stack(struct walk *walk, pid_t tid, const struct gd_stat *stat)
{
	struct gd_error err = { 0 };
	if (walk->stacks_outcome.grade >= GD_GRADE_SKIPPED)
		return;
	if (walk->n_seen > DETAILED_MAX) {
		walk->stacks_outcome = gd_outcome(GD_GRADE_PARTIAL, -E2BIG,
		                                  "of the first %d threads only", DETAILED_MAX);
		return;
	}
	const char *stack = read_of(walk, tid, "stack", &err);
	if (stack == NULL && (err.code == -EACCES || err.code == -EPERM)) {
		/* Which the agent does without on purpose: like a kernel that has no such file. */
		walk->stacks_outcome = gd_outcome(GD_GRADE_SKIPPED, -ENOTSUP,
		                                  "the kernel shows stacks only to CAP_SYS_ADMIN");
		return;
	}
	if (stack == NULL && err.code == -ENOENT) {
		walk->stacks_outcome = gd_outcome(GD_GRADE_SKIPPED, -ENOENT,
		                                  "this kernel was built without CONFIG_STACKTRACE");
		return;
	}
	if (stack == NULL)
		return; /* it has ended meanwhile */
	gd_buf_printf(&walk->stacks, "thread %d \"", tid);
	gd_text_put_escaped(&walk->stacks, stat->comm, strlen(stat->comm));
	gd_buf_printf(&walk->stacks, "\" %c\n%s\n", stat->state, stack);
}

#define AT_ONCE 6

/* All that put_thread and what it calls will read of the next threads. */
static void prepare(const struct walk *walk, const pid_t *tids, size_t n_tids)
{
	static const char *const names[] = { "stat", "status", "schedstat", "wchan", "stack" };
	enum { N = sizeof(names) / sizeof(names[0]) };
	struct gd_access_wanted wanted[AT_ONCE * N];
	char paths[AT_ONCE * N][48];
	bool detailed = walk->n_seen < DETAILED_MAX;
	size_t each = !detailed ? 1 : walk->stacks_outcome.grade >= GD_GRADE_SKIPPED ? N - 1 : N;
	size_t n = 0;
	for (size_t t = 0; t < n_tids && t < AT_ONCE; t++) {
		for (size_t i = 0; i < each; i++, n++) {
			(void)snprintf(paths[n], sizeof(paths[n]), "task/%d/%s", tids[t], names[i]);
			wanted[n] = (struct gd_access_wanted){ .kind = GD_ACCESS_READ,
				                               .path = paths[n] };
		}
	}
	gd_access_prepare(walk->proc->target->access, wanted, n);
}

static void put_thread(struct walk *walk, pid_t tid)
{
	struct gd_json json = GD_JSON_INIT(&walk->lines);
	struct gd_stat stat;
	struct gd_error err = { 0 };
	const char *text = read_of(walk, tid, "stat", &err);
	if (text == NULL || gd_stat_parse(text, walk->file.len, &stat, &err) < 0) {
		walk->n_ended++;
		return;
	}
	walk->n_seen++;
	const char state[2] = { stat.state, '\0' };
	uint64_t hz = (uint64_t)walk->ticks_per_s;
	gd_json_object(&json, NULL);
	gd_json_i64(&json, "tid", tid);
	gd_json_string(&json, "comm", stat.comm);
	gd_json_string(&json, "state", state);
	gd_json_i64(&json, "cpu", stat.processor);
	gd_json_u64(&json, "user_ms", stat.utime_ticks * 1000 / hz);
	gd_json_u64(&json, "system_ms", stat.stime_ticks * 1000 / hz);
	gd_json_u64(&json, "minor_faults", stat.minflt);
	gd_json_u64(&json, "major_faults", stat.majflt);
	gd_json_u64(&json, "start_ticks", stat.start_ticks);
	if (walk->n_seen <= DETAILED_MAX)
		put_details(walk, &json, tid);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
	put_stack(walk, tid, &stat);
}

static struct gd_outcome lines_outcome(const struct walk *walk, size_t n)
{
	if (walk->n_seen == 0)
		return gd_outcome(GD_GRADE_FAILED, -ESRCH, "all threads have ended");
	if (walk->n_seen + walk->n_ended < n)
		return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted after %zu of %zu threads",
		                  walk->n_seen, n);
	if (walk->n_seen > DETAILED_MAX)
		return gd_outcome(GD_GRADE_PARTIAL, -E2BIG,
		                  "wait channel and switches of the first %d of %zu threads only",
		                  DETAILED_MAX, n);
	/* A thread that ends during the walk is no loss: it ended. */
	return GD_OUTCOME_COMPLETE;
}

static void absent(struct gd_proc *proc, const struct gd_error *err)
{
	gd_proc_absent(proc, THREADS_NAME, GD_PROC_JSON_LINES, gd_proc_outcome(err));
	gd_proc_absent(proc, STACKS_NAME, GD_PROC_TEXT, gd_proc_outcome(err));
}

void gd_proc_threads_collect(struct gd_proc *proc)
{
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	struct gd_error err = { 0 };
	if (gd_target_threads(proc->target, &tids, &n, &err) < 0) {
		absent(proc, &err);
		return;
	}
	struct walk walk = {
		.proc = proc,
		.lines = GD_BUF_INIT(GD_PROC_LIST_MAX),
		.stacks = GD_BUF_INIT(GD_PROC_LIST_MAX),
		.file = GD_BUF_INIT(64u << 10),
		.ticks_per_s = sysconf(_SC_CLK_TCK) > 0 ? sysconf(_SC_CLK_TCK) : 100,
	};
	for (size_t i = 0; i < n && !gd_collect_cancelled(proc->collect); i++) {
		if (i % AT_ONCE == 0)
			prepare(&walk, tids + i, n - i);
		put_thread(&walk, tids[i]);
	}

	gd_proc_put(proc, THREADS_NAME, GD_PROC_JSON_LINES, &walk.lines, lines_outcome(&walk, n));
	if (walk.stacks_outcome.grade == GD_GRADE_SKIPPED)
		gd_proc_absent(proc, STACKS_NAME, GD_PROC_TEXT, walk.stacks_outcome);
	else
		gd_proc_put(proc, STACKS_NAME, GD_PROC_TEXT, &walk.stacks, walk.stacks_outcome);
	gd_buf_deinit(&walk.lines);
	gd_buf_deinit(&walk.stacks);
	gd_buf_deinit(&walk.file);
}
