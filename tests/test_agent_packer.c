/*
 * The packer's inside: what a reader may write, and what happens to the archive when it does not
 * keep to it.  And its sink at the other end.
 */
#include "agent/packer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "agent/packer_sink.h"
#include "archive/pack.h"
#include "archive/reader.h"
#include "archive/verify.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/message.h"
#include "tests/test.h"

static unsigned n_scratch;

static int scratch(void *arg)
{
	n_scratch++;
	return gd_output_scratch(arg, NULL);
}

static struct gd_packer *make(struct gd_output *output)
{
	struct gd_packer *packer = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_output_create(test_dir(), false, output, &err), &err);
	/* Its copy may open nothing, and owns its descriptors. */
	struct gd_output passed = *output;
	n_scratch = 0;
	passed.scratch = scratch;
	passed.scratch_arg = output;
	passed.dir = strdup(output->dir);
	passed.dir_fd = -1;
	passed.fd = fcntl(output->fd, F_DUPFD_CLOEXEC, 3);
	assert_ok(gd_packer_create(&passed, "{}", 2, &packer, &err), &err);
	return packer;
}

static int open_artifact(struct gd_packer *p, uint32_t stream, const char *name,
                         struct gd_error *err)
{
	struct gd_record_open record = { .stream = stream, .compress = true,
		                         .media_type = "text/plain" };
	(void)snprintf(record.name, sizeof(record.name), "%s", name);
	return gd_packer_record(p, GD_RECORD_OPEN, &record, sizeof(record), err);
}

static int write_bytes(struct gd_packer *p, uint32_t stream, uint32_t n, struct gd_error *err)
{
	static struct {
		struct gd_record_write head;
		char bytes[60000];
	} record;
	record.head = (struct gd_record_write){ .stream = stream, .n = n };
	/* Not the same everywhere, or it would compress to nothing. */
	for (size_t i = 0; i < n; i++)
		record.bytes[i] = (char)(i * i >> (i % 7));
	return gd_packer_record(p, GD_RECORD_WRITE, &record, sizeof(record.head) + n, err);
}

static int close_artifact(struct gd_packer *p, uint32_t stream, struct gd_error *err)
{
	const struct gd_record_close record = { .stream = stream, .outcome = GD_OUTCOME_COMPLETE };
	return gd_packer_record(p, GD_RECORD_CLOSE, &record, sizeof(record), err);
}

static void count_problem(void *arg, const char *sentence)
{
	print_error("%s\n", sentence);
	++*(int *)arg;
}

/* Finishes, names and verifies; the caller looks at the rows. */
static void finish(struct gd_packer *p, struct gd_output *output, struct gd_snapshot *s)
{
	struct gd_sealed sealed = { .bytes = 0 };
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	int problems = 0;
	assert_ok(gd_packer_finish(p, s, &sealed, &err), &err);
	gd_packer_destroy(p);
	output->bytes = sealed.bytes;
	assert_ok(gd_output_publish(output, "a.tar", &err), &err);
	GD_READER struct gd_reader reader = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("a.tar"), &reader, &err), &err);
	assert_ok(gd_verify(&reader, count_problem, &problems, &verdict, &err), &err);
	assert_int_equal(problems, 0);
	assert_string_equal(reader.manifest_digest, sealed.digest);
	gd_output_deinit(output);
}

static const struct gd_artifact_row *row_of(const struct gd_snapshot *s, const char *name)
{
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (strcmp(s->artifacts[i].name, name) == 0)
			return &s->artifacts[i];
	return NULL;
}

static void artifacts_bear_the_name_the_broker_gave(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_error err = { 0 };
	gd_packer_begin(p, "heap", false);
	assert_ok(open_artifact(p, 3, "a.txt", &err), &err);
	assert_ok(write_bytes(p, 3, 100, &err), &err);
	assert_ok(close_artifact(p, 3, &err), &err);
	assert_int_equal(gd_packer_end(p, &err), 100);
	finish(p, &output, &s);
	const struct gd_artifact_row *row = row_of(&s, "a.txt");
	assert_true(row != NULL && strcmp(row->collector, "heap") == 0 && row->bytes == 100);
	gd_snapshot_deinit(&s);
}

static void whoever_breaks_the_rules_is_refused(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_error err = { 0 };
	gd_packer_begin(p, "heap", false);
	assert_true(open_artifact(p, 0, "../x", &err) < 0);
	assert_true(open_artifact(p, 0, "/etc/passwd", &err) < 0);
	assert_true(open_artifact(p, 0, "a b", &err) < 0);
	assert_true(open_artifact(p, 0, "", &err) < 0);
	assert_fails(open_artifact(p, GD_RECORD_STREAMS, "a", &err), -EBADMSG, &err);
	assert_fails(write_bytes(p, 0, 1, &err), -EBADMSG, &err);
	assert_fails(write_bytes(p, UINT32_MAX, 1, &err), -EBADMSG, &err);
	assert_fails(close_artifact(p, 1, &err), -EBADMSG, &err);
	assert_ok(open_artifact(p, 0, "a.txt", NULL), NULL);
	assert_fails(open_artifact(p, 0, "b.txt", &err), -EBADMSG, &err);
	assert_fails(open_artifact(p, 1, "a.txt", &err), -EEXIST, &err);
	struct gd_record_write lie = { .stream = 0, .n = 1000 };
	assert_fails(gd_packer_record(p, GD_RECORD_WRITE, &lie, sizeof(lie), &err), -EBADMSG, &err);
	assert_fails(gd_packer_record(p, 99, &lie, sizeof(lie), &err), -EBADMSG, &err);
	assert_fails(gd_packer_record(p, GD_RECORD_CLOSE, &lie, sizeof(lie), &err), -EBADMSG, &err);
	(void)gd_packer_end(p, &err);
	/* The archive is none the worse. */
	finish(p, &output, &s);
	assert_non_null(row_of(&s, "a.txt"));
	gd_snapshot_deinit(&s);
}

static void scratch_files_last_for_many_large_artifacts(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_error err = { 0 };
	/* Three rounds of as many at once as may be, each beyond what is kept in memory. */
	for (int round = 0; round < 3; round++) {
		gd_packer_begin(p, "big", false);
		for (uint32_t i = 0; i < GD_RECORD_STREAMS; i++) {
			char name[32];
			struct gd_record_open record = { .stream = i,
				                         .media_type = "text/plain" };
			(void)snprintf(name, sizeof(name), "%d-%u", round, i);
			(void)snprintf(record.name, sizeof(record.name), "%s", name);
			assert_ok(gd_packer_record(p, GD_RECORD_OPEN, &record, sizeof(record),
			                           &err), &err);
			/* Otherwise the second would be the first's content again. */
			for (int k = 0; k < 8; k++)
				assert_ok(write_bytes(p, i, 50000 + i, &err), &err);
		}
		for (uint32_t i = 0; i < GD_RECORD_STREAMS; i++)
			assert_ok(close_artifact(p, i, &err), &err);
		(void)gd_packer_end(p, &err);
	}
	finish(p, &output, &s);
	assert_int_equal(s.n_artifacts, 1 + 3 * GD_RECORD_STREAMS);
	/* One for each that is open at once, used again in each round. */
	assert_int_equal(n_scratch, GD_RECORD_STREAMS);
	gd_snapshot_deinit(&s);
}

static void too_many_artifacts_are_too_many(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_error err = { 0 };
	int r = 0;
	gd_packer_begin(p, "many", false);
	for (int i = 0; i <= GD_PACKER_ARTIFACTS && r == 0; i++) {
		struct gd_record_absent record = { .media_type = "text/plain",
			                           .outcome.grade = GD_GRADE_SKIPPED };
		(void)snprintf(record.name, sizeof(record.name), "n%d", i);
		r = gd_packer_record(p, GD_RECORD_ABSENT, &record, sizeof(record), &err);
	}
	assert_fails(r, -E2BIG, &err);
	gd_packer_destroy(p);
	gd_output_deinit(&output);
}

/* Takes what the sink has sent into the packer, as the packer's process does. */
static void pump(int fd, struct gd_packer *p)
{
	static union {
		uint64_t align;
		char bytes[GD_MESSAGE_MAX];
	} body;
	struct pollfd at = { .fd = fd, .events = POLLIN };
	while (poll(&at, 1, 0) == 1) {
		struct gd_message m = { .n_fds = 0 };
		struct gd_error err = { 0 };
		if (gd_message_recv(fd, &m, &body, sizeof(body), &err) != 1)
			return;
		assert_ok(gd_packer_record(p, m.type, &body, m.len, &err), &err);
	}
}

static void what_goes_through_the_sink_arrives(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_sink *sink = NULL;
	struct gd_stream *a = NULL;
	struct gd_stream *b = NULL;
	struct gd_error err = { 0 };
	volatile uint64_t progress = 0;
	int ends[2];
	static char large[150001];
	memset(large, 'z', sizeof(large));
	assert_ok(gd_message_pair(ends, &err), &err);
	assert_ok(gd_packer_sink_create(ends[0], "", &progress, &sink, &err), &err);
	gd_packer_begin(p, "two", false);
	const struct gd_artifact first = { "first", "text/plain", "liar", 1 };
	const struct gd_artifact second = { "second", "text/plain", "liar", 0 };
	const struct gd_artifact none = { "none", "text/plain", "liar", 0 };
	const struct gd_outcome skipped = gd_outcome(GD_GRADE_SKIPPED, -EPERM, "no");
	assert_ok(sink->open(sink, &first, &a, &err), &err);
	assert_ok(sink->open(sink, &second, &b, &err), &err);
	assert_ok(a->write(a, large, sizeof(large), &err), &err);
	pump(ends[1], p);
	assert_ok(b->write(b, "small", 5, &err), &err);
	assert_ok(a->close(a, &GD_OUTCOME_COMPLETE, &err), &err);
	assert_ok(b->close(b, &GD_OUTCOME_COMPLETE, &err), &err);
	assert_ok(sink->absent(sink, &none, &skipped, &err), &err);
	pump(ends[1], p);
	assert_int_equal(gd_packer_end(p, &err), sizeof(large) + 5);
	assert_true(progress > 3);
	finish(p, &output, &s);
	const struct gd_artifact_row *row = row_of(&s, "first");
	assert_true(row != NULL && row->bytes == sizeof(large) &&
	            strcmp(row->collector, "two") == 0);
	row = row_of(&s, "none");
	assert_true(row != NULL && row->outcome.grade == GD_GRADE_SKIPPED);
	gd_packer_sink_destroy(sink);
	gd_snapshot_deinit(&s);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static int put(struct gd_packer *p, const char *name, int fd, uint64_t bytes,
               struct gd_record_stored *ret, struct gd_error *err)
{
	struct gd_record_put record = { .media_type = "application/octet-stream", .bytes = bytes };
	(void)snprintf(record.name, sizeof(record.name), "%s", name);
	return gd_packer_put(p, &record, fd, ret, err);
}

static void memory_is_put_by_who_packs_a_core_only(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_record_stored stored = { .digest = "" };
	struct gd_error err = { 0 };
	static char bytes[400001];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * i >> (i % 7));
	GD_CLOSE int memory = memfd_create("pack", MFD_CLOEXEC);
	GD_CLOSE int file = open(test_path("file"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_ok(gd_io_write_all(memory, bytes, sizeof(bytes), &err), &err);
	assert_ok(gd_io_write_all(file, bytes, sizeof(bytes), &err), &err);
	gd_packer_begin(p, "heap", false);
	assert_fails(put(p, "core/a", memory, 9, &stored, &err), -EBADMSG, &err);
	(void)gd_packer_end(p, &err);
	gd_packer_begin(p, "core", true);
	/* What is no memory could make us wait. */
	struct statfs fs;
	assert_int_equal(fstatfs(file, &fs), 0);
	if (fs.f_type != TMPFS_MAGIC)
		assert_fails(put(p, "core/a", file, 9, &stored, &err), -EBADMSG, &err);
	assert_fails(put(p, "../a", memory, 9, &stored, &err), -EINVAL, &err);
	assert_fails(put(p, "core/a", memory, GD_PACK_BYTES_MAX + 1, &stored, &err), -E2BIG, &err);
	assert_ok(put(p, "core/a", memory, sizeof(bytes), &stored, &err), &err);
	assert_fails(put(p, "core/a", memory, 9, &stored, &err), -EEXIST, &err);
	/* Less than it says: nothing is kept of it. */
	assert_true(put(p, "core/short", memory, sizeof(bytes) + 1, &stored, &err) < 0);
	assert_int_equal(gd_packer_end(p, &err), 2 * sizeof(bytes) + 1);
	finish(p, &output, &s);
	const struct gd_artifact_row *row = row_of(&s, "core/a");
	assert_true(row != NULL && row->bytes == sizeof(bytes));
	assert_string_equal(row->digest, stored.digest);
	row = row_of(&s, "core/short");
	assert_true(row != NULL && row->outcome.grade == GD_GRADE_FAILED);
	gd_snapshot_deinit(&s);
}

struct taker {
	int fd;
	struct gd_packer *packer;
	struct gd_record_stored stored;
};

/* The packer's process with one record. */
static void *take_one(void *arg)
{
	struct taker *t = arg;
	struct gd_message m = { .n_fds = 0 };
	struct gd_record_put record;
	if (gd_message_recv(t->fd, &m, &record, sizeof(record), NULL) == 1 && m.n_fds == 1 &&
	    m.type == GD_RECORD_PUT && m.len == sizeof(record) &&
	    gd_packer_put(t->packer, &record, m.fds[0], &t->stored, NULL) == 0)
		(void)gd_message_send(t->fd, GD_RECORD_STORED, 0, &t->stored, sizeof(t->stored),
		                      NULL, 0, NULL);
	gd_message_close_fds(&m);
	(void)close(t->fd);
	return NULL;
}

static void who_puts_memory_hears_its_digest(void **state)
{
	(void)state;
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *p = make(&output);
	struct gd_snapshot s = { .id = "x" };
	struct gd_sink *sink = NULL;
	struct gd_error err = { 0 };
	volatile uint64_t progress = 0;
	char digest[GD_LAYOUT_DIGEST];
	int ends[2];
	pthread_t thread;
	static const struct gd_artifact artifact = { "core/pack", "application/zstd", "core", 0 };
	GD_CLOSE int memory = memfd_create("pack", MFD_CLOEXEC);
	assert_ok(gd_io_write_all(memory, "0123456789", 10, &err), &err);
	assert_ok(gd_message_pair(ends, &err), &err);
	assert_ok(gd_packer_sink_create(ends[0], "", &progress, &sink, &err), &err);
	gd_packer_begin(p, "core", true);
	struct taker taker = { .fd = ends[1], .packer = p };
	assert_int_equal(pthread_create(&thread, NULL, take_one, &taker), 0);
	assert_ok(gd_packer_sink_put_memory(sink, &artifact, memory, 10, digest, &err), &err);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* printf 0123456789 | sha256sum */
	assert_string_equal(digest, "sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f8"
	                            "82f7882");
	/* It has gone. */
	assert_fails(gd_packer_sink_put_memory(sink, &artifact, memory, 10, digest, &err), -EPIPE,
	             &err);
	(void)gd_packer_end(p, &err);
	finish(p, &output, &s);
	assert_non_null(row_of(&s, "core/pack"));
	gd_packer_sink_destroy(sink);
	gd_snapshot_deinit(&s);
	(void)close(ends[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(artifacts_bear_the_name_the_broker_gave),
		test_case(whoever_breaks_the_rules_is_refused),
		test_case(scratch_files_last_for_many_large_artifacts),
		test_case(too_many_artifacts_are_too_many),
		test_case(what_goes_through_the_sink_arrives),
		test_case(memory_is_put_by_who_packs_a_core_only),
		test_case(who_puts_memory_hears_its_digest),
	};
	return test_run(tests);
}
