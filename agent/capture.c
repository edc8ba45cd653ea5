/*
 * The happy path: plan, open target, open archive, read runtime, collect, check target, seal.
 *
 * What goes wrong where, and what is left behind:
 *   open target   gone (exit 2) or not ours to read (3): nothing exists yet
 *   open archive  no place or no space (5): nothing exists yet
 *   read runtime  never fatal: not Go, or not readable, is what the Go collectors report
 *   collect       a collector returns a grade; Ctrl-C skips the rest and seals (130)
 *   check target  gone or another program now: sealed as partial (4)
 *   seal          no space (5): the archive never had a name, so nothing is left
 */
#include "agent/capture.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/host.h"
#include "agent/id.h"
#include "agent/subject.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sm.h"

struct capture {
	const struct gd_capture_options *options;
	struct gd_snapshot *snapshot;
	struct gd_sealed *sealed;
	struct gd_target *target;
	struct gd_go *go;
	struct gd_archive *archive;
	struct gd_collect collect;
	struct gd_outcome worst;
	enum gd_exit exit;     /* of a step that ended the capture */
	struct gd_error error;
};

enum state { OPEN_TARGET, OPEN_ARCHIVE, READ_RUNTIME, COLLECT, CHECK_TARGET, SEAL, DONE, FAILED };

static bool cancelled(const struct capture *c)
{
	return c->options->cancelled != NULL && *c->options->cancelled != 0;
}

static struct gd_step *step_begin(struct capture *c, const char *prefix, const char *name)
{
	struct gd_snapshot *s = c->snapshot;
	/* One step per state and collector: a plan cannot have more (see GD_PLAN_MAX). */
	struct gd_step *step = &s->steps[s->n_steps < GD_STEPS_MAX ? s->n_steps++
	                                                           : GD_STEPS_MAX - 1];
	*step = (struct gd_step){ .started_ns = gd_clock_monotonic_ns() };
	(void)snprintf(step->name, sizeof(step->name), "%s%s", prefix, name);
	return step;
}

static void step_end(struct gd_step *step, struct gd_outcome outcome)
{
	step->ended_ns = gd_clock_monotonic_ns();
	step->outcome = outcome;
}

static enum state fail(struct capture *c, enum gd_exit exit)
{
	c->exit = exit;
	return FAILED;
}

static enum state open_target(struct capture *c)
{
	int r = gd_target_open(c->options->pid, &c->target, &c->error);
	if (r == -EACCES || r == -EPERM)
		return fail(c, GD_EXIT_PERMISSION);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return fail(c, GD_EXIT_SPACE);
	if (r < 0)
		return fail(c, GD_EXIT_GONE);
	int pid = (int)c->options->pid;
	if (c->target->kernel_thread) {
		(void)gd_fail(&c->error, -EINVAL,
		              "pid %d (%s) is a kernel thread: it has no memory of its own to "
		              "capture; see /proc/%d/stack",
		              pid, c->target->comm, pid);
		return fail(c, GD_EXIT_USAGE);
	}
	if (c->target->zombie) {
		(void)gd_fail(&c->error, -ESRCH,
		              "pid %d (%s) has exited already and only waits for its parent to "
		              "notice (zombie)",
		              pid, c->target->comm);
		return fail(c, GD_EXIT_GONE);
	}
	if (c->target->memory == NULL) {
		c->error = c->target->mem_error;
		return fail(c, c->error.code == -ESRCH ? GD_EXIT_GONE : GD_EXIT_PERMISSION);
	}
	gd_subject_fill(c->target, c->snapshot);
	return OPEN_ARCHIVE;
}

static enum state open_archive(struct capture *c)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(65536);
	struct gd_json json = GD_JSON_INIT(&text);
	gd_json_object(&json, NULL);
	gd_snapshot_put_start(c->snapshot, &json);
	gd_plan_put(c->options->plan, &json);
	gd_json_object_end(&json);
	int r = gd_buf_check(&text, "plan", &c->error);
	if (r == 0)
		r = gd_archive_create(c->options->output_dir, text.data, text.len, &c->archive,
		                      &c->error);
	if (r < 0)
		return fail(c, GD_EXIT_SPACE);
	return READ_RUNTIME;
}

static enum state read_runtime(struct capture *c)
{
	pid_t *tids = NULL;
	size_t n_tids = 0;
	(void)gd_target_threads(c->target, &tids, &n_tids, NULL);
	int r = gd_go_open(c->target->memory, &c->target->maps, tids, n_tids, &c->go,
	                   &c->collect.go_error);
	free(tids);
	if (r == -ENOENT)
		(void)gd_fail(&c->collect.go_error, r, "not a Go process");
	if (r == 0) {
		c->snapshot->go_version = strdup(c->go->build.version);
		c->snapshot->go_note = strdup(c->go->note);
	}
	c->collect.target = c->target;
	c->collect.go = c->go;
	c->collect.sink = gd_archive_sink(c->archive);
	c->collect.cancelled = c->options->cancelled;
	return COLLECT;
}

/* Bytes that artifacts from row `from` on take, before compression. */
static uint64_t bytes_since(const struct capture *c, size_t from)
{
	size_t n;
	const struct gd_artifact_row *rows = gd_archive_rows(c->archive, &n);
	uint64_t bytes = 0;
	for (size_t i = from; i < n; i++)
		bytes += rows[i].bytes;
	return bytes;
}

static void run_collector(struct capture *c, const struct gd_plan_item *item)
{
	const struct gd_collector *collector = item->collector;
	const struct gd_capture_options *o = c->options;
	struct gd_step *step = step_begin(c, "collect:", collector->name);
	struct gd_outcome outcome;
	size_t rows_before = 0;
	(void)gd_archive_rows(c->archive, &rows_before);
	c->collect.torn_reads = 0;
	c->collect.torn_repeated = 0;

	if (o->progress != NULL)
		o->progress(o->progress_arg, collector->name, NULL, 0);
	if (cancelled(c))
		outcome = gd_outcome(GD_GRADE_SKIPPED, -ECANCELED, "interrupted");
	else
		outcome = collector->collect(&c->collect);
	step_end(step, outcome);
	step->torn_reads = c->collect.torn_reads;
	step->torn_repeated = c->collect.torn_repeated;
	if (o->progress != NULL)
		o->progress(o->progress_arg, collector->name, step, bytes_since(c, rows_before));

	/* Skipped is no shortcoming (profiling is not linked in, not a Go process) unless that very
	 * collector was asked for. */
	if (outcome.grade == GD_GRADE_SKIPPED && !item->named)
		outcome = GD_OUTCOME_COMPLETE;
	if (outcome.grade != GD_GRADE_COMPLETE)
		(void)gd_error_wrap(&outcome.why, outcome.why.code, "%s %s", collector->name,
		                    gd_grade_name(outcome.grade));
	c->worst = gd_outcome_worse(c->worst, outcome);
}

static enum state collect(struct capture *c)
{
	for (size_t i = 0; i < c->options->plan->n; i++)
		run_collector(c, &c->options->plan->list[i]);
	return CHECK_TARGET;
}

static enum state check_target(struct capture *c)
{
	struct gd_error err = { 0 };
	if (gd_target_check(c->target, &err) < 0) {
		(void)gd_error_wrap(&err, err.code, "during the capture");
		c->worst = gd_outcome_worse(gd_outcome_of(GD_GRADE_PARTIAL, &err), c->worst);
	}
	return SEAL;
}

/* "godiag-<id>-<comm>-<pid>.tar"; comm is foreign, so only harmless characters of it are kept. */
static void make_file_name(const struct capture *c, char *to, size_t size)
{
	char comm[sizeof(c->target->comm)];
	size_t n = 0;
	for (; n + 1 < sizeof(comm) && c->target->comm[n] != '\0'; n++) {
		char letter = c->target->comm[n];
		bool harmless = isalnum((unsigned char)letter) || (letter == '.' && n > 0);
		comm[n] = harmless ? letter : '_';
	}
	comm[n] = '\0';
	(void)snprintf(to, size, "godiag-%s-%s-%d.tar", c->snapshot->id, comm,
	               (int)c->options->pid);
}

static void fill_end(struct capture *c)
{
	struct gd_snapshot *s = c->snapshot;
	struct rusage usage;
	const struct gd_memory_stats *stats = &c->target->memory->stats;
	s->ended = gd_clock_now();
	s->outcome = c->worst;
	s->interrupted = cancelled(c);
	s->memory_reads = stats->reads;
	s->memory_bytes = stats->bytes;
	s->memory_faults = stats->faults;
	s->cpu_ns = gd_clock_cpu_ns();
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		s->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

static enum state seal(struct capture *c)
{
	char name[256];
	make_file_name(c, name, sizeof(name));
	fill_end(c);
	int r = gd_archive_seal(gd_steal_ptr(&c->archive), c->snapshot, name, c->sealed,
	                        &c->error);
	return r < 0 ? fail(c, GD_EXIT_SPACE) : DONE;
}

static const struct gd_sm_state states[] = {
	[OPEN_TARGET] = { "open-target", GD_SM_TO(OPEN_ARCHIVE) | GD_SM_TO(FAILED), GD_SM_INITIAL },
	[OPEN_ARCHIVE] = { "open-archive", GD_SM_TO(READ_RUNTIME) | GD_SM_TO(FAILED), 0 },
	[READ_RUNTIME] = { "read-runtime", GD_SM_TO(COLLECT), 0 },
	[COLLECT] = { "collect", GD_SM_TO(CHECK_TARGET), 0 },
	[CHECK_TARGET] = { "check-target", GD_SM_TO(SEAL), 0 },
	[SEAL] = { "seal", GD_SM_TO(DONE) | GD_SM_TO(FAILED), 0 },
	[DONE] = { "done", 0, GD_SM_FINAL },
	[FAILED] = { "failed", 0, GD_SM_FINAL },
};

static enum state (*const work[])(struct capture *c) = {
	[OPEN_TARGET] = open_target,   [OPEN_ARCHIVE] = open_archive,
	[READ_RUNTIME] = read_runtime, [COLLECT] = collect,
	[CHECK_TARGET] = check_target, [SEAL] = seal,
};

/* From open-target's end until the machine stops there is a target, and after open-archive's an
 * archive, which seal hands over. */
static bool invariant(const void *owner, unsigned state)
{
	const struct capture *c = owner;
	bool needs_target = state > OPEN_TARGET && state < DONE;
	bool has_archive = state > OPEN_ARCHIVE && state < DONE;
	return (!needs_target || c->target != NULL) && has_archive == (c->archive != NULL);
}

static enum gd_exit exit_of(const struct capture *c, struct gd_error *err)
{
	if (c->exit != GD_EXIT_COMPLETE) {
		*err = c->error;
		return c->exit;
	}
	if (c->snapshot->interrupted) {
		(void)gd_fail(err, -ECANCELED, "interrupted; what was finished is sealed");
		return GD_EXIT_INTERRUPTED;
	}
	if (c->worst.grade != GD_GRADE_COMPLETE) {
		*err = c->worst.why;
		return GD_EXIT_PARTIAL;
	}
	return GD_EXIT_COMPLETE;
}

/* Labels and texts belong to the caller, the snapshot owns what it has. */
static int fill_start(struct gd_snapshot *s, const struct gd_capture_options *o)
{
	s->started = gd_clock_now();
	gd_id_make(s->id, s->started.realtime_ns);
	s->trigger = strdup(o->trigger);
	s->reason = strdup(o->reason != NULL ? o->reason : "");
	s->profile = strdup(o->plan->profile);
	s->godiag_version = strdup(GD_VERSION);
	s->labels = calloc(o->n_labels + 1, sizeof(*s->labels));
	if (s->trigger == NULL || s->reason == NULL || s->profile == NULL ||
	    s->godiag_version == NULL || s->labels == NULL)
		return -ENOMEM;
	for (; s->n_labels < o->n_labels; s->n_labels++) {
		struct gd_label *label = &s->labels[s->n_labels];
		label->key = strdup(o->labels[s->n_labels].key);
		label->value = strdup(o->labels[s->n_labels].value);
		if (label->key == NULL || label->value == NULL) {
			free(label->key);
			free(label->value);
			return -ENOMEM;
		}
	}
	gd_host_identify(s);
	return 0;
}

enum gd_exit gd_capture_run(const struct gd_capture_options *options,
                            struct gd_capture_result *ret, struct gd_error *err)
{
	*ret = (struct gd_capture_result){ .snapshot.pid = options->pid };
	struct capture c = {
		.options = options,
		.snapshot = &ret->snapshot,
		.sealed = &ret->sealed,
	};
	struct gd_sm sm = {
		.name = "capture",
		.states = states,
		.n_states = sizeof(states) / sizeof(*states),
		.owner = &c,
		.invariant = invariant,
	};
	if (fill_start(&ret->snapshot, options) < 0) {
		(void)gd_fail_errno(err, -ENOMEM, "capture");
		return GD_EXIT_SPACE;
	}
	gd_sm_start(&sm);
	while (!gd_sm_is_final(&sm)) {
		/* collect stamps one step per collector; seal cannot write its own end */
		bool stamped = sm.state != COLLECT && sm.state != SEAL;
		struct gd_step *step = stamped ? step_begin(&c, "", gd_sm_name(&sm)) : NULL;
		enum state next = work[sm.state](&c);
		if (step != NULL)
			step_end(step, next == FAILED
			                       ? gd_outcome_of(GD_GRADE_FAILED, &c.error)
			                       : GD_OUTCOME_COMPLETE);
		gd_sm_move(&sm, next);
	}
	enum gd_exit exit = exit_of(&c, err);
	gd_archive_abandon(c.archive);
	gd_go_close(c.go);
	gd_target_close(c.target);
	return exit;
}

void gd_capture_result_deinit(struct gd_capture_result *result)
{
	gd_snapshot_deinit(&result->snapshot);
}

int gd_capture_check_states(struct gd_error *err)
{
	return gd_sm_check(states, sizeof(states) / sizeof(*states), err);
}
