#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/exit.h"
#include "base/cleanup.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "report/flame.h"

#define NAME "godiag report"

enum format { HTML, FOLDED, SPEEDSCOPE };

struct request {
	const char *file, *artifact, *type, *output; /* NULL: not said */
	enum format format;
};

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " FILE [ARTIFACT] [--format html|folded|speedscope] [--type NAME]\n"
		"       [--output FILE]\n"
		"The profiles of an archive as a flame graph: one HTML file that needs no network.\n\n"
		"  ARTIFACT       a profile (cpu.pb.gz, heap.pb.gz, ...); default: html has all of them,\n"
		"                 the others take the first of cpu, offcpu, heap, block, mutex, goroutine\n"
		"  --format F     html (default), folded (\"class;thread;frame... count\"), speedscope\n"
		"  --type NAME    which of a sample's values folded and speedscope are about (default:\n"
		"                 the first count, the first time)\n"
		"  -o, --output FILE  where to (default: stdout); must not exist\n\n"
		"Exit status: 0, 4 the archive is damaged or a profile of it unreadable, 1 no such\n"
		"profile, 3 no permission, 5 no space.\n",
		out);
}

/* The named profile, or the first that there is. */
static int choose(const struct gd_reader *reader, const struct request *q, const char **ret,
                  struct gd_error *err)
{
	struct gd_flame_profiles profiles;
	gd_flame_profiles(reader, &profiles);
	if (q->artifact == NULL && profiles.n == 0)
		return gd_fail(err, -ENOENT, "%s has no profile", q->file);
	*ret = q->artifact != NULL ? q->artifact : profiles.list[0]->name;
	return 0;
}

static int write_stacks(const struct gd_reader *reader, const struct request *q, FILE *out,
                        struct gd_error *err)
{
	GD_FLAME struct gd_flame flame = { 0 };
	const char *artifact = NULL;
	uint32_t type = 0;
	int r = choose(reader, q, &artifact, err);
	if (r == 0)
		r = gd_flame_read(reader, artifact, &flame, err);
	if (r == 0 && q->type != NULL)
		r = gd_flame_type(&flame, q->type, &type, err);
	else if (r == 0)
		type = gd_flame_type_in(&flame, q->format == FOLDED ? "count" : "nanoseconds");
	if (r < 0)
		return r;
	if (q->format == FOLDED)
		return gd_flame_folded(&flame, type, out, err);
	char title[160];
	const char *comm = reader->snapshot.comm;
	(void)snprintf(title, sizeof(title), "%s %d %s", comm != NULL ? comm : "",
	               reader->snapshot.pid, artifact);
	return gd_flame_speedscope(&flame, type, title, out, err);
}

static int write_report(const struct gd_reader *reader, const struct request *q, FILE *out,
                        size_t *n_unreadable, struct gd_error *err)
{
	int r = q->format == HTML ? gd_flame_page(reader, q->artifact, out, n_unreadable, err)
	                          : write_stacks(reader, q, out, err);
	if (r < 0)
		return r;
	errno = 0;
	if (fflush(out) != 0 || ferror(out) != 0)
		return gd_fail_errno(err, errno != 0 ? -errno : -EIO, "%s",
		                     q->output != NULL ? q->output : "stdout");
	return 0;
}

/* Not over anything: a slip of the hand must not cost an archive. */
static FILE *create(const char *path, struct gd_error *err)
{
	GD_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST) {
		(void)gd_fail(err, -EEXIST, "%.150s exists already, not overwritten", path);
		return NULL;
	}
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (out == NULL)
		(void)gd_fail_errno(err, -errno, "%.150s", path);
	else
		(void)gd_steal_fd(&fd);
	return out;
}

static int to_file(const struct gd_reader *reader, const struct request *q, size_t *n_unreadable,
                   struct gd_error *err)
{
	GD_FCLOSE FILE *out = create(q->output, err);
	if (out == NULL)
		return err->code;
	int r = write_report(reader, q, out, n_unreadable, err);
	if (r < 0)
		(void)unlink(q->output);
	return r;
}

static int report(const struct request *q)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err;
	size_t n_unreadable = 0;
	int status = gd_cli_archive_open(NAME, q->file, &reader);
	if (status != 0)
		return status;
	int r = q->output != NULL ? to_file(&reader, q, &n_unreadable, &err)
	                          : write_report(&reader, q, stdout, &n_unreadable, &err);
	if (r < 0)
		return gd_cli_fail(r == -EBADMSG || r == -E2BIG ? GD_EXIT_PARTIAL
		                                                : gd_cli_archive_status(r),
		                   NAME, &err);
	return gd_reader_complaint(&reader) == NULL && n_unreadable == 0 ? GD_EXIT_COMPLETE
	                                                                 : GD_EXIT_PARTIAL;
}

static bool parse_format(const char *text, enum format *ret)
{
	static const char *const names[] = { "html", "folded", "speedscope" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum format)i;
			return true;
		}
	}
	(void)fprintf(stderr, NAME ": --format is html, folded or speedscope\n");
	return false;
}

/* What is asked for must make sense before the archive is touched. */
static bool makes_sense(const struct request *q)
{
	if (q->format == HTML && q->type != NULL) {
		(void)fputs(NAME ": --type is for folded and speedscope; the page has all types\n",
		            stderr);
		return false;
	}
	if (q->format == HTML && q->output == NULL && isatty(STDOUT_FILENO)) {
		(void)fputs(NAME ": a page on a terminal is of no use; name a file with -o\n", stderr);
		return false;
	}
	return true;
}

int gd_cli_report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "format", required_argument, NULL, 'f' },
		{ "type", required_argument, NULL, 't' },
		{ "output", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct request q = { 0 };
	int option;
	while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (option) {
		case 'f':
			if (!parse_format(optarg, &q.format))
				return GD_EXIT_USAGE;
			break;
		case 't':
			q.type = optarg;
			break;
		case 'o':
			q.output = optarg;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	if (optind == argc || optind + 2 < argc) {
		(void)fputs(optind == argc ? NAME ": which FILE?\n"
		                           : NAME ": one FILE and one ARTIFACT at a time\n", stderr);
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	q.file = argv[optind];
	q.artifact = optind + 1 < argc ? argv[optind + 1] : NULL;
	return makes_sense(&q) ? report(&q) : GD_EXIT_USAGE;
}
