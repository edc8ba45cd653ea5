/*
 * The agent's own figures in the Prometheus text format; the hook serves them at /metrics.  Label
 * values are names of the policy (checked letters) or words of ours.
 */
#include <inttypes.h>
#include <string.h>

#include "agent/agent.h"

static void head(struct gd_buf *to, const char *name, const char *type, const char *help)
{
	gd_buf_printf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_triggers(const struct gd_agent *agent, struct gd_buf *to)
{
	const struct gd_admission_count *counts;
	size_t n = gd_admission_counts(agent->admission, &counts);
	head(to, "godiag_triggers_total", "counter", "Triggers by rule and what became of them.");
	for (size_t i = 0; i < n; i++)
		for (int v = 0; v < GD_VERDICTS; v++)
			if (counts[i].verdicts[v] > 0)
				gd_buf_printf(to,
				              "godiag_triggers_total{rule=\"%s\",verdict=\"%s\"} "
				              "%" PRIu64 "\n",
				              counts[i].rule, gd_verdict_names[v],
				              counts[i].verdicts[v]);
	head(to, "godiag_rule_disabled", "gauge", "1: the rule disabled itself.");
	for (size_t i = 0; i < n; i++)
		gd_buf_printf(to, "godiag_rule_disabled{rule=\"%s\"} %d\n", counts[i].rule,
		              counts[i].disabled);
}

static void put_captures(const struct gd_agent *agent, struct gd_buf *to)
{
	head(to, "godiag_captures_total", "counter", "Captures since the agent started.");
	for (int s = GD_OPERATION_SUCCEEDED; s <= GD_OPERATION_FAILED; s++)
		gd_buf_printf(to, "godiag_captures_total{state=\"%s\"} %" PRIu64 "\n",
		              gd_operation_state_names[s], agent->ended[s]);
	head(to, "godiag_captures_queued", "gauge", "Captures waiting.");
	gd_buf_printf(to, "godiag_captures_queued %u\n",
	              gd_operations_count(&agent->operations, GD_OPERATION_QUEUED));
	head(to, "godiag_captures_running", "gauge", "Captures running.");
	gd_buf_printf(to, "godiag_captures_running %u\n",
	              gd_operations_count(&agent->operations, GD_OPERATION_RUNNING));
}

static void put_watched(const struct gd_agent *agent, struct gd_buf *to)
{
	head(to, "godiag_watched_processes", "gauge", "Processes watched, by service.");
	for (size_t i = 0; i < agent->policy->n_services; i++) {
		unsigned n = 0;
		for (const struct gd_process *p = agent->watched.first; p != NULL; p = p->next)
			n += p->gone_ns == 0 && p->info.service == i;
		gd_buf_printf(to, "godiag_watched_processes{service=\"%s\"} %u\n",
		              agent->policy->services[i].name, n);
	}
	head(to, "godiag_watcher_restarts_total", "counter", "Times the watcher had to be restarted.");
	gd_buf_printf(to, "godiag_watcher_restarts_total %u\n", agent->watcher_restarts);
	head(to, "godiag_watcher_missed_samples_total", "counter",
	     "Seconds that were not sampled since the watcher was started.");
	gd_buf_printf(to, "godiag_watcher_missed_samples_total %u\n",
	              agent->watcher != NULL ? gd_watcher_missed(agent->watcher) : 0);
}

static void put_spool(const struct gd_agent *agent, struct gd_buf *to)
{
	struct gd_spool_stats s;
	gd_spool_stats(agent->spool, &s);
	head(to, "godiag_spool_archives", "gauge", "Archives in the spool.");
	gd_buf_printf(to,
	              "godiag_spool_archives{state=\"ready\"} %u\n"
	              "godiag_spool_archives{state=\"done\"} %u\n"
	              "godiag_spool_archives{state=\"quarantine\"} %u\n",
	              s.ready, s.done, s.quarantined);
	head(to, "godiag_spool_bytes", "gauge", "Bytes of archives in the spool.");
	gd_buf_printf(to,
	              "godiag_spool_bytes{state=\"ready\"} %" PRIu64 "\n"
	              "godiag_spool_bytes{state=\"done\"} %" PRIu64 "\n",
	              s.ready_bytes, s.done_bytes);
	head(to, "godiag_spool_free_bytes", "gauge", "Free bytes of the spool's file system.");
	gd_buf_printf(to, "godiag_spool_free_bytes %" PRIu64 "\n", s.fs_free_bytes);
	head(to, "godiag_uploads_total", "counter", "Archives uploaded and verified.");
	gd_buf_printf(to, "godiag_uploads_total %" PRIu64 "\n", s.uploaded_total);
	head(to, "godiag_upload_failures_total", "counter", "Uploads that failed and are tried again.");
	gd_buf_printf(to, "godiag_upload_failures_total %" PRIu64 "\n", s.failed_total);
}

void gd_agent_metrics(void *arg, struct gd_buf *to)
{
	const struct gd_agent *agent = arg;
	head(to, "godiag_build_info", "gauge", "Always 1.");
	gd_buf_printf(to, "godiag_build_info{version=\"" GD_VERSION "\"} 1\n");
	head(to, "godiag_policy_stale", "gauge", "1: the last reload was refused.");
	gd_buf_printf(to, "godiag_policy_stale %d\n", agent->policy_problem[0] != '\0');
	put_triggers(agent, to);
	put_captures(agent, to);
	put_watched(agent, to);
	put_spool(agent, to);
}
