/*
 * `godiag-hook`: the process that listens for alerts, and the tool that makes tokens for it.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/exit.h"
#include "agent/hook.h"
#include "agent/hook_tokens.h"
#include "cli/cli.h"

#define NAME "godiag-hook"

static void usage(FILE *out)
{
	(void)fputs("usage: " NAME " [--run DIR | --agent SOCKET] [--listen PLACE] [--tokens FILE]\n"
	            "       godiag hook --new-token NAME\n"
	            "Listen for alerts over HTTP and hand them to the agent.\n\n"
	            "  --run DIR         where the agent's sockets are (default: " GD_CLI_RUN_DIR ")\n"
	            "  --agent SOCKET    its socket for the hook (default: DIR/hook)\n"
	            "  --listen PLACE    unix:/PATH, 127.0.0.1:PORT or [::1]:PORT (default: what the\n"
	            "                    policy says, or the sockets systemd passed)\n"
	            "  --tokens FILE     who may call (default: what the policy says, or the\n"
	            "                    credential \"tokens\"); SIGHUP reads it again\n"
	            "  --new-token NAME  print a fresh token, and the line for FILE\n",
	            out);
}

/* The token goes to stdout once and is stored nowhere; the file gets its digest only. */
static int new_token(const char *name)
{
	struct gd_error err = { 0 };
	char token[GD_HOOK_TOKEN_TEXT];
	GD_BUF struct gd_buf line = GD_BUF_INIT(1024);
	if (gd_hook_tokens_new(name, token, &line, &err) < 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	(void)printf("token, for the caller (shown only now):\n%s\n\n"
	             "line for the tokens file:\n%s\n",
	             token, gd_buf_str(&line));
	return GD_EXIT_COMPLETE;
}

int gd_cli_hook(int argc, char **argv)
{
	static const struct option options[] = {
		{ "run", required_argument, NULL, 'r' },
		{ "agent", required_argument, NULL, 'a' },
		{ "listen", required_argument, NULL, 'l' },
		{ "tokens", required_argument, NULL, 't' },
		{ "new-token", required_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct gd_hook_options hook = { .agent_socket = NULL };
	const char *run = GD_CLI_RUN_DIR;
	char path[4096];
	int option;
	while ((option = getopt_long(argc, argv, "r:a:l:t:n:h", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			run = optarg;
			break;
		case 'a':
			hook.agent_socket = optarg;
			break;
		case 'l':
			hook.listen = optarg;
			break;
		case 't':
			hook.tokens = optarg;
			break;
		case 'n':
			return new_token(optarg);
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			return GD_EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, NAME ": what is \"%s\" for? see --help\n", argv[optind]);
		return GD_EXIT_USAGE;
	}
	if (hook.agent_socket == NULL) {
		(void)snprintf(path, sizeof(path), "%s/hook", run);
		hook.agent_socket = path;
	}
	return gd_hook_main(&hook);
}
