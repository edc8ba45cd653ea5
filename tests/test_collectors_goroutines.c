/*
 * The three artifacts of one walk agree with each other, and whatever goes wrong on the way is
 * recorded and leaves no stream open.  That they agree with Go is truth_goroutines.c.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "collectors/collector.h"
#include "tests/kept.h"
#include "tests/test.h"

static const char *const names[] = { "goroutines.txt", "goroutines.jsonl", "goroutine.pb.gz" };

struct fixture {
	struct kept kept;
	struct gd_collect c;
};

static struct fixture f;

/* The victim built by the newest release there is. */
static const char *quiet(void)
{
	static const char *const releases[] = { "1.27.4", "1.27.3", "1.26.11", "1.25.14", "1.22.12",
		                                "1.19.13" };
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
	memset(&f, 0, sizeof(f));
	kept_init(&f.kept);
	f.c.sink = &f.kept.sink;
	assert_ok(gd_target_open(victim->pid, &f.c.target, &err), &err);
	assert_ok(gd_target_threads(f.c.target, &tids, &n, &err), &err);
	assert_ok(gd_go_open(f.c.target->memory, &f.c.target->maps, tids, n, &f.c.go, &err), &err);
	free(tids);
}

static void end(void)
{
	for (size_t i = 0; i < f.kept.n; i++)
		assert_false(f.kept.list[i].open);
	gd_go_close(f.c.go);
	gd_target_close(f.c.target);
	kept_deinit(&f.kept);
}

static const struct kept_artifact *artifact(const char *name)
{
	const struct kept_artifact *a = kept_find(&f.kept, name);
	if (a == NULL)
		fail_msg("%s was not recorded", name);
	return a;
}

static size_t count(const char *text, const char *needle)
{
	size_t n = 0;
	for (const char *p = strstr(text, needle); p != NULL; p = strstr(p + 1, needle))
		n++;
	return n;
}

/* Each line is JSON, each goroutine's stack was there before.  Returns goroutines Go would show. */
static size_t check_lines(const char *text)
{
	size_t shown = 0;
	json_int_t stacks = 0;
	for (const char *line = text; *line != '\0';) {
		const char *newline = strchr(line, '\n');
		assert_non_null(newline);
		json_error_t error;
		json_t *json = json_loadb(line, (size_t)(newline - line), 0, &error);
		if (json == NULL)
			fail_msg("%s in %.*s", error.text, (int)(newline - line), line);
		json_int_t stack = json_integer_value(json_object_get(json, "stack"));
		if (json_object_get(json, "goid") == NULL) {
			assert_int_equal(stack, ++stacks);
			assert_true(json_array_size(json_object_get(json, "frames")) > 0);
		} else {
			assert_in_range(stack, 1, stacks);
			assert_non_null(json_object_get(json, "state"));
			shown += !json_is_true(json_object_get(json, "system"));
		}
		json_decref(json);
		line = newline + 1;
	}
	return shown;
}

/* Sum of the samples' values: Profile.sample (2) { value (2, packed) }. */
static uint64_t sum_samples(const struct gd_buf *gz)
{
	GD_BUF struct gd_buf raw = GD_BUF_INIT(1 << 20);
	z_stream z = { .next_in = (uint8_t *)gz->data, .avail_in = (uInt)gz->len };
	char *to = gd_buf_reserve(&raw, 1 << 20);
	assert_non_null(to);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_out = (uint8_t *)to;
	z.avail_out = 1 << 20;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	(void)inflateEnd(&z);
	struct gd_bytes profile = gd_bytes_of(to, z.total_out);
	uint64_t sum = 0;
	while (profile.pos < profile.len) {
		uint64_t tag = gd_bytes_uvarint(&profile), n = gd_bytes_uvarint(&profile);
		if ((tag & 7) != 2)
			continue;
		const uint8_t *p = gd_bytes_take(&profile, n);
		assert_non_null(p);
		struct gd_bytes sample = gd_bytes_of(p, n);
		while (tag >> 3 == 2 && sample.pos < sample.len) {
			uint64_t inner = gd_bytes_uvarint(&sample), len = gd_bytes_uvarint(&sample);
			const uint8_t *q = gd_bytes_take(&sample, len);
			assert_non_null(q);
			struct gd_bytes value = gd_bytes_of(q, len);
			if (inner >> 3 == 2)
				sum += gd_bytes_uvarint(&value);
		}
	}
	assert_false(profile.bad);
	return sum;
}

static void text_lines_and_profile_agree(void **state)
{
	(void)state;
	begin();
	struct gd_outcome outcome = gd_collector_goroutines.collect(&f.c);
	if (outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("%s: %s", gd_grade_name(outcome.grade), outcome.why.msg);
	const char *text = artifact("goroutines.txt")->bytes.data;
	size_t n = count(text, "\n\ngoroutine ") + 1;
	assert_int_equal(strncmp(text, "goroutine 1 [sleep]:\nmain.main()\n", 20), 0);
	assert_int_equal(n, 11); /* five on a channel, five on a lock, main */
	assert_int_equal(count(text, "main.waitOnChannel("), 5);
	assert_int_equal(check_lines(artifact("goroutines.jsonl")->bytes.data), n);
	assert_int_equal(sum_samples(&artifact("goroutine.pb.gz")->bytes), n);
	assert_int_equal(f.kept.n, 3);
	assert_int_equal(f.c.torn_reads, 0);
	end();
}

static void without_go_all_three_are_skipped_with_the_reason(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	kept_init(&f.kept);
	f.c.sink = &f.kept.sink;
	f.c.go_error = (struct gd_error){ .code = -ENOENT, .msg = "not a Go process" };
	assert_int_equal(gd_collector_goroutines.collect(&f.c).grade, GD_GRADE_SKIPPED);
	for (size_t i = 0; i < 3; i++) {
		assert_true(artifact(names[i])->absent);
		assert_int_equal(artifact(names[i])->outcome.grade, GD_GRADE_SKIPPED);
		assert_string_equal(artifact(names[i])->outcome.why.msg, "not a Go process");
	}
	end();
}

static void ctrl_c_closes_what_was_begun_as_partial(void **state)
{
	(void)state;
	volatile sig_atomic_t cancelled = 1;
	begin();
	f.c.cancelled = &cancelled;
	struct gd_outcome outcome = gd_collector_goroutines.collect(&f.c);
	assert_int_equal(outcome.grade, GD_GRADE_PARTIAL);
	assert_int_equal(outcome.why.code, -ECANCELED);
	assert_contains(outcome.why.msg, "interrupted after 0 goroutines");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(artifact(names[i])->outcome.grade, GD_GRADE_PARTIAL);
	end();
}

static void without_the_list_of_goroutines_it_fails_and_says_so(void **state)
{
	(void)state;
	begin();
	f.c.go->globals.allgs = 0;
	struct gd_outcome outcome = gd_collector_goroutines.collect(&f.c);
	assert_int_equal(outcome.grade, GD_GRADE_FAILED);
	assert_contains(outcome.why.msg, "allgs");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(artifact(names[i])->outcome.grade, GD_GRADE_FAILED);
	end();
}

/* A sink that breaks: opens so many streams, and takes so many writes in each. */
struct breaking {
	struct gd_sink sink; /* first */
	int opens, writes;
	int open; /* now */
};

struct breaking_stream {
	struct gd_stream stream; /* first */
	struct breaking *from;
	int writes;
};

static int broken_write(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	struct breaking_stream *s = (struct breaking_stream *)stream;
	(void)bytes;
	(void)n;
	return s->writes-- > 0 ? 0 : gd_fail(err, -ENOSPC, "the test's disk is full");
}

static int broken_close(struct gd_stream *stream, const struct gd_outcome *outcome,
                        struct gd_error *err)
{
	(void)err;
	assert_true(outcome->grade >= GD_GRADE_PARTIAL);
	((struct breaking_stream *)stream)->from->open--;
	free(stream);
	return 0;
}

static int broken_open(struct gd_sink *sink, const struct gd_artifact *a, struct gd_stream **ret,
                       struct gd_error *err)
{
	struct breaking *b = (struct breaking *)sink;
	(void)a;
	if (b->opens-- <= 0)
		return gd_fail(err, -ENOSPC, "the test's disk is full");
	struct breaking_stream *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	*s = (struct breaking_stream){ { broken_write, broken_close }, b, b->writes };
	*ret = &s->stream;
	b->open++;
	return 0;
}

static void a_full_disk_is_an_error_and_leaves_nothing_open(void **state)
{
	(void)state;
	begin();
	for (int opens = 0; opens <= 3; opens++) {
		struct breaking b = { .sink.open = broken_open, .opens = opens };
		f.c.sink = &b.sink;
		struct gd_outcome outcome = gd_collector_goroutines.collect(&f.c);
		assert_true(outcome.grade >= GD_GRADE_PARTIAL);
		assert_int_equal(outcome.why.code, -ENOSPC);
		assert_int_equal(b.open, 0);
	}
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(text_lines_and_profile_agree),
		test_case(without_go_all_three_are_skipped_with_the_reason),
		test_case(ctrl_c_closes_what_was_begun_as_partial),
		test_case(without_the_list_of_goroutines_it_fails_and_says_so),
		test_case(a_full_disk_is_an_error_and_leaves_nothing_open),
	};
	return test_run(tests);
}
