#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/exit.h"
#include "archive/verify.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/archive.h"
#include "cli/cli.h"

#define NAME "godiag verify"

struct finding {
	bool quiet;
	struct gd_json *json; /* NULL: lines on stdout */
};

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " FILE... [--repair OUT] [--json] [--quiet]\n"
		"Check every byte of an archive and name what is broken.\n\n"
		"  --repair OUT  write what is still good to OUT, which must not exist; when only\n"
		"                the frame was damaged, OUT is the archive as it was sealed\n"
		"  --json        one JSON object per FILE\n"
		"  --quiet       no output, only the exit status\n\n"
		"Exit status: 0 complete (with --repair: OUT is), 4 damaged, cut off or repaired\n"
		"before, 1 no archive at all, 3 no permission, 5 no space for OUT.\n",
		out);
}

static void on_problem(void *arg, const char *sentence)
{
	const struct finding *f = arg;
	if (f->json != NULL)
		gd_json_string(f->json, NULL, sentence);
	else if (!f->quiet)
		(void)printf("  %s\n", sentence);
}

static void print_name(const char *path)
{
	char name[1000];
	gd_text_escape(name, sizeof(name), path, strlen(path));
	(void)fputs(name, stdout);
}

static void print_verdict(const struct gd_reader *reader, const struct gd_verdict *v)
{
	if (v->complete)
		(void)printf("  complete: %zu blobs, every byte accounted for\n  %s\n",
		             v->blobs_good, reader->manifest_digest);
	else
		(void)printf("  NOT complete: %zu blobs good, %zu bad, %zu missing%s\n",
		             v->blobs_good, v->blobs_bad, v->blobs_missing,
		             v->truncated ? ", cut off" : "");
}

static int repair(const struct gd_reader *reader, const char *to, struct finding *f)
{
	struct gd_verdict v;
	struct gd_error err;
	int r = gd_verify_repair(reader, to, &v, &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME " --repair", &err);
	if (f->json != NULL) {
		gd_json_object(f->json, "repaired");
		gd_json_string(f->json, "file", to);
		gd_json_bool(f->json, "as_sealed", v.complete);
		gd_json_u64(f->json, "artifacts_kept", v.blobs_good);
		gd_json_u64(f->json, "artifacts_lost", v.blobs_missing);
		gd_json_object_end(f->json);
	} else if (!f->quiet) {
		print_name(to);
		if (v.complete)
			(void)printf("\n  as it was sealed: %zu artifacts\n", v.blobs_good);
		else
			(void)printf("\n  %zu artifacts kept, %zu lost\n", v.blobs_good,
			             v.blobs_missing);
	}
	return v.complete ? GD_EXIT_COMPLETE : GD_EXIT_PARTIAL;
}

/* Text or JSON of one file. */
static int verify(const char *path, const char *to, struct finding *f)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict v;
	struct gd_error err;
	int status = gd_cli_archive_open(NAME, path, &reader);
	if (status != 0)
		return status;
	if (f->json != NULL) {
		gd_json_object(f->json, NULL);
		gd_json_string(f->json, "file", path);
		gd_json_string(f->json, "digest", reader.manifest_digest);
		gd_json_array(f->json, "problems");
	} else if (!f->quiet) {
		print_name(path);
		(void)putchar('\n');
	}
	int r = gd_verify(&reader, on_problem, f, &v, &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	if (f->json != NULL) {
		gd_json_array_end(f->json);
		gd_json_bool(f->json, "complete", v.complete);
		gd_json_bool(f->json, "truncated", v.truncated);
		gd_json_u64(f->json, "blobs_good", v.blobs_good);
		gd_json_u64(f->json, "blobs_bad", v.blobs_bad);
		gd_json_u64(f->json, "blobs_missing", v.blobs_missing);
	} else if (!f->quiet) {
		print_verdict(&reader, &v);
	}
	status = v.complete ? GD_EXIT_COMPLETE : GD_EXIT_PARTIAL;
	if (to != NULL)
		status = repair(&reader, to, f);
	if (f->json != NULL) {
		gd_json_object_end(f->json);
		gd_json_line_end(f->json);
	}
	return status;
}

static int verify_all(char *const *paths, const char *to, bool json, bool quiet)
{
	int worst = GD_EXIT_COMPLETE;
	for (; *paths != NULL; paths++) {
		GD_BUF struct gd_buf line = GD_BUF_INIT(64U << 20);
		struct gd_json writer = GD_JSON_INIT(&line);
		struct finding f = { .quiet = quiet, .json = json ? &writer : NULL };
		int status = verify(*paths, to, &f);
		if (json && status != GD_EXIT_USAGE)
			(void)fwrite(line.data, 1, line.len, stdout);
		/* a damaged file is worse news than a name that is none */
		if (worst == GD_EXIT_COMPLETE || status == GD_EXIT_PARTIAL)
			worst = status != GD_EXIT_COMPLETE ? status : worst;
	}
	return worst;
}

int gd_cli_verify(int argc, char **argv)
{
	static const struct option options[] = {
		{ "repair", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *to = NULL;
	bool json = false;
	bool quiet = false;
	int option;
	while ((option = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			to = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	if (optind == argc || (to != NULL && optind + 1 != argc)) {
		(void)fputs(optind == argc ? NAME ": which FILE?\n"
		                           : NAME ": --repair takes one FILE at a time\n", stderr);
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	return verify_all(argv + optind, to, json, quiet);
}
