#include "cli/capture_request.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "cli/cli.h"
#include "uploader/uploader.h"

#define DURATION_MIN_NS UINT64_C(100000000)
#define DEBUG_TRACE_MIN_NS UINT64_C(10000000)
#define DEBUG_TRACE_MAX_NS UINT64_C(60000000000)
#define PAUSE_MAX_NS UINT64_C(10000000000)

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " GD_CLI_CAPTURE " --pid N [OPTION]...\n"
		"Take one snapshot of a running process from outside.  Only a core and --consistent stop\n"
		"it, for milliseconds.\n\n"
		"  --pid N            the process\n"
		"  --unit NAME        by the agent: the service of its policy with that unit\n"
		"  --service NAME     by the agent: a service of its policy\n"
		"  --agent            by the agent: into its spool, within its budgets\n"
		"  --run DIR          where the agent's sockets are (default: " GD_CLI_RUN_DIR ")\n"
		"  --profile NAME     light: proc, goroutines, runtime;\n"
		"                     standard (default): also heap, block, mutex, samples;\n"
		"                     full: also a core\n"
		"  --only LIST        just these collectors, comma-separated\n"
		"  --skip LIST        all but these\n"
		"  --duration TIME    sample the CPUs so long (default: 10s)\n"
		"  --frequency HZ     and so often (default: 99)\n"
		"  --syscalls         count its system calls by number meanwhile; this slows every call\n"
		"                     of every process on the host a little\n"
		"  --debug-port any|PORT\n"
		"                     also the service's own CPU profile and execution trace, by its\n"
		"                     net/http/pprof on the TCP port it listens on: that costs it\n"
		"  --debug-trace TIME how long it traces itself (default: 1s; 0: not)\n"
		"  --core full|thin   also a core: all memory, or stacks, data and runtime structures\n"
		"                     without the objects of the program\n"
		"  --consistent       goroutines, runtime and profiles of one instant\n"
		"  --max-pause TIME   the longest stop for these (default: 50ms; 0: none, torn)\n"
		"  --base FILE        an earlier capture of the process: keep what has changed since\n"
		"  --force-core       also of a process that wants no core\n"
		"  --zero-noscan      objects without pointers (strings, bytes) are kept as zeros\n"
		"  --output DIR       where the archive goes (default: the current directory)\n"
		"  --upload URL       also put it there: file:///DIR, s3://BUCKET/PREFIX or\n"
		"                     http(s)://HOST/BUCKET/PREFIX; the local file is kept\n"
		"  --label KEY=VALUE  kept in the snapshot; may be repeated\n"
		"  --reason TEXT      why, for whoever reads it later\n"
		"  --plan             say what would be collected and stopped, touch nothing\n"
		"  --json             one JSON object on stdout instead of one line\n"
		"  --quiet            no progress on stderr\n\n"
		"Exit status: 0 complete, 1 usage, 2 target gone, 3 no permission, 4 partial,\n"
		"5 no space or place, 6 captured but not uploaded, 7 refused by the agent,\n"
		"130 interrupted.\n",
		out);
}

/* ---- options --------------------------------------------------------------------------------- */

static int take_label(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	char *equals = strchr(text, '=');
	if (equals == NULL || equals == text)
		return gd_fail(err, -EINVAL, "--label \"%s\": write KEY=VALUE", text);
	if (request->n_labels == GD_CLI_CAPTURE_LABELS_MAX)
		return gd_fail(err, -EINVAL, "more than %d labels", GD_CLI_CAPTURE_LABELS_MAX);
	*equals = '\0';
	for (size_t i = 0; i < request->n_labels; i++)
		if (strcmp(request->labels[i].key, text) == 0)
			return gd_fail(err, -EINVAL, "--label %s is given twice", text);
	request->labels[request->n_labels++] =
		(struct gd_label){ .key = text, .value = equals + 1 };
	return 0;
}

static int take_pid(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t pid;
	const char *end;
	if (!gd_text_u64(text, &end, 10, &pid) || *end != '\0' || pid == 0 || pid > INT32_MAX)
		return gd_fail(err, -EINVAL, "--pid \"%s\": a process id is a positive number", text);
	request->pid = (pid_t)pid;
	return 0;
}

static int take_core(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	if (strcmp(text, "thin") != 0 && strcmp(text, "full") != 0)
		return gd_fail(err, -EINVAL, "--core \"%s\": write full or thin", text);
	request->core = text;
	request->freeze.thin = strcmp(text, "thin") == 0;
	return 0;
}

static int take_pause(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t ns = 0;
	if (gd_units_parse_duration(text, &ns, err) < 0)
		return gd_error_wrap(err, -EINVAL, "--max-pause");
	if (ns > PAUSE_MAX_NS)
		return gd_fail(err, -EINVAL, "--max-pause %s: no service survives more than 10 s",
		               text);
	request->freeze.max_pause_ns = (int64_t)ns;
	return 0;
}

static int take_duration(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t ns = 0;
	if (gd_units_parse_duration(text, &ns, err) < 0)
		return gd_error_wrap(err, -EINVAL, "--duration");
	if (ns < DURATION_MIN_NS || ns > GD_WINDOW_DURATION_MAX_NS)
		return gd_fail(err, -EINVAL, "--duration %s: from 100ms to 10m", text);
	request->duration_ns = (int64_t)ns;
	return 0;
}

static int take_debug_port(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t port = 0;
	const char *end;
	if (strcmp(text, "any") != 0 && (!gd_text_u64(text, &end, 10, &port) || *end != '\0' ||
	                                 port == 0 || port > UINT16_MAX))
		return gd_fail(err, -EINVAL, "--debug-port \"%s\": write the port, 1 to 65535, or any "
		               "for all that it listens on", text);
	request->debug_port = true;
	request->debug_port_number = (uint16_t)port;
	return 0;
}

static int take_debug_trace(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t ns = 0;
	if (gd_units_parse_duration(text, &ns, err) < 0)
		return gd_error_wrap(err, -EINVAL, "--debug-trace");
	if (ns != 0 && (ns < DEBUG_TRACE_MIN_NS || ns > DEBUG_TRACE_MAX_NS))
		return gd_fail(err, -EINVAL, "--debug-trace %s: from 10ms to 1m, or 0", text);
	request->debug_trace_given = true;
	request->debug_trace_ns = (int64_t)ns;
	return 0;
}

static int take_frequency(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	uint64_t hz;
	const char *end;
	if (!gd_text_u64(text, &end, 10, &hz) || (*end != '\0' && strcmp(end, "Hz") != 0) ||
	    hz == 0 || hz > GD_WINDOW_FREQUENCY_MAX_HZ)
		return gd_fail(err, -EINVAL, "--frequency \"%s\": samples in a second of CPU time, "
		               "1 to %d", text, GD_WINDOW_FREQUENCY_MAX_HZ);
	request->frequency_hz = (uint32_t)hz;
	return 0;
}

static int take_profile(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	return gd_plan_parse_profile(text, &request->profile, err);
}

static int take_upload(struct gd_cli_capture_request *request, char *text, struct gd_error *err)
{
	request->upload = text;
	return gd_uploader_check_url(text, err);
}

/* The agent has its own spool, store and labels. */
static int check_agent_options(const struct gd_cli_capture_request *request, struct gd_error *err)
{
	if ((request->pid != 0) + (request->unit != NULL) + (request->service != NULL) != 1)
		return gd_fail(err, -EINVAL, "name one of --pid, --unit and --service");
	if (request->only != NULL || request->skip != NULL || request->upload != NULL ||
	    request->output != NULL || request->n_labels > 0 || request->plan_only ||
	    request->base != NULL || request->core != NULL || request->freeze.consistent ||
	    request->duration_ns != 0 || request->frequency_hz != 0 || request->syscalls ||
	    request->debug_port || request->debug_trace_given)
		return gd_fail(err, -EINVAL, "by the agent: --only, --skip, --output, --upload, "
		               "--label, --core, --consistent, --base, --duration, --frequency, --syscalls, "
		               "--debug-port, --debug-trace and --plan do not apply: its policy says");
	return 0;
}

/* What an option does: a text kept, a flag set, or `take`. */
struct row {
	const char *name;
	int letter; /* its short form, 0: none */
	int (*take)(struct gd_cli_capture_request *request, char *text, struct gd_error *err);
	size_t text, flag; /* where in the request; 0: none (the pid is what lies there) */
};

#define TEXT(field) .text = offsetof(struct gd_cli_capture_request, field)
#define FLAG(field) .flag = offsetof(struct gd_cli_capture_request, field)

static const struct row rows[] = {
	{ "pid", 'p', .take = take_pid },
	{ "profile", .take = take_profile },
	{ "only", TEXT(only) },
	{ "skip", TEXT(skip) },
	{ "core", .take = take_core },
	{ "consistent", FLAG(freeze.consistent) },
	{ "max-pause", .take = take_pause },
	{ "duration", .take = take_duration },
	{ "frequency", .take = take_frequency },
	{ "syscalls", FLAG(syscalls) },
	{ "debug-port", .take = take_debug_port },
	{ "debug-trace", .take = take_debug_trace },
	{ "base", TEXT(base) },
	{ "force-core", FLAG(freeze.secret) },
	{ "zero-noscan", FLAG(freeze.zero_noscan) },
	{ "output", 'o', TEXT(output) },
	{ "upload", .take = take_upload },
	{ "label", .take = take_label },
	{ "reason", TEXT(reason) },
	{ "unit", TEXT(unit) },
	{ "service", TEXT(service) },
	{ "agent", FLAG(by_agent) },
	{ "run", TEXT(run) },
	{ "plan", FLAG(plan_only) },
	{ "json", FLAG(json) },
	{ "quiet", 'q', FLAG(quiet) },
	{ "help", 'h', FLAG(help) },
};
enum { ROWS = sizeof(rows) / sizeof(*rows), FIRST = 256 /* beyond any letter */ };

static int take(struct gd_cli_capture_request *request, const struct row *row, char *text,
                struct gd_error *err)
{
	char *bytes = (char *)request;
	if (row->take != NULL)
		return row->take(request, text, err);
	if (row->flag != 0)
		*(bool *)(bytes + row->flag) = true;
	else
		*(const char **)(void *)(bytes + row->text) = text;
	return 0;
}

static const struct row *row_of(int option)
{
	for (size_t i = 0; i < ROWS; i++)
		if (option == FIRST + (int)i || (rows[i].letter != 0 && option == rows[i].letter))
			return &rows[i];
	return NULL;
}

static int check(const struct gd_cli_capture_request *request, int argc, char **argv,
                 struct gd_error *err)
{
	if (optind < argc)
		return gd_fail(err, -EINVAL, "\"%s\" is not an option; did you mean --pid %s?",
		               argv[optind], argv[optind]);
	if (request->pid == 0 && request->unit == NULL && request->service == NULL)
		return gd_fail(err, -EINVAL, "which process? Name it with --pid N");
	return request->by_agent ? check_agent_options(request, err) : 0;
}

int gd_cli_capture_parse(int argc, char **argv, struct gd_cli_capture_request *ret,
                         struct gd_error *err)
{
	struct option options[ROWS + 1] = { 0 };
	for (size_t i = 0; i < ROWS; i++)
		options[i] = (struct option){ rows[i].name, rows[i].flag != 0 ? no_argument
			                                                      : required_argument,
			                      NULL, FIRST + (int)i };
	*ret = (struct gd_cli_capture_request){ .profile = GD_PROFILE_STANDARD,
		                                .freeze = GD_CAPTURE_FREEZE_INIT,
		                                .run = GD_CLI_RUN_DIR };
	int r = 0;
	int option;
	while (r == 0 && !ret->help &&
	       (option = getopt_long(argc, argv, "p:o:qh", options, NULL)) != -1) {
		const struct row *row = row_of(option);
		/* getopt has said what is wrong */
		r = row != NULL ? take(ret, row, optarg, err)
		                : gd_fail(err, -EINVAL, "try `" GD_CLI_CAPTURE " --help`");
	}
	if (r == 0 && ret->help) {
		usage(stdout);
		return 1;
	}
	ret->by_agent = ret->by_agent || ret->unit != NULL || ret->service != NULL;
	return r < 0 ? r : check(ret, argc, argv, err);
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int set_window(const struct gd_cli_capture_request *request, struct gd_plan *plan, struct gd_error *err)
{
	bool sampled = gd_plan_windowed(plan) != SIZE_MAX;
	bool apart = gd_plan_apart(plan) != SIZE_MAX;
	if (!sampled && (!apart || request->frequency_hz != 0 || request->syscalls))
		return gd_fail(err, -EINVAL, "--duration, --frequency, --syscalls: nothing is sampled; "
		               "add samples to --only, or take --profile standard");
	if (request->duration_ns != 0)
		plan->window.duration_ns = request->duration_ns;
	if (request->frequency_hz != 0)
		plan->window.frequency_hz = request->frequency_hz;
	plan->window.syscalls = request->syscalls;
	return 0;
}

static int set_debug_port(const struct gd_cli_capture_request *request, struct gd_plan *plan, struct gd_error *err)
{
	int r = request->debug_port ? gd_plan_add(plan, gd_collector_debug_port.name, err) : 0;
	if (r == 0 && request->debug_trace_given && gd_plan_apart(plan) == SIZE_MAX)
		return gd_fail(err, -EINVAL, "--debug-trace goes with --debug-port");
	plan->debug_port.port = request->debug_port_number;
	if (request->debug_trace_given)
		plan->debug_port.trace_ns = request->debug_trace_ns;
	return r;
}

int gd_cli_capture_make_plan(const struct gd_cli_capture_request *request, struct gd_plan *ret,
                             struct gd_error *err)
{
	int r = gd_plan_make(request->profile, request->only, request->skip, ret, err);
	if (r == 0)
		r = set_debug_port(request, ret, err);
	if (r == 0 && (request->duration_ns != 0 || request->frequency_hz != 0 || request->syscalls))
		r = set_window(request, ret, err);
	if (r == 0 && request->core != NULL)
		r = gd_plan_add(ret, "core", err);
	if (r == 0 && request->base != NULL && !gd_plan_has(ret, "core"))
		r = gd_fail(err, -EINVAL, "--base: there is no core to compare; add --core full");
	return r;
}
