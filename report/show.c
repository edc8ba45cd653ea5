#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "report/lines.h"
#include "report/report.h"
#include "report/summary.h"

#define GROUPS_SHOWN 6
#define STATES_SHOWN 6
#define SYSCALLS_SHOWN 6
#define SITES_SHOWN 5
#define CLASSES_SHOWN 8
#define MISSING_SHOWN 8

struct show {
	struct gd_lines lines;
	const struct gd_summary *summary;
	const struct gd_snapshot *snapshot;
};

/* What must not be cut: the terminal breaks the line. */
static void whole(const struct show *s, enum gd_style style, const char *text)
{
	struct gd_lines lines = s->lines;
	lines.width = 0;
	gd_lines_put(&lines, style, "%s", text);
}

static void heading(const struct show *s, const char *text)
{
	whole(s, GD_STYLE_PLAIN, "");
	whole(s, GD_STYLE_BOLD, text);
}

/* Foreign text for a line; "" for NULL. */
static const char *safe(char *to, size_t size, const char *text)
{
	gd_text_escape(to, size, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
	return to;
}

/* " label text" appended to `to` when there is any text. */
static void append(char *to, size_t size, const char *label, const char *text)
{
	size_t n = strlen(to);
	if (text != NULL && text[0] != '\0' && n < size)
		(void)snprintf(to + n, size - n, "%s%s%s", n > 0 ? "  " : "", label, text);
}

static void append_bytes(char *to, size_t size, const char *label, int64_t bytes)
{
	char text[GD_UNITS_TEXT];
	if (bytes >= 0)
		append(to, size, label, gd_units_bytes(text, (uint64_t)bytes));
}

static void append_duration(char *to, size_t size, const char *label, int64_t ns)
{
	char text[GD_UNITS_TEXT];
	if (ns >= 0)
		append(to, size, label, gd_units_duration(text, (uint64_t)ns));
}

static void append_number(char *to, size_t size, const char *label, int64_t value)
{
	char text[GD_SUMMARY_NUMBER];
	if (value >= 0)
		append(to, size, label, gd_summary_number(text, (uint64_t)value));
}

static void append_percent(char *to, size_t size, const char *label, double percent)
{
	char text[32];
	if (percent < 0)
		return;
	(void)snprintf(text, sizeof(text), "%.1f %%", percent);
	append(to, size, label, text);
}

/* --- who and when -------------------------------------------------------------------------- */

static void show_identity(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	char line[2400];
	char text[2100];
	char uptime[GD_UNITS_TEXT];
	(void)snprintf(line, sizeof(line), "%s  pid %d", safe(text, sizeof(text), a->comm), a->pid);
	if (a->pid_in_container > 0 && a->pid_in_container != a->pid) {
		size_t n = strlen(line);
		(void)snprintf(line + n, sizeof(line) - n, " (%d in its container)",
		               a->pid_in_container);
	}
	append(line, sizeof(line), "", safe(text, sizeof(text), a->go_version));
	if (a->start_realtime_ns > 0 && a->started.realtime_ns > a->start_realtime_ns)
		append(line, sizeof(line), "up ",
		       gd_units_duration(uptime, (uint64_t)(a->started.realtime_ns -
		                                            a->start_realtime_ns)));
	append(line, sizeof(line), "on ", safe(text, sizeof(text), a->hostname));
	append(line, sizeof(line), "", safe(text, sizeof(text), a->kernel));
	gd_lines_put(&s->lines, GD_STYLE_BOLD, "%s", line);
	line[0] = '\0';
	append(line, sizeof(line), "exe ", safe(text, sizeof(text), a->exe));
	append(line, sizeof(line), "", a->exe_deleted ? "(deleted or replaced since)" : "");
	if (a->cmdline != NULL && a->exe != NULL && strcmp(a->cmdline, a->exe) != 0)
		append(line, sizeof(line), "run as ", safe(text, sizeof(text), a->cmdline));
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	line[0] = '\0';
	append(line, sizeof(line), "pod ", safe(text, sizeof(text), a->pod_uid));
	append(line, sizeof(line), "container ", safe(text, 13, a->container_id));
	if (line[0] == '\0' && a->cgroup != NULL && strcmp(a->cgroup, "/") != 0)
		append(line, sizeof(line), "cgroup ", safe(text, sizeof(text), a->cgroup));
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
}

static void show_occasion(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	char line[2400] = "";
	char text[700];
	char when[GD_CLOCK_TEXT];
	if (a->started.realtime_ns != 0)
		append(line, sizeof(line), "", gd_clock_text(when, a->started.realtime_ns));
	int64_t took_ns;
	if (!__builtin_sub_overflow(a->ended.monotonic_ns, a->started.monotonic_ns, &took_ns) &&
	    took_ns > 0)
		append_duration(line, sizeof(line), "took ", took_ns);
	append(line, sizeof(line), "trigger ", safe(text, sizeof(text), a->trigger));
	append(line, sizeof(line), "reason: ", safe(text, sizeof(text), a->reason));
	for (size_t i = 0; i < a->n_labels; i++) {
		char label[202];
		(void)safe(label, 200, a->labels[i].key);
		append(line, sizeof(line), strcat(label, "="), safe(text, 200, a->labels[i].value));
	}
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	if (a->go_note != NULL && a->go_note[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_YELLOW, "  note: %s",
		             safe(text, sizeof(text), a->go_note));
}

/* --- before it ------------------------------------------------------------------------------ */

static const char *label(const struct gd_snapshot *a, const char *key)
{
	for (size_t i = 0; i < a->n_labels; i++)
		if (strcmp(a->labels[i].key, key) == 0)
			return a->labels[i].value;
	return "";
}

/* "rule gc-pause of checkout: go_gc_pause_p99 71 ms above 50 ms for 30 s", "alert, rule ..." */
static void show_trigger(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	char line[1600];
	char trigger[100];
	char rule[200];
	char service[200];
	char reason[700];
	(void)safe(rule, sizeof(rule), label(a, "rule"));
	(void)safe(trigger, sizeof(trigger), a->trigger);
	if (rule[0] != '\0' && strcmp(trigger, "rule") == 0)
		trigger[0] = '\0';
	(void)safe(service, sizeof(service), label(a, "service"));
	(void)safe(reason, sizeof(reason), a->reason);
	(void)snprintf(line, sizeof(line), "  %s%s%s%s%s%s%s", trigger,
	               rule[0] == '\0' ? "" : trigger[0] != '\0' ? ", rule " : "rule ", rule, service[0] != '\0' ? " of " : "",
	               service, reason[0] != '\0' ? ": " : "", reason);
	whole(s, GD_STYLE_YELLOW, line);
}

/* Does who reads it see more than ASCII? */
static bool draws(const struct show *s)
{
	const char *locale = getenv("LC_ALL");
	if (locale == NULL || locale[0] == '\0')
		locale = getenv("LC_CTYPE");
	if (locale == NULL || locale[0] == '\0')
		locale = getenv("LANG");
	return s->lines.width > 0 && locale != NULL &&
	       (strcasestr(locale, "utf-8") != NULL || strcasestr(locale, "utf8") != NULL);
}

static void show_move(const struct show *s, const struct gd_timeline_move *m)
{
	char before[GD_TIMELINE_TEXT];
	char now[GD_TIMELINE_TEXT];
	char change[2 * GD_TIMELINE_TEXT + 16];
	char duration[GD_UNITS_TEXT];
	char since[GD_UNITS_TEXT + 24] = "";
	char spark[GD_TIMELINE_SPARK] = "";
	(void)gd_timeline_text(before, m->unit, m->before);
	(void)gd_timeline_text(now, m->unit, m->now);
	if (m->moved)
		(void)snprintf(change, sizeof(change), "%s -> %s", before, now);
	else if (!isnan(m->before))
		(void)snprintf(change, sizeof(change), "%s, earlier %s", now, before);
	else
		(void)snprintf(change, sizeof(change), "%s, nothing earlier", now);
	if (m->since_ns >= 0)
		(void)snprintf(since, sizeof(since), "%s before the capture",
		               gd_units_duration(duration, (uint64_t)m->since_ns));
	if (draws(s))
		(void)gd_timeline_spark(spark, m);
	char line[400];
	(void)snprintf(line, sizeof(line), "  %-20s  %-22s  %-27s%s%s", m->name, change, since,
	               spark[0] != '\0' ? "  " : "", spark);
	size_t n = strlen(line);
	while (n > 0 && line[n - 1] == ' ')
		line[--n] = '\0';
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "%s", line);
}

static void show_before(const struct show *s)
{
	const struct gd_timeline_moves *m = &s->summary->moves;
	const struct gd_error *why = &s->summary->moves_error;
	char line[200];
	char span[GD_UNITS_TEXT];
	if (why->code == -ENOENT)
		return;
	if (why->code != 0) {
		heading(s, "BEFORE THE TRIGGER");
		show_trigger(s);
		whole(s, GD_STYLE_DIM, why->code == -ENODATA ? "  it was not watched for long enough"
		                                             : "  its timeline cannot be read");
		return;
	}
	(void)snprintf(line, sizeof(line), "BEFORE THE TRIGGER  %zu samples in %s", m->samples,
	               gd_units_duration(span, (uint64_t)m->span_ns));
	heading(s, line);
	show_trigger(s);
	for (size_t i = 0; i < m->n; i++)
		show_move(s, &m->list[i]);
	if (m->n == 0)
		whole(s, GD_STYLE_DIM, "  no metric moved by more than a fifth");
}

static void show_warnings(const struct show *s)
{
	const struct gd_summary *m = s->summary;
	if (m->n_warnings == 0)
		return;
	heading(s, "LOOKS WRONG");
	for (size_t i = 0; i < m->n_warnings; i++) {
		char line[sizeof(m->warnings[i].text) + 8];
		(void)snprintf(line, sizeof(line), "  ! %s", m->warnings[i].text);
		whole(s, GD_STYLE_RED, line);
	}
}

/* --- goroutines ---------------------------------------------------------------------------- */

static void show_group(const struct show *s, const struct gd_group *g)
{
	char number[GD_SUMMARY_NUMBER];
	char state[64];
	char duration[GD_UNITS_TEXT];
	char text[300];
	char where[200];
	bool waited = g->longest_ns > 0;
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %9s  %-22s %s%s%s(goroutine %" PRIu64 ")",
	             gd_summary_number(number, g->count), safe(state, sizeof(state), g->state),
	             waited ? "longest " : "",
	             waited ? gd_units_duration(duration, (uint64_t)g->longest_ns) : "",
	             waited ? "  " : "", g->goid);
	for (size_t i = 0; i < g->n_frames; i++) {
		gd_summary_place(where, sizeof(where), &g->frames[i]);
		gd_lines_put(&s->lines, GD_STYLE_DIM, "             %s  %s",
		             safe(text, sizeof(text), g->frames[i].function), where);
	}
	if (g->n_frames == 0)
		gd_lines_put(&s->lines, GD_STYLE_DIM, "             (stack unknown)");
	if (g->created_by[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_DIM, "             created by %s",
		             safe(text, sizeof(text), g->created_by));
}

static void show_goroutines(const struct show *s)
{
	const struct gd_groups *g = &s->summary->groups;
	char line[600] = "";
	char number[GD_SUMMARY_NUMBER];
	if (s->summary->groups_error.code != 0)
		return;
	for (size_t i = 0; i < g->n_states && i < STATES_SHOWN; i++) {
		char state[64];
		char label[48];
		(void)snprintf(label, sizeof(label), "%s ",
		               gd_summary_number(number, g->states[i].count));
		append(line, sizeof(line), label, safe(state, sizeof(state), g->states[i].name));
	}
	if (g->n_states > STATES_SHOWN)
		append(line, sizeof(line), "", "...");
	char title[700];
	(void)snprintf(title, sizeof(title), "GOROUTINES  %s%s%s",
	               gd_summary_number(number, g->total), g->total > 0 ? ":  " : "", line);
	heading(s, title);
	for (size_t i = 0; i < g->n && i < GROUPS_SHOWN; i++)
		show_group(s, &g->list[i]);
	if (g->n > GROUPS_SHOWN)
		gd_lines_put(&s->lines, GD_STYLE_DIM, "             ... and %s more groups",
		             gd_summary_number(number, g->n - GROUPS_SHOWN));
	if (g->torn + g->unreadable + g->ungrouped > 0)
		gd_lines_put(&s->lines, GD_STYLE_YELLOW,
		             "  %" PRIu64 " changed while read, %" PRIu64
		             " without a known stack, %" PRIu64 " lines unreadable",
		             g->torn, g->ungrouped, g->unreadable);
}

/* --- runtime, memory, host ----------------------------------------------------------------- */

static void show_runtime(const struct show *s)
{
	const struct gd_facts *f = &s->summary->facts;
	char line[600] = "";
	if (!f->has_runtime)
		return;
	heading(s, "RUNTIME");
	append_number(line, sizeof(line), "gc cycles ", f->gc_count);
	if (f->gc_cpu_fraction >= 0)
		append_percent(line, sizeof(line), "cpu ", f->gc_cpu_fraction * 100);
	append_duration(line, sizeof(line), "pause p50 ", f->pause_p50_ns);
	append_duration(line, sizeof(line), "p99 ", f->pause_p99_ns);
	append_duration(line, sizeof(line), "max ", f->pause_max_ns);
	if (f->gc_last_ns > 0 && s->snapshot->started.realtime_ns > f->gc_last_ns)
		append_duration(line, sizeof(line), "last ended before ",
		                s->snapshot->started.realtime_ns - f->gc_last_ns);
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	line[0] = '\0';
	append_bytes(line, sizeof(line), "heap live ", f->heap_live);
	append_bytes(line, sizeof(line), "goal ", f->heap_goal);
	append_number(line, sizeof(line), "objects ", f->heap_objects);
	append_bytes(line, sizeof(line), "stacks ", f->stack_inuse);
	append_bytes(line, sizeof(line), "sys ", f->sys);
	append_bytes(line, sizeof(line), "released ", f->heap_released);
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	line[0] = '\0';
	append_number(line, sizeof(line), "GOMAXPROCS ", f->gomaxprocs);
	append_number(line, sizeof(line), "GOGC ", f->gogc);
	append(line, sizeof(line), "GOGC ", f->gogc == -1 ? "off" : "");
	append_bytes(line, sizeof(line), "GOMEMLIMIT ", f->gomemlimit);
	append_number(line, sizeof(line), "run queue ", f->runq);
	append_duration(line, sizeof(line), "scheduling latency p99 ", f->latency_p99_ns);
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
}

static void show_process(const struct show *s)
{
	const struct gd_facts *f = &s->summary->facts;
	char line[600] = "";
	append_bytes(line, sizeof(line), "rss ", f->rss);
	append_bytes(line, sizeof(line), "swap ", f->swap > 0 ? f->swap : -1);
	if (f->memory_limit > 0) {
		append_bytes(line, sizeof(line), "group uses ", f->memory_used);
		append_bytes(line, sizeof(line), "of ", f->memory_limit);
	}
	append_number(line, sizeof(line), "threads ", f->threads);
	append_number(line, sizeof(line), "fds ", f->fds);
	append_number(line, sizeof(line), "of ", f->fds >= 0 ? f->fd_limit : -1);
	if (line[0] != '\0') {
		heading(s, "PROCESS");
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	}
	line[0] = '\0';
	if (f->load1 >= 0) {
		char load[32];
		(void)snprintf(load, sizeof(load), "%.2f", f->load1);
		append(line, sizeof(line), "load ", load);
	}
	append_bytes(line, sizeof(line), "memory available ", f->memory_available);
	append_bytes(line, sizeof(line), "of ", f->memory_total);
	append_percent(line, sizeof(line), "pressure cpu ", f->host_cpu.some);
	append_percent(line, sizeof(line), "memory ", f->host_memory.some);
	append_percent(line, sizeof(line), "io ", f->host_io.some);
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  host: %s", line);
}

static double percent_of(int64_t part, int64_t all)
{
	return all > 0 ? (double)part * 100 / (double)all : 0;
}

static void show_site(const struct show *s, const char *value, const struct gd_site *site,
                      int64_t all)
{
	char text[300];
	char where[200];
	gd_summary_place(where, sizeof(where), &site->frame);
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %10s %3.0f %%  %s  %s", value,
	             percent_of(site->value, all), safe(text, sizeof(text), site->frame.function),
	             where);
}

static void show_away(const struct show *s)
{
	const struct gd_cpu *c = &s->summary->cpu;
	char line[400] = "";
	char text[64];
	for (size_t i = 0; i < c->away.n && i < STATES_SHOWN; i++) {
		append_duration(line, sizeof(line), "", c->away.list[i].ns);
		(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s",
		               safe(text, sizeof(text), c->away.list[i].name));
	}
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_PLAIN,
		             "  off the CPU, all threads but idle ones: %s", line);
}

static void show_syscalls(const struct show *s)
{
	const struct gd_syscalls *c = &s->summary->cpu.syscalls;
	char line[400];
	char number[GD_SUMMARY_NUMBER];
	char text[64];
	if (c->all <= 0)
		return;
	(void)snprintf(line, sizeof(line), "system calls %s:",
	               gd_summary_number(number, (uint64_t)c->all));
	for (size_t i = 0; i < c->n && i < SYSCALLS_SHOWN; i++)
		(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), "  %s %s",
		               gd_summary_number(number, (uint64_t)c->list[i].n),
		               safe(text, sizeof(text), c->list[i].name));
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
}

/* What the program itself does; the runtime's part is in the classes. */
static void show_cpu(const struct show *s)
{
	const struct gd_cpu *c = &s->summary->cpu;
	char line[400];
	char used[GD_UNITS_TEXT];
	char window[GD_UNITS_TEXT];
	char text[64];
	if (s->summary->cpu_error.code != 0 || c->sites.value <= 0 || c->window_ns <= 0)
		return;
	(void)snprintf(line, sizeof(line), "CPU  %s in %s",
	               gd_units_duration(used, (uint64_t)c->sites.value),
	               gd_units_duration(window, (uint64_t)c->window_ns));
	heading(s, line);
	line[0] = '\0';
	for (size_t i = 0; i < c->classes.n && i < CLASSES_SHOWN; i++) {
		append(line, sizeof(line), "", safe(text, sizeof(text), c->classes.list[i].name));
		(void)snprintf(line + strlen(line), sizeof(line) - strlen(line), " %.0f %%",
		               percent_of(c->classes.list[i].ns, c->sites.value));
	}
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	show_away(s);
	show_syscalls(s);
	for (size_t i = 0, shown = 0; i < c->sites.n && shown < SITES_SHOWN; i++) {
		const struct gd_site *site = &c->sites.list[i];
		if (!site->own || site->value <= 0)
			continue;
		show_site(s, gd_units_duration(used, (uint64_t)site->value), site, c->sites.value);
		shown++;
	}
}

static void show_heap(const struct show *s)
{
	const struct gd_sites *h = &s->summary->heap;
	char bytes[GD_UNITS_TEXT];
	char line[100];
	if (s->summary->heap_error.code != 0 || h->n == 0)
		return;
	(void)snprintf(line, sizeof(line), "HEAP PROFILE  %s in use, allocated in",
	               gd_units_bytes(bytes, (uint64_t)(h->value > 0 ? h->value : 0)));
	heading(s, line);
	for (size_t i = 0; i < h->n && i < SITES_SHOWN && h->list[i].value > 0; i++) {
		const struct gd_site *site = &h->list[i];
		show_site(s, gd_units_bytes(bytes, (uint64_t)site->value), site, h->value);
	}
}

/* --- the image ----------------------------------------------------------------------------- */

static void show_core(const struct show *s)
{
	const struct gd_frozen *f = &s->snapshot->frozen;
	char line[600] = "";
	char text[200];
	if (f->method[0] == '\0')
		return;
	heading(s, f->core_chunks > 0 ? "CORE" : "IMAGE");
	append(line, sizeof(line), "by ", safe(text, sizeof(text), f->method));
	append_duration(line, sizeof(line), "stopped for ", f->pause_ns);
	append_duration(line, sizeof(line), "predicted ", f->predicted_pause_ns);
	append_number(line, sizeof(line), "threads ", (int64_t)f->threads);
	append_number(line, sizeof(line), "not stopped ",
	              f->threads_not_stopped > 0 ? (int64_t)f->threads_not_stopped : -1);
	append_number(line, sizeof(line), "rounds ", (int64_t)f->rounds);
	append_bytes(line, sizeof(line), "read ", (int64_t)f->bytes_read);
	append_bytes(line, sizeof(line), "in the stop ", (int64_t)f->bytes_in_stop);
	gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	line[0] = '\0';
	append_number(line, sizeof(line), "chunks ", (int64_t)f->core_chunks);
	append_number(line, sizeof(line), "unchanged since the base ",
	              f->core_unchanged_chunks > 0 ? (int64_t)f->core_unchanged_chunks : -1);
	append_number(line, sizeof(line), "packs ", (int64_t)f->core_packs);
	append(line, sizeof(line), "", "godiag extract FILE core");
	if (f->core_chunks > 0)
		gd_lines_put(&s->lines, GD_STYLE_PLAIN, "  %s", line);
	for (size_t i = 0; i < f->n_notes; i++)
		gd_lines_put(&s->lines, GD_STYLE_DIM, "  %s",
		             safe(text, sizeof(text), f->notes[i]));
}

/* --- what is missing ----------------------------------------------------------------------- */

static void show_missing(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	const size_t *n = s->summary->by_grade;
	size_t missing = n[GD_GRADE_PARTIAL] + n[GD_GRADE_SKIPPED] + n[GD_GRADE_FAILED];
	char line[200];
	if (!s->summary->reader->has_snapshot) {
		(void)snprintf(line, sizeof(line), "ARTIFACTS  %zu found, their grades are lost",
		               a->n_artifacts);
		heading(s, line);
		return;
	}
	(void)snprintf(line, sizeof(line),
	               "ARTIFACTS  %zu complete, %zu partial, %zu skipped, %zu failed",
	               n[GD_GRADE_COMPLETE], n[GD_GRADE_PARTIAL], n[GD_GRADE_SKIPPED],
	               n[GD_GRADE_FAILED]);
	heading(s, line);
	size_t shown = 0;
	for (int grade = GD_GRADE_FAILED; grade > GD_GRADE_COMPLETE; grade--) {
		for (size_t i = 0; i < a->n_artifacts && shown < MISSING_SHOWN; i++) {
			const struct gd_artifact_row *row = &a->artifacts[i];
			char why[300];
			if ((int)row->outcome.grade != grade)
				continue;
			shown++;
			gd_lines_put(&s->lines,
			             grade == GD_GRADE_SKIPPED ? GD_STYLE_DIM : GD_STYLE_YELLOW,
			             "  %-8s %s: %s", gd_grade_name(row->outcome.grade), row->name,
			             safe(why, sizeof(why), row->outcome.why.msg));
		}
	}
	if (missing > shown)
		gd_lines_put(&s->lines, GD_STYLE_DIM, "  ... and %zu more (godiag list FILE)",
		             missing - shown);
}

/* What the service said of itself is nowhere above: other tools read it. */
static void show_own(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	char line[300] = "";
	for (size_t i = 0; i < a->n_artifacts; i++) {
		const struct gd_artifact_row *row = &a->artifacts[i];
		char label[64];
		if (strncmp(row->name, "own.", 4) != 0 || row->digest[0] == '\0')
			continue;
		(void)snprintf(label, sizeof(label), "%.60s ", row->name);
		append_bytes(line, sizeof(line), label, (int64_t)row->bytes);
	}
	if (line[0] != '\0')
		gd_lines_put(&s->lines, GD_STYLE_DIM, "  by the service itself: %s", line);
}

static void show_cost(const struct show *s)
{
	const struct gd_snapshot *a = s->snapshot;
	char line[400] = "";
	append_duration(line, sizeof(line), "target stopped for ", (int64_t)a->target_pause_ns);
	append_duration(line, sizeof(line), "own cpu ", a->cpu_ns);
	append_bytes(line, sizeof(line), "own memory ", (int64_t)a->peak_rss_bytes);
	append_bytes(line, sizeof(line), "read ", (int64_t)a->memory_bytes);
	append_number(line, sizeof(line), "faults ", (int64_t)a->memory_faults);
	append_bytes(line, sizeof(line), "archive ", (int64_t)s->summary->reader->file_bytes);
	gd_lines_put(&s->lines, GD_STYLE_DIM, "  cost: %s", line);
}

int gd_report_show(const struct gd_reader *reader, FILE *out, bool color, unsigned width,
                   struct gd_error *err)
{
	struct gd_summary summary;
	int r = gd_summary_read(reader, &summary, err);
	if (r < 0)
		return r;
	struct show s = { .lines = { .out = out, .color = color, .width = width },
		          .summary = &summary, .snapshot = &reader->snapshot };
	show_identity(&s);
	show_occasion(&s);
	show_before(&s);
	show_warnings(&s);
	show_goroutines(&s);
	show_runtime(&s);
	show_process(&s);
	show_cpu(&s);
	show_heap(&s);
	show_core(&s);
	show_missing(&s);
	show_own(&s);
	if (reader->has_snapshot)
		show_cost(&s);
	gd_summary_deinit(&summary);
	return 0;
}
