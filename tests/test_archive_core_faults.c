/*
 * Cores with the n-th allocation or file call failing: what comes out is whole, or it is said.
 */
#include "tests/cores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/fault.h"

#define MIB UINT64_C(0x100000)
#define HEAP UINT64_C(0xc000000000)
enum { N = 3 };

static const struct gd_core_area areas[] = {
	{ .start = 0x400000, .end = 0x402000, .read = true, .exec = true,
	  .missing = GD_CORE_OF_FILE, .path = "/srv/checkout" },
	{ .start = HEAP, .end = HEAP + 4 * MIB, .read = true, .write = true, .path = "" },
};

static void make_two(struct core_chunk chunks[N])
{
	static const char exe[6000] = "exe";
	for (unsigned i = 0; i < N; i++) {
		chunks[i] = core_chunk(HEAP + i * MIB, i + 1);
		core_keep(&chunks[i], 0, 256);
	}
	struct core_made made = { .areas = areas, .n_areas = 2, .chunks = chunks, .n_chunks = N,
		                  .per_pack = 2, .exe_path = "/srv/checkout", .exe = exe,
		                  .n_exe = sizeof(exe) };
	struct gd_core_base *base = core_base(core_make("first.tar", &made).path);
	chunks[1].bytes[77] ^= 1;
	made.base = base;
	(void)core_make("second.tar", &made);
	gd_core_base_close(base);
}

static int extract(const char *one, const char *two, int fd, struct gd_core_elf_result *result,
                   struct gd_error *err)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_core_base *base = NULL;
	int base_fd = open(one, O_RDONLY | O_CLOEXEC);
	int r = base_fd < 0 ? -errno : gd_core_base_open(base_fd, &base, err);
	if (r == 0)
		r = gd_reader_open(two, &reader, err);
	if (r == 0)
		r = gd_core_elf_write(&reader, base, fd, NULL, NULL, result, err);
	gd_core_base_close(base);
	return r;
}

static void fail_each(unsigned calls, int error)
{
	struct core_chunk chunks[N];
	unsigned failed = 0;
	char one[4096];
	char two[4096];
	make_two(chunks);
	(void)snprintf(one, sizeof(one), "%s", test_path("first.tar"));
	(void)snprintf(two, sizeof(two), "%s", test_path("second.tar"));
	for (unsigned n = 1;; n++) {
		struct gd_core_elf_result result = { 0 };
		struct gd_error err = { 0 };
		GD_CLOSE int fd = open(test_path("core"), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC,
		                       0600);
		assert_true(fd >= 0);
		fault_arm(calls, n, error);
		int r = extract(one, two, fd, &result, &err);
		bool hit = fault_disarm();
		if (r < 0 && (err.code != r || err.msg[0] == '\0'))
			fail_msg("call %u: %d without a word", n, r);
		failed += r < 0;
		for (unsigned i = 0; r == 0 && result.problems == 0 && i < N; i++) {
			uint8_t page[4096];
			assert_true(core_peek(test_path("core"), HEAP + i * MIB, page));
			assert_memory_equal(page, chunks[i].bytes, 4096);
		}
		if (!hit) {
			assert_ok(r, &err);
			assert_int_equal(result.problems, 0);
			break;
		}
	}
	assert_true(failed > 0);
	core_free(chunks, N);
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	fail_each(FAULT_MEMORY, ENOMEM);
}

static void any_read_may_fail(void **state)
{
	(void)state;
	fail_each(FAULT_READ | FAULT_PREAD | FAULT_NAMES, EIO);
}

static void packs_bear_failing_allocations(void **state)
{
	(void)state;
	struct core_chunk chunk = core_chunk(HEAP, 1);
	for (unsigned n = 1;; n++) {
		struct gd_pack_writer *writer = NULL;
		struct gd_packed_chunk packed;
		struct gd_error err = { 0 };
		fault_arm(FAULT_MEMORY, n, ENOMEM);
		int r = gd_pack_writer_create(&writer, &err);
		if (r == 0)
			r = gd_pack_add(writer, chunk.bytes, chunk.bytes, &packed, &err);
		gd_pack_writer_destroy(writer);
		if (!fault_disarm()) {
			assert_ok(r, &err);
			break;
		}
		assert_fails(r, -ENOMEM, &err);
	}
	core_free(&chunk, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(any_allocation_may_fail),
		test_case(any_read_may_fail),
		test_case(packs_bear_failing_allocations),
	};
	return test_run(tests);
}
