#include "tests/series.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

#define S 1e9
#define STEADY_NS INT64_C(5000000000000) /* the machine has been up for a while */
#define REALTIME_NS INT64_C(1795203907000000000)
#define SEED 42
#define STEPS_MAX 4000
#define ALIVE_MAX 64

struct step {
	enum { SAMPLE, START, EVENT, AGENT_START, ALERT } kind;
	int64_t steady_ns, realtime_ns;
	int pid;
	uint64_t start;
	const char *service;
	double values[GD_METRICS];
	enum gd_event event;
	const char *alert, *severity, *fingerprint, *starts_at;
};

/* One firing on its way into the logs. */
struct log {
	struct gd_buf lines, reasons;
};

struct alive {
	struct gd_subject_id id;
	size_t service;
	bool ever;
};

static struct {
	struct gd_policy *policy;
	struct step steps[STEPS_MAX];
	size_t n;
	int64_t clock_ns; /* the wall clock is off by */
	bool no_steady;
	int64_t capture_ns;
	unsigned queue_max;
	struct log direct, replayed;
	uint64_t ignored;
} series;

/* ---- the series ---- */

const struct gd_policy *series_policy(const char *yaml)
{
	struct gd_error err = { 0 };
	gd_policy_free(series.policy);
	series.policy = NULL;
	assert_ok(gd_policy_parse("test.yaml", yaml, strlen(yaml), &series.policy, NULL, &err), &err);
	series_begin();
	return series.policy;
}

void series_begin(void)
{
	series.n = 0;
	series.clock_ns = 0;
	series.no_steady = false;
	series.capture_ns = 0;
	series.queue_max = 8;
}

void series_set_clock(double by_s)
{
	series.clock_ns += (int64_t)(by_s * S);
}

void series_forget_steady_clock(void)
{
	series.no_steady = true;
}

static struct step *add(int kind, double t_s)
{
	assert_true(series.n < STEPS_MAX);
	struct step *step = &series.steps[series.n++];
	int64_t t_ns = (int64_t)llround(t_s * S);
	*step = (struct step){ .steady_ns = STEADY_NS + t_ns,
		               .realtime_ns = REALTIME_NS + t_ns + series.clock_ns };
	memcpy(&step->kind, &kind, sizeof(kind));
	for (size_t i = 0; i < GD_METRICS; i++)
		step->values[i] = NAN;
	return step;
}

void series_sample(double t_s, int pid, const char *service, enum gd_metric metric, double value)
{
	struct step *step = add(SAMPLE, t_s);
	step->pid = pid;
	step->service = service;
	step->values[metric] = value;
}

void series_also(enum gd_metric metric, double value)
{
	series.steps[series.n - 1].values[metric] = value;
}

void series_start(double t_s, int pid, uint64_t start_ticks, const char *service)
{
	struct step *step = add(START, t_s);
	step->pid = pid;
	step->start = start_ticks;
	step->service = service;
}

void series_event(double t_s, int pid, const char *service, enum gd_event event)
{
	struct step *step = add(EVENT, t_s);
	step->pid = pid;
	step->service = service;
	step->event = event;
}

void series_agent_start(double t_s)
{
	(void)add(AGENT_START, t_s);
}

void series_alert(double t_s, const char *name, const char *severity, const char *fingerprint,
                  const char *starts_at)
{
	struct step *step = add(ALERT, t_s);
	step->alert = name;
	step->severity = severity;
	step->fingerprint = fingerprint;
	step->starts_at = starts_at;
}

static double value_of(const struct gd_rule *rule, char c)
{
	double level = rule->when.level;
	double clear = rule->clear;
	double more = rule->when.below ? 0.5 : 2;
	switch (c) {
	case 'H':
		return level * more;
	case 'E':
		return level;
	case 'M':
		return (level + clear) / 2;
	case 'C':
		return clear;
	case 'L':
		return clear / more;
	default:
		return NAN;
	}
}

void series_row(double t_s, int pid, const struct gd_rule *rule, const char *row)
{
	const char *service = series.policy->services[rule->service].name;
	for (const char *c = row; *c != '\0'; c++, t_s += 1)
		if (*c != '.')
			series_sample(t_s, pid, service, rule->when.metric, value_of(rule, *c));
}

void series_captures_take(double s, unsigned queue_max)
{
	series.capture_ns = (int64_t)(s * S);
	series.queue_max = queue_max;
}

static void log_firing(struct log *log, const struct gd_fired *fired,
                       const struct gd_decision *decision)
{
	gd_buf_printf(&log->lines, "%.9g %s %" PRId32 " %s%s\n",
	              (double)(fired->at_ns - STEADY_NS) / S, fired->rule->name,
	              fired->subject.pid, gd_verdict_names[decision->verdict],
	              fired->degraded ? " light" : "");
	gd_buf_printf(&log->reasons, "%s: %s\n", fired->why, decision->why);
}

/* ---- as the agent does it ---- */

struct direct {
	const struct gd_policy *policy;
	struct gd_engine *engine;
	struct gd_admission *admission;
	struct alive alive[ALIVE_MAX];
	size_t n_alive;
	bool had_process[GD_POLICY_SERVICES_MAX];
	struct gd_subject_id gone;
	const struct step *step;
	int64_t ends_ns[64]; /* of captures that run or wait */
	char ids[64][64];
	size_t n_ends;
	unsigned n_captures;
	int64_t born_ns; /* first look of this life of the agent */
};

static struct gd_clock clock_of(const struct direct *d)
{
	return (struct gd_clock){ .boottime_ns = d->step->steady_ns,
		                  .realtime_ns = d->step->realtime_ns };
}

static struct gd_subject_id main_of(const struct direct *d, size_t service)
{
	for (size_t i = 0; i < d->n_alive; i++)
		if (d->alive[i].service == service)
			return d->alive[i].id;
	return (struct gd_subject_id){ 0 };
}

static void end_captures(struct direct *d, int64_t now_ns)
{
	while (d->n_ends > 0 && d->ends_ns[0] <= now_ns) {
		struct gd_clock at = clock_of(d);
		at.boottime_ns = d->ends_ns[0];
		assert_int_equal(gd_admission_ended(d->admission, d->ids[0], false, 0, 0, &at, NULL),
		                 0);
		d->n_ends--;
		memmove(d->ends_ns, d->ends_ns + 1, d->n_ends * sizeof(d->ends_ns[0]));
		memmove(d->ids, d->ids + 1, d->n_ends * sizeof(d->ids[0]));
	}
}

static void start_capture(struct direct *d, const char *id, int64_t now_ns)
{
	int64_t from_ns = now_ns;
	if (d->n_ends > 0 && d->ends_ns[d->n_ends - 1] > now_ns)
		from_ns = d->ends_ns[d->n_ends - 1];
	(void)snprintf(d->ids[d->n_ends], sizeof(d->ids[0]), "%s", id);
	d->ends_ns[d->n_ends++] = from_ns + series.capture_ns;
}

static void on_direct(void *arg, const struct gd_fired *fired)
{
	struct direct *d = arg;
	char id[64];
	struct gd_decision decision;
	struct gd_error err = { 0 };
	struct gd_trigger trigger = {
		.rule = fired->rule,
		.service = d->policy->services[fired->rule->service].name,
		.subject = fired->subject,
		.capture_id = id,
		.now = clock_of(d),
	};
	(void)snprintf(id, sizeof(id), "direct-%u", ++d->n_captures);
	bool gone = fired->rule->kind == GD_WHEN_EVENT && fired->rule->event == GD_EVENT_GONE;
	if (fired->rule->kind == GD_WHEN_ALERT) {
		trigger.fingerprint = d->step->fingerprint;
		trigger.starts_at = d->step->starts_at;
	}
	if (gone)
		trigger.subject = d->gone;
	else if (fired->subject.pid == 0)
		trigger.subject = main_of(d, fired->rule->service);
	end_captures(d, d->step->steady_ns);
	struct gd_load load = { .queue_max = series.queue_max,
		                .running = d->n_ends > 0,
		                .queued = d->n_ends > 0 ? (unsigned)d->n_ends - 1 : 0 };
	load.has_target = trigger.subject.pid != 0 || !d->had_process[fired->rule->service];
	assert_ok(gd_admission_decide(d->admission, &trigger, &load, &decision, &err), &err);
	if (decision.verdict == GD_VERDICT_ADMITTED)
		start_capture(d, id, d->step->steady_ns);
	if (decision.verdict == GD_VERDICT_BUSY)
		gd_engine_again(d->engine, fired->rule, fired->subject);
	log_firing(&series.direct, fired, &decision);
}

static struct alive *find_alive(struct direct *d, int pid)
{
	for (size_t i = 0; i < d->n_alive; i++)
		if (d->alive[i].id.pid == pid)
			return &d->alive[i];
	return NULL;
}

static void bury(struct direct *d, struct alive *alive)
{
	d->gone = alive->id;
	d->n_alive--;
	memmove(alive, alive + 1, (size_t)(&d->alive[d->n_alive] - alive) * sizeof(*alive));
	gd_engine_gone(d->engine, d->gone, d->step->steady_ns);
}

static size_t service_of(const struct direct *d, const char *name)
{
	for (size_t i = 0; i < d->policy->n_services; i++)
		if (strcmp(d->policy->services[i].name, name) == 0)
			return i;
	fail_msg("no service %s", name);
	return 0;
}

static struct alive *meet(struct direct *d, uint64_t start)
{
	const struct step *step = d->step;
	struct gd_error err = { 0 };
	struct alive *alive = find_alive(d, step->pid);
	if (alive != NULL && step->kind == START && alive->id.start_ticks != start) {
		bury(d, alive);
		alive = NULL;
	}
	if (d->born_ns < 0)
		d->born_ns = step->steady_ns;
	if (alive != NULL)
		return alive;
	bool first_look = step->kind != START && step->steady_ns - d->born_ns < (int64_t)S;
	assert_true(d->n_alive < ALIVE_MAX);
	alive = &d->alive[d->n_alive++];
	*alive = (struct alive){ .id = { step->pid, start },
		                 .service = service_of(d, step->service) };
	d->had_process[alive->service] = true;
	assert_ok(gd_engine_process(d->engine, alive->id, alive->service, first_look,
	                            step->steady_ns, &err),
	          &err);
	return alive;
}

static void start_agent(struct direct *d)
{
	struct gd_error err = { 0 };
	gd_engine_destroy(d->engine);
	d->engine = NULL;
	assert_ok(gd_engine_create(d->policy, on_direct, d, &d->engine, &err), &err);
	d->n_alive = 0;
	d->born_ns = -1;
}

static void alert(struct direct *d)
{
	char key[] = "severity";
	char value[64];
	(void)snprintf(value, sizeof(value), "%s", d->step->severity);
	const struct gd_policy_label label = { key, value };
	for (size_t i = 0; i < d->policy->n_rules; i++)
		if (gd_engine_alert_matches(&d->policy->rules[i], d->step->alert, &label, 1))
			gd_engine_alert(d->engine, &d->policy->rules[i], d->step->steady_ns);
}

static void feed(struct direct *d)
{
	const struct step *step = d->step;
	struct alive *alive = NULL;
	if (step->kind == SAMPLE || step->kind == EVENT || step->kind == START)
		alive = meet(d, step->start);
	if (step->kind == SAMPLE)
		gd_engine_sample(d->engine, alive->id, step->steady_ns, step->values);
	else if (step->kind == EVENT && step->event == GD_EVENT_GONE)
		bury(d, alive);
	else if (step->kind == EVENT)
		gd_engine_event(d->engine, alive->id, step->event, step->steady_ns);
	else if (step->kind == AGENT_START)
		start_agent(d);
	else if (step->kind == ALERT)
		alert(d);
}

static void play_direct(const struct gd_policy *policy)
{
	static const struct gd_clock origin = { 0 };
	const struct gd_admission_options memory = { .host = "host", .boot_id = "one", .now = &origin };
	struct direct *d = calloc(1, sizeof(*d));
	struct gd_error err = { 0 };
	char note[248];
	assert_non_null(d);
	d->policy = policy;
	assert_ok(gd_admission_open_with(&memory, &d->admission, note, &err), &err);
	gd_admission_policy(d->admission, policy);
	start_agent(d);
	for (size_t i = 0; i < series.n; i++) {
		const struct step *before = d->step;
		const struct step *step = &series.steps[i];
		if (before != NULL && step->steady_ns > before->steady_ns)
			gd_engine_tick(d->engine, before->steady_ns, SEED);
		d->step = step;
		feed(d);
	}
	if (d->step != NULL)
		gd_engine_tick(d->engine, d->step->steady_ns, SEED);
	gd_engine_destroy(d->engine);
	gd_admission_close(d->admission);
	free(d);
}

/* ---- as a recording ---- */

static void put_metrics(const struct step *step, struct gd_buf *to)
{
	for (size_t i = 0; i < GD_METRICS; i++)
		if (isinf(step->values[i]))
			gd_buf_printf(to, ",\"%s\":\"inf\"", gd_metrics[i].name);
		else if (!isnan(step->values[i]))
			gd_buf_printf(to, ",\"%s\":%.17g", gd_metrics[i].name, step->values[i]);
}

static void put_step(const struct step *step, struct gd_buf *to)
{
	char time[GD_CLOCK_TEXT];
	gd_buf_printf(to, "{\"t\":\"%s\"", gd_clock_text(time, step->realtime_ns));
	if (!series.no_steady)
		gd_buf_printf(to, ",\"boottime_ns\":%" PRId64, step->steady_ns);
	if (step->kind == ALERT) {
		gd_buf_printf(to, ",\"alert\":\"%s\",\"labels\":{\"severity\":\"%s\"}", step->alert,
		              step->severity);
		gd_buf_printf(to, ",\"fingerprint\":\"%s\",\"starts_at\":\"%s\"}\n",
		              step->fingerprint, step->starts_at);
		return;
	}
	if (step->kind == AGENT_START) {
		gd_buf_puts(to, ",\"event\":\"agent_start\"}\n");
		return;
	}
	gd_buf_printf(to, ",\"service\":\"%s\",\"pid\":%d", step->service, step->pid);
	if (step->kind == START)
		gd_buf_printf(to, ",\"event\":\"start\",\"start\":%" PRIu64, step->start);
	else if (step->kind == EVENT)
		gd_buf_printf(to, ",\"event\":\"%s\"", gd_event_names[step->event]);
	else
		put_metrics(step, to);
	gd_buf_puts(to, "}\n");
}

static void on_replayed(void *arg, const struct gd_replay_firing *firing)
{
	struct gd_fired fired = *firing->fired;
	(void)arg;
	/* Without another clock the wall clock is the steady one. */
	if (series.no_steady)
		fired.at_ns += STEADY_NS - REALTIME_NS;
	log_firing(&series.replayed, &fired, firing->decision);
}

static void play_replay(const struct gd_policy *policy)
{
	const struct gd_replay_options options = {
		.policy = policy,
		.host = "host",
		.seed = SEED,
		.interval_ns = GD_ENGINE_INTERVAL_NS,
		.capture_ns = (uint64_t)series.capture_ns,
		.queue_max = series.queue_max,
	};
	GD_BUF struct gd_buf text = GD_BUF_INIT(16 << 20);
	struct gd_replay *replay;
	struct gd_replay_stats stats;
	struct gd_error err = { 0 };
	for (size_t i = 0; i < series.n; i++)
		put_step(&series.steps[i], &text);
	assert_ok(gd_replay_create(&options, on_replayed, NULL, &replay, &err), &err);
	const char *line = gd_buf_str(&text);
	while (*line != '\0') {
		size_t n = strcspn(line, "\n");
		assert_ok(gd_replay_line(replay, line, n, &err), &err);
		line += n + 1;
	}
	gd_replay_end(replay);
	gd_replay_stats(replay, &stats);
	series.ignored = stats.engine.ignored;
	gd_replay_destroy(replay);
}

static void reset(struct log *log)
{
	log->lines.ceiling = log->reasons.ceiling = 16 << 20;
	gd_buf_reset(&log->lines);
	gd_buf_reset(&log->reasons);
}

/* Capture ids differ between the two ways, and only they. */
static void without_names(struct gd_buf *text)
{
	char *name;
	(void)gd_buf_str(text);
	while ((name = strstr(text->data, "direct-")) != NULL)
		memcpy(name, "replay-", 7);
}

const char *series_play(const struct gd_policy *policy)
{
	reset(&series.direct);
	reset(&series.replayed);
	play_direct(policy);
	play_replay(policy);
	without_names(&series.direct.reasons);
	if (!series.no_steady || series.clock_ns == 0) {
		assert_string_equal(gd_buf_str(&series.replayed.lines),
		                    gd_buf_str(&series.direct.lines));
		assert_string_equal(gd_buf_str(&series.replayed.reasons),
		                    gd_buf_str(&series.direct.reasons));
	}
	return gd_buf_str(&series.replayed.lines);
}

const char *series_reasons(void)
{
	return gd_buf_str(&series.replayed.reasons);
}

uint64_t series_ignored(void)
{
	return series.ignored;
}

void series_end(void)
{
	gd_policy_free(series.policy);
	series.policy = NULL;
	gd_buf_deinit(&series.direct.lines);
	gd_buf_deinit(&series.direct.reasons);
	gd_buf_deinit(&series.replayed.lines);
	gd_buf_deinit(&series.replayed.reasons);
}
