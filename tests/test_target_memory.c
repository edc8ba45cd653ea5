#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "target/memory.h"

static void bytes_answer_only_inside_their_range(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_MEMORY struct gd_memory *m = NULL;
	char to[8] = "";
	assert_ok(gd_memory_bytes(0x1000, "abcdef", 6, &m, &err), &err);
	assert_string_equal(m->ops->kind, "bytes");
	assert_int_equal(gd_memory_read_some(m, 0x1000, to, 6), 6);
	assert_memory_equal(to, "abcdef", 6);
	assert_int_equal(gd_memory_read_some(m, 0x1004, to, 6), 2);
	assert_memory_equal(to, "ef", 2);
	assert_int_equal(gd_memory_read_some(m, 0xfff, to, 2), 0);
	assert_int_equal(gd_memory_read_some(m, 0x1006, to, 1), 0);
	assert_int_equal(gd_memory_read_some(m, UINT64_MAX, to, 8), 0);
}

static void a_short_read_is_efault_and_names_length_and_address(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_MEMORY struct gd_memory *m = NULL;
	char to[8];
	assert_ok(gd_memory_bytes(0x1000, "abcdef", 6, &m, &err), &err);
	assert_fails(gd_memory_read(m, 0x1000, to, 8, &err), -EFAULT, &err);
	assert_string_equal(err.msg, "read 8 bytes at 0x1000: only 6 are there");
	uint64_t untouched = 77;
	assert_fails(gd_memory_read_u64(m, 0x8, &untouched, &err), -EFAULT, &err);
	assert_int_equal(untouched, 77);
	assert_int_equal(gd_memory_read(m, 0x8, to, 8, NULL), -EFAULT);
}

static void numbers_are_little_endian_and_need_no_alignment(void **state)
{
	(void)state;
	static const unsigned char bytes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };
	GD_MEMORY struct gd_memory *m = NULL;
	uint64_t wide = 0;
	uint32_t narrow = 0;
	assert_ok(gd_memory_bytes(0x1000, bytes, sizeof(bytes), &m, NULL), NULL);
	assert_ok(gd_memory_read_u64(m, 0x1001, &wide, NULL), NULL);
	assert_ok(gd_memory_read_u32(m, 0x1003, &narrow, NULL), NULL);
	assert_int_equal(wide, 0x0807060504030201);
	assert_int_equal(narrow, 0x06050403);
}

static void reading_nothing_succeeds_anywhere(void **state)
{
	(void)state;
	GD_MEMORY struct gd_memory *m = NULL;
	char to;
	assert_ok(gd_memory_bytes(0x1000, "", 0, &m, NULL), NULL);
	assert_int_equal(gd_memory_read_some(m, 5, &to, 0), 0);
	assert_int_equal(gd_memory_read(m, 5, &to, 0, NULL), 0);
	assert_int_equal(m->stats.reads, 0);
}

static void bytes_that_would_wrap_around_are_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_memory *m = NULL;
	assert_fails(gd_memory_bytes(UINT64_MAX - 2, "abcdef", 6, &m, &err), -EINVAL, &err);
	assert_null(m);
}

static void reads_bytes_and_faults_are_counted(void **state)
{
	(void)state;
	GD_MEMORY struct gd_memory *m = NULL;
	char to[8];
	assert_ok(gd_memory_bytes(0x1000, "abcdef", 6, &m, NULL), NULL);
	(void)gd_memory_read(m, 0x1000, to, 6, NULL);
	(void)gd_memory_read(m, 0x1000, to, 8, NULL);
	(void)gd_memory_read(m, 0, to, 8, NULL);
	assert_int_equal(m->stats.reads, 3);
	assert_int_equal(m->stats.bytes, 12);
	assert_int_equal(m->stats.faults, 2);
}

/* A string header {data, len} at 0x1000, its bytes at 0x1010. */
static struct gd_memory *go_string(uint64_t data, uint64_t len)
{
	unsigned char bytes[21] = "";
	struct gd_memory *m = NULL;
	memcpy(bytes, &data, 8);
	memcpy(bytes + 8, &len, 8);
	memcpy(bytes + 16, "hello", 5);
	assert_ok(gd_memory_bytes(0x1000, bytes, sizeof(bytes), &m, NULL), NULL);
	return m;
}

static void a_go_string_is_copied_and_terminated(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_MEMORY struct gd_memory *m = go_string(0x1010, 5);
	char to[6];
	assert_int_equal(gd_memory_read_go_string(m, 0x1000, to, sizeof(to), &err), 5);
	assert_string_equal(to, "hello");
	assert_fails(gd_memory_read_go_string(m, 0x1000, to, 5, &err), -E2BIG, &err);
}

static void a_go_string_of_hostile_length_or_address_fails(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char to[6] = "keep";
	GD_MEMORY struct gd_memory *huge = go_string(0x1010, UINT64_MAX);
	assert_fails(gd_memory_read_go_string(huge, 0x1000, to, sizeof(to), &err), -E2BIG, &err);
	assert_string_equal(to, "keep");
	GD_MEMORY struct gd_memory *wild = go_string(0xdead0000, 5);
	assert_fails(gd_memory_read_go_string(wild, 0x1000, to, sizeof(to), &err), -EFAULT, &err);
	GD_MEMORY struct gd_memory *empty = go_string(0xdead0000, 0);
	assert_int_equal(gd_memory_read_go_string(empty, 0x1000, to, sizeof(to), &err), 0);
	assert_string_equal(to, "");
}

static int own_mem(void)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void a_live_read_stops_at_the_first_missing_page(void **state)
{
	(void)state;
	GD_CLOSE int fd = own_mem();
	GD_MEMORY struct gd_memory *m = NULL;
	struct gd_error err = { 0 };
	char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	memset(pages, 'x', 3 * 4096);
	assert_int_equal(munmap(pages + 2 * 4096, 4096), 0);
	assert_ok(gd_memory_live(fd, &m, &err), &err);

	static char to[3 * 4096];
	uint64_t at = (uint64_t)(uintptr_t)pages;
	assert_int_equal(gd_memory_read_some(m, at + 100, to, sizeof(to)), 2 * 4096 - 100);
	assert_int_equal(to[2 * 4096 - 101], 'x');
	assert_int_equal(gd_memory_read_some(m, at + 2 * 4096, to, 8), 0);
	assert_fails(gd_memory_read(m, at, to, sizeof(to), &err), -EFAULT, &err);
	assert_ok(gd_memory_read(m, at, to, 2 * 4096, &err), &err);
	(void)munmap(pages, 2 * 4096);
}

static void a_live_read_of_null_or_kernel_addresses_is_efault(void **state)
{
	(void)state;
	GD_CLOSE int fd = own_mem();
	GD_MEMORY struct gd_memory *m = NULL;
	static const uint64_t addrs[] = { 0, 8, 0x7fffffffffff, UINT64_C(0x8000000000000000),
		                          UINT64_C(0xffffffffff600000), UINT64_MAX };
	assert_ok(gd_memory_live(fd, &m, NULL), NULL);
	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		char to[16];
		struct gd_error err = { 0 };
		assert_fails(gd_memory_read(m, addrs[i], to, sizeof(to), &err), -EFAULT, &err);
	}
}

static void memory_of_an_exited_process_is_esrch(void **state)
{
	(void)state;
	static int known = 4711;
	struct gd_error err = { 0 };
	pid_t pid = fork();
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	GD_MEMORY struct gd_memory *m = NULL;
	assert_ok(gd_memory_live(fd, &m, &err), &err);
	uint32_t value = 0;
	assert_ok(gd_memory_read_u32(m, (uint64_t)(uintptr_t)&known, &value, &err), &err);
	assert_int_equal(value, 4711);

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_fails(gd_memory_read_u32(m, (uint64_t)(uintptr_t)&known, &value, &err), -ESRCH, &err);
	assert_string_equal(m->ops->kind, "live");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(bytes_answer_only_inside_their_range),
		test_case(a_short_read_is_efault_and_names_length_and_address),
		test_case(numbers_are_little_endian_and_need_no_alignment),
		test_case(reading_nothing_succeeds_anywhere),
		test_case(bytes_that_would_wrap_around_are_refused),
		test_case(reads_bytes_and_faults_are_counted),
		test_case(a_go_string_is_copied_and_terminated),
		test_case(a_go_string_of_hostile_length_or_address_fails),
		test_case(a_live_read_stops_at_the_first_missing_page),
		test_case(a_live_read_of_null_or_kernel_addresses_is_efault),
		test_case(memory_of_an_exited_process_is_esrch),
	};
	return test_run(tests);
}
