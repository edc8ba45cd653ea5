/*
 * From "something happened" to an operation in the queue.  Whatever the way in, it becomes one
 * struct gd_ask, passes admission, and is recorded there whether or not it is admitted.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "target/target.h"

#define SECOND INT64_C(1000000000)
#define REFUSALS_LOGGED_PER_S 5
/* Near OOM there may be no next second: what is read by then is sealed. */
#define MEMORY_DEADLINE_NS (10u * UINT64_C(1000000000))
#define DEADLINE_NS (300u * UINT64_C(1000000000))
/* A baseline is taken of a process that has run this long. */
#define BASELINE_AGE_NS (300 * SECOND)
/* OnFailure= starts us a moment after the process ended. */
#define FAILURE_WINDOW_NS (60 * SECOND)

static const char *service_name(const struct gd_agent *agent, uint32_t service)
{
	return service < agent->policy->n_services ? agent->policy->services[service].name : "";
}

static void measure(struct gd_agent *agent, bool has_target, struct gd_load *ret)
{
	struct gd_spool_stats stats;
	gd_spool_stats(agent->spool, &stats);
	*ret = (struct gd_load){
		.spool_bytes = stats.ready_bytes + stats.done_bytes,
		.fs_bytes = stats.fs_bytes,
		.fs_free_bytes = stats.fs_free_bytes,
		.running = gd_operations_count(&agent->operations, GD_OPERATION_RUNNING),
		.queued = gd_operations_count(&agent->operations, GD_OPERATION_QUEUED),
		.queue_max = GD_OPERATIONS_QUEUE,
		.has_target = has_target,
	};
}

/* Where it lies now: in ready/ until it is uploaded, then in done/.  False: in neither. */
static bool find_archive(const struct gd_operation *o, char *to, size_t size)
{
	static const char ready[] = "/ready/";
	const char *at = strstr(o->path, ready);
	(void)snprintf(to, size, "%s", o->path);
	if (access(to, R_OK) == 0)
		return true;
	if (at == NULL)
		return false;
	int n = snprintf(to, size, "%.*s/done/%s", (int)(at - o->path), o->path,
	                 at + sizeof(ready) - 1);
	return n > 0 && (size_t)n < size && access(to, R_OK) == 0;
}

/* The newest capture of the same process that holds a whole core and is still in the spool. */
static void find_base(const struct gd_agent *agent, const struct gd_operation *o, char *to,
                      size_t size)
{
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++) {
		const struct gd_operation *other = gd_operations_newest(&agent->operations, i);
		if (other == NULL)
			break;
		if (other == o || other->path[0] == '\0' || !other->core.wanted ||
		    other->core.thin || other->core.base[0] != '\0' ||
		    other->subject.pid != o->subject.pid ||
		    other->subject.start_ticks != o->subject.start_ticks ||
		    !find_archive(other, to, size))
			continue;
		return;
	}
	to[0] = '\0';
}

static void take_core(const struct gd_agent *agent, const struct gd_ask *ask,
                      struct gd_operation *o)
{
	const struct gd_rule *rule = ask->degraded ? NULL : ask->rule;
	const struct gd_core_policy *how = &agent->policy->core;
	enum gd_policy_core core = rule != NULL                        ? rule->core
	                           : ask->profile == GD_PROFILE_FULL ? GD_POLICY_CORE_FULL
	                                                             : GD_POLICY_CORE_NONE;
	uint64_t pause_ns = agent->policy->budget.pause_ns;
	if (rule != NULL && rule->budget.pause_ns != 0)
		pause_ns = rule->budget.pause_ns;
	o->core = (struct gd_operation_core){
		.wanted = core != GD_POLICY_CORE_NONE,
		.thin = core == GD_POLICY_CORE_THIN,
		.consistent = rule != NULL && rule->consistent,
		.force = rule != NULL && rule->force_core,
		.zero_noscan = how->zero_noscan,
		.lose_huge = !how->keep_huge,
		.workers = (unsigned)how->workers,
		.max_pause_ns = (int64_t)pause_ns,
	};
	if (core == GD_POLICY_CORE_FULL)
		find_base(agent, o, o->core.base, sizeof(o->core.base));
}

static void fill(struct gd_operation *o, const struct gd_agent *agent, const struct gd_ask *ask,
                 const struct gd_process *process, const char *id)
{
	(void)snprintf(o->id, sizeof(o->id), "%s", id);
	(void)snprintf(o->trigger, sizeof(o->trigger), "%s", ask->trigger);
	(void)snprintf(o->reason, sizeof(o->reason), "%s", ask->reason);
	(void)snprintf(o->service, sizeof(o->service), "%s", service_name(agent, ask->service));
	if (ask->rule != NULL)
		(void)snprintf(o->rule, sizeof(o->rule), "%s", ask->rule->name);
	if (ask->fingerprint != NULL)
		(void)snprintf(o->fingerprint, sizeof(o->fingerprint), "%s", ask->fingerprint);
	if (ask->exit_json != NULL)
		(void)snprintf(o->exit_json, sizeof(o->exit_json), "%s", ask->exit_json);
	if (ask->service < GD_POLICY_SERVICES_MAX)
		(void)snprintf(o->baseline, sizeof(o->baseline), "%s",
		               agent->baselines.list[ask->service].id);
	if (!ask->gone)
		o->subject = process != NULL ? process->info.id : ask->subject;
	if (process != NULL) {
		o->timeline_of = process->info.id;
		memcpy(o->comm, process->info.comm, sizeof(o->comm));
	}
	o->profile = ask->profile;
	take_core(agent, ask, o);
	if (ask->service < agent->policy->n_services && o->profile != GD_PROFILE_LIGHT)
		o->debug_port = agent->policy->services[ask->service].debug_port;
	o->class = ask->class;
	o->deadline_ns = ask->deadline_ns != 0 ? ask->deadline_ns : DEADLINE_NS;
	o->window_ns = (int64_t)agent->policy->samples.duration_ns;
	o->frequency_hz = (uint32_t)agent->policy->samples.frequency_hz;
	o->syscalls = agent->policy->samples.syscalls;
	/* Who has little time samples for little of it. */
	if (o->window_ns > (int64_t)(o->deadline_ns / 4))
		o->window_ns = (int64_t)(o->deadline_ns / 4);
	o->asked_ns = gd_clock_monotonic_ns();
	o->waiter = ask->waiter;
}

/* Which process is meant: the one named, else the service's own. */
static struct gd_process *find_process(struct gd_agent *agent, const struct gd_ask *ask)
{
	if (ask->subject.pid != 0)
		return gd_watched_find(&agent->watched, &ask->subject);
	if (ask->gone)
		return gd_watched_last_gone(&agent->watched, ask->service, 1);
	return gd_watched_main_of(&agent->watched, ask->service);
}

/* A unit that fails has no rule, but nobody asked for it by hand either. */
static const struct gd_rule *limits_of(const struct gd_ask *ask)
{
	if (ask->rule == NULL && strcmp(ask->trigger, "unit") == 0)
		return &gd_admission_unit_rule;
	return ask->rule;
}

/* A storm of refusals is counted (admission has each), not written to the log line by line. */
static void log_decision(struct gd_agent *agent, const struct gd_ask *ask, const char *service,
                         const struct gd_decision *decision)
{
	if (decision->verdict != GD_VERDICT_ADMITTED &&
	    ++agent->refusals_logged > REFUSALS_LOGGED_PER_S) {
		agent->refusals_unlogged++;
		return;
	}
	gd_log(GD_LOG_INFO, "trigger %s, rule \"%s\", service \"%s\": %s: %s%s%s", ask->trigger,
	       ask->rule != NULL ? ask->rule->name : "", service,
	       gd_verdict_names[decision->verdict], ask->reason,
	       decision->why[0] != '\0' ? ": " : "", decision->why);
}

void gd_agent_log_refusals(struct gd_agent *agent)
{
	if (agent->refusals_unlogged > 0)
		gd_log(GD_LOG_INFO, "%llu more triggers were refused in this second",
		       (unsigned long long)agent->refusals_unlogged);
	agent->refusals_unlogged = 0;
	agent->refusals_logged = 0;
}

void gd_agent_ask(struct gd_agent *agent, const struct gd_ask *ask, struct gd_hook_verdict *ret)
{
	struct gd_clock now = gd_clock_now();
	const struct gd_process *process = find_process(agent, ask);
	char id[GD_ID_SIZE];
	gd_id_make(id, now.realtime_ns);
	struct gd_trigger trigger = {
		.rule = limits_of(ask),
		.service = service_name(agent, ask->service),
		.subject = process != NULL ? process->info.id : ask->subject,
		.fingerprint = ask->fingerprint,
		.starts_at = ask->starts_at,
		.capture_id = id,
		.now = now,
	};
	struct gd_load load;
	struct gd_decision decision = { .verdict = GD_VERDICT_BUSY };
	struct gd_error err = { 0 };
	struct gd_operation *o = NULL;
	measure(agent, ask->gone || process != NULL || ask->subject.pid != 0, &load);
	*ret = (struct gd_hook_verdict){ .verdict = GD_VERDICT_BUSY };
	if (agent->stopping) {
		(void)snprintf(ret->why, sizeof(ret->why), "the agent is stopping");
		return;
	}
	if (gd_admission_decide(agent->admission, &trigger, &load, &decision, &err) < 0) {
		gd_log(GD_LOG_ERROR, "admission: %s", err.msg);
		(void)snprintf(ret->why, sizeof(ret->why), "%s", err.msg);
		return;
	}
	ret->verdict = decision.verdict;
	ret->retry_ns = decision.retry_ns;
	memcpy(ret->why, decision.why, sizeof(ret->why));
	(void)snprintf(ret->id, sizeof(ret->id), "%s",
	               decision.verdict == GD_VERDICT_ADMITTED ? id : decision.first);
	log_decision(agent, ask, trigger.service, &decision);
	if (decision.verdict != GD_VERDICT_ADMITTED)
		return;
	o = gd_operations_add(&agent->operations);
	if (o == NULL) { /* admission knows the queue's length: not reached */
		ret->verdict = GD_VERDICT_BUSY;
		return;
	}
	fill(o, agent, ask, process, id);
	if (gd_spool_begin(agent->spool, id, o->class, &err) < 0)
		gd_log(GD_LOG_WARNING, "spool: %s", err.msg);
	gd_agent_run_next(agent);
}

/* --- rules ------------------------------------------------------------------------------------ */

static enum gd_spool_class class_of(const struct gd_rule *rule)
{
	if (rule->kind == GD_WHEN_SCHEDULE)
		return GD_SPOOL_PERIODIC;
	if (rule->kind == GD_WHEN_EVENT)
		return GD_SPOOL_CRASH;
	return GD_SPOOL_ALERT;
}

static const char *trigger_of(const struct gd_rule *rule)
{
	static const char *const names[] = {
		[GD_WHEN_METRIC] = "rule",
		[GD_WHEN_ALERT] = "alert",
		[GD_WHEN_EVENT] = "event",
		[GD_WHEN_SCHEDULE] = "schedule",
	};
	return names[rule->kind];
}

static bool near_oom(const struct gd_rule *rule)
{
	return rule->kind == GD_WHEN_EVENT &&
	       (rule->event == GD_EVENT_MEMORY_HIGH || rule->event == GD_EVENT_MEMORY_MAX ||
	        rule->event == GD_EVENT_OOM);
}

/* What is known of a process that ended.  The watcher is not its parent: the status is systemd's to say. */
static void put_exit(const struct gd_process *p, int64_t now_ns, struct gd_buf *to)
{
	struct gd_json json = GD_JSON_INIT(to);
	gd_json_object(&json, NULL);
	gd_json_i64(&json, "pid", p->info.id.pid);
	gd_json_u64(&json, "start_ticks", p->info.id.start_ticks);
	gd_json_string(&json, "comm", p->info.comm);
	gd_json_i64(&json, "watched_s", (p->gone_ns - p->seen_ns) / SECOND);
	gd_json_i64(&json, "ended_before_s", (now_ns - p->gone_ns) / SECOND);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

void gd_agent_fired(void *arg, const struct gd_fired *fired)
{
	struct gd_agent *agent = arg;
	const struct gd_rule *rule = fired->rule;
	struct gd_hook_verdict verdict;
	GD_BUF struct gd_buf exit_json = GD_BUF_INIT(1000);
	struct gd_ask ask = {
		.rule = rule,
		.service = (uint32_t)rule->service,
		.trigger = trigger_of(rule),
		.reason = fired->why,
		.subject = fired->subject,
		.profile = fired->degraded ? GD_PROFILE_LIGHT : (enum gd_profile)rule->profile,
		.degraded = fired->degraded,
		.class = class_of(rule),
		.deadline_ns = near_oom(rule) ? MEMORY_DEADLINE_NS : 0,
		.gone = rule->kind == GD_WHEN_EVENT && rule->event == GD_EVENT_GONE,
	};
	if (ask.gone) {
		const struct gd_process *p = gd_watched_find(&agent->watched, &fired->subject);
		if (p == NULL || p->gone_ns == 0)
			p = gd_watched_last_gone(&agent->watched, ask.service, 1);
		if (p != NULL) {
			put_exit(p, fired->at_ns, &exit_json);
			ask.exit_json = gd_buf_str(&exit_json);
		}
	}
	gd_agent_ask(agent, &ask, &verdict);
	/* A full queue is no decision about this rule: as long as it holds it asks again. */
	if (rule->kind == GD_WHEN_METRIC && verdict.verdict == GD_VERDICT_BUSY)
		gd_engine_again(agent->engine, rule, fired->subject);
}

void gd_agent_hook_trigger(void *arg, const struct gd_hook_trigger *trigger,
                           struct gd_hook_verdict *verdict)
{
	struct gd_agent *agent = arg;
	const struct gd_rule *rule = &agent->policy->rules[trigger->rule];
	int64_t now_ns = gd_clock_now().boottime_ns;
	bool degraded = gd_engine_degraded(agent->engine, rule, now_ns);
	struct gd_ask ask = {
		.rule = rule,
		.service = (uint32_t)rule->service,
		.trigger = "alert",
		.reason = trigger->reason,
		.fingerprint = trigger->fingerprint[0] != '\0' ? trigger->fingerprint : NULL,
		.starts_at = trigger->starts_at[0] != '\0' ? trigger->starts_at : NULL,
		.profile = degraded ? GD_PROFILE_LIGHT : (enum gd_profile)rule->profile,
		.degraded = degraded,
		.class = GD_SPOOL_ALERT,
	};
	gd_agent_ask(agent, &ask, verdict);
}

/* --- by hand ---------------------------------------------------------------------------------- */

static uint32_t service_of_unit(const struct gd_policy *policy, const char *unit)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].match.unit != NULL &&
		    fnmatch(policy->services[i].match.unit, unit, 0) == 0)
			return (uint32_t)i;
	return UINT32_MAX;
}

static uint32_t service_by_name(const struct gd_policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return (uint32_t)i;
	return UINT32_MAX;
}

/* As of now, 0 unknown: until its turn comes the number may be another process's. */
static uint64_t start_of(const struct gd_agent *agent, int32_t pid)
{
	char path[600];
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat = { 0 };
	(void)snprintf(path, sizeof(path), "%s/%d/stat", agent->options->proc, pid);
	if (gd_io_read_file_at(AT_FDCWD, path, &text, NULL) < 0 ||
	    gd_stat_parse(text.data, text.len, &stat, NULL) < 0)
		return 0;
	return stat.start_ticks;
}

/* A pid that is watched brings its timeline along. */
static void name_process(struct gd_agent *agent, int32_t pid, struct gd_ask *ask)
{
	ask->subject = (struct gd_subject_id){ pid, start_of(agent, pid) };
	for (const struct gd_process *p = agent->watched.first; p != NULL; p = p->next)
		if (p->gone_ns == 0 && p->info.id.pid == pid) {
			ask->subject = p->info.id;
			ask->service = p->info.service;
		}
}

/* systemd reaps a process and starts us for it before the watcher looks at /proc again. */
static void name_ended(const struct gd_agent *agent, struct gd_ask *ask)
{
	const struct gd_process *p = gd_watched_main_of(&agent->watched, ask->service);
	if (p != NULL && kill(p->info.id.pid, 0) < 0 && errno == ESRCH) {
		ask->subject = p->info.id;
		ask->gone = true;
		return;
	}
	ask->gone = gd_watched_last_gone(&agent->watched, ask->service,
	                                 gd_clock_now().boottime_ns - FAILURE_WINDOW_NS) != NULL;
}

void gd_agent_control_capture(void *arg, const struct gd_control_capture *request,
                              uint64_t waiter, struct gd_control_verdict *verdict)
{
	struct gd_agent *agent = arg;
	struct gd_hook_verdict answer;
	bool failed = strcmp(request->trigger, "unit") == 0;
	bool signalled = strcmp(request->trigger, "signal") == 0;
	struct gd_ask ask = {
		.service = UINT32_MAX,
		.trigger = failed ? "unit" : signalled ? "signal" : "manual",
		.reason = request->reason,
		.exit_json = request->exit_json[0] != '\0' ? request->exit_json : NULL,
		.profile = (enum gd_profile)request->profile,
		.class = failed ? GD_SPOOL_CRASH : GD_SPOOL_MANUAL,
		.waiter = waiter,
	};
	if (request->unit[0] != '\0')
		ask.service = service_of_unit(agent->policy, request->unit);
	else if (request->service[0] != '\0')
		ask.service = service_by_name(agent->policy, request->service);
	if (request->pid > 0)
		name_process(agent, request->pid, &ask);
	if (failed && ask.service != UINT32_MAX)
		name_ended(agent, &ask);
	/* Also what nobody means: admission has it then, and the log. */
	gd_agent_ask(agent, &ask, &answer);
	if (answer.verdict == GD_VERDICT_NO_TARGET && request->pid == 0 && ask.service == UINT32_MAX)
		(void)snprintf(answer.why, sizeof(answer.why),
		               "no service of the policy means %s \"%.100s\"",
		               request->unit[0] != '\0' ? "unit" : "service",
		               request->unit[0] != '\0' ? request->unit : request->service);
	verdict->verdict = (uint32_t)answer.verdict;
	memcpy(verdict->id, answer.id, sizeof(verdict->id));
	memcpy(verdict->why, answer.why, sizeof(verdict->why));
}

void gd_agent_capture_all(struct gd_agent *agent)
{
	for (struct gd_process *p = agent->watched.first; p != NULL; p = p->next)
		p->wanted = p->gone_ns == 0;
	gd_agent_capture_wanted(agent);
}

/* Half of the queue at most: what happens meanwhile needs room, too. */
void gd_agent_capture_wanted(struct gd_agent *agent)
{
	for (struct gd_process *p = agent->watched.first; p != NULL; p = p->next) {
		struct gd_hook_verdict verdict;
		struct gd_ask ask = {
			.service = p->info.service,
			.trigger = "signal",
			.reason = "SIGUSR1 to the agent: all watched processes",
			.subject = p->info.id,
			.profile = GD_PROFILE_LIGHT,
			.class = GD_SPOOL_MANUAL,
		};
		if (!p->wanted || p->gone_ns != 0)
			continue;
		if (gd_operations_count(&agent->operations, GD_OPERATION_QUEUED) >=
		    GD_OPERATIONS_QUEUE / 2)
			return;
		p->wanted = false;
		gd_agent_ask(agent, &ask, &verdict);
	}
}

/* --- baselines --------------------------------------------------------------------------------- */

/* No rule of its service is pending or has fired. */
static bool is_calm(const struct gd_agent *agent, const struct gd_process *p)
{
	for (size_t i = 0; i < agent->policy->n_rules; i++) {
		const struct gd_rule *rule = &agent->policy->rules[i];
		if (rule->service == p->info.service && rule->kind == GD_WHEN_METRIC &&
		    strcmp(gd_engine_state(agent->engine, rule, p->info.id), "armed") != 0)
			return false;
	}
	return true;
}

void gd_agent_baselines(struct gd_agent *agent, int64_t now_ns)
{
	for (size_t i = 0; i < agent->policy->n_services; i++) {
		if (!gd_baselines_is_due(&agent->baselines, agent->policy, i, now_ns))
			continue;
		const struct gd_process *p = gd_watched_main_of(&agent->watched, (uint32_t)i);
		if (p == NULL || now_ns - p->seen_ns < BASELINE_AGE_NS || !is_calm(agent, p))
			continue;
		struct gd_hook_verdict verdict;
		struct gd_ask ask = {
			.service = (uint32_t)i,
			.trigger = "schedule",
			.reason = "baseline: a good time to compare with",
			.subject = p->info.id,
			.profile = GD_PROFILE_LIGHT,
			.class = GD_SPOOL_PERIODIC,
		};
		gd_agent_ask(agent, &ask, &verdict);
		gd_baselines_asked(&agent->baselines, i, now_ns);
	}
}
