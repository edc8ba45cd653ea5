/*
 * What the agent says of itself as JSON, for `godiag status`: what is wrong first, then who is watched,
 * each rule with its counters, the spool, the last captures.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/host_check.h"
#include "base/clock.h"
#include "base/json.h"

#define CAPTURES_SHOWN 10

/* One sentence into the array "problems"; what is fine says nothing. */
static void problem(struct gd_json *json, const char *what, const char *text)
{
	if (text[0] == '\0')
		return;
	char line[600];
	(void)snprintf(line, sizeof(line), "%s%s%s", what, what[0] != '\0' ? ": " : "", text);
	gd_json_string(json, NULL, line);
}

static bool has_alerts(const struct gd_policy *policy)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (policy->rules[i].kind == GD_WHEN_ALERT)
			return true;
	return false;
}

static bool wants_hook(const struct gd_policy *policy)
{
	bool off = policy->hook.listen != NULL && strcmp(policy->hook.listen, "off") == 0;
	return !off && has_alerts(policy);
}

static void put_space_problem(const struct gd_agent *agent, struct gd_json *json)
{
	struct gd_spool_stats stats;
	char text[200];
	gd_spool_stats(agent->spool, &stats);
	double free_ratio = stats.fs_bytes > 0
	                            ? (double)stats.fs_free_bytes / (double)stats.fs_bytes
	                            : 1.0;
	if (agent->policy->budget.free_ratio > 0 && free_ratio < agent->policy->budget.free_ratio) {
		(void)snprintf(text, sizeof(text),
		               "%.0f %% of the spool's file system is free, below the floor of "
		               "%.0f %%: nothing is captured",
		               free_ratio * 100, agent->policy->budget.free_ratio * 100);
		problem(json, "space", text);
	}
	if (stats.quarantined > 0) {
		(void)snprintf(text, sizeof(text), "%u archives in quarantine", stats.quarantined);
		problem(json, "spool", text);
	}
}

/* What nobody looks at fires no rule. */
static void put_unwatched_problem(const struct gd_agent *agent, struct gd_json *json)
{
	unsigned n = agent->watcher != NULL ? gd_watcher_unwatched(agent->watcher) : 0;
	char text[200];
	if (n == 0)
		return;
	(void)snprintf(text, sizeof(text),
	               "%u processes of services are not watched: %u are at most, and fewer with "
	               "few descriptors (LimitNOFILE=)", n, GD_WATCHED_MAX);
	problem(json, "watcher", text);
}

/* One failed try is the network's business, these two are somebody's. */
static void put_upload_problem(const struct gd_agent *agent, struct gd_json *json)
{
	struct gd_upload_state state;
	char text[400];
	char again[GD_CLOCK_TEXT];
	if (agent->upload == NULL)
		return;
	gd_upload_peer_state(agent->upload, &state);
	if (!state.permanent && !state.circuit_open)
		return;
	(void)snprintf(text, sizeof(text), "%s%s%s%s", state.last_error,
	               state.permanent ? "; this has to be mended" : "; five failures in a row",
	               state.retry_realtime_ns != 0 ? "; tried again at " : "",
	               state.retry_realtime_ns != 0
	                       ? gd_clock_text(again, state.retry_realtime_ns)
	                       : "");
	problem(json, "upload", text);
}

static void put_problems(const struct gd_agent *agent, struct gd_json *json)
{
	const struct gd_policy *policy = agent->policy;
	gd_json_array(json, "problems");
	problem(json, "policy not reloaded", agent->policy_problem);
	problem(json, "watcher", agent->watcher_problem);
	if (agent->watcher != NULL)
		problem(json, "watcher", gd_watcher_note(agent->watcher));
	put_unwatched_problem(agent, json);
	problem(json, "state", agent->state_note);
	problem(json, "clock", agent->clock_problem);
	for (size_t i = 0; i < policy->n_services; i++)
		if (agent->watcher != NULL && !gd_watcher_matched(agent->watcher, (uint32_t)i))
			problem(json, policy->services[i].name, "no running process matches");
	for (const struct gd_process *p = agent->watched.first; p != NULL; p = p->next) {
		char who[100];
		(void)snprintf(who, sizeof(who), "pid %d (%s)", p->info.id.pid, p->info.comm);
		if (p->gone_ns == 0)
			problem(json, who, p->info.note);
	}
	const struct gd_admission_count *counts;
	size_t n = gd_admission_counts(agent->admission, &counts);
	for (size_t i = 0; i < n; i++)
		if (counts[i].disabled)
			problem(json, counts[i].rule, counts[i].disabled_why);
	if (agent->hook == NULL && wants_hook(policy))
		problem(json, "hook", "not connected: alerts do not arrive; start godiag-hook");
	else if (agent->hook != NULL)
		problem(json, "hook", gd_hook_peer_problem(agent->hook));
	if (agent->upload == NULL && policy->upload != NULL)
		problem(json, "uploader", "not connected: archives wait in the spool; start "
		                          "godiag-upload");
	put_upload_problem(agent, json);
	put_space_problem(agent, json);
	gd_json_array_end(json);
}

/* What this host does not allow; no problem of the agent's, but less in each archive. */
static void put_host(const struct gd_agent *agent, struct gd_json *json)
{
	gd_json_array(json, "host");
	for (const struct gd_host_check *c = gd_host_checks; c->what != NULL; c++) {
		char detail[256] = "";
		enum gd_host_verdict verdict =
			c->try_it(gd_spool_ready(agent->spool), detail, sizeof(detail));
		if (verdict == GD_HOST_OK)
			continue;
		gd_json_object(json, NULL);
		gd_json_string(json, "check", c->what);
		gd_json_string(json, "detail", detail);
		gd_json_string(json, "lost", c->lost);
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
}

static void put_processes(const struct gd_agent *agent, struct gd_json *json)
{
	gd_json_array(json, "watched");
	for (const struct gd_process *p = agent->watched.first; p != NULL; p = p->next) {
		if (p->gone_ns != 0)
			continue;
		gd_json_object(json, NULL);
		gd_json_i64(json, "pid", p->info.id.pid);
		gd_json_string(json, "comm", p->info.comm);
		gd_json_string(json, "service", agent->policy->services[p->info.service].name);
		gd_json_bool(json, "go", p->info.go);
		if (p->info.note[0] != '\0')
			gd_json_string(json, "note", p->info.note);
		gd_json_object(json, "metrics");
		for (int m = 0; m < GD_METRICS; m++)
			if (!isnan(p->last[m]))
				gd_json_double(json, gd_metrics[m].name, p->last[m]);
		gd_json_object_end(json);
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
	gd_json_u64(json, "unwatched",
	            agent->watcher != NULL ? gd_watcher_unwatched(agent->watcher) : 0);
	gd_json_u64(json, "samples_missed",
	            agent->watcher != NULL ? gd_watcher_missed(agent->watcher) : 0);
}

static const char *state_of(const struct gd_agent *agent, const struct gd_rule *rule)
{
	const char *state = "armed";
	for (const struct gd_process *p = agent->watched.first; p != NULL; p = p->next) {
		if (p->gone_ns != 0 || p->info.service != rule->service)
			continue;
		const char *one = gd_engine_state(agent->engine, rule, p->info.id);
		if (strcmp(one, "armed") != 0)
			state = one;
	}
	return state;
}

static void put_counts(struct gd_json *json, const struct gd_admission_count *count)
{
	for (int v = 0; v < GD_VERDICTS; v++)
		if (count->verdicts[v] > 0)
			gd_json_u64(json, gd_verdict_names[v], count->verdicts[v]);
}

static void put_rules(const struct gd_agent *agent, struct gd_json *json)
{
	const struct gd_admission_count *counts;
	size_t n = gd_admission_counts(agent->admission, &counts);
	gd_json_array(json, "rules");
	for (size_t i = 0; i < agent->policy->n_rules; i++) {
		const struct gd_rule *rule = &agent->policy->rules[i];
		gd_json_object(json, NULL);
		gd_json_string(json, "name", rule->name);
		gd_json_string(json, "service", agent->policy->services[rule->service].name);
		gd_json_string(json, "state",
		               rule->kind == GD_WHEN_METRIC ? state_of(agent, rule) : "armed");
		for (size_t c = 0; c < n; c++) {
			if (strcmp(counts[c].rule, rule->name) != 0)
				continue;
			gd_json_bool(json, "disabled", counts[c].disabled);
			gd_json_object(json, "triggers");
			put_counts(json, &counts[c]);
			gd_json_object_end(json);
		}
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
}

static void put_spool(const struct gd_agent *agent, struct gd_json *json)
{
	struct gd_spool_stats stats;
	gd_spool_stats(agent->spool, &stats);
	gd_json_object(json, "spool");
	gd_json_u64(json, "ready", stats.ready);
	gd_json_u64(json, "ready_bytes", stats.ready_bytes);
	gd_json_u64(json, "done", stats.done);
	gd_json_u64(json, "done_bytes", stats.done_bytes);
	gd_json_u64(json, "quarantined", stats.quarantined);
	gd_json_u64(json, "uploaded_total", stats.uploaded_total);
	gd_json_u64(json, "failed_total", stats.failed_total);
	gd_json_u64(json, "fs_bytes", stats.fs_bytes);
	gd_json_u64(json, "fs_free_bytes", stats.fs_free_bytes);
	const struct gd_spool_item *items;
	size_t n = gd_spool_items(agent->spool, &items);
	gd_json_array(json, "failing");
	for (size_t i = 0; i < n; i++) {
		if (items[i].uploaded || items[i].attempts == 0)
			continue;
		gd_json_object(json, NULL);
		gd_json_string(json, "id", items[i].id);
		gd_json_u64(json, "attempts", items[i].attempts);
		gd_json_string(json, "error", items[i].last_error);
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
	gd_json_object_end(json);
}

static void put_capture(struct gd_json *json, const struct gd_operation *o)
{
	gd_json_object(json, NULL);
	gd_json_string(json, "id", o->id);
	gd_json_string(json, "state", gd_operation_state_names[o->state]);
	gd_json_string(json, "trigger", o->trigger);
	gd_json_string(json, "rule", o->rule);
	gd_json_string(json, "service", o->service);
	gd_json_i64(json, "pid", o->subject.pid);
	gd_json_string(json, "reason", o->reason);
	if (o->started_ns != 0)
		gd_json_i64(json, "queued_ns", o->started_ns - o->asked_ns);
	if (o->ended_ns != 0) {
		gd_json_i64(json, "took_ns", o->ended_ns - o->started_ns);
		gd_json_i64(json, "exit", o->exit);
		gd_json_u64(json, "bytes", o->bytes);
		gd_json_string(json, "digest", o->digest);
		gd_json_string(json, "path", o->path);
		gd_json_string(json, "error", o->error[0] != '\0' ? o->error : NULL);
	}
	gd_json_object_end(json);
}

void gd_agent_status(void *arg, struct gd_buf *to)
{
	const struct gd_agent *agent = arg;
	struct gd_json json = GD_JSON_INIT(to);
	const struct gd_operation *o;
	gd_json_object(&json, NULL);
	gd_json_string(&json, "version", GD_VERSION);
	gd_json_i64(&json, "pid", getpid());
	gd_json_i64(&json, "up_s",
	            (gd_clock_now().boottime_ns - agent->started_ns) / INT64_C(1000000000));
	gd_json_string(&json, "policy", agent->policy->digest);
	gd_json_array(&json, "policy_files");
	for (char **file = agent->policy->files; file != NULL && *file != NULL; file++)
		gd_json_string(&json, NULL, *file);
	gd_json_array_end(&json);
	put_problems(agent, &json);
	put_host(agent, &json);
	gd_json_bool(&json, "hook", agent->hook != NULL);
	gd_json_bool(&json, "uploader", agent->upload != NULL);
	gd_json_string(&json, "upload_to", agent->policy->upload);
	gd_json_u64(&json, "watcher_restarts", agent->watcher_restarts);
	put_processes(agent, &json);
	put_rules(agent, &json);
	put_spool(agent, &json);
	gd_json_array(&json, "captures");
	for (unsigned i = 0; i < CAPTURES_SHOWN &&
	                     (o = gd_operations_newest(&agent->operations, i)) != NULL; i++)
		put_capture(&json, o);
	gd_json_array_end(&json);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}
