/*
 * The broker's side of the watcher: what it reports goes into the table of processes, their timelines
 * and the engine.  It may die; the loop starts another one.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/clock.h"
#include "base/log.h"

#define SECOND INT64_C(1000000000)
#define RESTART_PAUSE_MAX_S 60
#define SILENT_NS (30 * SECOND)


static void on_process(void *arg, const struct gd_watched *watched, bool first_look)
{
	struct gd_agent *agent = arg;
	struct gd_process *p;
	struct gd_error err;
	int64_t now = gd_clock_now().boottime_ns;
	if (watched->service >= agent->policy->n_services ||
	    gd_watched_add(&agent->watched, watched, now, &p) < 0)
		return;
	gd_log(GD_LOG_DEBUG, "watching pid %d (%s) as %s", watched->id.pid, watched->comm,
	       agent->policy->services[watched->service].name);
	if (gd_engine_process(agent->engine, watched->id, watched->service, first_look, now, &err) < 0)
		gd_log(GD_LOG_ERROR, "pid %d: %s", watched->id.pid, err.msg);
}

static void on_changed(void *arg, const struct gd_watched *watched)
{
	struct gd_agent *agent = arg;
	struct gd_process *p = gd_watched_at(&agent->watched, watched->slot);
	if (p != NULL)
		p->info = *watched;
}

static void on_gone(void *arg, uint32_t slot, const struct gd_subject_id *id)
{
	struct gd_agent *agent = arg;
	int64_t now = gd_clock_now().boottime_ns;
	gd_watched_gone(&agent->watched, slot, now);
	gd_engine_gone(agent->engine, *id, now);
}

static void on_sample(void *arg, uint32_t slot, const struct gd_clock *at,
                      const double values[GD_METRICS])
{
	struct gd_agent *agent = arg;
	struct gd_process *p = gd_watched_at(&agent->watched, slot);
	if (p == NULL)
		return;
	memcpy(p->last, values, sizeof(p->last));
	gd_timeline_add(p->timeline, at, values);
	gd_engine_sample(agent->engine, p->info.id, at->boottime_ns, values);
}

static void on_event(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at)
{
	struct gd_agent *agent = arg;
	const struct gd_process *p = gd_watched_at(&agent->watched, slot);
	if (p != NULL)
		gd_engine_event(agent->engine, p->info.id, event, at->boottime_ns);
}

static void on_tick(void *arg, const struct gd_clock *at)
{
	struct gd_agent *agent = arg;
	agent->ticked_ns = at->boottime_ns;
	gd_engine_tick(agent->engine, at->boottime_ns, agent->seed);
	gd_admission_flush(agent->admission, at);
	gd_watched_expire(&agent->watched, at->boottime_ns);
	gd_agent_baselines(agent, at->boottime_ns);
}

void gd_agent_stop_watcher(struct gd_agent *agent)
{
	if (agent->watcher == NULL)
		return;
	gd_loop_remove(&agent->loop, &agent->watcher_source);
	gd_watcher_stop(agent->watcher);
	agent->watcher = NULL;
	/* What it watched may still live: it will be found again, with its end unseen. */
	gd_watched_all_gone(&agent->watched, gd_clock_now().boottime_ns);
	agent->watcher_ended_ns = gd_clock_now().boottime_ns;
}

static void on_watcher(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_error err = { 0 };
	if (gd_watcher_handle(agent->watcher, &err) == 0)
		return;
	gd_log(GD_LOG_ERROR, "the watcher ended: %s", err.msg);
	(void)snprintf(agent->watcher_problem, sizeof(agent->watcher_problem), "%s", err.msg);
	agent->watcher_restarts++;
	gd_agent_stop_watcher(agent);
}

void gd_agent_start_watcher(struct gd_agent *agent)
{
	static const struct gd_watcher_ops ops = { on_process, on_changed, on_gone,
		                                   on_sample,  on_event,   on_tick };
	struct gd_error err = { 0 };
	struct gd_watcher_options options = {
		.policy = agent->policy,
		.proc = agent->options->proc,
		.cgroup = agent->options->cgroup,
		.interval_ns = (uint64_t)SECOND,
		.ops = &ops,
		.arg = agent,
	};
	int r = gd_watcher_start(&options, &agent->watcher, &err);
	if (r == 0) {
		agent->watcher_source = (struct gd_loop_source){ gd_watcher_fd(agent->watcher),
			                                         on_watcher, agent };
		r = gd_loop_add(&agent->loop, &agent->watcher_source, &err);
		if (r < 0)
			gd_agent_stop_watcher(agent);
	}
	if (r < 0) {
		gd_log(GD_LOG_ERROR, "the watcher does not start: %s", err.msg);
		(void)snprintf(agent->watcher_problem, sizeof(agent->watcher_problem), "%s",
		               err.msg);
		agent->watcher_ended_ns = gd_clock_now().boottime_ns;
		return;
	}
	agent->watcher_problem[0] = '\0';
	agent->ticked_ns = gd_clock_now().boottime_ns;
}

void gd_agent_tend_watcher(struct gd_agent *agent, int64_t now_ns)
{
	int64_t pause_s = agent->watcher_restarts < RESTART_PAUSE_MAX_S ? agent->watcher_restarts
	                                                                 : RESTART_PAUSE_MAX_S;
	if (agent->watcher == NULL && now_ns - agent->watcher_ended_ns >= pause_s * SECOND)
		gd_agent_start_watcher(agent);
	if (agent->watcher == NULL || now_ns - agent->ticked_ns < SILENT_NS)
		return;
	gd_log(GD_LOG_ERROR, "the watcher has been silent for %lld s: started anew",
	       (long long)((now_ns - agent->ticked_ns) / SECOND));
	(void)snprintf(agent->watcher_problem, sizeof(agent->watcher_problem), "it hung");
	agent->watcher_restarts++;
	gd_agent_stop_watcher(agent);
}
