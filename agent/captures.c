/*
 * Captures as children: started from the queue, settled when they end: journals, retention, whoever
 * waits.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"

/* At its deadline a capture seals what it has; one that does not by then hangs. */
#define LATE_NS (INT64_C(60) * 1000000000)

void gd_agent_prune(struct gd_agent *agent)
{
	const struct gd_policy *policy = agent->policy;
	struct gd_clock now = gd_clock_now();
	struct gd_spool_pruned pruned;
	struct gd_error err;
	struct gd_spool_keep keep = {
		.age_ns = policy->retention.age_ns,
		.count = policy->retention.count,
		.bytes = policy->retention.bytes,
		.spool_bytes = policy->budget.spool_bytes,
		.free_ratio = policy->budget.free_ratio > 0 ? policy->budget.free_ratio : 0,
		.local = policy->upload == NULL,
	};
	agent->pruned_ns = now.boottime_ns;
	if (gd_spool_prune(agent->spool, &keep, &now, &pruned, &err) < 0)
		gd_log(GD_LOG_WARNING, "retention: %s", err.msg);
	else if (pruned.n > 0)
		gd_log(GD_LOG_INFO, "retention: %u archives deleted, %u of them never uploaded",
		       pruned.n, pruned.n_unsent);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

/* Into the journals, to whoever waits, and on to the next. */
static void settle(struct gd_agent *agent, struct gd_operation *o)
{
	struct gd_error err;
	struct gd_clock now = gd_clock_now();
	bool sealed = o->path[0] != '\0';
	/* That the target was gone is nobody's failure. */
	bool failed = !sealed && o->exit != GD_EXIT_GONE && o->exit != GD_EXIT_INTERRUPTED;
	int r = sealed ? gd_spool_commit(agent->spool, o->id, base_name(o->path), o->digest,
	                                 o->bytes, &err)
	               : gd_spool_abort(agent->spool, o->id, o->error, &err);
	if (r < 0)
		gd_log(GD_LOG_ERROR, "capture %s: spool: %s", o->id, err.msg);
	if (gd_admission_ended(agent->admission, o->id, failed, o->bytes, o->pause_ns, &now, &err) < 0)
		gd_log(GD_LOG_ERROR, "capture %s: admission: %s", o->id, err.msg);
	o->ended_ns = now.monotonic_ns;
	agent->ended[o->state]++;
	if (sealed && o->class == GD_SPOOL_PERIODIC)
		gd_baselines_sealed(&agent->baselines, agent->policy, o->service, o->id,
		                    now.boottime_ns);
	if (sealed)
		gd_log(GD_LOG_INFO, "capture %s %s: %s %s%s%s", o->id,
		       gd_operation_state_names[o->state], o->path, o->digest,
		       o->error[0] != '\0' ? ": " : "", o->error);
	else
		gd_log(GD_LOG_WARNING, "capture %s failed: %s", o->id, o->error);
	gd_control_ended(agent->control, o->waiter, o);
	gd_agent_prune(agent);
	if (sealed && agent->upload != NULL)
		(void)gd_upload_peer_wake(agent->upload, NULL);
}

static void on_run_end(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_operation *o = gd_operations_running(&agent->operations);
	gd_loop_remove(&agent->loop, &agent->run_source);
	gd_run_finish(&agent->run, o);
	settle(agent, o);
	gd_agent_run_next(agent);
	gd_agent_capture_wanted(agent);
}

void gd_agent_end_late_run(struct gd_agent *agent, int64_t now_ns)
{
	const struct gd_operation *o = gd_operations_running(&agent->operations);
	if (agent->run.pid == 0 || o == NULL ||
	    now_ns - o->started_ns < (int64_t)o->deadline_ns + LATE_NS)
		return;
	gd_log(GD_LOG_ERROR, "capture %s hangs: killed", o->id);
	gd_run_cancel(&agent->run, true);
}

static int start_run(struct gd_agent *agent, const struct gd_operation *o, struct gd_error *err)
{
	const struct gd_timeline *timeline = NULL;
	if (o->timeline_of.pid != 0) {
		const struct gd_process *p = gd_watched_find(&agent->watched, &o->timeline_of);
		timeline = p != NULL ? p->timeline : NULL;
	}
	int r = gd_run_start(o, timeline, gd_spool_ready(agent->spool), &agent->connector, &agent->run,
	                     err);
	if (r < 0)
		return r;
	agent->run_source = (struct gd_loop_source){ agent->run.pid_fd, on_run_end, agent };
	r = gd_loop_add(&agent->loop, &agent->run_source, err);
	if (r < 0) {
		struct gd_operation unused = *o;
		gd_run_cancel(&agent->run, true);
		gd_run_finish(&agent->run, &unused);
	}
	return r;
}

void gd_agent_run_next(struct gd_agent *agent)
{
	struct gd_operation *o;
	while (agent->run.pid == 0 && (o = gd_operations_next(&agent->operations)) != NULL) {
		struct gd_error err = { 0 };
		o->started_ns = gd_clock_monotonic_ns();
		if (start_run(agent, o, &err) == 0) {
			o->state = GD_OPERATION_RUNNING;
			gd_log(GD_LOG_INFO, "capture %s of pid %d started %.1f ms after its trigger",
			       o->id, o->subject.pid,
			       (double)(o->started_ns - o->asked_ns) / 1e6);
			return;
		}
		o->state = GD_OPERATION_FAILED;
		o->exit = GD_EXIT_SPACE;
		(void)snprintf(o->error, sizeof(o->error), "%s", err.msg);
		settle(agent, o);
	}
}
