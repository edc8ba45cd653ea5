/*
 * Every allocation and every read that a dump of goroutines makes fails in turn: it never crashes,
 * leaks or leaves a stream open, and never calls complete what is not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collectors/collector.h"
#include "tests/fault.h"
#include "tests/test.h"

/* A sink that allocates nothing itself: faults are for those it serves. */
struct static_stream {
	struct gd_stream stream; /* first */
	char name[32];
	char bytes[64 << 10];
	size_t len;
	bool open;
};

static struct static_stream streams[3];
static size_t n_streams;
static struct gd_collect c;

static int static_write(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	struct static_stream *s = (struct static_stream *)stream;
	assert_true(s->open);
	if (n >= sizeof(s->bytes) - s->len)
		return gd_fail(err, -ENOSPC, "%s is larger than expected", s->name);
	memcpy(s->bytes + s->len, bytes, n);
	s->len += n;
	return 0;
}

static int static_close(struct gd_stream *stream, const struct gd_outcome *outcome,
                        struct gd_error *err)
{
	struct static_stream *s = (struct static_stream *)stream;
	(void)outcome;
	(void)err;
	assert_true(s->open);
	s->open = false;
	return 0;
}

static int static_open(struct gd_sink *sink, const struct gd_artifact *artifact,
                       struct gd_stream **ret, struct gd_error *err)
{
	(void)sink;
	(void)err;
	assert_true(n_streams < 3);
	struct static_stream *s = &streams[n_streams++];
	s->stream = (struct gd_stream){ .write = static_write, .close = static_close };
	(void)snprintf(s->name, sizeof(s->name), "%s", artifact->name);
	s->len = 0;
	s->open = true;
	*ret = &s->stream;
	return 0;
}

static struct gd_sink sink = { .open = static_open };

static const char *quiet(void)
{
	static const char *const releases[] = { "1.27.4", "1.26.11", "1.22.12", "1.19.13" };
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
		struct gd_error why = { 0 };
		const char *path = victim_go_if_built("quiet", releases[i], "stripped", &why);
		if (path != NULL)
			return path;
	}
	test_skip("no victim `quiet` was built by any Go release");
}

static void begin(void)
{
	struct gd_error err = { 0 };
	pid_t *tids = NULL;
	size_t n = 0;
	struct victim *victim = victim_start(quiet(), NULL);
	c = (struct gd_collect){ 0 };
	assert_ok(gd_target_open(victim->pid, &c.target, &err), &err);
	assert_ok(gd_target_threads(c.target, &tids, &n, &err), &err);
	assert_ok(gd_go_open(c.target->memory, &c.target->maps, tids, n, &c.go, &err), &err);
	free(tids);
}

static void end(void)
{
	gd_go_close(c.go);
	gd_target_close(c.target);
}

static size_t goroutines(void)
{
	size_t n = 0;
	assert_string_equal(streams[0].name, "goroutines.txt");
	streams[0].bytes[streams[0].len] = '\0';
	for (const char *p = streams[0].bytes; (p = strstr(p, "goroutine ")) != NULL; p++)
		n += p == streams[0].bytes || p[-1] == '\n';
	return n;
}

/* The n-th call fails, for each n until none does. */
static void fail_each(unsigned calls, int error, unsigned step)
{
	for (unsigned n = 1;; n += step) {
		n_streams = 0;
		c.sink = &sink;
		fault_arm(calls, n, error);
		struct gd_outcome outcome = gd_collector_goroutines.collect(&c);
		bool fired = fault_disarm();
		assert_int_equal(n_streams, 3);
		for (size_t i = 0; i < 3; i++)
			assert_false(streams[i].open);
		if (outcome.grade == GD_GRADE_COMPLETE)
			assert_int_equal(goroutines(), 11);
		else
			assert_true(outcome.why.code < 0 && outcome.why.msg[0] != '\0');
		if (!fired) {
			assert_int_equal(outcome.grade, GD_GRADE_COMPLETE);
			break;
		}
	}
}

static void no_allocation_is_taken_for_granted(void **state)
{
	(void)state;
	begin();
	fail_each(FAULT_MEMORY, ENOMEM, 1);
	end();
}

/* Of a live process: memory that is gone in the middle, and all of it gone. */
static void no_read_is_taken_for_granted(void **state)
{
	(void)state;
	begin();
	fail_each(FAULT_PREAD, EIO, 1);
	fail_each(FAULT_PREAD, ESRCH, 7);
	fail_each(FAULT_PREAD, FAULT_SHORT, 3);
	fail_each(FAULT_READ | FAULT_OPENAT, EACCES, 1);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(no_allocation_is_taken_for_granted),
		test_case(no_read_is_taken_for_granted),
	};
	return test_run(tests);
}
