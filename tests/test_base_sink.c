#include "base/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

/* A sink that remembers what was asked of it, and fails where it is told to. */
struct memory_sink {
	struct gd_sink base;
	int fail_open, fail_write, fail_close;
	int n_open, n_closed;
	char bytes[64];
	size_t len;
	char name[64];
	struct gd_outcome outcome;
};

struct memory_stream {
	struct gd_stream base;
	struct memory_sink *sink;
};

static int stream_write(struct gd_stream *base, const void *bytes, size_t n, struct gd_error *err)
{
	struct memory_sink *sink = ((struct memory_stream *)base)->sink;
	if (sink->fail_write != 0)
		return gd_fail_errno(err, sink->fail_write, "write %s", sink->name);
	assert_true(n <= sizeof(sink->bytes) - sink->len);
	memcpy(sink->bytes + sink->len, bytes, n);
	sink->len += n;
	return 0;
}

static int stream_close(struct gd_stream *base, const struct gd_outcome *outcome,
                        struct gd_error *err)
{
	struct memory_sink *sink = ((struct memory_stream *)base)->sink;
	sink->n_closed++;
	sink->outcome = *outcome;
	free(base);
	return sink->fail_close != 0 ? gd_fail_errno(err, sink->fail_close, "close") : 0;
}

static int sink_open(struct gd_sink *base, const struct gd_artifact *artifact,
                     struct gd_stream **ret, struct gd_error *err)
{
	struct memory_sink *sink = (struct memory_sink *)base;
	if (sink->fail_open != 0)
		return gd_fail_errno(err, sink->fail_open, "open %s", artifact->name);
	struct memory_stream *stream = calloc(1, sizeof(*stream));
	assert_non_null(stream);
	stream->base = (struct gd_stream){ .write = stream_write, .close = stream_close };
	stream->sink = sink;
	(void)snprintf(sink->name, sizeof(sink->name), "%s", artifact->name);
	sink->n_open++;
	*ret = &stream->base;
	return 0;
}

static const struct gd_artifact artifact = { "proc/status", "text/plain", "proc", 0 };

static int put(struct memory_sink *sink, struct gd_outcome outcome, struct gd_error *err)
{
	sink->base.open = sink_open;
	return gd_sink_put(&sink->base, &artifact, "hello", 5, &outcome, err);
}

static void a_small_artifact_goes_in_with_one_call(void **state)
{
	(void)state;
	struct memory_sink sink = { 0 };
	struct gd_error err = { 0 };
	assert_ok(put(&sink, gd_outcome(GD_GRADE_PARTIAL, -EIO, "%d of 9 lines", 3), &err), &err);
	assert_string_equal(sink.name, "proc/status");
	assert_memory_equal(sink.bytes, "hello", 5);
	assert_int_equal(sink.len, 5);
	assert_int_equal(sink.outcome.grade, GD_GRADE_PARTIAL);
	assert_int_equal(sink.outcome.why.code, -EIO);
	assert_string_equal(sink.outcome.why.msg, "3 of 9 lines");
}

static void a_stream_is_closed_exactly_once_whatever_fails(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct memory_sink no_open = { .fail_open = -ENOSPC };
	assert_fails(put(&no_open, GD_OUTCOME_COMPLETE, &err), -ENOSPC, &err);
	assert_int_equal(no_open.n_closed, 0);

	struct memory_sink no_write = { .fail_write = -ENOSPC };
	assert_fails(put(&no_write, GD_OUTCOME_COMPLETE, &err), -ENOSPC, &err);
	assert_string_equal(err.msg, "write proc/status: No space left on device");
	assert_int_equal(no_write.n_closed, 1);
	assert_int_equal(no_write.outcome.grade, GD_GRADE_FAILED);
	assert_int_equal(no_write.outcome.why.code, -ENOSPC);

	struct memory_sink no_close = { .fail_close = -EIO };
	assert_fails(put(&no_close, GD_OUTCOME_COMPLETE, &err), -EIO, &err);
	assert_int_equal(no_close.n_closed, 1);
}

static void the_worse_of_two_outcomes_wins_and_the_first_of_equals(void **state)
{
	(void)state;
	struct gd_outcome whole = GD_OUTCOME_COMPLETE;
	struct gd_outcome partial = gd_outcome(GD_GRADE_PARTIAL, 0, "first");
	struct gd_outcome later = gd_outcome(GD_GRADE_PARTIAL, 0, "second");
	struct gd_outcome failed = gd_outcome(GD_GRADE_FAILED, 0, "third");
	assert_string_equal(gd_outcome_worse(whole, partial).why.msg, "first");
	assert_string_equal(gd_outcome_worse(partial, whole).why.msg, "first");
	assert_string_equal(gd_outcome_worse(partial, later).why.msg, "first");
	assert_string_equal(gd_outcome_worse(later, failed).why.msg, "third");
	assert_int_equal(gd_outcome_worse(whole, whole).grade, GD_GRADE_COMPLETE);
}

static void grades_are_spelled_as_in_the_manifest(void **state)
{
	(void)state;
	assert_string_equal(gd_grade_name(GD_GRADE_COMPLETE), "complete");
	assert_string_equal(gd_grade_name(GD_GRADE_PARTIAL), "partial");
	assert_string_equal(gd_grade_name(GD_GRADE_SKIPPED), "skipped");
	assert_string_equal(gd_grade_name(GD_GRADE_FAILED), "failed");
}

static void an_error_becomes_the_reason_of_an_outcome(void **state)
{
	(void)state;
	struct gd_error why = { .code = -EACCES, .msg = "not allowed" };
	struct gd_outcome outcome = gd_outcome_of(GD_GRADE_SKIPPED, &why);
	assert_int_equal(outcome.grade, GD_GRADE_SKIPPED);
	assert_int_equal(outcome.why.code, -EACCES);
	assert_string_equal(outcome.why.msg, "not allowed");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_small_artifact_goes_in_with_one_call),
		test_case(a_stream_is_closed_exactly_once_whatever_fails),
		test_case(the_worse_of_two_outcomes_wins_and_the_first_of_equals),
		test_case(grades_are_spelled_as_in_the_manifest),
		test_case(an_error_becomes_the_reason_of_an_outcome),
	};
	return test_run(tests);
}
