#include "report/warnings.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "report/places.h"

#define PLACES_SHOWN 3
#define BLOCKED_MANY 1000            /* at one place: a queue that nobody empties, or a leak */
#define BLOCKED_SHARE_MIN 100        /* ... or fewer, when they are half of all */
#define LOCK_WAITERS 10              /* a lock convoy */
#define STUCK_NS (INT64_C(600) * 1000000000) /* nobody waits ten minutes on purpose in a handler */
#define STUCK_MIN 10
#define GC_CPU_HIGH 0.25             /* what the collector's own pacing aims at */
#define PAUSE_HIGH_NS 10000000
#define LATENCY_HIGH_NS 10000000
#define LIMIT_NEAR 0.9
#define FDS_NEAR 0.8
#define PRESSURE_HIGH 10.0           /* percent of the last ten seconds, all tasks at once */
#define PRESSURE_CPU_HIGH 40.0       /* some task: common on a busy host */
#define THROTTLED_HIGH 0.1
#define SAMPLES_ENOUGH 50            /* of the CPU, to say something about shares */
#define CPU_WAIT_HIGH 0.5            /* of the CPU time it got */

static void warn(struct gd_summary *s, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void warn(struct gd_summary *s, const char *kind, const char *fmt, ...)
{
	if (s->n_warnings == GD_WARNINGS_MAX)
		return;
	struct gd_warning *w = &s->warnings[s->n_warnings++];
	(void)snprintf(w->kind, sizeof(w->kind), "%s", kind);
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(w->text, sizeof(w->text), fmt, args);
	va_end(args);
}

/* --- the archive itself -------------------------------------------------------------------- */

static void check_archive(struct gd_summary *s)
{
	const char *complaint = gd_reader_complaint(s->reader);
	char text[250];
	if (complaint != NULL) {
		gd_text_escape(text, sizeof(text), complaint, strlen(complaint));
		warn(s, "archive-damaged", "this archive is %s (godiag verify says more)", text);
	}
	if (s->reader->snapshot.repaired)
		warn(s, "archive-repaired", "this archive was repaired: artifacts may be lost");
	if (s->reader->snapshot.interrupted)
		warn(s, "interrupted", "the capture was interrupted: what was finished is here");
}

/* --- goroutines ---------------------------------------------------------------------------- */

/* Without the directories of the import path: the place in the file says the rest. */
static const char *short_name(const char *function)
{
	const char *end = function + strcspn(function, "[(");
	const char *from = end;
	while (from > function && from[-1] != '/')
		from--;
	return from;
}

/* "main.(*Store).Get (store.go:23)" */
static void name_place(char *to, size_t size, const struct gd_place *place)
{
	char function[160];
	char where[120];
	const struct gd_group_frame *frame = place->frame;
	const char *name = short_name(frame->function);
	gd_text_escape(function, sizeof(function), name, strlen(name));
	gd_summary_place(where, sizeof(where), frame);
	(void)snprintf(to, size, "%s%s%s%s", function, where[0] != '\0' ? " (" : "", where,
	               where[0] != '\0' ? ")" : "");
}

static void longest(char *to, size_t size, int64_t ns)
{
	char duration[GD_UNITS_TEXT];
	to[0] = '\0';
	if (ns > 0)
		(void)snprintf(to, size, ", the longest for %s",
		               gd_units_duration(duration, (uint64_t)ns));
}

/* "chan receive (nil chan)": nothing can ever wake these. */
static bool is_forever(const char *state)
{
	return strstr(state, "(nil chan)") != NULL;
}

static void warn_place(struct gd_summary *s, const char *kind, const struct gd_place *place,
                       const char *what, uint64_t count)
{
	char where[300];
	char state[80];
	char number[GD_SUMMARY_NUMBER];
	char wait[48];
	name_place(where, sizeof(where), place);
	gd_text_escape(state, sizeof(state), place->state, strlen(place->state));
	longest(wait, sizeof(wait), is_forever(place->state) ? 0 : place->longest_ns);
	warn(s, kind, "%s goroutine%s %s (%s) in %s%s", gd_summary_number(number, count),
	     count == 1 ? "" : "s", what, state, where, wait);
}

static bool starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_lock(const struct gd_place *p)
{
	if (starts(p->state, "sync.Mutex") || starts(p->state, "sync.RWMutex"))
		return true;
	/* Until Go 1.19 locks waited like everything else that has a semaphore. */
	return strcmp(p->state, "semacquire") == 0 &&
	       (starts(p->via, "sync.(*Mutex)") || starts(p->via, "sync.(*RWMutex)"));
}

/* Waiting for work, for time or for the network is what an idle server does. */
static bool is_idle(const char *state)
{
	static const char *const idle[] = { "IO wait", "sleep", "sync.Cond.Wait",
		                            "GC worker (idle)", "finalizer wait",
		                            "wait for GC cycle" };
	for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
		if (strcmp(state, idle[i]) == 0)
			return true;
	return false;
}

static void check_goroutines(struct gd_summary *s)
{
	struct gd_places places;
	size_t shown = 0;
	size_t locks = 0;
	if (s->groups_error.code != 0 || gd_places_make(&s->groups, &places) < 0)
		return;
	for (size_t i = 0; i < places.n; i++) {
		const struct gd_place *p = &places.list[i];
		if (!p->waiting || p->frame == NULL)
			continue;
		bool many = p->count >= BLOCKED_MANY ||
		            (p->count >= BLOCKED_SHARE_MIN && p->count * 2 >= s->groups.total);
		if (is_lock(p)) {
			if (p->count >= LOCK_WAITERS && locks++ < PLACES_SHOWN)
				warn_place(s, "lock-contention", p, "wait for a lock", p->count);
		} else if (is_forever(p->state)) {
			warn_place(s, "blocked-forever", p, "can never go on", p->count);
		} else if (!is_idle(p->state) && many) {
			if (shown++ < PLACES_SHOWN)
				warn_place(s, "goroutines-blocked", p, "are blocked", p->count);
		} else if (!is_idle(p->state) && p->longest_ns >= STUCK_NS &&
		           p->count >= STUCK_MIN) {
			if (shown++ < PLACES_SHOWN)
				warn_place(s, "goroutines-stuck", p, "wait at one place",
				           p->count);
		}
	}
	gd_places_deinit(&places);
}

/* --- collector and scheduler --------------------------------------------------------------- */

/* Of the CPU time in the window; 0: unknown, or too few samples to tell. */
static double gc_share(const struct gd_cpu *cpu)
{
	static const char *const names[] = { "gc background", "gc assist", "sweep" };
	int64_t ns = 0;
	if (cpu->sites.count < SAMPLES_ENOUGH)
		return 0;
	for (size_t i = 0; i < cpu->classes.n; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			if (strcmp(cpu->classes.list[i].name, names[k]) == 0)
				ns += cpu->classes.list[i].ns;
	return (double)ns / (double)cpu->sites.value;
}

/* Threads that could have run and were not let. */
static void check_cpu(struct gd_summary *s)
{
	const struct gd_cpu *c = &s->cpu;
	char a[GD_UNITS_TEXT];
	char b[GD_UNITS_TEXT];
	if (c->sites.count < SAMPLES_ENOUGH || c->window_ns <= 0)
		return;
	int64_t waited_ns = 0;
	for (size_t i = 0; i < c->away.n; i++)
		if ((strcmp(c->away.list[i].name, "preempted") == 0 ||
		     strcmp(c->away.list[i].name, "runnable") == 0) &&
		    __builtin_add_overflow(waited_ns, c->away.list[i].ns, &waited_ns))
			waited_ns = INT64_MAX;
	if ((double)waited_ns >= CPU_WAIT_HIGH * (double)c->sites.value && waited_ns > 0)
		warn(s, "cpu-wait", "its threads waited %s for a CPU while they used %s",
		     gd_units_duration(a, (uint64_t)waited_ns),
		     gd_units_duration(b, (uint64_t)c->sites.value));
}

static void check_runtime(struct gd_summary *s)
{
	const struct gd_facts *f = &s->facts;
	char a[GD_UNITS_TEXT];
	char b[GD_UNITS_TEXT];
	if (f->gc_cpu_fraction >= GC_CPU_HIGH)
		warn(s, "gc-cpu", "the garbage collector takes %.0f %% of the CPU since the start",
		     f->gc_cpu_fraction * 100);
	double gc = gc_share(&s->cpu);
	if (gc >= GC_CPU_HIGH)
		warn(s, "gc-cpu-now", "the garbage collector takes %.0f %% of the CPU in the %s that were sampled",
		     gc * 100, gd_units_duration(a, (uint64_t)s->cpu.window_ns));
	if (f->pause_p99_ns >= PAUSE_HIGH_NS)
		warn(s, "gc-pause", "garbage collection pauses: 99th percentile %s, longest %s",
		     gd_units_duration(a, (uint64_t)f->pause_p99_ns),
		     gd_units_duration(b, (uint64_t)f->pause_max_ns));
	if (f->latency_p99_ns >= LATENCY_HIGH_NS)
		warn(s, "scheduling-latency",
		     "runnable goroutines wait %s for a CPU (99th percentile since the start)",
		     gd_units_duration(a, (uint64_t)f->latency_p99_ns));
	if (f->runq > 0 && f->gomaxprocs > 0 && f->runq / 10 > f->gomaxprocs)
		warn(s, "run-queue", "%" PRId64 " goroutines queue for %" PRId64 " processors",
		     f->runq, f->gomaxprocs);
	if (f->stopping_the_world)
		warn(s, "stopping-the-world", "the world was being stopped at that moment");
	if (f->gomemlimit > 0 && f->sys > 0 && f->heap_released >= 0 &&
	    (double)(f->sys - f->heap_released) >= LIMIT_NEAR * (double)f->gomemlimit)
		warn(s, "gomemlimit", "the runtime holds %s of GOMEMLIMIT %s",
		     gd_units_bytes(a, (uint64_t)(f->sys - f->heap_released)),
		     gd_units_bytes(b, (uint64_t)f->gomemlimit));
}

/* --- limits -------------------------------------------------------------------------------- */

static bool is_near(int64_t used, int64_t limit, double share)
{
	return used > 0 && limit > 0 && (double)used >= share * (double)limit;
}

static int percent(int64_t used, int64_t limit)
{
	return (int)((double)used * 100 / (double)limit + 0.5);
}

static void check_memory(struct gd_summary *s)
{
	const struct gd_facts *f = &s->facts;
	char a[GD_UNITS_TEXT];
	char b[GD_UNITS_TEXT];
	if (is_near(f->memory_used, f->memory_limit, LIMIT_NEAR))
		warn(s, "memory-limit", "memory: %s of the control group's limit %s (%d %%)",
		     gd_units_bytes(a, (uint64_t)f->memory_used),
		     gd_units_bytes(b, (uint64_t)f->memory_limit),
		     percent(f->memory_used, f->memory_limit));
	else if (is_near(f->ancestor_used, f->ancestor_limit, 0.95))
		warn(s, "memory-limit-above",
		     "memory: %s of the limit %s of a group above (%d %%, page cache included)",
		     gd_units_bytes(a, (uint64_t)f->ancestor_used),
		     gd_units_bytes(b, (uint64_t)f->ancestor_limit),
		     percent(f->ancestor_used, f->ancestor_limit));
	if (f->oom_kills > 0)
		warn(s, "oom-kill", "the OOM killer struck %" PRId64 " time%s in the control group",
		     f->oom_kills, f->oom_kills == 1 ? "" : "s");
	if (f->swap > 0 && f->rss > 0 && f->swap >= f->rss / 10)
		warn(s, "swap", "%s of the process are swapped out",
		     gd_units_bytes(a, (uint64_t)f->swap));
	if (is_near(f->memory_total - f->memory_available, f->memory_total, 0.95) &&
	    f->memory_available >= 0)
		warn(s, "host-memory", "the host has %s of %s memory left",
		     gd_units_bytes(a, (uint64_t)f->memory_available),
		     gd_units_bytes(b, (uint64_t)f->memory_total));
}

static void check_limits(struct gd_summary *s)
{
	const struct gd_facts *f = &s->facts;
	char a[GD_SUMMARY_NUMBER];
	char b[GD_SUMMARY_NUMBER];
	if (is_near(f->fds, f->fd_limit, FDS_NEAR))
		warn(s, "fds", "%s of %s file descriptors are open (%d %%)",
		     gd_summary_number(a, (uint64_t)f->fds),
		     gd_summary_number(b, (uint64_t)f->fd_limit), percent(f->fds, f->fd_limit));
	if (is_near(f->pids_used, f->pids_limit, LIMIT_NEAR))
		warn(s, "pids", "%s of %s processes and threads of its control group exist",
		     gd_summary_number(a, (uint64_t)f->pids_used),
		     gd_summary_number(b, (uint64_t)f->pids_limit));
	if (f->periods > 0 && (double)f->throttled_periods >= THROTTLED_HIGH * (double)f->periods)
		warn(s, "cpu-throttled", "the CPU quota ran out in %d %% of all periods",
		     percent(f->throttled_periods, f->periods));
}

static void check_pressure(struct gd_summary *s, const char *kind, const char *what, bool full,
                           const struct gd_pressure *group, const struct gd_pressure *host)
{
	double of_group = full ? group->full : group->some;
	double of_host = full ? host->full : host->some;
	double high = full ? PRESSURE_HIGH : PRESSURE_CPU_HIGH;
	if (of_group >= high)
		warn(s, kind, "pressure: tasks of its control group waited for %s %.0f %% of the "
		     "last 10 s", what, of_group);
	else if (of_host >= high)
		warn(s, kind, "pressure: tasks of the host waited for %s %.0f %% of the last 10 s",
		     what, of_host);
}

void gd_warnings_find(struct gd_summary *s)
{
	const struct gd_facts *f = &s->facts;
	check_archive(s);
	check_goroutines(s);
	check_memory(s);
	check_runtime(s);
	check_cpu(s);
	check_limits(s);
	check_pressure(s, "pressure-memory", "memory", true, &f->group_memory, &f->host_memory);
	check_pressure(s, "pressure-cpu", "a CPU", false, &f->group_cpu, &f->host_cpu);
	check_pressure(s, "pressure-io", "I/O", true, &f->group_io, &f->host_io);
}
