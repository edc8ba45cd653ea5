/*
 * A profile is read back by unpacking it here, field by field, and by the real `go tool pprof`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "collectors/pprof.h"
#include "tests/test.h"

/* --- a stream into memory --- */

struct memory_stream {
	struct gd_stream base;
	struct gd_buf bytes;
	int fail_code;
};

static int memory_write(struct gd_stream *base, const void *bytes, size_t n, struct gd_error *err)
{
	struct memory_stream *stream = (struct memory_stream *)base;
	if (stream->fail_code != 0)
		return gd_fail_errno(err, stream->fail_code, "the test's stream");
	gd_buf_append(&stream->bytes, bytes, n);
	return 0;
}

static struct memory_stream memory_stream(void)
{
	return (struct memory_stream){ .base.write = memory_write,
		                       .bytes = GD_BUF_INIT(64u << 20) };
}

static void gunzip(const struct gd_buf *from, struct gd_buf *to)
{
	z_stream z = { .next_in = (uint8_t *)from->data, .avail_in = (uInt)from->len };
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	int r;
	do {
		char *room = gd_buf_reserve(to, 65536);
		assert_non_null(room);
		z.next_out = (uint8_t *)room;
		z.avail_out = 65536;
		r = inflate(&z, Z_NO_FLUSH);
		to->len += 65536 - z.avail_out;
	} while (r == Z_OK);
	assert_int_equal(r, Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	(void)inflateEnd(&z);
}

/* --- unpacking --- */

struct field {
	unsigned number;
	uint64_t value;            /* varint */
	struct gd_bytes bytes;     /* length-delimited */
};

static bool next_field(struct gd_bytes *from, struct field *ret)
{
	if (from->pos == from->len)
		return false;
	uint64_t tag = gd_bytes_uvarint(from);
	*ret = (struct field){ .number = (unsigned)(tag >> 3) };
	if ((tag & 7) == 2) {
		size_t n = (size_t)gd_bytes_uvarint(from);
		const uint8_t *p = gd_bytes_take(from, n);
		assert_non_null(p);
		ret->bytes = gd_bytes_of(p, n);
	} else {
		assert_int_equal(tag & 7, 0);
		ret->value = gd_bytes_uvarint(from);
	}
	assert_false(from->bad);
	return true;
}

/* The n-th (from 0) occurrence of a field in the message; fails the test when there is none. */
static struct field field_of(struct gd_bytes message, unsigned number, unsigned n)
{
	struct field f;
	while (next_field(&message, &f))
		if (f.number == number && n-- == 0)
			return f;
	fail_msg("field %u is missing", number);
	return (struct field){ 0 };
}

static unsigned count_of(struct gd_bytes message, unsigned number)
{
	struct field f;
	unsigned n = 0;
	while (next_field(&message, &f))
		n += f.number == number;
	return n;
}

static void assert_string(struct gd_bytes profile, uint64_t id, const char *expected)
{
	struct field f = field_of(profile, 6, (unsigned)id);
	assert_int_equal(f.bytes.len, strlen(expected));
	assert_memory_equal(f.bytes.data, expected, f.bytes.len);
}

static const struct gd_pprof_type goroutines[] = { { "goroutine", "count" } };
static const struct gd_pprof_about about = { .time_ns = 1700000000000000000,
	                                     .period_type = { "goroutine", "count" },
	                                     .period = 1 };

static void write_small_profile(struct gd_stream *stream)
{
	GD_PPROF struct gd_pprof *p;
	assert_int_equal(gd_pprof_create(stream, goroutines, 1, &p, NULL), 0);
	struct gd_pprof_mapping mapping = { .start = 0x400000, .limit = 0x600000,
		                            .file = "/usr/bin/service", .build_id = "abc" };
	assert_int_equal(gd_pprof_mapping(p, &mapping), 1);
	struct gd_pprof_line inlined[] = { { "main.inner", "/src/main.go", 10, 8 },
		                           { "main.outer", "/src/main.go", 20, 15 } };
	struct gd_pprof_line main[] = { { "main.main", "/src/main.go", 30, 29 } };
	assert_int_equal(gd_pprof_find(p, 0x401000), 0);
	uint64_t at[2] = { gd_pprof_location(p, 0x401000, 0x401000, 1, inlined, 2),
		           gd_pprof_location(p, 0x402000, 0x402000, 1, main, 1) };
	assert_int_equal(gd_pprof_find(p, 0x401000), at[0]);
	struct gd_pprof_label labels[] = {
		{ .key = "state", .key_len = 5, .text = "chan \xff receive", .text_len = 14 },
		{ .key = "wait", .key_len = 4, .number = 77, .unit = "nanoseconds" },
	};
	gd_pprof_sample(p, at, 2, &(int64_t){ 42 }, labels, 2);
	assert_int_equal(gd_pprof_finish(p, &about, NULL), 0);
}

static void a_profile_reads_back_field_by_field(void **state)
{
	(void)state;
	struct memory_stream stream = memory_stream();
	write_small_profile(&stream.base);
	GD_BUF struct gd_buf raw = GD_BUF_INIT(1 << 20);
	gunzip(&stream.bytes, &raw);
	struct gd_bytes profile = gd_bytes_of(raw.data, raw.len);

	struct field type = field_of(profile, 1, 0);
	assert_string(profile, 0, "");
	assert_string(profile, field_of(type.bytes, 1, 0).value, "goroutine");
	assert_string(profile, field_of(type.bytes, 2, 0).value, "count");

	struct field sample = field_of(profile, 2, 0);
	struct field locations = field_of(sample.bytes, 1, 0);
	assert_memory_equal(locations.bytes.data, "\x01\x02", 2);
	assert_memory_equal(field_of(sample.bytes, 2, 0).bytes.data, "\x2a", 1);
	struct field text = field_of(sample.bytes, 3, 0);
	assert_string(profile, field_of(text.bytes, 1, 0).value, "state");
	assert_string(profile, field_of(text.bytes, 2, 0).value, "chan \xef\xbf\xbd receive");
	struct field number = field_of(sample.bytes, 3, 1);
	assert_int_equal(field_of(number.bytes, 3, 0).value, 77);

	struct field inlined = field_of(profile, 4, 0);
	assert_int_equal(count_of(inlined.bytes, 4), 2);
	assert_int_equal(field_of(inlined.bytes, 3, 0).value, 0x401000);
	struct field line = field_of(inlined.bytes, 4, 1);
	assert_int_equal(field_of(line.bytes, 2, 0).value, 20);
	struct field outer = field_of(profile, 5, (unsigned)field_of(line.bytes, 1, 0).value - 1);
	assert_string(profile, field_of(outer.bytes, 2, 0).value, "main.outer");
	assert_int_equal(field_of(outer.bytes, 5, 0).value, 15);

	assert_int_equal(field_of(profile, 9, 0).value, about.time_ns);
	gd_buf_deinit(&stream.bytes);
}

static void the_same_string_function_and_location_are_written_once(void **state)
{
	(void)state;
	struct memory_stream stream = memory_stream();
	GD_PPROF struct gd_pprof *p;
	assert_int_equal(gd_pprof_create(&stream.base, goroutines, 1, &p, NULL), 0);
	struct gd_pprof_line line = { "main.main", "main.go", 3, 1 };
	for (int i = 0; i < 1000; i++) {
		uint64_t at = gd_pprof_location(p, 7, 7, 0, &line, 1);
		assert_int_equal(at, 1);
		gd_pprof_sample(p, &at, 1, &(int64_t){ 1 }, NULL, 0);
	}
	assert_int_equal(gd_pprof_finish(p, &about, NULL), 0);
	GD_BUF struct gd_buf raw = GD_BUF_INIT(1 << 20);
	gunzip(&stream.bytes, &raw);
	struct gd_bytes profile = gd_bytes_of(raw.data, raw.len);
	assert_int_equal(count_of(profile, 2), 1000);
	assert_int_equal(count_of(profile, 4), 1);
	assert_int_equal(count_of(profile, 5), 1);
	assert_int_equal(count_of(profile, 6), 1 + 2 + 2);
	gd_buf_deinit(&stream.bytes);
}

static void more_strings_than_the_table_holds_still_make_a_valid_profile(void **state)
{
	(void)state;
	struct memory_stream stream = memory_stream();
	GD_PPROF struct gd_pprof *p;
	assert_int_equal(gd_pprof_create(&stream.base, goroutines, 1, &p, NULL), 0);
	uint64_t at = gd_pprof_location(p, 7, 7, 0, NULL, 0);
	enum { N = GD_PPROF_TABLE_MAX + 1000 };
	for (int i = 0; i < N; i++) {
		char text[32];
		int len = snprintf(text, sizeof(text), "request-%d", i);
		struct gd_pprof_label label = { .key = "id", .key_len = 2, .text = text,
			                        .text_len = (size_t)len };
		gd_pprof_sample(p, &at, 1, &(int64_t){ 1 }, &label, 1);
	}
	assert_int_equal(gd_pprof_finish(p, &about, NULL), 0);
	GD_BUF struct gd_buf raw = GD_BUF_INIT(64u << 20);
	gunzip(&stream.bytes, &raw);
	struct gd_bytes profile = gd_bytes_of(raw.data, raw.len);
	struct field last = field_of(profile, 2, N - 1);
	char text[32];
	(void)snprintf(text, sizeof(text), "request-%d", N - 1);
	struct field label = field_of(last.bytes, 3, 0);
	assert_string(profile, field_of(label.bytes, 1, 0).value, "id");
	assert_string(profile, field_of(label.bytes, 2, 0).value, text);
	gd_buf_deinit(&stream.bytes);
}

static void an_error_of_the_stream_is_reported_at_the_end(void **state)
{
	(void)state;
	struct memory_stream stream = memory_stream();
	stream.fail_code = -ENOSPC;
	GD_PPROF struct gd_pprof *p;
	assert_int_equal(gd_pprof_create(&stream.base, goroutines, 1, &p, NULL), 0);
	uint64_t at = gd_pprof_location(p, 7, 7, 0, NULL, 0);
	gd_pprof_sample(p, &at, 1, &(int64_t){ 1 }, NULL, 0);
	struct gd_error err = { 0 };
	assert_int_equal(gd_pprof_finish(p, &about, &err), -ENOSPC);
	assert_int_equal(err.code, -ENOSPC);
	gd_buf_deinit(&stream.bytes);
}

static void go_tool_pprof_shows_what_was_written(void **state)
{
	(void)state;
	if (system("go version >/dev/null 2>&1") != 0)
		test_skip("there is no go command");
	struct memory_stream stream = memory_stream();
	write_small_profile(&stream.base);
	char path[] = "/tmp/godiag-test-XXXXXX";
	GD_CLOSE int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(gd_io_write_all(fd, stream.bytes.data, stream.bytes.len, NULL), 0);
	char command[128];
	(void)snprintf(command, sizeof(command), "go tool pprof -raw %s 2>/dev/null", path);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	char text[8192];
	size_t n = fread(text, 1, sizeof(text) - 1, out);
	text[n] = '\0';
	int status = pclose(out);
	(void)unlink(path);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "goroutine/count"));
	assert_non_null(strstr(text, "main.inner /src/main.go:10"));
	assert_non_null(strstr(text, "main.outer /src/main.go:20"));
	assert_non_null(strstr(text, "wait:[77 nanoseconds]"));
	assert_non_null(strstr(text, "1: 0x400000/0x600000/0x0 /usr/bin/service abc"));
	gd_buf_deinit(&stream.bytes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_profile_reads_back_field_by_field),
		test_case(the_same_string_function_and_location_are_written_once),
		test_case(more_strings_than_the_table_holds_still_make_a_valid_profile),
		test_case(an_error_of_the_stream_is_reported_at_the_end),
		test_case(go_tool_pprof_shows_what_was_written),
	};
	return test_run(tests);
}
