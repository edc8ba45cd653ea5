#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/control.h"
#include "base/cleanup.h"
#include "cli/cli.h"

#define NAME "godiag enable"

static void usage(FILE *out)
{
	(void)fputs("usage: " NAME " [--run DIR] RULE | --all\n"
	            "Arm a rule that disabled itself after three captures failed in a row.\n",
	            out);
}

int gd_cli_enable(int argc, char **argv)
{
	static const struct option options[] = {
		{ "run", required_argument, NULL, 'r' },
		{ "all", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *run = GD_CLI_RUN_DIR;
	struct gd_control_name rule = { .name = "" };
	struct gd_error err = { 0 };
	char path[600];
	char text[248];
	bool all = false;
	int option;
	while ((option = getopt_long(argc, argv, "ah", options, NULL)) != -1) {
		if (option == 'r') {
			run = optarg;
		} else if (option == 'a') {
			all = true;
		} else {
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? GD_EXIT_COMPLETE : GD_EXIT_USAGE;
		}
	}
	if (all == (optind < argc) || optind + 1 < argc) {
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	if (!all && strlen(argv[optind]) >= sizeof(rule.name)) {
		(void)fprintf(stderr, NAME ": there is no rule of that name\n");
		return GD_EXIT_USAGE;
	}
	if (!all)
		(void)snprintf(rule.name, sizeof(rule.name), "%s", argv[optind]);
	(void)snprintf(path, sizeof(path), "%s/control", run);
	GD_CLOSE int fd = -1;
	int r = gd_control_connect(path, &fd, &err);
	if (r == 0)
		r = gd_control_ask(fd, GD_CONTROL_ENABLE, &rule, sizeof(rule), text, &err);
	if (r < 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	(void)puts(text);
	return GD_EXIT_COMPLETE;
}
