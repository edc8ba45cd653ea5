/*
 * Records as the kernel writes them, made by hand; and what it must not be believed.
 */
#include "collectors/perf_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { STACK = 64, WAKEUPS = 78 };

struct made {
	uint8_t bytes[4096];
	size_t n;
};

static void put(struct made *m, const void *bytes, size_t n)
{
	assert_true(m->n + n <= sizeof(m->bytes));
	memcpy(m->bytes + m->n, bytes, n);
	m->n += n;
}

static void put_u64(struct made *m, uint64_t value)
{
	put(m, &value, sizeof(value));
}

static void put_u32(struct made *m, uint32_t value)
{
	put(m, &value, sizeof(value));
}

static void begin(struct made *m, uint32_t type, uint16_t misc)
{
	const struct perf_event_header header = { .type = type, .misc = misc };
	m->n = 0;
	put(m, &header, sizeof(header));
}

/* The header's size, and a copy of exactly that size so that a sanitizer sees every step beyond. */
static int parse(struct made *m, uint32_t stack_bytes, struct gd_perf_record *ret)
{
	static uint8_t *exact;
	uint16_t size = (uint16_t)m->n;
	memcpy(m->bytes + offsetof(struct perf_event_header, size), &size, sizeof(size));
	free(exact);
	exact = malloc(m->n);
	assert_non_null(exact);
	memcpy(exact, m->bytes, m->n);
	struct gd_error err = { 0 };
	const struct gd_perf_layout layout = { .stack_bytes = stack_bytes, .wakeups_id = WAKEUPS };
	int r = gd_perf_record_parse(exact, m->n, &layout, ret, &err);
	assert_int_equal(r, err.code);
	if (r < 0) {
		free(exact);
		exact = NULL;
	}
	return r;
}

static void put_trailer(struct made *m)
{
	put_u32(m, 100);
	put_u32(m, 101);
	put_u64(m, 5000);
	put_u32(m, 3);
	put_u32(m, 0);
	put_u64(m, 77);
}

static void put_sample(struct made *m, uint16_t misc, uint64_t claimed_chain)
{
	static const uint64_t chain[] = { PERF_CONTEXT_KERNEL, 0xffffffff81000010,
		                          0xffffffff81000020, PERF_CONTEXT_USER, 0x401000, 0x401100 };
	begin(m, PERF_RECORD_SAMPLE, misc);
	put_u64(m, 77);
	put_u64(m, 0xffffffff81000010);
	put_u32(m, 100);
	put_u32(m, 101);
	put_u64(m, 5000);
	put_u32(m, 3);
	put_u32(m, 0);
	put_u64(m, claimed_chain);
	put(m, chain, sizeof(chain));
}

/* A fifth field in the place of a chain: raw data. */
static void put_wakeup(struct made *m, uint64_t id, uint32_t size, uint32_t tid)
{
	begin(m, PERF_RECORD_SAMPLE, PERF_RECORD_MISC_KERNEL);
	put_u64(m, id);
	put_u64(m, 0xffffffff81000010);
	put_u32(m, 100);
	put_u32(m, 101);
	put_u64(m, 5000);
	put_u32(m, 3);
	put_u32(m, 0);
	put_u32(m, size);
	put_u32(m, tid);
}

static void put_user(struct made *m, uint64_t abi, uint64_t size, uint64_t good)
{
	uint8_t stack[STACK] = { 0xaa };
	put_u64(m, abi);
	for (uint64_t i = 0; abi != 0 && i < GD_PERF_N_REGS; i++)
		put_u64(m, 0x1000 + i);
	put_u64(m, size);
	if (size == 0)
		return;
	put(m, stack, sizeof(stack));
	put_u64(m, good);
}

static void a_sample_has_all_its_parts(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	uint64_t ips[8];
	put_sample(&m, PERF_RECORD_MISC_KERNEL, 6);
	put_user(&m, PERF_SAMPLE_REGS_ABI_64, STACK, 40);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_int_equal(r.kind, GD_PERF_SAMPLE);
	assert_true(r.in_kernel);
	assert_int_equal(r.pid, 100);
	assert_int_equal(r.tid, 101);
	assert_int_equal(r.time_ns, 5000);
	assert_int_equal(r.cpu, 3);
	assert_int_equal(r.id, 77);
	assert_int_equal(gd_perf_record_reg(&r, GD_PERF_SP), 0x1000 + GD_PERF_SP);
	assert_int_equal(gd_perf_record_reg(&r, GD_PERF_G), 0x1000 + GD_PERF_G);
	assert_int_equal(r.stack_len, 40);
	assert_int_equal(r.stack[0], 0xaa);
	assert_int_equal(gd_perf_record_chain(&r, GD_PERF_KERNEL_HALF, ips, 8), 2);
	assert_int_equal(ips[0], 0xffffffff81000010);
	assert_int_equal(gd_perf_record_chain(&r, GD_PERF_USER_HALF, ips, 8), 2);
	assert_int_equal(ips[1], 0x401100);
	assert_int_equal(gd_perf_record_chain(&r, GD_PERF_USER_HALF, ips, 1), 1);
}

static void what_is_left_of_a_thread_without_user_mode(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	put_sample(&m, PERF_RECORD_MISC_KERNEL, 6);
	put_user(&m, PERF_SAMPLE_REGS_ABI_NONE, 0, 0);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_null(r.regs);
	assert_null(r.stack);
	assert_int_equal(gd_perf_record_reg(&r, GD_PERF_SP), 0);
}

static void registers_of_a_32_bit_program_are_none(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	put_sample(&m, PERF_RECORD_MISC_USER, 6);
	put_user(&m, PERF_SAMPLE_REGS_ABI_32, STACK, STACK);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_null(r.regs);
}

static void more_good_bytes_than_there_are_is_all_of_them(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	put_sample(&m, PERF_RECORD_MISC_USER, 6);
	put_user(&m, PERF_SAMPLE_REGS_ABI_64, STACK, UINT64_MAX);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_int_equal(r.stack_len, STACK);
}

static void lengths_beyond_the_record_make_no_sense(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r = { .pid = 7 };
	static const uint64_t lengths[] = { 7, 1000, UINT64_C(1) << 61, UINT64_MAX - STACK };
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		put_sample(&m, 0, lengths[i]);
		assert_int_equal(parse(&m, 0, &r), -EBADMSG);
		put_sample(&m, 0, 6);
		put_user(&m, PERF_SAMPLE_REGS_ABI_64, STACK + lengths[i], STACK);
		assert_int_equal(parse(&m, 8192, &r), -EBADMSG);
	}
	/* every cut */
	put_sample(&m, 0, 6);
	put_user(&m, PERF_SAMPLE_REGS_ABI_64, STACK, STACK);
	for (size_t whole = m.n; m.n > 0; m.n--) {
		if (m.n == whole)
			continue;
		assert_int_equal(parse(&m, 8192, &r), -EBADMSG);
	}
	assert_int_equal(r.pid, 7);
}

static void lost_records_are_counted_by_the_kernel(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	begin(&m, PERF_RECORD_LOST, 0);
	put_u64(&m, 77);
	put_u64(&m, 12);
	put_trailer(&m);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_int_equal(r.kind, GD_PERF_LOST);
	assert_int_equal(r.lost, 12);
	assert_int_equal(r.id, 77);
	begin(&m, PERF_RECORD_LOST_SAMPLES, 0);
	put_u64(&m, 13);
	put_trailer(&m);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_int_equal(r.lost, 13);
	begin(&m, PERF_RECORD_LOST, 0);
	put_u64(&m, 77);
	assert_int_equal(parse(&m, 8192, &r), -EBADMSG);
}

static void an_exec_is_told_from_a_new_name(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	for (int exec = 0; exec < 2; exec++) {
		begin(&m, PERF_RECORD_COMM, exec ? PERF_RECORD_MISC_COMM_EXEC : 0);
		put_u32(&m, 100);
		put_u32(&m, 100);
		put(&m, "name\0\0\0", 8);
		put_trailer(&m);
		assert_int_equal(parse(&m, 8192, &r), 0);
		assert_int_equal(r.kind, exec ? GD_PERF_EXEC : GD_PERF_OTHER);
		assert_int_equal(r.pid, 100);
		assert_int_equal(r.time_ns, 5000);
	}
}

static void switches_say_which_way(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	begin(&m, PERF_RECORD_SWITCH_CPU_WIDE,
	      PERF_RECORD_MISC_SWITCH_OUT | PERF_RECORD_MISC_SWITCH_OUT_PREEMPT);
	put_u32(&m, 1);
	put_u32(&m, 2);
	put_trailer(&m);
	assert_int_equal(parse(&m, 0, &r), 0);
	assert_true(r.out && r.preempted);
	assert_int_equal(r.tid, 101);
	begin(&m, PERF_RECORD_SWITCH, 0);
	put_trailer(&m);
	assert_int_equal(parse(&m, 0, &r), 0);
	assert_false(r.out || r.preempted);
}

static void a_wakeup_is_of_who_is_woken(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	put_wakeup(&m, WAKEUPS, 4, 222);
	assert_int_equal(parse(&m, 1024, &r), 0);
	assert_int_equal(r.kind, GD_PERF_WAKEUP);
	assert_int_equal(r.woken, 222);
	assert_int_equal(r.tid, 101); /* the waker's */
	assert_int_equal(r.time_ns, 5000);
	assert_int_equal(r.id, WAKEUPS);
	/* The kernel may pad more than is needed; less than a tid is none, and nobody has the number 0. */
	put_wakeup(&m, WAKEUPS, 12, 222);
	put_u64(&m, 0);
	assert_int_equal(parse(&m, 1024, &r), 0);
	assert_int_equal(r.woken, 222);
	put_wakeup(&m, WAKEUPS, 3, 222);
	assert_int_equal(parse(&m, 1024, &r), -EBADMSG);
	put_wakeup(&m, WAKEUPS, 4, 0);
	assert_int_equal(parse(&m, 1024, &r), -EBADMSG);
	put_wakeup(&m, WAKEUPS, 4, 222);
	for (m.n--; m.n > 0; m.n--)
		assert_int_equal(parse(&m, 1024, &r), -EBADMSG);
	/* Of another event these are the length of a chain that is not there. */
	put_wakeup(&m, 77, 4, 222);
	assert_int_equal(parse(&m, 0, &r), -EBADMSG);
}

static void what_is_not_known_is_passed_over(void **state)
{
	(void)state;
	struct made m;
	struct gd_perf_record r;
	begin(&m, 9999, 0);
	assert_int_equal(parse(&m, 8192, &r), 0);
	assert_int_equal(r.kind, GD_PERF_OTHER);
	m.n = 4;
	assert_int_equal(parse(&m, 8192, &r), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_sample_has_all_its_parts),
		test_case(what_is_left_of_a_thread_without_user_mode),
		test_case(registers_of_a_32_bit_program_are_none),
		test_case(more_good_bytes_than_there_are_is_all_of_them),
		test_case(lengths_beyond_the_record_make_no_sense),
		test_case(lost_records_are_counted_by_the_kernel),
		test_case(an_exec_is_told_from_a_new_name),
		test_case(switches_say_which_way),
		test_case(a_wakeup_is_of_who_is_woken),
		test_case(what_is_not_known_is_passed_over),
	};
	return test_run(tests);
}
