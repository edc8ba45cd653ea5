#include "golang/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

/* ---- which mappings ------------------------------------------------------------------------- */

struct seen {
	char text[512]; /* "1000+2000 " for each piece */
	int end_with;
};

static int note(uint64_t addr, const uint8_t *bytes, size_t n, void *arg)
{
	struct seen *seen = arg;
	size_t used = strlen(seen->text);
	(void)bytes;
	(void)snprintf(seen->text + used, sizeof(seen->text) - used, "%llx+%zx ",
	               (unsigned long long)addr, n);
	return seen->end_with;
}

/* A memory of zeroes everywhere, but for one hole. */
struct zeroes {
	struct gd_memory memory;
	uint64_t hole_start, hole_end;
	uint64_t gone_from;
};

static ssize_t zeroes_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	const struct zeroes *z = (const struct zeroes *)memory;
	if (z->gone_from != 0 && addr >= z->gone_from)
		return -ESRCH;
	if (addr >= z->hole_start && addr < z->hole_end)
		return 0;
	if (addr < z->hole_start && addr + len > z->hole_start)
		len = (size_t)(z->hole_start - addr);
	memset(to, 0, len);
	return (ssize_t)len;
}

static const struct gd_memory_ops zeroes_ops = { .kind = "zeroes", .read = zeroes_read };

static int scan_in(struct zeroes *zeroes, const char *text, enum gd_program_data what,
                   size_t overlap, struct seen *seen, struct gd_error *err)
{
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(text, strlen(text), &maps, err), err);
	zeroes->memory.ops = &zeroes_ops;
	return gd_program_scan(&zeroes->memory, &maps, what, overlap, note, seen, err);
}

static void assert_scans(const char *text, enum gd_program_data what, const char *pieces)
{
	struct gd_error err = { 0 };
	struct zeroes zeroes = { 0 };
	struct seen seen = { 0 };
	assert_int_equal(scan_in(&zeroes, text, what, 0, &seen, &err), 0);
	assert_string_equal(seen.text, pieces);
}

static const char ordinary[] =
	"400000-401000 r-xp 00000000 fe:00 11 /bin/x\n"
	"401000-402000 r--p 00001000 fe:00 11 /bin/x\n"
	"402000-404000 rw-p 00002000 fe:00 11 /bin/x\n"
	"404000-409000 rw-p 00000000 00:00 0\n"
	"500000-501000 rw-p 00000000 00:00 0 [heap]\n"
	"600000-601000 rw-p 00000000 fe:00 12 /var/data\n"
	"700000-701000 r-xp 00000000 fe:00 13 /lib/y.so (deleted)\n"
	"701000-702000 rw-s 00001000 fe:00 13 /lib/y.so (deleted)\n"
	"702000-703000 rw-p 00001000 fe:00 13 /lib/y.so (deleted)\n"
	"800000-801000 rw-p 00001000 fe:01 13 /other/disk\n"
	"900000-901000 rw-p 00000000 00:00 0\n"
	"901000-902000 r-xp 00000000 00:00 0 [vdso]\n"
	"902000-903000 rw-p 00000000 00:00 0\n";

static void data_belongs_to_a_file_with_code(void **state)
{
	(void)state;
	assert_scans(ordinary, GD_PROGRAM_FILES, "402000+2000 702000+1000 ");
	assert_scans("", GD_PROGRAM_FILES, "");
}

static void unpacked_data_is_behind_code_without_a_file(void **state)
{
	(void)state;
	assert_scans(ordinary, GD_PROGRAM_UNPACKED, "");
	assert_scans("400000-401000 r-xp 00000000 00:00 0\n"
	             "401000-402000 r--p 00000000 00:00 0\n"
	             "402000-403000 rw-p 00000000 00:00 0\n"
	             "403000-404000 ---p 00000000 00:00 0\n"
	             "500000-501000 rw-p 00000000 00:00 0 [heap]\n"
	             "600000-601000 rw-p 00000000 00:00 0\n",
	             GD_PROGRAM_UNPACKED, "402000+1000 ");
}

/* ---- pieces --------------------------------------------------------------------------------- */

static const char large[] = "400000-401000 r-xp 00000000 fe:00 11 /bin/x\n"
			    "500000-700800 rw-p 00002000 fe:00 11 /bin/x\n";

static void pieces_overlap(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct zeroes zeroes = { 0 };
	struct seen seen = { 0 };
	assert_int_equal(scan_in(&zeroes, large, GD_PROGRAM_FILES, 0x100, &seen, &err), 0);
	assert_string_equal(seen.text, "500000+100000 5fff00+100000 6ffe00+a00 ");
}

static void a_page_that_cannot_be_read_is_left_out(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct zeroes zeroes = { .hole_start = 0x501000, .hole_end = 0x503000 };
	struct seen seen = { 0 };
	assert_int_equal(scan_in(&zeroes, large, GD_PROGRAM_FILES, 0x100, &seen, &err), 0);
	assert_string_equal(seen.text, "500000+1000 503000+100000 602f00+fd900 ");
}

static void the_callback_and_the_targets_end_stop_it(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct zeroes zeroes = { 0 };
	struct seen seen = { .end_with = 7 };
	assert_int_equal(scan_in(&zeroes, ordinary, GD_PROGRAM_FILES, 0, &seen, &err), 7);
	assert_string_equal(seen.text, "402000+2000 ");
	zeroes.gone_from = 0x700000;
	seen = (struct seen){ 0 };
	assert_fails(scan_in(&zeroes, ordinary, GD_PROGRAM_FILES, 0, &seen, &err), -ESRCH, &err);
	assert_string_equal(seen.text, "402000+2000 ");
}

/* A file of a terabyte mapped copy-on-write, a virtual machine's heap behind its code. */
static void no_mapping_is_read_without_limit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum gd_program_data what;
		uint64_t max_bytes;
	} cases[] = {
		{ "400000-401000 r-xp 00000000 fe:00 11 /x\n"
		  "10000000000-20000000000 rw-p 00000000 fe:00 11 /x\n",
		  GD_PROGRAM_FILES, 64 << 20 },
		{ "400000-401000 r-xp 00000000 00:00 0\n"
		  "10000000000-20000000000 rw-p 00000000 00:00 0\n"
		  "30000000000-40000000000 rw-p 00000000 00:00 0\n",
		  GD_PROGRAM_UNPACKED, 32 << 20 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct gd_error err = { 0 };
		struct zeroes zeroes = { 0 };
		struct seen seen = { 0 };
		assert_int_equal(scan_in(&zeroes, cases[i].text, cases[i].what, 0, &seen, &err), 0);
		assert_int_equal(zeroes.memory.stats.bytes, cases[i].max_bytes);
	}
}

static void mappings_without_a_hole_between_them_are_one(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(ordinary, strlen(ordinary), &maps, &err), &err);
	assert_int_equal(gd_program_mapped_until(&maps, 0x400800), 0x409000);
	assert_int_equal(gd_program_mapped_until(&maps, 0x500000), 0x501000);
	assert_int_equal(gd_program_mapped_until(&maps, 0x902fff), 0x903000);
	assert_int_equal(gd_program_mapped_until(&maps, 0x903000), 0x903000);
	assert_int_equal(gd_program_mapped_until(&maps, 0), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(data_belongs_to_a_file_with_code),
		test_case(unpacked_data_is_behind_code_without_a_file),
		test_case(pieces_overlap),
		test_case(a_page_that_cannot_be_read_is_left_out),
		test_case(the_callback_and_the_targets_end_stop_it),
		test_case(no_mapping_is_read_without_limit),
		test_case(mappings_without_a_hole_between_them_are_one),
	};
	return test_run(tests);
}
