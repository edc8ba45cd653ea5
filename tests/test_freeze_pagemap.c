#include "tests/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/pagemap.h"
#include "freeze/precopy.h"
#include "freeze/wanted.h"

#define PAGE ((uint64_t)4096)
#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define FILE_PAGE (UINT64_C(1) << 61)
#define DIRTY (UINT64_C(1) << 55)
#define PROTECTED (UINT64_C(1) << 57)

static void entries_become_regions_of_pages_alike(void **state)
{
	(void)state;
	const uint64_t entries[] = {
		0, PRESENT, PRESENT | DIRTY, PRESENT | DIRTY, SWAPPED | DIRTY, PRESENT | FILE_PAGE,
		SWAPPED, 0, PRESENT,
	};
	struct gd_pagemap_region r[8];
	size_t used;
	size_t n = gd_pagemap_parse(entries, 9, 0x10000, GD_PAGEMAP_OWN, GD_PAGE_SOFT_DIRTY, r, 8,
	                            &used);
	assert_int_equal(n, 5);
	assert_int_equal(used, 9);
	assert_int_equal(r[0].start, 0x11000);
	assert_int_equal(r[0].end, 0x12000);
	assert_int_equal(r[0].categories, GD_PAGE_PRESENT);
	assert_int_equal(r[1].end - r[1].start, 2 * PAGE);
	assert_int_equal(r[1].categories, GD_PAGE_PRESENT | GD_PAGE_SOFT_DIRTY);
	assert_int_equal(r[2].categories, GD_PAGE_SOFT_DIRTY);
	assert_int_equal(r[3].start, 0x16000);
	assert_int_equal(r[4].start, 0x18000);
	/* Not asked for dirt, they are not told apart by it; asked for all, a file's count as well. */
	n = gd_pagemap_parse(entries + 1, 5, 0, GD_PAGEMAP_ANY, 0, r, 8, &used);
	assert_int_equal(n, 3);
	assert_int_equal(r[0].end, 3 * PAGE);
}

static void parsing_stops_where_there_is_no_more_room(void **state)
{
	(void)state;
	const uint64_t entries[] = { PRESENT, 0, PRESENT | PROTECTED, 0, PRESENT };
	struct gd_pagemap_region r[2];
	size_t used;
	assert_int_equal(gd_pagemap_parse(entries, 5, 0, GD_PAGEMAP_OWN, GD_PAGE_WRITTEN, r, 2,
	                                  &used), 2);
	assert_int_equal(used, 4);
	assert_int_equal(r[0].categories, GD_PAGE_PRESENT | GD_PAGE_WRITTEN);
	assert_int_equal(r[1].categories, GD_PAGE_PRESENT);
}

static void both_ways_find_the_same_pages(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_CLOSE int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	struct gd_pagemap scan = gd_pagemap_of(fd);
	struct gd_pagemap entries = { .fd = fd, .scan = false };
	if (!scan.scan) {
		(void)close(gd_steal_fd(&fd)); /* a skip jumps over its guard */
		test_skip("this kernel has no PAGEMAP_SCAN");
	}
	uint8_t *p = mmap(NULL, 2000 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	                  0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(madvise(p, 2000 * PAGE, MADV_NOHUGEPAGE), 0);
	for (size_t i = 0; i < 2000; i += i % 3 + 1)
		p[i * PAGE] = 1;
	uint64_t at = (uint64_t)(uintptr_t)p;
	struct gd_pagemap_span span = { at, at + 2000 * PAGE, true, false };
	static struct gd_pagemap_region a[2000], b[2000];
	uint64_t walked;
	ssize_t n = gd_pagemap_read(&scan, GD_PAGEMAP_OWN, 0, &span, a, 2000, &walked, &err);
	assert_ok(n, &err);
	assert_int_equal(walked, span.end);
	assert_int_equal(gd_pagemap_read(&entries, GD_PAGEMAP_OWN, 0, &span, b, 2000, &walked, &err),
	                 n);
	assert_memory_equal(a, b, (size_t)n * sizeof(*a));
	/* Not all at once. */
	n = gd_pagemap_read(&scan, GD_PAGEMAP_OWN, 0, &span, b, 10, &walked, &err);
	assert_int_equal(n, 10);
	assert_true(walked >= b[9].end && walked <= a[10].start);
	(void)munmap(p, 2000 * PAGE);
}

static const char text[] =
	"00400000-00500000 r-xp 00000000 08:01 5    /bin/x\n"
	"00500000-00600000 rw-p 00100000 08:01 5    /bin/x\n"
	"00700000-00800000 rw-p 00000000 00:00 0    [heap]\n"
	"00800000-00900000 rw-p 00000000 00:00 0 \n"
	"00a00000-00b00000 ---p 00000000 00:00 0 \n"
	"00b00000-00c00000 rw-s 00000000 00:01 9    /dev/zero (deleted)\n"
	"00c00000-00d00000 r--p 00000000 00:00 0    [vvar]\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n";

static void mappings_alike_are_asked_about_together(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(text, sizeof(text) - 1, &maps, &err), &err);
	for (int scan = 0; scan < 2; scan++) {
		struct gd_pagemap pagemap = { .fd = -1, .scan = scan };
		const char *p = text;
		size_t i = 0;
		unsigned n = 0;
		struct gd_pagemap_span of_text;
		while (gd_pagemap_next_span_of_text(&pagemap, &p, text + sizeof(text) - 1, NULL,
		                                    NULL, &of_text)) {
			struct gd_pagemap_span span = gd_pagemap_next_span(&pagemap, &maps, &i);
			assert_int_equal(span.start, of_text.start);
			assert_int_equal(span.end, of_text.end);
			assert_int_equal(span.anonymous, of_text.anonymous);
			n++;
		}
		assert_int_equal(n, scan ? 3 : 4);
	}
}

static void what_is_never_read_is_known_by_name(void **state)
{
	(void)state;
	const struct { const char *path; bool shared, of_file, deleted; int kind; } maps[] = {
		{ "", false, false, false, GD_WANTED_OWN },
		{ "[stack]", false, false, false, GD_WANTED_OWN },
		{ "[vvar]", false, false, false, GD_WANTED_NEVER },
		{ "[vsyscall]", false, false, false, GD_WANTED_NEVER },
		{ "[vdso]", false, false, false, GD_WANTED_SHARED },
		{ "/dev/mem", true, true, false, GD_WANTED_NEVER },
		{ "/dev/dri/card0", true, true, false, GD_WANTED_NEVER },
		{ "/dev/zero", true, true, true, GD_WANTED_SHARED },
		{ "/dev/shm/x", true, true, false, GD_WANTED_SHARED },
		{ "/memfd:x", true, true, true, GD_WANTED_SHARED },
		{ "/memfd:x", false, true, true, GD_WANTED_OWN },
		{ "/var/lib/db", true, true, false, GD_WANTED_FILE },
		{ "/var/lib/db", true, true, true, GD_WANTED_SHARED },
		{ "anon_inode:[perf_event]", true, true, false, GD_WANTED_NEVER },
	};
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		assert_int_equal(gd_wanted_kind_of(maps[i].path, strlen(maps[i].path),
		                                   maps[i].shared, maps[i].of_file,
		                                   maps[i].deleted), maps[i].kind);
}

static void rounds_end_when_they_no_longer_help(void **state)
{
	(void)state;
	assert_true(gd_precopy_goes_on(1, 12, 1 << 30, 0));
	assert_true(gd_precopy_goes_on(2, 12, 100 << 20, 1 << 30));
	assert_false(gd_precopy_goes_on(3, 12, 90 << 20, 100 << 20));
	assert_false(gd_precopy_goes_on(2, 12, 1000, 1 << 30));
	assert_false(gd_precopy_goes_on(12, 12, 50 << 20, 100 << 20));
	assert_false(gd_precopy_goes_on(1, 1, 1 << 30, 0));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(entries_become_regions_of_pages_alike),
		test_case(parsing_stops_where_there_is_no_more_room),
		test_case(both_ways_find_the_same_pages),
		test_case(mappings_alike_are_asked_about_together),
		test_case(what_is_never_read_is_known_by_name),
		test_case(rounds_end_when_they_no_longer_help),
	};
	return test_run(tests);
}
