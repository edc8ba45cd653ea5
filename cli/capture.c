#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/capture.h"
#include "cli/capture_request.h"
#include "cli/cli.h"
#include "uploader/uploader.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	/* The second one means it: nothing has a name before it is sealed, so leaving is clean. */
	if (interrupted)
		_exit(GD_EXIT_INTERRUPTED);
	interrupted = signal_number;
}

static void print_step(void *arg, const char *collector, const struct gd_step *step,
                       uint64_t bytes)
{
	const bool *terminal = arg;
	if (step == NULL) {
		if (*terminal)
			(void)fprintf(stderr, "  %-16s ...", collector);
		return;
	}
	char size[GD_UNITS_TEXT];
	char took[GD_UNITS_TEXT];
	char pause[GD_UNITS_TEXT];
	uint64_t ns = (uint64_t)(step->ended_ns - step->started_ns);
	(void)fprintf(stderr, "%s  %-16s %-8s %10s %9s  pause %s", *terminal ? "\r\033[K" : "",
	              collector, gd_grade_name(step->outcome.grade), gd_units_bytes(size, bytes),
	              gd_units_duration(took, ns),
	              step->pause_ns > 0 ? gd_units_duration(pause, (uint64_t)step->pause_ns) : "0");
	if (step->outcome.grade != GD_GRADE_COMPLETE) {
		char why[512];
		gd_text_escape(why, sizeof(why), step->outcome.why.msg,
		               strlen(step->outcome.why.msg));
		(void)fprintf(stderr, "  %s", why);
	}
	(void)fputc('\n', stderr);
}

/* On a terminal: how far a step is that takes long. */
static void print_bytes(void *arg, const char *name, uint64_t bytes, uint64_t of_bytes)
{
	char done[GD_UNITS_TEXT];
	char all[GD_UNITS_TEXT];
	(void)arg;
	(void)fprintf(stderr, "\r\033[K  %-16s %s of %s", name, gd_units_bytes(done, bytes),
	              gd_units_bytes(all, of_bytes));
}

static void print_time(void *arg, const char *name, int64_t ns, int64_t of_ns)
{
	char done[GD_UNITS_TEXT];
	char all[GD_UNITS_TEXT];
	(void)arg;
	(void)fprintf(stderr, "\r\033[K  %-16s %s of %s", name, gd_units_duration(done, (uint64_t)ns),
	              gd_units_duration(all, (uint64_t)of_ns));
}

static void print_result(const struct gd_cli_capture_request *request, const struct gd_capture_result *result,
                         enum gd_exit status, const struct gd_uploaded *uploaded,
                         const struct gd_error *err)
{
	if (!request->json) {
		if (result->sealed.path[0] != '\0')
			(void)printf("%s %s\n", result->sealed.path, result->sealed.digest);
		return;
	}
	GD_BUF struct gd_buf text = GD_BUF_INIT(65536);
	struct gd_json json = GD_JSON_INIT(&text);
	gd_json_object(&json, NULL);
	gd_json_i64(&json, "exit", status);
	gd_json_string(&json, "grade", gd_grade_name(result->snapshot.outcome.grade));
	gd_json_string(&json, "error", status != GD_EXIT_COMPLETE ? err->msg : NULL);
	if (result->sealed.path[0] != '\0') {
		gd_json_string(&json, "id", result->snapshot.id);
		gd_json_string(&json, "path", result->sealed.path);
		gd_json_string(&json, "digest", result->sealed.digest);
		gd_json_u64(&json, "bytes", result->sealed.bytes);
		gd_json_u64(&json, "target_pause_ns", result->snapshot.target_pause_ns);
	}
	gd_json_string(&json, "uploaded", uploaded->location[0] != '\0' ? uploaded->location : NULL);
	gd_json_object_end(&json);
	(void)puts(gd_buf_str(&text));
}

static enum gd_exit capture(const struct gd_cli_capture_request *request, const struct gd_plan *plan,
                            const char *output)
{
	bool terminal = isatty(STDERR_FILENO) != 0;
	GD_CLOSE int base_fd = -1;
	struct gd_error err = { 0 };
	if (request->base != NULL) {
		base_fd = open(request->base, O_RDONLY | O_CLOEXEC);
		if (base_fd < 0) {
			(void)gd_fail_errno(&err, -errno, "--base %s", request->base);
			return (enum gd_exit)gd_cli_fail(GD_EXIT_USAGE, GD_CLI_CAPTURE, &err);
		}
	}
	struct gd_capture_options options = {
		.pid = request->pid,
		.plan = plan,
		.freeze = request->freeze,
		.output_dir = output,
		.trigger = "manual",
		.reason = request->reason,
		.labels = request->labels,
		.n_labels = request->n_labels,
		.cancelled = &interrupted,
		.progress = request->quiet ? NULL : print_step,
		.progress_bytes = request->quiet || !terminal ? NULL : print_bytes,
		.progress_time = request->quiet || !terminal ? NULL : print_time,
		.progress_arg = &terminal,
	};
	struct gd_capture_result result;
	struct gd_uploaded uploaded = { .location = "" };
	options.freeze.base_fd = base_fd;
	enum gd_exit status = gd_capture_run(&options, &result, &err);
	if (status != GD_EXIT_COMPLETE)
		(void)gd_cli_fail((int)status, GD_CLI_CAPTURE, &err);
	if (result.sealed.path[0] != '\0' && request->upload != NULL) {
		if (gd_uploader_put(result.sealed.path, request->upload, &uploaded, &err) < 0)
			status = (enum gd_exit)gd_cli_fail(GD_EXIT_NOT_UPLOADED, GD_CLI_CAPTURE, &err);
		else if (!request->quiet)
			(void)fprintf(stderr, "  uploaded to %s, verified\n", uploaded.location);
	}
	print_result(request, &result, status, &uploaded, &err);
	gd_capture_result_deinit(&result);
	return status;
}

int gd_cli_capture(int argc, char **argv)
{
	struct gd_cli_capture_request request;
	struct gd_plan plan;
	struct gd_error err = { 0 };
	int r = gd_cli_capture_parse(argc, argv, &request, &err);
	if (r > 0)
		return GD_EXIT_COMPLETE;
	if (r == 0)
		r = gd_cli_capture_make_plan(&request, &plan, &err);
	if (r != 0)
		return gd_cli_fail(GD_EXIT_USAGE, GD_CLI_CAPTURE, &err);
	const char *output = request.output != NULL ? request.output : ".";
	if (request.by_agent) {
		struct gd_cli_capture_wish wish = {
			request.run,    request.pid,     request.unit, request.service,
			request.reason, request.profile, request.json,
		};
		return gd_cli_capture_by_agent(&wish);
	}
	if (request.plan_only)
		return gd_cli_capture_plan(request.pid, &plan, &request.freeze, output,
		                           request.json);

	struct sigaction action = { .sa_handler = on_interrupt };
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error, not our end */
	return (int)capture(&request, &plan, output);
}
