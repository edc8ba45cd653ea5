#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/exit.h"
#include "archive/pack.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/archive.h"
#include "cli/cli.h"

#define NAME "godiag list"

/* One archive's line. */
struct line {
	char *path;
	char time[GD_CLOCK_TEXT];
	char comm[80], trigger[40];
	char digest[GD_LAYOUT_DIGEST];
	char grade[16];
	char complaint[200]; /* "" when it opened well */
	int64_t started_ns;
	int32_t pid;
	uint64_t bytes;
};

struct lines {
	struct line *list;
	size_t n, cap;
};

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " [DIR|FILE...] [--json]\n"
		"With a DIR (default: the current one) or several FILEs: one line per archive.\n"
		"With one FILE: its artifacts, how they came out and how large they are.\n\n"
		"Digests are not compared here, that is godiag verify.\n"
		"Exit status: 0, 4 an archive is damaged, 1 nothing readable there, 3 no "
		"permission.\n",
		out);
}

static void free_lines(struct lines *lines)
{
	for (size_t i = 0; i < lines->n; i++)
		free(lines->list[i].path);
	free(lines->list);
}

/* --- the artifacts of one archive ---------------------------------------------------------- */

static void put_artifact(struct gd_json *json, const struct gd_artifact_row *row)
{
	gd_json_object(json, NULL);
	gd_json_string(json, "name", row->name);
	gd_json_string(json, "media_type", row->media_type);
	gd_json_string(json, "collector", row->collector);
	gd_json_string(json, "grade", gd_grade_name(row->outcome.grade));
	gd_json_string(json, "why", row->outcome.why.msg);
	gd_json_string(json, "digest", row->digest);
	if (row->bytes == GD_ARTIFACT_BYTES_UNKNOWN)
		gd_json_null(json, "bytes");
	else
		gd_json_u64(json, "bytes", row->bytes);
	gd_json_u64(json, "stored_bytes", row->stored_bytes);
	gd_json_object_end(json);
}

static void print_artifact(const struct gd_artifact_row *row, int width)
{
	char bytes[GD_UNITS_TEXT] = "-";
	char stored[GD_UNITS_TEXT] = "-";
	char why[400];
	if (row->digest[0] != '\0') {
		(void)gd_units_bytes(stored, row->stored_bytes);
		if (row->bytes != GD_ARTIFACT_BYTES_UNKNOWN)
			(void)gd_units_bytes(bytes, row->bytes);
	}
	gd_text_escape(why, sizeof(why), row->outcome.why.msg, strlen(row->outcome.why.msg));
	(void)printf("%-*s  %-8s  %10s  %10s%s%s\n", width, row->name,
	             gd_grade_name(row->outcome.grade), bytes, stored, why[0] != '\0' ? "  " : "",
	             why);
}

/* A core may have a thousand packs, which are of one kind: one row. */
static bool is_pack(const struct gd_artifact_row *row)
{
	return strcmp(row->media_type, GD_PACK_MEDIA_TYPE) == 0;
}

static void print_packs(const struct gd_snapshot *s, int width)
{
	enum gd_grade worst = GD_GRADE_COMPLETE;
	char name[64];
	char stored[GD_UNITS_TEXT];
	uint64_t bytes = 0;
	size_t n = 0;
	for (size_t i = 0; i < s->n_artifacts; i++) {
		if (!is_pack(&s->artifacts[i]))
			continue;
		n++;
		if (__builtin_add_overflow(bytes, s->artifacts[i].stored_bytes, &bytes))
			bytes = UINT64_MAX;
		if (s->artifacts[i].outcome.grade > worst)
			worst = s->artifacts[i].outcome.grade;
	}
	if (n == 0)
		return;
	(void)snprintf(name, sizeof(name), "core: %zu pack%s", n, n == 1 ? "" : "s");
	(void)printf("%-*s  %-8s  %10s  %10s\n", width, name, gd_grade_name(worst), "-",
	             gd_units_bytes(stored, bytes));
}

static int list_artifacts(const char *path, bool as_json)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	GD_BUF struct gd_buf out = GD_BUF_INIT(64U << 20);
	struct gd_json json = GD_JSON_INIT(&out);
	int status = gd_cli_archive_open(NAME, path, &reader);
	if (status != 0)
		return status;
	const struct gd_snapshot *s = &reader.snapshot;
	size_t width = strlen("ARTIFACT");
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (strlen(s->artifacts[i].name) > width)
			width = strlen(s->artifacts[i].name);
	if (!as_json)
		(void)printf("%-*s  %-8s  %10s  %10s\n", (int)width, "ARTIFACT", "GRADE", "BYTES",
		             "STORED");
	gd_json_array(&json, NULL);
	for (size_t i = 0; i < s->n_artifacts; i++) {
		if (as_json)
			put_artifact(&json, &s->artifacts[i]);
		else if (!is_pack(&s->artifacts[i]))
			print_artifact(&s->artifacts[i], (int)width);
	}
	gd_json_array_end(&json);
	gd_json_line_end(&json);
	if (as_json)
		(void)fwrite(out.data, 1, out.len, stdout);
	else
		print_packs(s, (int)width);
	const char *complaint = gd_reader_complaint(&reader);
	if (complaint == NULL)
		return GD_EXIT_COMPLETE;
	struct gd_error err;
	(void)gd_fail(&err, -EBADMSG, "%.100s: %s", path, complaint);
	return gd_cli_fail(GD_EXIT_PARTIAL, NAME, &err);
}

/* --- many archives ------------------------------------------------------------------------- */

static void fill(struct line *line, const struct gd_reader *reader)
{
	const struct gd_snapshot *s = &reader->snapshot;
	const char *comm = s->comm != NULL ? s->comm : "";
	const char *trigger = s->trigger != NULL ? s->trigger : "";
	const char *complaint = gd_reader_complaint(reader);
	line->started_ns = s->started.realtime_ns;
	line->pid = s->pid;
	line->bytes = reader->file_bytes;
	gd_text_escape(line->comm, sizeof(line->comm), comm, strlen(comm));
	gd_text_escape(line->trigger, sizeof(line->trigger), trigger, strlen(trigger));
	memcpy(line->digest, reader->manifest_digest, sizeof(line->digest));
	(void)snprintf(line->grade, sizeof(line->grade), "%s",
	               complaint != NULL ? "damaged" : gd_grade_name(s->outcome.grade));
	if (complaint != NULL)
		gd_text_escape(line->complaint, sizeof(line->complaint), complaint,
		               strlen(complaint));
	if (line->started_ns != 0)
		(void)gd_clock_text(line->time, line->started_ns);
	line->time[line->started_ns != 0 ? 19 : 0] = '\0'; /* whole seconds, UTC */
}

/* A free line at the end, or NULL and *err. */
static struct line *next_line(struct lines *lines, struct gd_error *err)
{
	if (lines->n == lines->cap) {
		size_t cap = lines->cap > 0 ? 2 * lines->cap : 64;
		struct line *list = realloc(lines->list, cap * sizeof(*list));
		if (list == NULL) {
			(void)gd_fail_errno(err, -ENOMEM, "list");
			return NULL;
		}
		lines->list = list;
		lines->cap = cap;
	}
	return lines->list + lines->n;
}

/* -EBADMSG: no archive, nothing was added. */
static int add(struct lines *lines, const char *path, struct gd_error *err)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	int r = gd_reader_open(path, &reader, err);
	if (r < 0)
		return r;
	struct line *line = next_line(lines, err);
	if (line == NULL)
		return -ENOMEM;
	*line = (struct line){ .path = strdup(path) };
	if (line->path == NULL)
		return gd_fail_errno(err, -ENOMEM, "list");
	fill(line, &reader);
	lines->n++;
	return 0;
}

/* Files of a directory that end in .tar; what is no archive of ours is passed over. */
static int add_dir(struct lines *lines, const char *dir)
{
	struct gd_error err;
	GD_CLOSEDIR DIR *stream = opendir(dir);
	if (stream == NULL) {
		int code = gd_fail_errno(&err, -errno, "%.150s", dir);
		return gd_cli_fail(gd_cli_archive_status(code), NAME, &err);
	}
	int status = GD_EXIT_COMPLETE;
	const struct dirent *entry;
	while ((entry = readdir(stream)) != NULL) {
		size_t n = strlen(entry->d_name);
		GD_FREE char *path = NULL;
		if (n <= 4 || strcmp(entry->d_name + n - 4, ".tar") != 0)
			continue;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
			path = NULL;
			(void)gd_fail_errno(&err, -ENOMEM, "%s", dir);
			return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
		}
		int r = add(lines, path, &err);
		if (r < 0 && r != -EBADMSG && r != -EISDIR)
			status = gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	}
	return status;
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a;
	const struct line *y = b;
	if (x->started_ns != y->started_ns)
		return x->started_ns < y->started_ns ? -1 : 1;
	return strcmp(x->path, y->path);
}

static void print_lines(const struct lines *lines)
{
	(void)printf("%-19s  %8s  %-15s  %-8s  %10s  %-10s  %s\n", "TIME (UTC)", "PID", "COMM",
	             "GRADE", "SIZE", "TRIGGER", "FILE");
	for (size_t i = 0; i < lines->n; i++) {
		const struct line *line = &lines->list[i];
		char size[GD_UNITS_TEXT];
		char path[1000];
		gd_text_escape(path, sizeof(path), line->path, strlen(line->path));
		(void)printf("%-19s  %8" PRId32 "  %-15s  %-8s  %10s  %-10s  %s%s%s%s\n",
		             line->time, line->pid, line->comm, line->grade,
		             gd_units_bytes(size, line->bytes), line->trigger, path,
		             line->complaint[0] != '\0' ? " (" : "", line->complaint,
		             line->complaint[0] != '\0' ? ")" : "");
	}
}

static void print_json(const struct lines *lines)
{
	GD_BUF struct gd_buf out = GD_BUF_INIT(64U << 20);
	struct gd_json json = GD_JSON_INIT(&out);
	gd_json_array(&json, NULL);
	for (size_t i = 0; i < lines->n; i++) {
		const struct line *line = &lines->list[i];
		gd_json_object(&json, NULL);
		gd_json_string(&json, "file", line->path);
		gd_json_string(&json, "digest", line->digest);
		gd_json_string(&json, "time", line->time);
		gd_json_i64(&json, "started_ns", line->started_ns);
		gd_json_i64(&json, "pid", line->pid);
		gd_json_string(&json, "comm", line->comm);
		gd_json_string(&json, "grade", line->grade);
		gd_json_u64(&json, "bytes", line->bytes);
		gd_json_string(&json, "trigger", line->trigger);
		gd_json_string(&json, "complaint", line->complaint);
		gd_json_object_end(&json);
	}
	gd_json_array_end(&json);
	gd_json_line_end(&json);
	(void)fwrite(out.data, 1, out.len, stdout);
}

static int list_many(char *const *paths, bool as_json)
{
	GD_CLEANUP(free_lines) struct lines lines = { 0 };
	int status = GD_EXIT_COMPLETE;
	for (; *paths != NULL; paths++) {
		struct stat st;
		struct gd_error err;
		if (stat(*paths, &st) == 0 && S_ISDIR(st.st_mode)) {
			int dir_status = add_dir(&lines, *paths);
			status = status != 0 ? status : dir_status;
			continue;
		}
		int r = add(&lines, *paths, &err);
		if (r < 0)
			status = gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	}
	if (lines.n > 0)
		qsort(lines.list, lines.n, sizeof(*lines.list), compare);
	if (as_json)
		print_json(&lines);
	else
		print_lines(&lines);
	for (size_t i = 0; status == GD_EXIT_COMPLETE && i < lines.n; i++)
		if (lines.list[i].complaint[0] != '\0')
			status = GD_EXIT_PARTIAL;
	return status;
}

int gd_cli_list(int argc, char **argv)
{
	static char here[] = ".";
	static char *const current[] = { here, NULL };
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
	struct stat st;
	if (argc - optind == 1 && (stat(argv[optind], &st) < 0 || !S_ISDIR(st.st_mode)))
		return list_artifacts(argv[optind], json);
	return list_many(optind < argc ? argv + optind : current, json);
}
