#include "tests/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static const char plan[] = "{\"format\":1,\"id\":\"20261120T130507Z-1\",\"pid\":4711}\n";

char *archive_text(size_t n)
{
	char *bytes = malloc(n);
	assert_non_null(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = "goroutine 17 [chan receive]:\n"[(i + i / 971) % 29];
	return bytes;
}

static void put(struct gd_sink *sink, const struct made *made)
{
	struct gd_artifact artifact = { .name = made->name, .media_type = made->media_type,
		                        .collector = made->collector,
		                        .compress = made->compress };
	struct gd_error err = { 0 };
	if (made->bytes == NULL) {
		struct gd_outcome skipped = gd_outcome(GD_GRADE_SKIPPED, -EPERM, "not allowed");
		assert_ok(sink->absent(sink, &artifact, &skipped, &err), &err);
		return;
	}
	assert_ok(gd_sink_put(sink, &artifact, made->bytes, made->n, &GD_OUTCOME_COMPLETE, &err),
	          &err);
}

struct gd_sealed archive_make(const char *file, const struct made *made, size_t n)
{
	struct gd_archive *archive = NULL;
	struct gd_snapshot snapshot = { .pid = 4711 };
	struct gd_sealed sealed;
	struct gd_error err = { 0 };
	assert_ok(gd_archive_create(test_dir(), plan, strlen(plan), &archive, &err), &err);
	for (size_t i = 0; i < n; i++)
		put(gd_archive_sink(archive), &made[i]);
	(void)snprintf(snapshot.id, sizeof(snapshot.id), "20261120T130507Z-1");
	snapshot.started.realtime_ns = 1795179907000000000;
	snapshot.comm = strdup("checkout");
	snapshot.trigger = strdup("manual");
	assert_ok(gd_archive_seal(archive, &snapshot, file, &sealed, &err), &err);
	gd_snapshot_deinit(&snapshot);
	return sealed;
}

struct gd_sealed archive_usual(const char *file)
{
	GD_FREE char *text = archive_text(700000);
	unsigned seed = 1;
	GD_FREE char *noise = malloc(400000);
	assert_non_null(noise);
	for (size_t i = 0; i < 400000; i++)
		noise[i] = (char)rand_r(&seed);
	const struct made made[] = {
		{ "proc/status", "text/plain", "proc", "Name:\tcheckout\n", 15, true },
		{ "proc/environ", "text/plain", "proc", NULL, 0, false },
		{ "goroutines.txt", "text/plain", "goroutines", text, 700000, true },
		{ "goroutines.jsonl", "application/jsonl", "goroutines", text, 9000, true },
		{ "heap.pb.gz", "application/gzip", "heap", noise, 400000, false },
	};
	return archive_make(file, made, sizeof(made) / sizeof(made[0]));
}

struct gd_buf archive_read(const char *path)
{
	struct gd_buf buf = GD_BUF_INIT(64U << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_io_read_file_at(AT_FDCWD, path, &buf, &err), &err);
	return buf;
}

void archive_write(const char *path, const void *bytes, size_t n)
{
	struct gd_error err = { 0 };
	GD_CLOSE int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_ok(gd_io_write_all(fd, bytes, n, &err), &err);
}

char *archive_run(const char *fmt, ...)
{
	static char out[65536];
	char command[2048];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	size_t n = fread(out, 1, sizeof(out) - 1, pipe);
	out[n] = '\0';
	if (pclose(pipe) != 0)
		fail_msg("failed: %s", command);
	return out;
}
