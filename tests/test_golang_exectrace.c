/*
 * Execution traces made by hand in both formats: heads, batches, what they say of their clock, and where they
 * end when they are cut off.
 */
#include "golang/exectrace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"

#define BEGIN_TICKS UINT64_C(24440586717)

static void put_uvarint(struct gd_buf *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		gd_buf_putc(to, (char)(value | 0x80));
	gd_buf_putc(to, (char)value);
}

static void put_head(struct gd_buf *to, const char *format)
{
	char head[16] = "";
	(void)snprintf(head, sizeof(head), "go %s trace", format);
	gd_buf_append(to, head, sizeof(head));
}

/* ---- since 1.22 ------------------------------------------------------------------------------ */

static void put_batch(struct gd_buf *to, uint64_t generation, uint64_t ticks, const void *events, size_t n)
{
	gd_buf_putc(to, 1);
	put_uvarint(to, generation);
	put_uvarint(to, 7);
	put_uvarint(to, ticks);
	put_uvarint(to, n);
	gd_buf_append(to, events, n);
}

static void put_clocks(struct gd_buf *to, bool synced, uint64_t ticks, uint64_t per_second)
{
	GD_BUF struct gd_buf events = GD_BUF_INIT(256);
	if (synced)
		gd_buf_putc(&events, 50);
	gd_buf_putc(&events, 8);
	put_uvarint(&events, per_second);
	if (synced) {
		gd_buf_putc(&events, 51);
		put_uvarint(&events, 3);
		put_uvarint(&events, (ticks + 3) * 64 + 5);
		put_uvarint(&events, 1795967708);
		put_uvarint(&events, 123);
	}
	put_batch(to, 1, ticks, events.data, events.len);
}

static void a_new_trace_counts_the_monotonic_clock(void **state)
{
	(void)state;
	static const struct {
		const char *format;
		unsigned number;
		bool synced;
	} rows[] = { { "1.22", 1022, false }, { "1.23", 1023, false }, { "1.25", 1025, true },
		     { "1.26", 1026, true } };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
		struct gd_exectrace t;
		struct gd_error err = { 0 };
		put_head(&bytes, rows[i].format);
		put_batch(&bytes, 1, BEGIN_TICKS + 10, "\x12\x01\x03", 3);
		put_batch(&bytes, 1, BEGIN_TICKS, "", 0);
		put_clocks(&bytes, rows[i].synced, BEGIN_TICKS + 900, 15625000);
		if (strcmp(rows[i].format, "1.26") == 0)
			gd_buf_putc(&bytes, 52);
		assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
		assert_int_equal(t.format, rows[i].number);
		assert_int_equal(t.per_second, 15625000);
		assert_true(t.nanotime);
		assert_int_equal(t.batches, 3);
		assert_int_equal(t.first, BEGIN_TICKS);
		assert_int_equal(t.last, BEGIN_TICKS + 900);
		assert_int_equal(t.whole, bytes.len);
		assert_int_equal(t.has_snapshot, rows[i].synced);
		if (rows[i].synced) {
			assert_int_equal(t.snapshot_ticks, BEGIN_TICKS + 903);
			assert_int_equal(t.snapshot_monotonic_ns, (BEGIN_TICKS + 903) * 64 + 5);
		}
	}
}

static void another_rate_is_another_clock(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
	struct gd_exectrace t;
	struct gd_error err = { 0 };
	put_head(&bytes, "1.22");
	put_clocks(&bytes, false, BEGIN_TICKS, 3906250);
	assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
	assert_false(t.nanotime);
	assert_int_equal(t.per_second, 3906250);
}

static void experimental_batches_are_passed_over(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
	struct gd_exectrace t;
	struct gd_error err = { 0 };
	put_head(&bytes, "1.23");
	/* An experiment's number, then as any other; its bytes are not events. */
	gd_buf_append(&bytes, "\x31\x01\x01\x07\x05\x03\x08\xff\xff", 9);
	put_batch(&bytes, 1, 9, "", 0);
	assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
	assert_int_equal(t.batches, 2);
	assert_int_equal(t.per_second, 0);
	assert_int_equal(t.whole, bytes.len);
}

/* ---- until 1.21 ------------------------------------------------------------------------------ */

static void put_old_batch(struct gd_buf *to, uint64_t ticks)
{
	gd_buf_putc(to, 1 | 1 << 6);
	put_uvarint(to, 2);
	put_uvarint(to, ticks);
}

static void make_old(struct gd_buf *to, const char *format)
{
	put_head(to, format);
	put_old_batch(to, BEGIN_TICKS + 5);
	gd_buf_append(to, "\x05\x02", 2);             /* one argument */
	gd_buf_append(to, "\x4e\x02\x09", 3);         /* two */
	gd_buf_append(to, "\xd5\x03\x01\x02\x03", 5); /* four and more: their bytes */
	gd_buf_append(to, "\x25\x07\x03" "abc", 6);   /* a string, its number, its bytes */
	/* A log: like the third, and a string behind it that looks like a batch. */
	gd_buf_append(to, "\xf0\x04\x01\x00\x07\x00" "\x03\x41\x02\x01", 10);
	put_old_batch(to, BEGIN_TICKS);
	put_old_batch(to, BEGIN_TICKS + 77);
	gd_buf_putc(to, 2);
	put_uvarint(to, 40564501);
}

static void an_old_trace_counts_cycles(void **state)
{
	(void)state;
	static const char *const formats[] = { "1.11", "1.19", "1.21" };
	static const unsigned numbers[] = { 1011, 1019, 1021 };
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
		struct gd_exectrace t;
		struct gd_error err = { 0 };
		make_old(&bytes, formats[i]);
		assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
		assert_int_equal(t.format, numbers[i]);
		assert_false(t.nanotime);
		assert_int_equal(t.per_second, 40564501);
		assert_int_equal(t.batches, 3);
		assert_int_equal(t.first, BEGIN_TICKS);
		assert_int_equal(t.last, BEGIN_TICKS + 77);
		assert_int_equal(t.whole, bytes.len);
	}
}

/* ---- what is not whole ----------------------------------------------------------------------- */

/* Cut off anywhere it is read up to its last whole record, and says no more than that. */
static void expect_cut(const struct gd_buf *whole)
{
	struct gd_exectrace full;
	struct gd_error err = { 0 };
	size_t last = 0;
	unsigned short_ones = 0;
	assert_ok(gd_exectrace_read(whole->data, whole->len, &full, &err), &err);
	for (size_t n = 0; n < whole->len; n++) {
		struct gd_exectrace t = { 0 };
		int r = gd_exectrace_read(whole->data, n, &t, &err);
		if (r < 0) {
			assert_int_equal(r, -EBADMSG);
			assert_int_equal(last, 0); /* once there is a batch, there is one */
			continue;
		}
		assert_true(t.whole <= n && t.whole >= last);
		assert_true(t.batches <= full.batches);
		short_ones += t.whole < n;
		last = t.whole;
	}
	assert_true(short_ones > 0);
}

static void one_that_is_cut_off_is_read_up_to_there(void **state)
{
	(void)state;
	GD_BUF struct gd_buf old = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf new = GD_BUF_INIT(4096);
	make_old(&old, "1.21");
	expect_cut(&old);
	put_head(&new, "1.25");
	put_batch(&new, 1, BEGIN_TICKS, "\x12\x01\x03", 3);
	put_clocks(&new, true, BEGIN_TICKS + 900, 15625000);
	put_batch(&new, 2, BEGIN_TICKS + 9000, "\x12\x01\x03", 3);
	expect_cut(&new);
}

static void whole_generations_are_known(void **state)
{
	(void)state;
	static const char *const formats[] = { "1.22", "1.25", "1.26" };
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
		struct gd_exectrace t;
		struct gd_error err = { 0 };
		bool says = strcmp(formats[i], "1.26") == 0;
		put_head(&bytes, formats[i]);
		put_batch(&bytes, 1, BEGIN_TICKS, "", 0);
		put_batch(&bytes, 1, BEGIN_TICKS + 1, "", 0);
		assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
		assert_int_equal(t.generations, 0);
		if (says)
			gd_buf_putc(&bytes, 52);
		size_t first = bytes.len;
		put_batch(&bytes, 2, BEGIN_TICKS + 2, "", 0);
		put_batch(&bytes, 2, BEGIN_TICKS + 3, "", 0);
		assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
		assert_int_equal(t.generations, first);
		assert_int_equal(t.generation, 2);
		assert_int_equal(t.whole, bytes.len);
	}
}

static void nonsense_ends_it(void **state)
{
	(void)state;
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(4096);
	struct gd_exectrace t;
	struct gd_error err = { 0 };
	put_head(&bytes, "1.22");
	put_batch(&bytes, 1, 5, "", 0);
	size_t good = bytes.len;
	gd_buf_append(&bytes, "\x01\x01\x01\x05\x81\x80\x04", 7); /* a batch larger than any */
	put_batch(&bytes, 1, 6, "", 0);
	assert_ok(gd_exectrace_read(bytes.data, bytes.len, &t, &err), &err);
	assert_int_equal(t.batches, 1);
	assert_int_equal(t.whole, good);
}

static void what_is_none_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *head;
		int code;
	} rows[] = {
		{ "go 1.22 trace\0\0\0", -EBADMSG }, /* no events */
		{ "go 1.5 trace\0\0\0\0", -ENOTSUP },
		{ "go 1.22 trace\0\0x", -EBADMSG },
		{ "go 1.x trace\0\0\0\0", -EBADMSG },
		{ "go 1.22 tracf\0\0\0", -EBADMSG },
		{ "go 2.22 trace\0\0\0", -EBADMSG },
		{ "<html>\r\n<head>\r\n", -EBADMSG },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gd_exectrace t;
		struct gd_error err = { 0 };
		assert_fails(gd_exectrace_read(rows[i].head, 16, &t, &err), rows[i].code, &err);
	}
	struct gd_exectrace t;
	struct gd_error err = { 0 };
	assert_fails(gd_exectrace_read("go 1.22", 7, &t, &err), -EBADMSG, &err);
	assert_fails(gd_exectrace_read(NULL, 0, &t, &err), -EBADMSG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_new_trace_counts_the_monotonic_clock),
		test_case(another_rate_is_another_clock),
		test_case(experimental_batches_are_passed_over),
		test_case(an_old_trace_counts_cycles),
		test_case(one_that_is_cut_off_is_read_up_to_there),
		test_case(whole_generations_are_known),
		test_case(nonsense_ends_it),
		test_case(what_is_none_is_refused),
	};
	return test_run(tests);
}
