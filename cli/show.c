#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/exit.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "report/report.h"

#define NAME "godiag show"

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " FILE [--json]\n"
		"What a snapshot says happened, on one screen: who, when, what moved before the\n"
		"trigger, what looks wrong, the largest groups of goroutines, collector, memory,\n"
		"heap, what is missing.\n\n"
		"Exit status: 0, 4 the archive is damaged or was cut off, 1 it is none, 3 no\n"
		"permission.\n",
		out);
}

static unsigned columns(void)
{
	struct winsize size;
	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 40)
		return 100;
	return size.ws_col;
}

/* https://no-color.org: any value that is not empty */
static bool colored(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}

static int show(const char *path, bool json)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err;
	int status = gd_cli_archive_open(NAME, path, &reader);
	if (status != 0)
		return status;
	int r = json ? gd_report_show_json(&reader, stdout, &err)
	             : gd_report_show(&reader, stdout, colored(), columns(), &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	return gd_reader_complaint(&reader) == NULL ? GD_EXIT_COMPLETE : GD_EXIT_PARTIAL;
}

int gd_cli_show(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool json = false;
	int option;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		(void)fputs(optind == argc ? NAME ": which FILE?\n" : NAME ": one FILE at a time\n",
		            stderr);
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	return show(argv[optind], json);
}
