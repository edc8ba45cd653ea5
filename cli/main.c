/*
 * One binary under several names: `godiag COMMAND`, and for some commands a name of their own
 * (godiag-capture, godiagd, ...), which is what units and scripts call.
 */
#include <stdio.h>
#include <string.h>

#include "agent/exit.h"
#include "base/text.h"
#include "cli/cli.h"

static const struct command {
	const char *name;
	const char *program; /* its own name; NULL: none */
	int (*run)(int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "capture", "godiag-capture", gd_cli_capture, "take a snapshot of a process" },
	{ "hook", "godiag-hook", gd_cli_hook, "listen for alerts over HTTP; make tokens for it" },
	{ "show", NULL, gd_cli_show, "what an archive says happened, on one screen" },
	{ "report", NULL, gd_cli_report, "its profiles as a flame graph: HTML, folded, speedscope" },
	{ "list", NULL, gd_cli_list, "archives of a directory, or the artifacts of an archive" },
	{ "extract", NULL, gd_cli_extract, "write artifacts of an archive to files or stdout" },
	{ "verify", NULL, gd_cli_verify, "check every byte of an archive, repair a truncated one" },
	{ "check", NULL, gd_cli_check, "check a policy, and say in words what it does" },
	{ "doctor", NULL, gd_cli_doctor, "what this host allows, and what is lost without it" },
	{ "agent", "godiagd", gd_cli_agent, "watch services, capture by policy" },
	{ "status", NULL, gd_cli_status, "what the agent watches, did, and cannot do" },
	{ "upload", "godiag-upload", gd_cli_upload, "upload what the agent or a spool has ready" },
	{ "prune", NULL, gd_cli_prune, "delete archives of a spool by age, count and space" },
	{ "enable", NULL, gd_cli_enable, "arm rules again that disabled themselves" },
};

static void usage(FILE *out)
{
	(void)fputs("usage: godiag COMMAND [ARGUMENTS]\n\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		(void)fprintf(out, "  %-9s %s%s%s%s\n", commands[i].name, commands[i].summary,
		              commands[i].program != NULL ? " (also: " : "",
		              commands[i].program != NULL ? commands[i].program : "",
		              commands[i].program != NULL ? ")" : "");
	(void)fputs("\n`godiag COMMAND --help` says more. A first snapshot: "
	            "sudo godiag-capture --pid PID\n",
	            out);
}

int gd_cli_fail(int status, const char *command, const struct gd_error *err)
{
	char line[1000];
	gd_text_escape(line, sizeof(line), err->msg, strlen(err->msg));
	(void)fprintf(stderr, "%s: %s\n", command, line);
	return status;
}

static const struct command *by_program(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].program != NULL && strcmp(commands[i].program, name) == 0)
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *own = argc > 0 ? by_program(argv[0]) : NULL;
	if (own != NULL)
		return own->run(argc, argv);
	if (argc < 2) {
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "--version") == 0) {
		(void)puts("godiag " GD_VERSION);
		return GD_EXIT_COMPLETE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return GD_EXIT_COMPLETE;
	}
	(void)fprintf(stderr, "godiag: there is no command \"%s\"\n\n", argv[1]);
	usage(stderr);
	return GD_EXIT_USAGE;
}
