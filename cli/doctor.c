#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/exit.h"
#include "agent/host_check.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "golang/runtime.h"
#include "target/target.h"

#define NAME "godiag doctor"

static void usage(FILE *out)
{
	(void)fputs("usage: " NAME " [--pid N] [--output DIR] [--config PATH] [--run DIR] [--json]\n"
	            "Try what this host allows, and say what a capture loses without it.\n\n"
	            "  --pid N       also look at that process: memory, Go release, layout\n"
	            "  --output DIR  where archives would go (default: the current directory)\n"
	            "  --config PATH the agent's policy (default: " GD_CLI_CONFIG ")\n"
	            "  --run DIR     the agent's sockets (default: " GD_CLI_RUN_DIR ")\n"
	            "  --json        one JSON object\n\n"
	            "Exit status: 0 all well, 4 something is limited or missing.\n",
	            out);
}

static enum gd_host_verdict check_go(struct gd_target *target, struct gd_json *json)
{
	GD_GO struct gd_go *go = NULL;
	GD_FREE pid_t *tids = NULL;
	size_t n_tids = 0;
	struct gd_error err = { 0 };
	(void)gd_target_threads(target, &tids, &n_tids, NULL);
	int r = gd_go_open(target->memory, &target->maps, tids, n_tids, &go, &err);
	if (r == -ENOENT) {
		gd_cli_doctor_say(json, GD_HOST_OK, "Go runtime", "none: not a Go process", "");
		return GD_HOST_OK;
	}
	if (r < 0) {
		gd_cli_doctor_say(json, GD_HOST_LIMITED, "Go runtime", err.msg,
		    "goroutines, runtime and profiles; the rest is captured");
		return GD_HOST_LIMITED;
	}
	char detail[400];
	(void)snprintf(detail, sizeof(detail), "%s, layout %s%s%s", go->build.version,
	               go->layout.trust == GD_LAYOUT_EXACT ? "exact" : "calibrated",
	               go->note[0] != '\0' ? "; " : "", go->note);
	enum gd_host_verdict verdict =
		go->layout.trust == GD_LAYOUT_EXACT ? GD_HOST_OK : GD_HOST_LIMITED;
	gd_cli_doctor_say(json, verdict, "Go runtime", detail, "certainty about field offsets");
	if (!go->memory_profile_linked) {
		gd_cli_doctor_say(json, GD_HOST_LIMITED, "heap profile",
		    "disabled: runtime.MemProfile is not linked in",
		    "the heap profile; import runtime/pprof in the service to have one");
		return GD_HOST_LIMITED;
	}
	gd_cli_doctor_say(json, GD_HOST_OK, "heap profile", "runtime.MemProfile is linked in", "");
	return verdict;
}

static enum gd_host_verdict check_target(pid_t pid, struct gd_json *json)
{
	GD_TARGET struct gd_target *target = NULL;
	struct gd_error err = { 0 };
	if (gd_target_open(pid, &target, &err) < 0) {
		gd_cli_doctor_say(json, GD_HOST_MISSING, "process", err.msg, "everything");
		return GD_HOST_MISSING;
	}
	if (target->memory == NULL) {
		gd_cli_doctor_say(json, GD_HOST_MISSING, "memory of the process", target->mem_error.msg,
		    "goroutines, runtime and profiles");
		return GD_HOST_MISSING;
	}
	char detail[64];
	(void)snprintf(detail, sizeof(detail), "%zu mappings", target->maps.n);
	gd_cli_doctor_say(json, GD_HOST_OK, "memory of the process", detail, "");
	return check_go(target, json);
}

int gd_cli_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "output", required_argument, NULL, 'o' },
		{ "config", required_argument, NULL, 'c' },
		{ "run", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *output = ".";
	const char *config = NULL;
	const char *run = GD_CLI_RUN_DIR;
	uint64_t pid = 0;
	bool as_json = false;
	int option;
	while ((option = getopt_long(argc, argv, "p:o:jh", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			if (!gd_text_u64(optarg, NULL, 10, &pid) || pid == 0 || pid > INT32_MAX) {
				(void)fputs(NAME ": --pid wants a process id\n", stderr);
				return GD_EXIT_USAGE;
			}
			break;
		case 'o':
			output = optarg;
			break;
		case 'c':
			config = optarg;
			break;
		case 'r':
			run = optarg;
			break;
		case 'j':
			as_json = true;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			return GD_EXIT_USAGE;
		}
	}
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_json writer = GD_JSON_INIT(&text);
	struct gd_json *json = as_json ? &writer : NULL;
	if (json != NULL) {
		gd_json_object(json, NULL);
		gd_json_array(json, "checks");
	}
	enum gd_host_verdict worst = GD_HOST_OK;
	for (const struct gd_host_check *c = gd_host_checks; c->what != NULL; c++) {
		char detail[256] = "";
		enum gd_host_verdict verdict = c->try_it(output, detail, sizeof(detail));
		gd_cli_doctor_say(json, verdict, c->what, detail, c->lost);
		worst = verdict > worst ? verdict : worst;
	}
	enum gd_host_verdict agent = gd_cli_doctor_agent(config, run, json);
	worst = agent > worst ? agent : worst;
	if (pid != 0) {
		enum gd_host_verdict verdict = check_target((pid_t)pid, json);
		worst = verdict > worst ? verdict : worst;
	}
	if (json != NULL) {
		gd_json_array_end(json);
		gd_json_string(json, "worst", gd_cli_doctor_verdicts[worst]);
		gd_json_object_end(json);
		(void)puts(gd_buf_str(&text));
	}
	return worst == GD_HOST_OK ? GD_EXIT_COMPLETE : GD_EXIT_PARTIAL;
}
