#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"
#include "cli/cli.h"

#define NAME "godiagd"

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " [OPTION]...\n"
		"Watch the services of the policy, capture when a rule says so, keep the spool.\n\n"
		"  --config PATH   policy.yaml and policy.d/, or one file (default: /etc/godiag)\n"
		"  --state DIR     spool and limits (default: /var/lib/godiag)\n"
		"  --run DIR       sockets: control, hook, upload (default: /run/godiag)\n"
		"  --verbose       log more\n\n"
		"SIGHUP reloads the policy, SIGUSR1 captures all watched processes (light),\n"
		"SIGUSR2 with a queued value captures that pid, SIGTERM seals and stops.\n"
		"`godiag status` shows what it does; godiag-hook and godiag-upload connect to it.\n",
		out);
}

int gd_cli_agent(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "state", required_argument, NULL, 's' },
		{ "run", required_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "foreground", no_argument, NULL, 'f' }, /* it always is */
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct gd_agent_options agent = {
		.config = GD_CLI_CONFIG,
		.state = "/var/lib/godiag",
		.run = GD_CLI_RUN_DIR,
		.proc = "/proc",
		.cgroup = "/sys/fs/cgroup",
	};
	int option;
	gd_log_set_level(GD_LOG_INFO);
	while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			agent.config = optarg;
			break;
		case 's':
			agent.state = optarg;
			break;
		case 'r':
			agent.run = optarg;
			break;
		case 'v':
			gd_log_set_level(GD_LOG_DEBUG);
			break;
		case 'f':
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, NAME ": \"%s\" is not an option\n", argv[optind]);
		return GD_EXIT_USAGE;
	}
	return gd_agent_main(&agent);
}
