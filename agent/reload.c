/*
 * The policy read at the start and at each reload.  A bad one is named finding by finding, and the
 * old one stays.
 */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"


static void log_findings(const struct gd_findings *findings)
{
	for (size_t i = 0; i < findings->n; i++) {
		GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
		gd_finding_put(&findings->list[i], &line);
		if (line.len > 0 && line.data[line.len - 1] == '\n')
			line.len--;
		gd_log(findings->list[i].severity == GD_SEVERITY_ERROR ? GD_LOG_ERROR
		                                                        : GD_LOG_WARNING,
		       "%s", gd_buf_str(&line));
	}
}

int gd_agent_load_policy(const struct gd_agent *agent, struct gd_policy **ret, struct gd_error *err)
{
	__attribute__((cleanup(gd_findings_deinit))) struct gd_findings findings = { 0 };
	int r = gd_policy_load(agent->options->config, ret, &findings, err);
	log_findings(&findings);
	return r;
}

/* The connector can only be started before we are the broker. */
static void warn_of_connector(const struct gd_agent *agent)
{
	for (size_t i = 0; i < agent->policy->n_services && agent->connector.fd < 0; i++) {
		const struct gd_service *service = &agent->policy->services[i];
		if (!service->debug_port.wanted)
			continue;
		gd_log(GD_LOG_WARNING, "debug_port of service \"%s\" is new: it is asked once the agent "
		       "has been started again", service->name);
		return;
	}
}

/* Everything that knew the old policy learns the new one; machines are armed anew. */
int gd_agent_reload(struct gd_agent *agent, struct gd_error *err)
{
	struct gd_policy *policy;
	struct gd_engine *engine = NULL;
	int r = gd_agent_load_policy(agent, &policy, err);
	if (r == 0) {
		r = gd_engine_create(policy, gd_agent_fired, agent, &engine, err);
		if (r < 0)
			gd_policy_free(policy);
	}
	if (r < 0) {
		(void)snprintf(agent->policy_problem, sizeof(agent->policy_problem), "%s", err->msg);
		gd_log(GD_LOG_ERROR, "reload: %s; the old policy stays", err->msg);
		return r;
	}
	gd_agent_stop_watcher(agent);
	gd_engine_destroy(agent->engine);
	agent->engine = engine;
	gd_admission_policy(agent->admission, policy);
	(void)gd_admission_enable(agent->admission, NULL, NULL);
	if (agent->upload != NULL)
		gd_upload_peer_policy(agent->upload, policy);
	if (agent->hook != NULL && gd_hook_peer_policy(agent->hook, policy, NULL) < 0)
		gd_agent_drop_hook(agent);
	gd_baselines_renumber(&agent->baselines, agent->policy, policy);
	gd_policy_free(agent->policy);
	agent->policy = policy;
	agent->policy_problem[0] = '\0';
	gd_agent_start_watcher(agent);
	warn_of_connector(agent);
	gd_log(GD_LOG_INFO, "policy %s: %zu services, %zu rules", policy->digest,
	       policy->n_services, policy->n_rules);
	return 0;
}
