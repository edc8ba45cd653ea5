/*
 * A capture by the running agent: for who is not root, for units, and for OnFailure=.  The archive goes
 * into the agent's spool and from there to its store.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/control.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "cli/capture.h"
#include "cli/cli.h"

#define NAME "godiag-capture"

/* What systemd (251 and newer) tells a unit that was started by OnFailure= about the one that failed. */
static void put_monitor(struct gd_buf *to)
{
	static const struct {
		const char *variable, *key;
	} all[] = {
		{ "MONITOR_UNIT", "unit" },
		{ "MONITOR_SERVICE_RESULT", "result" },
		{ "MONITOR_EXIT_CODE", "exit_code" },
		{ "MONITOR_EXIT_STATUS", "exit_status" },
		{ "MONITOR_INVOCATION_ID", "invocation_id" },
	};
	struct gd_json json = GD_JSON_INIT(to);
	gd_json_object(&json, NULL);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (getenv(all[i].variable) != NULL)
			gd_json_string(&json, all[i].key, getenv(all[i].variable));
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

static void print_json(const struct gd_control_ended *ended)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(65536);
	struct gd_json json = GD_JSON_INIT(&text);
	gd_json_object(&json, NULL);
	gd_json_i64(&json, "exit", ended->exit);
	gd_json_string(&json, "id", ended->id);
	gd_json_string(&json, "error", ended->error[0] != '\0' ? ended->error : NULL);
	gd_json_string(&json, "path", ended->path[0] != '\0' ? ended->path : NULL);
	gd_json_string(&json, "digest", ended->digest[0] != '\0' ? ended->digest : NULL);
	gd_json_u64(&json, "bytes", ended->bytes);
	gd_json_u64(&json, "target_pause_ns", ended->pause_ns);
	gd_json_object_end(&json);
	(void)puts(gd_buf_str(&text));
}

static enum gd_exit exit_of_verdict(uint32_t verdict)
{
	switch (verdict) {
	case GD_VERDICT_NO_TARGET:
		return GD_EXIT_GONE;
	case GD_VERDICT_SPACE:
	case GD_VERDICT_BUDGET:
		return GD_EXIT_SPACE;
	default:
		return GD_EXIT_REFUSED;
	}
}

int gd_cli_capture_by_agent(const struct gd_cli_capture_wish *wish)
{
	char path[600];
	GD_CLOSE int fd = -1;
	GD_BUF struct gd_buf monitor = GD_BUF_INIT(1000);
	struct gd_error err = { 0 };
	struct gd_control_verdict verdict;
	struct gd_control_ended ended;
	bool on_failure = wish->unit != NULL && getenv("MONITOR_UNIT") != NULL;
	struct gd_control_capture request = {
		.pid = wish->pid,
		.profile = (uint32_t)wish->profile,
	};
	(void)snprintf(request.unit, sizeof(request.unit), "%s", wish->unit != NULL ? wish->unit : "");
	(void)snprintf(request.service, sizeof(request.service), "%s",
	               wish->service != NULL ? wish->service : "");
	(void)snprintf(request.reason, sizeof(request.reason), "%s",
	               wish->reason != NULL ? wish->reason : "");
	(void)snprintf(request.trigger, sizeof(request.trigger), "%s",
	               on_failure ? "unit" : "manual");
	if (on_failure) {
		put_monitor(&monitor);
		(void)snprintf(request.exit_json, sizeof(request.exit_json), "%s",
		               gd_buf_str(&monitor));
	}
	(void)snprintf(path, sizeof(path), "%s/control", wish->run);
	int r = gd_control_connect(path, &fd, &err);
	if (r < 0)
		return gd_cli_fail(r == -EACCES ? GD_EXIT_PERMISSION : GD_EXIT_USAGE, NAME, &err);
	r = gd_control_ask_capture(fd, &request, &verdict, &ended, &err);
	if (r < 0)
		return gd_cli_fail(GD_EXIT_PARTIAL, NAME, &err);
	if (r > 0) {
		(void)gd_fail(&err, -EBUSY, "refused (%s): %s",
		              verdict.verdict < GD_VERDICTS ? gd_verdict_names[verdict.verdict]
		                                            : "unknown",
		              verdict.why);
		return gd_cli_fail((int)exit_of_verdict(verdict.verdict), NAME, &err);
	}
	if (ended.error[0] != '\0') {
		(void)gd_fail(&err, -EIO, "%s", ended.error);
		(void)gd_cli_fail(ended.exit, NAME, &err);
	}
	if (wish->json)
		print_json(&ended);
	else if (ended.path[0] != '\0')
		(void)printf("%s %s\n", ended.path, ended.digest);
	return ended.exit;
}
