#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/exit.h"
#include "archive/extract.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "cli/extract_core.h"

#define NAME "godiag extract"

struct request {
	const char *file, *output; /* "-": stdout */
	const char *base;          /* of a core; NULL: looked for beside FILE */
	char **names;              /* NULL-terminated; none: every artifact */
	bool damaged, quiet;
};

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " FILE [NAME...] [--output DIR|-] [--damaged] [--quiet]\n"
		"       " NAME " FILE core [--output FILE] [--base FILE]\n"
		"Write artifacts of an archive, decompressed; without NAME all of them. The name core\n"
		"is the process's memory as a sparse ELF core for gdb and dlv.\n\n"
		"  --output DIR  where to; made when missing (default: the current directory for\n"
		"                NAMEs, else one called like FILE without its .tar); - is stdout\n"
		"  --base FILE   the earlier capture that a core is based on (default: looked for in\n"
		"                the archive's directory)\n"
		"  --damaged     keep what can be read of a damaged or cut off artifact\n"
		"  --quiet       do not list what was written\n\n"
		"snapshot.json and manifest.json can be named as well. Nothing is overwritten.\n"
		"Exit status: 0 all written, 4 some are missing or damaged, 1 no such artifact,\n"
		"3 no permission, 5 no space.\n",
		out);
}

static int find_row(const struct gd_reader *reader, char *name, struct gd_artifact_row *ret,
                    struct gd_error *err)
{
	const struct gd_artifact_row *row = gd_reader_artifact(reader, name);
	if (row != NULL) {
		*ret = *row;
		return 0;
	}
	if (gd_extract_document(reader, name, ret))
		return 0;
	return gd_fail(err, -ENOENT, "there is no artifact \"%s\" (godiag list FILE names them)",
	               name);
}

static int write_row(const struct gd_reader *reader, const struct gd_artifact_row *row,
                     int dir_fd, const struct request *q)
{
	struct gd_error err = { 0 };
	char size[GD_UNITS_TEXT];
	int r = dir_fd < 0 ? gd_extract_to(reader, row, STDOUT_FILENO, &err)
	                   : gd_extract_below(reader, row, dir_fd, q->damaged, &err);
	if (r == -EBADMSG && (q->damaged || dir_fd < 0))
		(void)fprintf(stderr, NAME ": kept what could be read of %s\n", row->name);
	if (r < 0) {
		bool missing = r == -EBADMSG || r == -E2BIG || r == -ENOENT;
		return gd_cli_fail(missing ? GD_EXIT_PARTIAL : gd_cli_archive_status(r), NAME,
		                   &err);
	}
	if (dir_fd >= 0 && !q->quiet)
		(void)printf("%s  %s\n", row->name,
		             row->bytes == GD_ARTIFACT_BYTES_UNKNOWN
		                     ? "" : gd_units_bytes(size, row->bytes));
	return GD_EXIT_COMPLETE;
}

static int worse(int a, int b)
{
	return a != GD_EXIT_COMPLETE ? a : b;
}

static int write_core(const struct gd_reader *reader, int dir_fd, const char *to,
                      const struct request *q)
{
	const struct gd_cli_core core = { .reader = reader, .file = q->file, .base = q->base,
		                          .dir_fd = dir_fd, .to = to, .quiet = q->quiet };
	return gd_cli_extract_core(NAME, &core);
}

static int write_named(const struct gd_reader *reader, int dir_fd, const struct request *q)
{
	int status = GD_EXIT_COMPLETE;
	for (char **name = q->names; *name != NULL; name++) {
		struct gd_artifact_row row;
		struct gd_error err;
		if (strcmp(*name, GD_CLI_CORE) == 0) {
			status = worse(status, write_core(reader, dir_fd, GD_CLI_CORE, q));
			continue;
		}
		int r = find_row(reader, *name, &row, &err);
		status = worse(status, r < 0 ? gd_cli_fail(GD_EXIT_USAGE, NAME, &err)
		                             : write_row(reader, &row, dir_fd, q));
	}
	return status;
}

static int write_all(const struct gd_reader *reader, int dir_fd, const struct request *q)
{
	static char document[] = GD_LAYOUT_SNAPSHOT_NAME;
	const struct gd_snapshot *s = &reader->snapshot;
	struct gd_artifact_row row;
	struct gd_error err;
	uint64_t bytes = 0;
	int status = GD_EXIT_COMPLETE;
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (s->artifacts[i].bytes != GD_ARTIFACT_BYTES_UNKNOWN &&
		    __builtin_add_overflow(bytes, s->artifacts[i].bytes, &bytes))
			bytes = UINT64_MAX;
	int r = dir_fd >= 0 ? gd_extract_room(dir_fd, bytes, &err) : 0;
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (s->artifacts[i].digest[0] != '\0')
			status = worse(status, write_row(reader, &s->artifacts[i], dir_fd, q));
	if (dir_fd >= 0 && gd_extract_document(reader, document, &row))
		status = worse(status, write_row(reader, &row, dir_fd, q));
	return status;
}

/* "dir/checkout-1.tar" -> "checkout-1"; a copy, or NULL and *err */
static char *default_dir(const char *file, struct gd_error *err)
{
	const char *slash = strrchr(file, '/');
	const char *base = slash != NULL ? slash + 1 : file;
	size_t n = strlen(base);
	if (n <= 4 || strcmp(base + n - 4, ".tar") != 0) {
		(void)gd_fail(err, -EINVAL, "name a directory with --output");
		return NULL;
	}
	char *name = strndup(base, n - 4);
	if (name == NULL)
		(void)gd_fail_errno(err, -ENOMEM, "%s", base);
	return name;
}

static int open_dir(const char *dir, int *ret, struct gd_error *err)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return gd_fail_errno(err, -errno, "%.150s", dir);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%.150s", dir);
	*ret = fd;
	return 0;
}

/* *ret_fd stays -1 for stdout. */
static int choose_dir(const struct request *q, int *ret_fd, struct gd_error *err)
{
	if (q->output != NULL)
		return strcmp(q->output, "-") == 0 ? 0 : open_dir(q->output, ret_fd, err);
	if (q->names[0] != NULL)
		return open_dir(".", ret_fd, err);
	GD_FREE char *chosen = default_dir(q->file, err);
	if (chosen == NULL)
		return err->code;
	int r = open_dir(chosen, ret_fd, err);
	if (r == 0 && !q->quiet) {
		char safe[1000];
		gd_text_escape(safe, sizeof(safe), chosen, strlen(chosen));
		(void)fprintf(stderr, "into %s/\n", safe);
	}
	return r;
}

/* `core` alone goes to a file that --output names, unless that is a directory. */
static bool names_core_file(const struct request *q)
{
	struct stat st;
	return q->output != NULL && strcmp(q->output, "-") != 0 && q->names[0] != NULL &&
	       q->names[1] == NULL && strcmp(q->names[0], GD_CLI_CORE) == 0 &&
	       !(stat(q->output, &st) == 0 && S_ISDIR(st.st_mode));
}

static int extract(const struct request *q)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	GD_CLOSE int dir_fd = -1;
	struct gd_error err;
	int status = gd_cli_archive_open(NAME, q->file, &reader);
	if (status != 0)
		return status;
	bool core_file = names_core_file(q);
	int r = core_file ? 0 : choose_dir(q, &dir_fd, &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	const char *complaint = gd_reader_complaint(&reader);
	if (complaint != NULL) {
		(void)gd_fail(&err, -EBADMSG, "%s: %s", q->file, complaint);
		(void)gd_cli_fail(0, NAME, &err);
	}
	if (core_file)
		status = write_core(&reader, AT_FDCWD, q->output, q);
	else
		status = q->names[0] == NULL ? write_all(&reader, dir_fd, q)
		                             : write_named(&reader, dir_fd, q);
	return worse(status, complaint != NULL ? GD_EXIT_PARTIAL : GD_EXIT_COMPLETE);
}

int gd_cli_extract(int argc, char **argv)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "base", required_argument, NULL, 'b' },
		{ "damaged", no_argument, NULL, 'd' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct request q = { 0 };
	int option;
	while ((option = getopt_long(argc, argv, "o:qh", options, NULL)) != -1) {
		switch (option) {
		case 'o':
			q.output = optarg;
			break;
		case 'b':
			q.base = optarg;
			break;
		case 'd':
			q.damaged = true;
			break;
		case 'q':
			q.quiet = true;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	if (optind == argc) {
		(void)fputs(NAME ": which FILE?\n", stderr);
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	q.file = argv[optind];
	q.names = argv + optind + 1;
	return extract(&q);
}
