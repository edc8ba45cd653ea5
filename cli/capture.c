#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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
#include "cli/cli.h"
#include "uploader/uploader.h"

#define NAME "godiag-capture"
#define LABELS_MAX 32
#define DURATION_MIN_NS UINT64_C(100000000)
#define DEBUG_TRACE_MIN_NS UINT64_C(10000000)
#define DEBUG_TRACE_MAX_NS UINT64_C(60000000000)
#define PAUSE_MAX_NS UINT64_C(10000000000)

struct request {
	pid_t pid;
	enum gd_profile profile;
	const char *only, *skip, *output, *upload, *reason;
	const char *unit, *service, *run;
	bool by_agent; /* asked for, or the only way */
	struct gd_label labels[LABELS_MAX];
	size_t n_labels;
	bool output_given, plan_only, json, quiet;
	const char *core; /* --core: "thin", "full"; NULL: as the profile says */
	const char *base;
	struct gd_capture_freeze freeze;
	int64_t duration_ns;   /* 0: not given */
	bool debug_port, debug_trace_given;
	uint16_t debug_port_number; /* 0: any */
	int64_t debug_trace_ns;
	uint32_t frequency_hz; /* the same */
	bool syscalls;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	/* The second one means it: nothing has a name before it is sealed, so leaving is clean. */
	if (interrupted)
		_exit(GD_EXIT_INTERRUPTED);
	interrupted = signal_number;
}

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " --pid N [OPTION]...\n"
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

static int add_label(struct request *request, char *text, struct gd_error *err)
{
	char *equals = strchr(text, '=');
	if (equals == NULL || equals == text)
		return gd_fail(err, -EINVAL, "--label \"%s\": write KEY=VALUE", text);
	if (request->n_labels == LABELS_MAX)
		return gd_fail(err, -EINVAL, "more than %d labels", LABELS_MAX);
	*equals = '\0';
	for (size_t i = 0; i < request->n_labels; i++)
		if (strcmp(request->labels[i].key, text) == 0)
			return gd_fail(err, -EINVAL, "--label %s is given twice", text);
	request->labels[request->n_labels++] =
		(struct gd_label){ .key = text, .value = equals + 1 };
	return 0;
}

static int parse_pid(const char *text, pid_t *ret, struct gd_error *err)
{
	uint64_t pid;
	const char *end;
	if (!gd_text_u64(text, &end, 10, &pid) || *end != '\0' || pid == 0 || pid > INT32_MAX)
		return gd_fail(err, -EINVAL, "--pid \"%s\": a process id is a positive number", text);
	*ret = (pid_t)pid;
	return 0;
}

static int parse_core(const char *text, struct request *request, struct gd_error *err)
{
	if (strcmp(text, "thin") != 0 && strcmp(text, "full") != 0)
		return gd_fail(err, -EINVAL, "--core \"%s\": write full or thin", text);
	request->core = text;
	request->freeze.thin = strcmp(text, "thin") == 0;
	return 0;
}

static int parse_pause(const char *text, struct request *request, struct gd_error *err)
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

static int parse_window(const char *text, struct request *request, struct gd_error *err)
{
	uint64_t ns = 0;
	if (gd_units_parse_duration(text, &ns, err) < 0)
		return gd_error_wrap(err, -EINVAL, "--duration");
	if (ns < DURATION_MIN_NS || ns > GD_WINDOW_DURATION_MAX_NS)
		return gd_fail(err, -EINVAL, "--duration %s: from 100ms to 10m", text);
	request->duration_ns = (int64_t)ns;
	return 0;
}

static int parse_debug_port(const char *text, struct request *request, struct gd_error *err)
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

static int parse_debug_trace(const char *text, struct request *request, struct gd_error *err)
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

static int parse_frequency(const char *text, struct request *request, struct gd_error *err)
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

/* The agent has its own spool, store and labels. */
static int check_agent_options(const struct request *request, struct gd_error *err)
{
	if ((request->pid != 0) + (request->unit != NULL) + (request->service != NULL) != 1)
		return gd_fail(err, -EINVAL, "name one of --pid, --unit and --service");
	if (request->only != NULL || request->skip != NULL || request->upload != NULL ||
	    request->output_given || request->n_labels > 0 || request->plan_only ||
	    request->base != NULL || request->core != NULL || request->freeze.consistent ||
	    request->duration_ns != 0 || request->frequency_hz != 0 || request->syscalls ||
	    request->debug_port || request->debug_trace_given)
		return gd_fail(err, -EINVAL, "by the agent: --only, --skip, --output, --upload, "
		               "--label, --core, --consistent, --base, --duration, --frequency, --syscalls, "
		               "--debug-port, --debug-trace and --plan do not apply: its policy says");
	return 0;
}

/* 0, 1 when there is nothing to do any more (--help), or -EINVAL. */
static int parse(int argc, char **argv, struct request *request, struct gd_error *err)
{
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "profile", required_argument, NULL, 'P' },
		{ "only", required_argument, NULL, 'O' },
		{ "skip", required_argument, NULL, 'S' },
		{ "core", required_argument, NULL, 'c' },
		{ "consistent", no_argument, NULL, 'C' },
		{ "max-pause", required_argument, NULL, 'm' },
		{ "duration", required_argument, NULL, 'd' },
		{ "frequency", required_argument, NULL, 'F' },
		{ "syscalls", no_argument, NULL, 's' },
		{ "debug-port", required_argument, NULL, 'D' },
		{ "debug-trace", required_argument, NULL, 'T' },
		{ "base", required_argument, NULL, 'b' },
		{ "force-core", no_argument, NULL, 'f' },
		{ "zero-noscan", no_argument, NULL, 'z' },
		{ "output", required_argument, NULL, 'o' },
		{ "upload", required_argument, NULL, 'u' },
		{ "label", required_argument, NULL, 'l' },
		{ "reason", required_argument, NULL, 'r' },
		{ "unit", required_argument, NULL, 'U' },
		{ "service", required_argument, NULL, 'V' },
		{ "agent", no_argument, NULL, 'a' },
		{ "run", required_argument, NULL, 'R' },
		{ "plan", no_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int r = 0;
	int option;
	while (r == 0 && (option = getopt_long(argc, argv, "p:o:qh", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			r = parse_pid(optarg, &request->pid, err);
			break;
		case 'P':
			r = gd_plan_parse_profile(optarg, &request->profile, err);
			break;
		case 'O':
			request->only = optarg;
			break;
		case 'S':
			request->skip = optarg;
			break;
		case 'c':
			r = parse_core(optarg, request, err);
			break;
		case 'C':
			request->freeze.consistent = true;
			break;
		case 'm':
			r = parse_pause(optarg, request, err);
			break;
		case 'd':
			r = parse_window(optarg, request, err);
			break;
		case 'F':
			r = parse_frequency(optarg, request, err);
			break;
		case 's':
			request->syscalls = true;
			break;
		case 'D':
			r = parse_debug_port(optarg, request, err);
			break;
		case 'T':
			r = parse_debug_trace(optarg, request, err);
			break;
		case 'b':
			request->base = optarg;
			break;
		case 'f':
			request->freeze.secret = true;
			break;
		case 'z':
			request->freeze.zero_noscan = true;
			break;
		case 'o':
			request->output = optarg;
			request->output_given = true;
			break;
		case 'u':
			request->upload = optarg;
			r = gd_uploader_check_url(optarg, err);
			break;
		case 'l':
			r = add_label(request, optarg, err);
			break;
		case 'r':
			request->reason = optarg;
			break;
		case 'U':
			request->unit = optarg;
			request->by_agent = true;
			break;
		case 'V':
			request->service = optarg;
			request->by_agent = true;
			break;
		case 'a':
			request->by_agent = true;
			break;
		case 'R':
			request->run = optarg;
			break;
		case 'n':
			request->plan_only = true;
			break;
		case 'j':
			request->json = true;
			break;
		case 'q':
			request->quiet = true;
			break;
		case 'h':
			usage(stdout);
			return 1;
		default: /* getopt has said what is wrong */
			return gd_fail(err, -EINVAL, "try `" NAME " --help`");
		}
	}
	if (r == 0 && optind < argc)
		r = gd_fail(err, -EINVAL, "\"%s\" is not an option; did you mean --pid %s?",
		            argv[optind], argv[optind]);
	if (r == 0 && request->pid == 0 && request->unit == NULL && request->service == NULL)
		r = gd_fail(err, -EINVAL, "which process? Name it with --pid N");
	if (r == 0 && request->by_agent)
		r = check_agent_options(request, err);
	return r;
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

static void print_result(const struct request *request, const struct gd_capture_result *result,
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

static enum gd_exit capture(const struct request *request, const struct gd_plan *plan)
{
	bool terminal = isatty(STDERR_FILENO) != 0;
	GD_CLOSE int base_fd = -1;
	struct gd_error err = { 0 };
	if (request->base != NULL) {
		base_fd = open(request->base, O_RDONLY | O_CLOEXEC);
		if (base_fd < 0) {
			(void)gd_fail_errno(&err, -errno, "--base %s", request->base);
			return (enum gd_exit)gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
		}
	}
	struct gd_capture_options options = {
		.pid = request->pid,
		.plan = plan,
		.freeze = request->freeze,
		.output_dir = request->output,
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
		(void)gd_cli_fail((int)status, NAME, &err);
	if (result.sealed.path[0] != '\0' && request->upload != NULL) {
		if (gd_uploader_put(result.sealed.path, request->upload, &uploaded, &err) < 0)
			status = (enum gd_exit)gd_cli_fail(GD_EXIT_NOT_UPLOADED, NAME, &err);
		else if (!request->quiet)
			(void)fprintf(stderr, "  uploaded to %s, verified\n", uploaded.location);
	}
	print_result(request, &result, status, &uploaded, &err);
	gd_capture_result_deinit(&result);
	return status;
}

static int set_window(const struct request *request, struct gd_plan *plan, struct gd_error *err)
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

static int set_debug_port(const struct request *request, struct gd_plan *plan, struct gd_error *err)
{
	int r = request->debug_port ? gd_plan_add(plan, gd_collector_debug_port.name, err) : 0;
	if (r == 0 && request->debug_trace_given && gd_plan_apart(plan) == SIZE_MAX)
		return gd_fail(err, -EINVAL, "--debug-trace goes with --debug-port");
	plan->debug_port.port = request->debug_port_number;
	if (request->debug_trace_given)
		plan->debug_port.trace_ns = request->debug_trace_ns;
	return r;
}

int gd_cli_capture(int argc, char **argv)
{
	struct request request = { .profile = GD_PROFILE_STANDARD,
		                   .freeze = GD_CAPTURE_FREEZE_INIT,
		                   .output = ".",
		                   .run = GD_CLI_RUN_DIR };
	struct gd_plan plan;
	struct gd_error err = { 0 };
	int r = parse(argc, argv, &request, &err);
	if (r > 0)
		return GD_EXIT_COMPLETE;
	if (r == 0)
		r = gd_plan_make(request.profile, request.only, request.skip, &plan, &err);
	if (r == 0)
		r = set_debug_port(&request, &plan, &err);
	if (r == 0 && (request.duration_ns != 0 || request.frequency_hz != 0 || request.syscalls))
		r = set_window(&request, &plan, &err);
	if (r == 0 && request.core != NULL)
		r = gd_plan_add(&plan, "core", &err);
	if (r == 0 && request.base != NULL && !gd_plan_has(&plan, "core"))
		r = gd_fail(&err, -EINVAL, "--base: there is no core to compare; add --core full");
	if (r != 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	if (request.by_agent) {
		struct gd_cli_capture_wish wish = {
			request.run,    request.pid,     request.unit, request.service,
			request.reason, request.profile, request.json,
		};
		return gd_cli_capture_by_agent(&wish);
	}
	if (request.plan_only)
		return gd_cli_capture_plan(request.pid, &plan, &request.freeze, request.output,
		                           request.json);

	struct sigaction action = { .sa_handler = on_interrupt };
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error, not our end */
	return (int)capture(&request, &plan);
}
