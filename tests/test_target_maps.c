#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "target/maps.h"

static void parse(const char *text, struct gd_maps *maps)
{
	struct gd_error err = { 0 };
	assert_ok(gd_maps_parse(text, strlen(text), maps, &err), &err);
}

static const char ordinary[] =
	"00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/dbus-daemon\n"
	"00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
	"35b1800000-35b1820000 r--s 00000000 103:0a 4294967297                   /lib/ld-2.15.so\n"
	"7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

static void every_field_of_a_line_is_kept(void **state)
{
	(void)state;
	GD_MAPS struct gd_maps maps = { 0 };
	parse(ordinary, &maps);
	assert_int_equal(maps.n, 5);
	const struct gd_map *m = maps.list;
	assert_int_equal(m[0].start, 0x400000);
	assert_int_equal(m[0].end, 0x452000);
	assert_int_equal(m[0].offset, 0x1000);
	assert_int_equal(m[0].dev_major, 8);
	assert_int_equal(m[0].dev_minor, 2);
	assert_int_equal(m[0].inode, 173521);
	assert_true(m[0].read && !m[0].write && m[0].exec && !m[0].shared);
	assert_string_equal(m[0].path, "/usr/bin/dbus-daemon");
	assert_string_equal(m[1].path, "[heap]");
	assert_true(m[1].write);
	assert_true(m[2].shared);
	assert_int_equal(m[2].dev_major, 0x103);
	assert_int_equal(m[2].inode, UINT64_C(4294967297));
	assert_string_equal(m[3].path, "");
	assert_false(m[3].read || m[3].write || m[3].exec);
	assert_int_equal(m[4].start, UINT64_C(0xffffffffff600000));
}

static void the_mapping_of_an_address_is_found(void **state)
{
	(void)state;
	GD_MAPS struct gd_maps maps = { 0 };
	parse(ordinary, &maps);
	assert_null(gd_maps_find(&maps, 0));
	assert_null(gd_maps_find(&maps, 0x3fffff));
	assert_ptr_equal(gd_maps_find(&maps, 0x400000), &maps.list[0]);
	assert_ptr_equal(gd_maps_find(&maps, 0x451fff), &maps.list[0]);
	assert_null(gd_maps_find(&maps, 0x452000));
	assert_ptr_equal(gd_maps_find(&maps, 0xe03000), &maps.list[1]);
	assert_ptr_equal(gd_maps_find(&maps, UINT64_C(0xffffffffff600fff)), &maps.list[4]);
	assert_null(gd_maps_find(&maps, UINT64_MAX));
	struct gd_maps none = { 0 };
	assert_null(gd_maps_find(&none, 0));
}

static void deleted_and_escaped_paths_are_undone(void **state)
{
	(void)state;
	GD_MAPS struct gd_maps maps = { 0 };
	parse("1000-2000 r--p 00000000 00:01 7   /a b\\012c (deleted)\n"
	      "2000-3000 r--p 00000000 00:01 8   /back\\slash\\01 \n"
	      "3000-4000 r--p 00000000 00:01 8   (deleted)\n"
	      "4000-5000 r--p 00000000 00:01 8    (deleted)", &maps);
	assert_string_equal(maps.list[0].path, "/a b\nc");
	assert_true(maps.list[0].deleted);
	assert_string_equal(maps.list[1].path, "/back\\slash\\01 ");
	assert_false(maps.list[1].deleted);
	assert_string_equal(maps.list[3].path, "(deleted)");
}

static void no_text_is_no_mappings(void **state)
{
	(void)state;
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(NULL, 0, &maps, NULL), NULL);
	assert_int_equal(maps.n, 0);
}

static void nonsense_names_its_line_and_leaves_the_result_alone(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"\n",
		"1000\n",
		"1000-2000\n",
		"1000-2000 r--p\n",
		"1000-2000 r--p 0 0:0\n",
		"1000-2000 r--p 0 00 0\n",
		"1000-2000 rw?p 0 0:0 0\n",
		"1000-2000 rwxq 0 0:0 0\n",
		"2000-1000 r--p 0 0:0 0\n",
		"1000-1000 r--p 0 0:0 0\n",
		"10000000000000000-20000000000000000 r--p 0 0:0 0\n",
		"1000-2000 r--p 0 0:0 99999999999999999999999\n",
		"-2000 r--p 0 0:0 0\n",
		"x000-2000 r--p 0 0:0 0\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		struct gd_maps maps = { .n = 99 };
		struct gd_error err = { 0 };
		int n = snprintf(text, sizeof(text), "10-20 r--p 0 0:0 0\n%s", bad[i]);
		assert_fails(gd_maps_parse(text, (size_t)n, &maps, &err), -EBADMSG, &err);
		assert_contains(err.msg, "line 2");
		assert_int_equal(maps.n, 99);
	}
}

static void mappings_out_of_order_are_refused(void **state)
{
	(void)state;
	struct gd_maps maps;
	struct gd_error err = { 0 };
	static const char text[] = "1000-3000 r--p 0 0:0 0\n2000-3000 r--p 0 0:0 0\n";
	assert_fails(gd_maps_parse(text, strlen(text), &maps, &err), -EBADMSG, &err);
}

static void a_mapping_that_grew_while_it_was_listed_counts_once(void **state)
{
	(void)state;
	GD_MAPS struct gd_maps maps = { 0 };
	parse("1000-3000 rw-p 00000000 00:00 0\n"
	      "1000-8000 rw-p 00000000 00:00 0\n"
	      "9000-a000 r--p 00002000 08:02 7  /a\n"
	      "9000-c000 r--p 00002000 08:02 7  /a\n", &maps);
	assert_int_equal(maps.n, 4);
	assert_int_equal(maps.list[1].start, 0x3000);
	assert_int_equal(maps.list[1].end, 0x8000);
	assert_int_equal(maps.list[1].offset, 0);
	assert_int_equal(maps.list[3].start, 0xa000);
	assert_int_equal(maps.list[3].offset, 0x3000);
}

static void *grow_and_shrink(void *arg)
{
	enum { STEP = 1 << 20, STEPS = 64 };
	const bool *stop = arg;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		char *p = mmap(NULL, STEP * STEPS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (size_t i = 0; i < STEPS && p != MAP_FAILED; i++)
			(void)mprotect(p + i * STEP, STEP, PROT_READ | PROT_WRITE);
		if (p != MAP_FAILED)
			(void)munmap(p, STEP * STEPS);
	}
	return NULL;
}

/* As a Go heap grows.  Of 20,000 readings here 238 had lines that overlap. */
static void a_process_that_maps_all_the_time_has_readable_maps(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	pthread_t thread;
	bool stop = false;
	int r = 0;
	assert_int_equal(pthread_create(&thread, NULL, grow_and_shrink, &stop), 0);
	for (unsigned i = 0; i < 2000 && r == 0; i++) {
		GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
		GD_MAPS struct gd_maps maps = { 0 };
		r = gd_io_read_file_at(-1, "/proc/self/maps", &text, &err) < 0
		            ? err.code
		            : gd_maps_parse(text.data, text.len, &maps, &err);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	(void)pthread_join(thread, NULL);
	assert_ok(r, &err);
}

static void more_mappings_than_the_cap_are_refused_without_memory(void **state)
{
	(void)state;
	size_t n = GD_MAPS_MAX + 1;
	char *text = malloc(n);
	struct gd_maps maps;
	struct gd_error err = { 0 };
	assert_non_null(text);
	memset(text, '\n', n);
	int r = gd_maps_parse(text, n, &maps, &err);
	free(text);
	assert_fails(r, -E2BIG, &err);
}

static void our_own_maps_hold_what_we_mapped(void **state)
{
	(void)state;
	static const int value = 1;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	GD_MAPS struct gd_maps maps = { 0 };
	struct gd_error err = { 0 };
	void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ok(gd_io_read_file_at(-1, "/proc/self/maps", &text, &err), &err);
	assert_ok(gd_maps_parse(text.data, text.len, &maps, &err), &err);
	const struct gd_map *mine = gd_maps_find(&maps, (uint64_t)(uintptr_t)page);
	assert_non_null(mine);
	assert_true(mine->shared && mine->read && !mine->write);
	assert_string_equal(mine->path, "/dev/zero");
	assert_true(mine->deleted);
	const struct gd_map *code = gd_maps_find(&maps, (uint64_t)(uintptr_t)&value);
	assert_non_null(code);
	assert_contains(code->path, "test_target_maps");
	(void)munmap(page, 4096);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_field_of_a_line_is_kept),
		test_case(the_mapping_of_an_address_is_found),
		test_case(deleted_and_escaped_paths_are_undone),
		test_case(no_text_is_no_mappings),
		test_case(nonsense_names_its_line_and_leaves_the_result_alone),
		test_case(mappings_out_of_order_are_refused),
		test_case(a_mapping_that_grew_while_it_was_listed_counts_once),
		test_case(a_process_that_maps_all_the_time_has_readable_maps),
		test_case(more_mappings_than_the_cap_are_refused_without_memory),
		test_case(our_own_maps_hold_what_we_mapped),
	};
	return test_run(tests);
}
