#include "policies/replay.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policies/replay_line.h"
#include "policies/replay_processes.h"
#include "policies/replay_queue.h"

#define DAY_NS (UINT64_C(86400) * 1000000000)

struct gd_replay {
	struct gd_replay_options options;
	gd_replay_fn *fired;
	void *arg;
	struct gd_engine *engine;
	struct gd_admission *admission;
	struct gd_replay_queue queue;
	struct gd_replay_processes processes;
	bool *seen;          /* by service: it ever had a process */
	struct gd_replay_stats stats;
	char default_service[GD_POLICY_NAME_MAX];
	int32_t default_pid;
	/* Of the line at hand. */
	int64_t now_ns, realtime_ns;
	const struct gd_replay_line *line;
	struct gd_subject_id gone; /* whom "gone" is about */
	/* What was before. */
	uint64_t interval_ns;
	bool learns;
	bool begun;
	int64_t first_ns;    /* of this life of the agent */
	bool looked;         /* first_ns is set */
	bool has_offset;
	int64_t offset_ns;   /* from t to the steady clock, where a line had both */
	uint64_t n_captures;
};

/* ---- what fires ---- */

/* A recording without processes says nothing of them. */
static bool has_process(const struct gd_replay *replay, size_t service)
{
	return gd_replay_processes_oldest(&replay->processes, service) != NULL ||
	       !replay->seen[service];
}

/* Whom the daemon would capture: the one that fired, else the service's oldest. */
static struct gd_subject_id subject_of(const struct gd_replay *replay,
                                       const struct gd_fired *fired)
{
	if (fired->subject.pid != 0)
		return fired->subject;
	if (fired->rule->kind == GD_WHEN_EVENT)
		return replay->gone;
	const struct gd_replay_process *oldest =
		gd_replay_processes_oldest(&replay->processes, fired->rule->service);
	return oldest != NULL ? oldest->id : (struct gd_subject_id){ 0 };
}

static void ended(void *arg, const char *id, int64_t at_ns)
{
	struct gd_replay *replay = arg;
	const struct gd_clock at = { .boottime_ns = at_ns, .realtime_ns = replay->realtime_ns };
	(void)gd_admission_ended(replay->admission, id, false, replay->options.capture_bytes, 0, &at,
	                         NULL);
}

static void on_fired(void *arg, const struct gd_fired *fired)
{
	struct gd_replay *replay = arg;
	const struct gd_replay_line *line = replay->line;
	bool alert = fired->rule->kind == GD_WHEN_ALERT && line != NULL;
	bool gone = fired->rule->kind == GD_WHEN_EVENT && fired->rule->event == GD_EVENT_GONE;
	char id[64];
	struct gd_decision decision = { 0 };
	(void)snprintf(id, sizeof(id), "replay-%" PRIu64, ++replay->n_captures);
	const struct gd_trigger trigger = {
		.rule = fired->rule,
		.service = replay->options.policy->services[fired->rule->service].name,
		.subject = subject_of(replay, fired),
		.fingerprint = alert ? line->fingerprint : NULL,
		.starts_at = alert ? line->starts_at : NULL,
		.capture_id = id,
		.now = { .boottime_ns = replay->now_ns, .realtime_ns = replay->realtime_ns },
	};
	struct gd_load load = { .queue_max = replay->options.queue_max,
		                .has_target = gone || has_process(replay, fired->rule->service) };
	gd_replay_queue_end(&replay->queue, replay->now_ns, ended, replay);
	gd_replay_queue_look(&replay->queue, replay->now_ns, &load.running, &load.queued);
	struct gd_error err = { 0 };
	if (gd_admission_decide(replay->admission, &trigger, &load, &decision, &err) < 0) {
		decision.verdict = GD_VERDICT_SPACE;
		(void)snprintf(decision.why, sizeof(decision.why), "%s", err.msg);
	}
	if (decision.verdict == GD_VERDICT_ADMITTED)
		gd_replay_queue_add(&replay->queue, id, replay->now_ns, replay->options.capture_ns);
	if (decision.verdict == GD_VERDICT_BUSY)
		gd_engine_again(replay->engine, fired->rule, fired->subject);
	replay->stats.fired++;
	replay->stats.verdicts[decision.verdict]++;
	const struct gd_replay_firing firing = {
		.line = (unsigned)replay->stats.lines,
		.realtime_ns = replay->realtime_ns,
		.fired = fired,
		.service = trigger.service,
		.decision = &decision,
	};
	replay->fired(replay->arg, &firing);
}

static int start_engine(struct gd_replay *replay, struct gd_error *err)
{
	struct gd_engine *engine;
	int r = gd_engine_create(replay->options.policy, on_fired, replay, &engine, err);
	if (r < 0)
		return r;
	if (replay->engine != NULL) {
		struct gd_engine_stats stats;
		gd_engine_stats(replay->engine, &stats);
		replay->stats.engine.samples += stats.samples;
		replay->stats.engine.ignored += stats.ignored;
		replay->stats.engine.gaps += stats.gaps;
		replay->stats.engine.fired += stats.fired;
	}
	gd_engine_destroy(replay->engine);
	gd_engine_interval(engine, replay->interval_ns);
	replay->engine = engine;
	replay->looked = false;
	return 0;
}

/* ---- create and destroy ---- */

int gd_replay_create(const struct gd_replay_options *options, gd_replay_fn *fired, void *arg,
                     struct gd_replay **ret, struct gd_error *err)
{
	static const struct gd_clock origin = { 0 };
	char note[248];
	struct gd_replay *replay = calloc(1, sizeof(*replay));
	if (replay == NULL)
		return gd_fail_errno(err, -ENOMEM, "replay");
	replay->options = *options;
	replay->fired = fired;
	replay->arg = arg;
	replay->interval_ns = options->interval_ns;
	replay->learns = options->interval_ns == 0;
	if (replay->learns)
		replay->interval_ns = GD_ENGINE_INTERVAL_NS;
	replay->stats.step_ns = UINT64_MAX;
	const struct gd_admission_options memory = {
		.host = options->host != NULL ? options->host : "",
		.boot_id = "replay",
		.now = &origin,
	};
	/* One runs, and the queue has room for one more than it takes. */
	if (replay->options.queue_max > GD_REPLAY_JOBS_MAX - 2)
		replay->options.queue_max = GD_REPLAY_JOBS_MAX - 2;
	if (replay->options.capture_ns > DAY_NS)
		replay->options.capture_ns = DAY_NS;
	replay->seen = calloc(options->policy->n_services + 1, sizeof(*replay->seen));
	int r = replay->seen == NULL ? gd_fail_errno(err, -ENOMEM, "replay") : 0;
	if (r == 0)
		r = start_engine(replay, err);
	if (r == 0)
		r = gd_admission_open_with(&memory, &replay->admission, note, err);
	if (r < 0) {
		gd_replay_destroy(replay);
		return r;
	}
	gd_admission_policy(replay->admission, options->policy);
	*ret = replay;
	return 0;
}

void gd_replay_destroy(struct gd_replay *replay)
{
	if (replay == NULL)
		return;
	gd_engine_destroy(replay->engine);
	gd_admission_close(replay->admission);
	gd_replay_processes_deinit(&replay->processes);
	free(replay->seen);
	free(replay);
}

/* ---- processes ---- */

static int find_service(const struct gd_replay *replay, const char *name, size_t *ret,
                        struct gd_error *err)
{
	const struct gd_policy *policy = replay->options.policy;
	if (name[0] == '\0')
		name = replay->default_service;
	if (name[0] == '\0' && replay->options.service != NULL)
		name = replay->options.service;
	if (name[0] == '\0' && policy->n_services != 1)
		return gd_fail(err, -EBADMSG, "which service? The policy has %zu of them",
		               policy->n_services);
	for (size_t i = 0; i < policy->n_services; i++) {
		if (name[0] == '\0' || strcmp(policy->services[i].name, name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return gd_fail(err, -EBADMSG, "the policy has no such service");
}

static void forget(struct gd_replay *replay, const struct gd_replay_process *process)
{
	replay->gone = process->id;
	gd_replay_processes_remove(&replay->processes, process);
	gd_engine_gone(replay->engine, replay->gone, replay->now_ns);
}

static int remember(struct gd_replay *replay, const struct gd_replay_process *process,
                    bool started, struct gd_error *err)
{
	bool first_look = !started &&
	                  replay->now_ns - replay->first_ns < (int64_t)replay->interval_ns;
	int r = gd_replay_processes_add(&replay->processes, process, err);
	if (r < 0)
		return r;
	replay->seen[process->service] = true;
	return gd_engine_process(replay->engine, process->id, process->service, first_look,
	                         replay->now_ns, err);
}

/* Whom the line is about, announced to the engine when it is new. */
static int meet(struct gd_replay *replay, const struct gd_replay_line *line,
                struct gd_replay_process **ret, struct gd_error *err)
{
	struct gd_replay_process process = { .id.pid = line->pid };
	bool started = line->kind == GD_REPLAY_START;
	if (process.id.pid == 0)
		process.id.pid = replay->default_pid != 0 ? replay->default_pid : 1;
	int r = find_service(replay, line->service, &process.service, err);
	if (r < 0)
		return r;
	const struct gd_replay_process *before =
		gd_replay_processes_find(&replay->processes, process.id.pid);
	if (before != NULL && before->service != process.service)
		return gd_fail(err, -EBADMSG, "pid %" PRId32 " was of another service before",
		               process.id.pid);
	if (before != NULL)
		process.id.start_ticks = before->id.start_ticks;
	if (line->has_start)
		process.id.start_ticks = line->start;
	else if (started)
		process.id.start_ticks++; /* another one, whatever its real start */
	if (!replay->looked) {
		replay->looked = true;
		replay->first_ns = replay->now_ns;
	}
	if (before == NULL || before->id.start_ticks != process.id.start_ticks) {
		if (before != NULL)
			forget(replay, before);
		r = remember(replay, &process, started, err);
	}
	if (r == 0)
		*ret = gd_replay_processes_find(&replay->processes, process.id.pid);
	return r;
}

/* ---- lines ---- */

/* Sets the clocks of the line; what the second before made due comes first. */
static void advance(struct gd_replay *replay, const struct gd_replay_line *line)
{
	int64_t now_ns = line->realtime_ns;
	if (line->has_steady) {
		now_ns = line->steady_ns;
		replay->offset_ns = now_ns - line->realtime_ns;
		replay->has_offset = true;
	} else if (replay->has_offset) {
		now_ns += replay->offset_ns;
		if (now_ns < 0)
			now_ns = 0;
	}
	if (!replay->begun) {
		replay->stats.first_realtime_ns = line->realtime_ns;
		replay->now_ns = now_ns;
	}
	if (now_ns > replay->now_ns)
		gd_replay_end(replay);
	replay->begun = true;
	replay->now_ns = now_ns;
	replay->realtime_ns = line->realtime_ns;
	replay->stats.last_realtime_ns = line->realtime_ns;
}

void gd_replay_end(struct gd_replay *replay)
{
	replay->line = NULL;
	if (replay->begun)
		gd_engine_tick(replay->engine, replay->now_ns, replay->options.seed);
}

static void feed_alert(struct gd_replay *replay, const struct gd_replay_line *line)
{
	const struct gd_policy *policy = replay->options.policy;
	bool any = false;
	for (size_t i = 0; i < policy->n_rules && !line->resolved; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		if (!gd_engine_alert_matches(rule, line->alert, line->labels, line->n_labels))
			continue;
		any = true;
		gd_engine_alert(replay->engine, rule, replay->now_ns);
	}
	replay->stats.alerts_ignored += !any;
}

/* How far apart its samples are; before this one is judged by it. */
static void measure(struct gd_replay *replay, struct gd_replay_process *process)
{
	int64_t step_ns = process->sampled ? replay->now_ns - process->last_ns : 0;
	process->sampled = true;
	process->last_ns = replay->now_ns;
	if (step_ns <= 0 || (uint64_t)step_ns >= replay->stats.step_ns)
		return;
	replay->stats.step_ns = (uint64_t)step_ns;
	if (!replay->learns)
		return;
	replay->interval_ns = (uint64_t)step_ns;
	if (replay->interval_ns < GD_ENGINE_INTERVAL_NS)
		replay->interval_ns = GD_ENGINE_INTERVAL_NS;
	if (replay->interval_ns > DAY_NS)
		replay->interval_ns = DAY_NS;
	gd_engine_interval(replay->engine, replay->interval_ns);
}

static int feed_process(struct gd_replay *replay, const struct gd_replay_line *line,
                        struct gd_error *err)
{
	struct gd_replay_process *process = NULL;
	int r = meet(replay, line, &process, err);
	if (r < 0)
		return r;
	if (line->kind == GD_REPLAY_SAMPLE) {
		measure(replay, process);
		gd_engine_sample(replay->engine, process->id, replay->now_ns, line->values);
	} else if (line->kind == GD_REPLAY_EVENT && line->event == GD_EVENT_GONE) {
		forget(replay, process);
	} else if (line->kind == GD_REPLAY_EVENT) {
		gd_engine_event(replay->engine, process->id, line->event, replay->now_ns);
	}
	return 0;
}

static int feed(struct gd_replay *replay, const struct gd_replay_line *line, struct gd_error *err)
{
	if (line->kind == GD_REPLAY_NOTHING)
		return 0;
	if (line->kind == GD_REPLAY_HEAD) {
		size_t service;
		memcpy(replay->default_service, line->service, sizeof(replay->default_service));
		replay->default_pid = line->pid;
		replay->learns = false; /* the agent's own */
		return line->service[0] != '\0' ? find_service(replay, line->service, &service, err)
		                                : 0;
	}
	advance(replay, line);
	replay->line = line;
	if (line->kind == GD_REPLAY_AGENT_START) {
		replay->processes.n = 0;
		return start_engine(replay, err);
	}
	if (line->kind == GD_REPLAY_ALERT) {
		feed_alert(replay, line);
		return 0;
	}
	return feed_process(replay, line, err);
}

int gd_replay_line(struct gd_replay *replay, const char *text, size_t len, struct gd_error *err)
{
	struct gd_replay_line line;
	replay->stats.lines++;
	int r = len > GD_REPLAY_LINE_MAX
	                ? gd_fail(err, -EBADMSG, "longer than %d bytes", GD_REPLAY_LINE_MAX)
	                : gd_replay_line_parse(text, len, &line, err);
	if (r == 0) {
		r = feed(replay, &line, err);
		replay->line = NULL;
		gd_replay_line_deinit(&line);
	}
	if (r < 0)
		return gd_error_wrap(err, r, "line %" PRIu64, replay->stats.lines);
	return 0;
}

/* Gives the whole lines of `text` to the replay and keeps the rest of it. */
static int take_lines(struct gd_replay *replay, struct gd_buf *text, struct gd_error *err)
{
	size_t pos = 0;
	const char *end;
	while ((end = memchr(text->data + pos, '\n', text->len - pos)) != NULL) {
		size_t n = (size_t)(end - text->data) - pos;
		int r = gd_replay_line(replay, text->data + pos, n, err);
		if (r < 0)
			return r;
		pos += n + 1;
	}
	memmove(text->data, text->data + pos, text->len - pos);
	text->len -= pos;
	return 0;
}

int gd_replay_read(struct gd_replay *replay, int fd, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(2 * GD_REPLAY_LINE_MAX);
	for (;;) {
		char *to = gd_buf_reserve(&text, GD_REPLAY_LINE_MAX);
		if (to == NULL) {
			/* A rest that long is one line: the same words as for any other. */
			int r = gd_buf_check(&text, "replay", err);
			return r == -E2BIG ? gd_replay_line(replay, text.data, text.len, err) : r;
		}
		ssize_t n = read(fd, to, GD_REPLAY_LINE_MAX);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "read");
		if (n == 0)
			break;
		text.len += (size_t)n;
		int r = take_lines(replay, &text, err);
		if (r < 0)
			return r;
	}
	int r = text.len > 0 ? gd_replay_line(replay, text.data, text.len, err) : 0;
	if (r == 0)
		gd_replay_end(replay);
	return r;
}

void gd_replay_stats(const struct gd_replay *replay, struct gd_replay_stats *ret)
{
	struct gd_engine_stats stats;
	*ret = replay->stats;
	gd_engine_stats(replay->engine, &stats);
	ret->engine.samples += stats.samples;
	ret->engine.ignored += stats.ignored;
	ret->engine.gaps += stats.gaps;
	ret->engine.fired += stats.fired;
	ret->engine.processes = stats.processes;
	if (ret->step_ns == UINT64_MAX)
		ret->step_ns = 0;
}

void gd_replay_put(const struct gd_replay_firing *firing, struct gd_buf *to)
{
	char time[GD_CLOCK_TEXT];
	const struct gd_decision *decision = firing->decision;
	gd_buf_printf(to, "%s  line %u  %s  %s  %s: %s%s", gd_clock_text(time, firing->realtime_ns),
	              firing->line, firing->fired->rule->name, firing->service,
	              gd_verdict_names[decision->verdict], firing->fired->why,
	              firing->fired->degraded ? " (light only: unless)" : "");
	if (decision->why[0] != '\0')
		gd_buf_printf(to, "; %s", decision->why);
	gd_buf_putc(to, '\n');
}
