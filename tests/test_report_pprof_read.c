#include "tests/archives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/pprof_read.h"
#include "tests/profiles.h"

static struct gd_pprof_read open_profile(const struct gd_buf *bytes)
{
	struct gd_pprof_read p = { 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_pprof_read_init(&p, "x.pb.gz", bytes->data, bytes->len, &err), &err);
	return p;
}

static void tables_hold_what_was_written(void **state)
{
	(void)state;
	struct profile made = profile_shop();
	GD_PPROF_READ struct gd_pprof_read p = open_profile(&made.bytes);
	struct gd_pprof_read_sample s;
	struct gd_bytes cursor = gd_pprof_read_samples(&p);
	uint64_t bad = 0;
	int64_t count = 0, ns = 0;
	assert_int_equal(p.n_types, 2);
	assert_true(gd_pprof_read_is(&p, p.types[0].type, "samples"));
	assert_true(gd_pprof_read_is(&p, p.types[1].unit, "nanoseconds"));
	assert_int_equal(p.default_type, 1);
	assert_int_equal(p.duration_ns, 10000000000);
	while (gd_pprof_read_next(&p, &cursor, &s, &bad)) {
		count += s.values[0];
		ns += s.values[1];
	}
	assert_int_equal(count, 100);
	assert_int_equal(ns, 1000000000);
	assert_int_equal(bad, 0);
	gd_buf_deinit(&made.bytes);
}

static void indices_that_lead_nowhere_are_nothing(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count" };
	struct profile made = profile_begin(types, 2);
	GD_BUF struct gd_buf m = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	profile_put_number(&m, 1, 1);
	profile_put_number(&m, 2, 99); /* mapping */
	profile_put_number(&line, 1, 77); /* function */
	profile_put_message(&m, 4, &line);
	profile_put_message(&made.bytes, 4, &m);
	profile_put_number(&m, 1, 1);
	profile_put_number(&m, 2, UINT64_MAX); /* name */
	profile_put_message(&made.bytes, 5, &m);
	profile_put_number(&m, 1, 4711); /* location */
	profile_put_number(&m, 1, 1);
	profile_put_number(&m, 2, 5);
	profile_put_number(&m, 2, 6); /* one value more than there are types */
	profile_put_message(&made.bytes, 2, &m);
	GD_PPROF_READ struct gd_pprof_read p = open_profile(&made.bytes);
	struct gd_pprof_read_sample s;
	struct gd_bytes cursor = gd_pprof_read_samples(&p);
	uint64_t bad = 0;
	assert_int_equal(p.locations[1].mapping, 0);
	assert_int_equal(p.lines[p.locations[1].first_line].function, 0);
	assert_int_equal(p.functions[1].name, 0);
	assert_true(gd_pprof_read_next(&p, &cursor, &s, &bad));
	assert_int_equal(s.n_locations, 2);
	assert_int_equal(s.locations[0], 0);
	assert_int_equal(s.locations[1], 1);
	assert_int_equal(s.values[0], 5);
	assert_int_equal(s.values[1], 0);
	gd_buf_deinit(&made.bytes);
}

static void too_deep_a_stack_keeps_its_innermost_frames(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count" };
	struct profile made = profile_begin(types, 2);
	uint64_t ids[GD_PPROF_READ_DEPTH + 7];
	uint64_t one = profile_location(&made, 0, 1, &(struct profile_line){ "f", NULL, 1 }, 1);
	for (size_t i = 0; i < GD_PPROF_READ_DEPTH + 7; i++)
		ids[i] = one;
	profile_sample(&made, ids, GD_PPROF_READ_DEPTH + 7, 1, 1, NULL, 0);
	GD_PPROF_READ struct gd_pprof_read p = open_profile(&made.bytes);
	struct gd_pprof_read_sample s;
	struct gd_bytes cursor = gd_pprof_read_samples(&p);
	uint64_t bad = 0;
	assert_true(gd_pprof_read_next(&p, &cursor, &s, &bad));
	assert_int_equal(s.n_locations, GD_PPROF_READ_DEPTH);
	assert_int_equal(s.n_deeper, 7);
	gd_buf_deinit(&made.bytes);
}

static void a_sample_that_makes_no_sense_is_counted(void **state)
{
	(void)state;
	struct profile made = profile_shop();
	profile_put_bytes(&made.bytes, 2, "\x0a\x7f", 2); /* 127 bytes of locations that are not there */
	GD_PPROF_READ struct gd_pprof_read p = open_profile(&made.bytes);
	struct gd_pprof_read_sample s;
	struct gd_bytes cursor = gd_pprof_read_samples(&p);
	uint64_t bad = 0;
	size_t n = 0;
	while (gd_pprof_read_next(&p, &cursor, &s, &bad))
		n++;
	assert_int_equal(n, 7);
	assert_int_equal(bad, 1);
	gd_buf_deinit(&made.bytes);
}

static void what_is_no_profile_is_refused(void **state)
{
	(void)state;
	struct gd_pprof_read p;
	struct gd_error err = { 0 };
	static const char untyped[] = "\x32\x00"; /* one string, "" */
	static const char huge[] = "\x2a\x07\x08\x80\x80\x80\x80\x80\x20"; /* function 2^40 */
	assert_fails(gd_pprof_read_init(&p, "x", "", 0, &err), -EBADMSG, &err);
	assert_fails(gd_pprof_read_init(&p, "x", "\xff\xff", 2, &err), -EBADMSG, &err);
	assert_fails(gd_pprof_read_init(&p, "x", untyped, 2, &err), -EBADMSG, &err);
	assert_contains(err.msg, "says of no value what it means");
	assert_fails(gd_pprof_read_init(&p, "x", huge, sizeof(huge) - 1, &err), -E2BIG, &err);
}

static void damaged_gzip_is_told_from_a_bomb(void **state)
{
	(void)state;
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct profile made = profile_shop();
	GD_BUF struct gd_buf gz = profile_gzip(&made);
	struct profile bomb = { .bytes = GD_BUF_INIT(16U << 20) };
	assert_non_null(gd_buf_reserve(&bomb.bytes, 8U << 20));
	memset(bomb.bytes.data, 0, 8U << 20);
	bomb.bytes.len = 8U << 20;
	GD_BUF struct gd_buf bomb_gz = profile_gzip(&bomb);
	const struct made all[] = {
		{ "cpu.pb.gz", "x", "samples", gz.data, gz.len / 2, false },
		{ "plain.pb.gz", "x", "samples", "no gzip at all", 14, false },
		{ "bomb.pb.gz", "x", "samples", bomb_gz.data, bomb_gz.len, false },
	};
	struct gd_sealed sealed = archive_make("a.tar", all, 3);
	GD_BUF struct gd_buf out = GD_BUF_INIT(1U << 20);
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	assert_fails(gd_pprof_read_unpack(&reader, "cpu.pb.gz", &out, &err), -EBADMSG, &err);
	assert_contains(err.msg, "damaged gzip");
	gd_buf_reset(&out);
	assert_fails(gd_pprof_read_unpack(&reader, "plain.pb.gz", &out, &err), -EBADMSG, &err);
	gd_buf_reset(&out);
	assert_fails(gd_pprof_read_unpack(&reader, "bomb.pb.gz", &out, &err), -E2BIG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(tables_hold_what_was_written),
		test_case(indices_that_lead_nowhere_are_nothing),
		test_case(too_deep_a_stack_keeps_its_innermost_frames),
		test_case(a_sample_that_makes_no_sense_is_counted),
		test_case(what_is_no_profile_is_refused),
		test_case(damaged_gzip_is_told_from_a_bomb),
	};
	return test_run(tests);
}
