/*
 * The agent's side of the doctor: is its policy right, are its tokens there, does it run, and what does
 * it complain about itself.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/control.h"
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "policies/policy.h"

#define STATUS_MAX (16u << 20)

static enum gd_host_verdict worse(enum gd_host_verdict a, enum gd_host_verdict b)
{
	return a > b ? a : b;
}

static enum gd_host_verdict check_tokens(const struct gd_policy *policy, struct gd_json *json)
{
	const char *listen = policy->hook.listen;
	const char *tokens = policy->hook.tokens;
	if (listen == NULL || strncmp(listen, "unix:", 5) == 0 || strcmp(listen, "off") == 0)
		return GD_HOST_OK;
	/* Without a path systemd hands them to the hook alone. */
	if (tokens == NULL || access(tokens, F_OK) == 0)
		return GD_HOST_OK;
	char detail[400];
	(void)snprintf(detail, sizeof(detail), "%.200s: %s; make one with `godiag hook --new-token "
	                                       "NAME`", tokens, strerror(errno));
	gd_cli_doctor_say(json, GD_HOST_MISSING, "tokens of the hook", detail,
	                  "alerts: nobody can log in over TCP");
	return GD_HOST_MISSING;
}

/*
 * *ret_exists: there is a policy, so an agent should run.  A host without one is as it should be, but
 * one that was named must be there.
 */
static enum gd_host_verdict check_policy(const char *named, struct gd_json *json, bool *ret_exists)
{
	const char *config = named != NULL ? named : GD_CLI_CONFIG;
	__attribute__((cleanup(gd_findings_deinit))) struct gd_findings findings = { 0 };
	struct gd_policy *policy = NULL;
	struct gd_error err = { 0 };
	enum gd_host_verdict worst = GD_HOST_OK;
	char detail[700];
	int r = gd_policy_load(config, &policy, &findings, &err);
	*ret_exists = r != -ENOENT;
	if (r == -ENOENT && named == NULL) {
		gd_cli_doctor_say(json, GD_HOST_OK, "policy",
		                  "none: captures by hand only", "");
		return GD_HOST_OK;
	}
	for (size_t i = 0; i < findings.n; i++) {
		const struct gd_finding *f = &findings.list[i];
		enum gd_host_verdict verdict = f->severity == GD_SEVERITY_ERROR ? GD_HOST_MISSING
		                                                                : GD_HOST_LIMITED;
		if (f->line > 0)
			(void)snprintf(detail, sizeof(detail), "%s:%u:%u: %s", f->file, f->line,
			               f->column, f->text);
		else /* of the whole file */
			(void)snprintf(detail, sizeof(detail), "%s: %s", f->file, f->text);
		gd_cli_doctor_say(json, verdict, "policy", detail,
		                  "the agent does not start with it, or keeps the old one");
		worst = worse(worst, verdict);
	}
	if (r < 0 && findings.n == 0) {
		gd_cli_doctor_say(json, GD_HOST_MISSING, "policy", err.msg, "everything by itself");
		return GD_HOST_MISSING;
	}
	if (r < 0)
		return worst;
	(void)snprintf(detail, sizeof(detail), "%.200s: %zu services, %zu rules", config,
	               policy->n_services, policy->n_rules);
	gd_cli_doctor_say(json, GD_HOST_OK, "policy", detail, "");
	worst = worse(worst, check_tokens(policy, json));
	gd_policy_free(policy);
	return worst;
}

static enum gd_host_verdict say_problems(const struct gd_buf *text, struct gd_json *json)
{
	json_t *status = json_loadb(text->data, text->len, 0, NULL);
	const json_t *problems = json_object_get(status, "problems");
	size_t n = json_array_size(problems);
	size_t i;
	json_t *problem;
	json_array_foreach(problems, i, problem)
		gd_cli_doctor_say(json, GD_HOST_LIMITED, "agent", json_string_value(problem),
		                  "see above; `godiag status` has the rest");
	if (n == 0)
		gd_cli_doctor_say(json, GD_HOST_OK, "agent", "runs and has no complaints", "");
	json_decref(status);
	return n == 0 ? GD_HOST_OK : GD_HOST_LIMITED;
}

enum gd_host_verdict gd_cli_doctor_agent(const char *config, const char *run, struct gd_json *json)
{
	bool has_policy = false;
	struct gd_error err = { 0 };
	char path[600];
	GD_CLOSE int fd = -1;
	GD_BUF struct gd_buf text = GD_BUF_INIT(STATUS_MAX);
	enum gd_host_verdict verdict = check_policy(config, json, &has_policy);
	(void)snprintf(path, sizeof(path), "%s/control", run);
	int r = gd_control_connect(path, &fd, &err);
	if ((r == -ENOENT || r == -ECONNREFUSED) && !has_policy) {
		gd_cli_doctor_say(json, GD_HOST_OK, "agent", "does not run; captures by hand need none",
		                  "");
		return verdict;
	}
	if (r == 0)
		r = gd_control_ask_status(fd, &text, &err);
	if (r < 0) {
		gd_cli_doctor_say(json, GD_HOST_LIMITED, "agent", err.msg,
		                  "captures by rule, alert and schedule");
		return worse(verdict, GD_HOST_LIMITED);
	}
	return worse(verdict, say_problems(&text, json));
}
