#include "policies/engine.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policies/engine_machine.h"
#include "policies/engine_why.h"
#include "policies/sampling.h"

#define BUCKETS 1024 /* a power of two */

struct process {
	struct process *next; /* of its bucket */
	struct gd_subject_id id;
	size_t service;
	int64_t last_ns; /* last sample, or GD_ENGINE_NEVER */
	struct gd_engine_machine machines[]; /* as the rules of its service */
};

/* The rules of one service: order[first] to order[first + n - 1]. */
struct group {
	size_t first, n;
};

/* What a rule remembers beyond its processes. */
struct memory {
	int64_t *starts;  /* RESTARTS: times of the last ones, a ring of event_count */
	uint64_t n_starts; /* since it fired last */
	int64_t slot;     /* SCHEDULE: the last one that was due, or GD_ENGINE_NEVER */
	size_t place;     /* among the rules of its service */
};

struct gd_engine {
	const struct gd_policy *policy;
	gd_engine_fired_fn *fired;
	void *arg;
	uint64_t interval_ns;
	struct group *groups;    /* by service */
	size_t *order;           /* rules by service, in the order of the policy */
	struct memory *memories; /* by rule */
	struct gd_engine_stats stats;
	struct process *buckets[BUCKETS];
};

/* Pids are handed out in turn: their low bits are as good as a hash. */
static size_t bucket_of(int32_t pid)
{
	return (uint32_t)pid & (BUCKETS - 1);
}

static struct process *find(const struct gd_engine *engine, struct gd_subject_id id)
{
	struct process *process = engine->buckets[bucket_of(id.pid)];
	while (process != NULL &&
	       (process->id.pid != id.pid || process->id.start_ticks != id.start_ticks))
		process = process->next;
	return process;
}

static const struct gd_rule *rule_at(const struct gd_engine *engine, const struct group *group,
                                     size_t place)
{
	return &engine->policy->rules[engine->order[group->first + place]];
}

static size_t index_of(const struct gd_engine *engine, const struct gd_rule *rule)
{
	assert(rule >= engine->policy->rules &&
	       rule < engine->policy->rules + engine->policy->n_rules);
	return (size_t)(rule - engine->policy->rules);
}

/* `pid` is the process that the reason speaks of; fired->subject the one to capture. */
static void tell(struct gd_engine *engine, struct gd_fired *fired, int32_t pid)
{
	gd_engine_why(fired, engine->policy->services[fired->rule->service].name, pid);
	engine->stats.fired++;
	engine->fired(engine->arg, fired);
}

/* ---- create and destroy ---- */

static int remember(struct gd_engine *engine, struct gd_error *err)
{
	const struct gd_policy *policy = engine->policy;
	size_t n = 0;
	for (size_t s = 0; s < policy->n_services; s++) {
		struct group *group = &engine->groups[s];
		group->first = n;
		for (size_t i = 0; i < policy->n_rules; i++) {
			if (policy->rules[i].service != s)
				continue;
			engine->memories[i].place = group->n++;
			engine->order[n++] = i;
		}
	}
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		engine->memories[i].slot = GD_ENGINE_NEVER;
		if (rule->kind != GD_WHEN_EVENT || rule->event != GD_EVENT_RESTARTS)
			continue;
		if (rule->event_count < 1 || rule->event_count > GD_ENGINE_RESTARTS_MAX)
			return gd_fail(err, -E2BIG, "rule %s: counts 1 to %d restarts", rule->name,
			               GD_ENGINE_RESTARTS_MAX);
		engine->memories[i].starts = calloc(rule->event_count, sizeof(int64_t));
		if (engine->memories[i].starts == NULL)
			return gd_fail_errno(err, -ENOMEM, "rule %s", rule->name);
	}
	return 0;
}

int gd_engine_create(const struct gd_policy *policy, gd_engine_fired_fn *fired, void *arg,
                     struct gd_engine **ret, struct gd_error *err)
{
	struct gd_engine *engine = calloc(1, sizeof(*engine));
	if (engine == NULL)
		return gd_fail_errno(err, -ENOMEM, "engine");
	engine->policy = policy;
	engine->fired = fired;
	engine->arg = arg;
	engine->interval_ns = GD_ENGINE_INTERVAL_NS;
	engine->groups = calloc(policy->n_services + 1, sizeof(*engine->groups));
	engine->order = calloc(policy->n_rules + 1, sizeof(*engine->order));
	engine->memories = calloc(policy->n_rules + 1, sizeof(*engine->memories));
	int r = 0;
	if (engine->groups == NULL || engine->order == NULL || engine->memories == NULL)
		r = gd_fail_errno(err, -ENOMEM, "engine");
	if (r == 0)
		r = remember(engine, err);
	if (r < 0) {
		gd_engine_destroy(engine);
		return r;
	}
	*ret = engine;
	return 0;
}

void gd_engine_destroy(struct gd_engine *engine)
{
	if (engine == NULL)
		return;
	for (size_t b = 0; b < BUCKETS; b++) {
		struct process *process = engine->buckets[b];
		while (process != NULL) {
			struct process *next = process->next;
			free(process);
			process = next;
		}
	}
	for (size_t i = 0; engine->memories != NULL && i < engine->policy->n_rules; i++)
		free(engine->memories[i].starts);
	free(engine->memories);
	free(engine->order);
	free(engine->groups);
	free(engine);
}

void gd_engine_interval(struct gd_engine *engine, uint64_t interval_ns)
{
	assert(interval_ns > 0 && interval_ns < INT64_MAX / GD_ENGINE_FRESH_INTERVALS);
	engine->interval_ns = interval_ns;
}

/* ---- unless ---- */

static bool in_danger(const struct gd_engine *engine, const struct process *process, size_t place,
                      int64_t now_ns)
{
	const struct gd_engine_machine *machine = &process->machines[place];
	uint64_t fresh_ns = GD_ENGINE_FRESH_INTERVALS * engine->interval_ns;
	return machine->danger && machine->seen_ns != GD_ENGINE_NEVER &&
	       now_ns - machine->seen_ns <= (int64_t)fresh_ns;
}

/* For a rule without a metric; process NULL: any process of the service. */
static bool is_degraded(const struct gd_engine *engine, const struct gd_rule *rule,
                        const struct process *process, int64_t now_ns)
{
	size_t place = engine->memories[index_of(engine, rule)].place;
	if (!rule->has_unless)
		return false;
	if (process != NULL)
		return in_danger(engine, process, place, now_ns);
	for (size_t b = 0; b < BUCKETS; b++)
		for (const struct process *p = engine->buckets[b]; p != NULL; p = p->next)
			if (p->service == rule->service && in_danger(engine, p, place, now_ns))
				return true;
	return false;
}

/* A rule without a metric fires, about `process` or (NULL) about its service as a whole. */
static void fire(struct gd_engine *engine, const struct gd_rule *rule,
                 const struct process *process, int64_t now_ns)
{
	struct gd_fired fired = {
		.rule = rule,
		.at_ns = now_ns,
		.value = NAN,
		.degraded = is_degraded(engine, rule, process, now_ns),
	};
	/* What is gone cannot be captured. */
	if (process != NULL && (rule->kind != GD_WHEN_EVENT || rule->event != GD_EVENT_GONE))
		fired.subject = process->id;
	tell(engine, &fired, process != NULL ? process->id.pid : 0);
}

/* ---- processes ---- */

static void count_start(struct gd_engine *engine, const struct gd_rule *rule,
                        const struct process *process, int64_t now_ns)
{
	struct memory *memory = &engine->memories[index_of(engine, rule)];
	uint64_t n = rule->event_count;
	memory->starts[memory->n_starts % n] = now_ns;
	memory->n_starts++;
	if (memory->n_starts < n)
		return;
	int64_t oldest_ns = memory->starts[memory->n_starts % n];
	if (now_ns - oldest_ns > (int64_t)rule->event_within_ns)
		return;
	memory->n_starts = 0;
	fire(engine, rule, process, now_ns);
}

static const struct process *find_pid(const struct gd_engine *engine, int32_t pid)
{
	const struct process *process = engine->buckets[bucket_of(pid)];
	while (process != NULL && process->id.pid != pid)
		process = process->next;
	return process;
}

int gd_engine_process(struct gd_engine *engine, struct gd_subject_id subject, size_t service,
                      bool first_look, int64_t now_ns, struct gd_error *err)
{
	if (service >= engine->policy->n_services)
		return gd_fail(err, -EINVAL, "process %d: no service %zu", subject.pid, service);
	const struct process *before = find_pid(engine, subject.pid);
	if (before != NULL && before->id.start_ticks == subject.start_ticks)
		return 0;
	if (before != NULL)
		gd_engine_gone(engine, before->id, now_ns);
	if (engine->stats.processes >= GD_ENGINE_PROCESSES_MAX)
		return gd_fail(err, -E2BIG, "more than %d processes", GD_ENGINE_PROCESSES_MAX);
	const struct group *group = &engine->groups[service];
	struct process *process =
		malloc(sizeof(*process) + group->n * sizeof(process->machines[0]));
	if (process == NULL)
		return gd_fail_errno(err, -ENOMEM, "process %d", subject.pid);
	struct process **bucket = &engine->buckets[bucket_of(subject.pid)];
	process->next = *bucket;
	process->id = subject;
	process->service = service;
	process->last_ns = GD_ENGINE_NEVER;
	for (size_t i = 0; i < group->n; i++)
		gd_engine_machine_init(&process->machines[i]);
	*bucket = process;
	engine->stats.processes++;
	for (size_t i = 0; i < group->n && !first_look; i++) {
		const struct gd_rule *rule = rule_at(engine, group, i);
		if (rule->kind == GD_WHEN_EVENT && rule->event == GD_EVENT_RESTARTS)
			count_start(engine, rule, process, now_ns);
	}
	return 0;
}

static void fire_event(struct gd_engine *engine, const struct process *process,
                       enum gd_event event, int64_t now_ns)
{
	const struct group *group = &engine->groups[process->service];
	for (size_t i = 0; i < group->n; i++) {
		const struct gd_rule *rule = rule_at(engine, group, i);
		if (rule->kind == GD_WHEN_EVENT && rule->event == event)
			fire(engine, rule, process, now_ns);
	}
}

void gd_engine_gone(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns)
{
	struct process *process = find(engine, subject);
	if (process == NULL)
		return;
	fire_event(engine, process, GD_EVENT_GONE, now_ns);
	struct process **link = &engine->buckets[bucket_of(subject.pid)];
	while (*link != process)
		link = &(*link)->next;
	*link = process->next;
	free(process);
	engine->stats.processes--;
}

void gd_engine_event(struct gd_engine *engine, struct gd_subject_id subject, enum gd_event event,
                     int64_t now_ns)
{
	const struct process *process = find(engine, subject);
	if (process == NULL)
		engine->stats.ignored++;
	else if (event != GD_EVENT_GONE && event != GD_EVENT_RESTARTS)
		fire_event(engine, process, event, now_ns);
}

/* ---- samples ---- */

static void step(struct gd_engine *engine, const struct process *process, size_t place,
                 struct gd_engine_machine *machine, int64_t now_ns, bool gap,
                 const double values[GD_METRICS])
{
	const struct gd_rule *rule = rule_at(engine, &engine->groups[process->service], place);
	bool danger = rule->has_unless &&
	              gd_engine_condition_holds(&rule->unless, values[rule->unless.metric]);
	if (rule->kind != GD_WHEN_METRIC) {
		machine->danger = danger;
		machine->seen_ns = now_ns;
		return;
	}
	double value = values[rule->when.metric];
	if (!gd_engine_machine_step(machine, rule, now_ns, value, gap, engine->interval_ns))
		return;
	struct gd_fired fired = {
		.rule = rule,
		.subject = process->id,
		.at_ns = now_ns,
		.value = value,
		.held_ns = now_ns - machine->since_ns,
		.degraded = danger,
	};
	tell(engine, &fired, process->id.pid);
}

void gd_engine_sample(struct gd_engine *engine, struct gd_subject_id subject, int64_t now_ns,
                      const double values[GD_METRICS])
{
	struct process *process = find(engine, subject);
	if (process == NULL || now_ns < process->last_ns) {
		engine->stats.ignored++;
		return;
	}
	bool gap = process->last_ns != GD_ENGINE_NEVER &&
	           (uint64_t)(now_ns - process->last_ns) >
	                   GD_ENGINE_GAP_INTERVALS * engine->interval_ns +
	                           gd_engine_slack(engine->interval_ns);
	engine->stats.samples++;
	engine->stats.gaps += gap;
	process->last_ns = now_ns;
	const struct group *group = &engine->groups[process->service];
	for (size_t i = 0; i < group->n; i++)
		step(engine, process, i, &process->machines[i], now_ns, gap, values);
}

/* ---- alerts and schedules ---- */

static bool has_label(const struct gd_policy_label *labels, size_t n_labels,
                      const struct gd_policy_label *wanted)
{
	for (size_t i = 0; i < n_labels; i++)
		if (strcmp(labels[i].key, wanted->key) == 0)
			return strcmp(labels[i].value, wanted->value) == 0;
	return false;
}

bool gd_engine_alert_matches(const struct gd_rule *rule, const char *name,
                             const struct gd_policy_label *labels, size_t n_labels)
{
	if (rule->kind != GD_WHEN_ALERT || strcmp(rule->alert, name) != 0)
		return false;
	for (size_t i = 0; i < rule->n_labels; i++)
		if (!has_label(labels, n_labels, &rule->labels[i]))
			return false;
	return true;
}

void gd_engine_alert(struct gd_engine *engine, const struct gd_rule *rule, int64_t now_ns)
{
	fire(engine, rule, NULL, now_ns);
}

bool gd_engine_degraded(const struct gd_engine *engine, const struct gd_rule *rule, int64_t now_ns)
{
	return is_degraded(engine, rule, NULL, now_ns);
}

/* The number of the last due time at or before now. */
static int64_t slot_at(const struct gd_engine *engine, const struct gd_rule *rule, int64_t now_ns,
                       uint64_t seed)
{
	const char *const names[] = { rule->name, engine->policy->services[rule->service].name };
	uint64_t offset_ns = 0;
	if (rule->jitter_ns > 0)
		offset_ns = gd_sampling_hash(seed, names, 2) % rule->jitter_ns;
	int64_t since_ns = now_ns - (int64_t)offset_ns;
	return since_ns < 0 ? -1 : since_ns / (int64_t)rule->every_ns;
}

void gd_engine_tick(struct gd_engine *engine, int64_t now_ns, uint64_t seed)
{
	for (size_t i = 0; i < engine->policy->n_rules; i++) {
		const struct gd_rule *rule = &engine->policy->rules[i];
		if (rule->kind != GD_WHEN_SCHEDULE || rule->every_ns == 0)
			continue;
		struct memory *memory = &engine->memories[i];
		int64_t slot = slot_at(engine, rule, now_ns, seed);
		bool due = memory->slot != GD_ENGINE_NEVER && slot > memory->slot;
		if (slot > memory->slot)
			memory->slot = slot;
		if (due)
			fire(engine, rule, NULL, now_ns);
	}
}

/* ---- states ---- */

static const struct gd_engine_machine *machine_of(const struct gd_engine *engine,
                                                  const struct gd_rule *rule,
                                                  struct gd_subject_id subject)
{
	const struct process *process = find(engine, subject);
	if (process == NULL || process->service != rule->service)
		return NULL;
	return &process->machines[engine->memories[index_of(engine, rule)].place];
}

void gd_engine_again(struct gd_engine *engine, const struct gd_rule *rule,
                     struct gd_subject_id subject)
{
	struct process *process = find(engine, subject);
	if (process == NULL || process->service != rule->service)
		return;
	struct gd_engine_machine *machine =
		&process->machines[engine->memories[index_of(engine, rule)].place];
	/* Later samples keep neither `since_ns` nor the right to fire. */
	if (machine->phase == GD_ENGINE_FIRED && machine->seen_ns == process->last_ns)
		machine->phase = GD_ENGINE_PENDING;
}

const char *gd_engine_state(const struct gd_engine *engine, const struct gd_rule *rule,
                            struct gd_subject_id subject)
{
	const struct gd_engine_machine *machine = machine_of(engine, rule, subject);
	return machine != NULL ? gd_engine_phase_names[machine->phase] : "none";
}

void gd_engine_stats(const struct gd_engine *engine, struct gd_engine_stats *ret)
{
	*ret = engine->stats;
}
