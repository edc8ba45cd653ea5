#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/core_map.h"
#include "base/cleanup.h"

#define D(c) "sha256:" c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c \
	c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c
#define HEAD "{\"kind\":\"core\",\"version\":1,\"page\":4096,\"chunk\":1048576}\n"
#define HEAD_WITH_BASE "{\"kind\":\"core\",\"version\":1,\"page\":4096,\"chunk\":1048576," \
	"\"base\":{\"id\":\"x\",\"digest\":\"" D("a") "\"}}\n"
#define MAP(start, end) "{\"kind\":\"map\",\"start\":\"" start "\",\"end\":\"" end "\"," \
	"\"prot\":\"rw-p\",\"dev\":\"0:0\",\"missing\":\"zero\"}\n"
#define CHUNK(addr, more) "{\"kind\":\"chunk\",\"addr\":\"" addr "\"," \
	"\"pack\":\"" D("c") "\",\"offset\":7,\"stored\":9" more "}\n"

static const struct gd_core_head head = {
	.pid = 4711, .scope = "full", .method = "uffd", .pause_ns = 3100000, .instant_ns = 77,
	.threads = 12, .has_base = true, .base_id = "20261120T130507Z-1", .base_digest = D("0"),
};
static const struct gd_core_area areas[] = {
	{ .start = 0x400000, .end = 0x402000, .offset = 4096, .inode = UINT64_MAX, .dev_major = 8,
	  .dev_minor = 1, .read = true, .exec = true, .missing = GD_CORE_OF_FILE,
	  .path = "/srv/a \"quoted\"\n name", .why = "" },
	{ .start = 0xc000000000, .end = 0xc000400000, .read = true, .write = true, .path = "",
	  .missing = GD_CORE_LOST, .why = "left out on request" },
	{ .start = 0xc000400000, .end = 0xc000401000, .read = true, .write = true, .shared = true,
	  .deleted = true, .path = "/memfd:x", .why = "" },
	{ .start = 0xffffffffff600000, .end = 0xffffffffff601000, .exec = true,
	  .path = "[vsyscall]", .why = "", .missing = GD_CORE_LOST },
};
static const struct gd_core_chunk chunks[] = {
	{ .addr = 0x400000, .pages = { 2, 0, 0, 1ULL << 63 }, .pack = D("2"),
	  .offset = 0, .stored_bytes = 100 },
	{ .addr = 0xc000000000, .pages = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
	  .pack = D("2"), .offset = 100, .stored_bytes = 1048576, .prefix = true },
	{ .addr = 0xc000100000, .pages = { 1 }, .pack = D("6"), .offset = 5,
	  .stored_bytes = 1, .in_base = true },
};

static void same_area(const struct gd_core_area *a, const struct gd_core_area *b)
{
	assert_true(a->start == b->start && a->end == b->end && a->offset == b->offset &&
	            a->inode == b->inode && a->dev_major == b->dev_major &&
	            a->dev_minor == b->dev_minor);
	assert_true(a->read == b->read && a->write == b->write && a->exec == b->exec &&
	            a->shared == b->shared && a->deleted == b->deleted &&
	            a->missing == b->missing);
	assert_string_equal(a->path, b->path);
	assert_string_equal(a->why, b->why);
}

static void write_all(struct gd_buf *out)
{
	gd_core_map_put_head(&head, out);
	for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++)
		gd_core_map_put_area(&areas[i], out);
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++)
		gd_core_map_put_chunk(&chunks[i], out);
}

static void a_map_reads_back_as_it_was_put(void **state)
{
	(void)state;
	GD_BUF struct gd_buf out = GD_BUF_INIT(1U << 20);
	struct gd_core_map map;
	struct gd_error err = { 0 };
	write_all(&out);
	assert_ok(gd_core_map_parse(out.data, out.len, &map, &err), &err);
	assert_memory_equal(&map.head, &head, sizeof(head));
	assert_int_equal(map.n_areas, 4);
	for (size_t i = 0; i < 4; i++)
		same_area(&map.areas[i], &areas[i]);
	assert_int_equal(map.n_chunks, 3);
	for (size_t i = 0; i < 3; i++)
		assert_memory_equal(&map.chunks[i], &chunks[i], sizeof(chunks[i]));
	gd_core_map_deinit(&map);
}

static void jq_reads_it_too(void **state)
{
	(void)state;
	GD_BUF struct gd_buf out = GD_BUF_INIT(1U << 20);
	write_all(&out);
	const char *path = test_file("map.jsonl", out.data, out.len);
	const char *said = archive_run("jq -r 'select(.kind == \"chunk\") | [.addr, .pages, .offset,"
	                               " .stored, .base] | @tsv' %s", path);
	assert_string_equal(said,
		"0x400000\t0000000000000002000000000000000000000000000000008000000000000000"
		"\t0\t100\t\n"
		"0xc000000000\t\t100\t1048576\t\n"
		"0xc000100000\t0000000000000001000000000000000000000000000000000000000000000000"
		"\t5\t1\ttrue\n");
	assert_contains(archive_run("jq -r 'select(.kind == \"map\") | .prot + .inode' %s 2>&1 || true",
	                            path), "r-xp0xffffffffffffffff");
}

static void unknown_lines_and_keys_are_passed_over(void **state)
{
	(void)state;
	static const char text[] = HEAD "{\"kind\":\"later\"}\n" MAP("0x1000", "0x2000")
		"{\"kind\":\"map\",\"start\":\"0x2000\",\"end\":\"0x3000\",\"prot\":\"---p\","
		"\"dev\":\"1:2\",\"missing\":\"lost\",\"more\":[1,{}]}";
	struct gd_core_map map;
	struct gd_error err = { 0 };
	assert_ok(gd_core_map_parse(text, strlen(text), &map, &err), &err);
	assert_int_equal(map.n_areas, 2);
	assert_int_equal(map.areas[1].dev_minor, 2);
	assert_string_equal(map.areas[1].path, "");
	gd_core_map_deinit(&map);
}

static void what_makes_no_sense_is_named_by_its_line(void **state)
{
	(void)state;
	static const struct {
		const char *text, *said;
	} bad[] = {
		{ "", "empty" },
		{ "{}\n", "line 1: the head is missing" },
		{ MAP("0x1000", "0x2000"), "line 1: the head" },
		{ "[]\n", "line 1: not an object" },
		{ HEAD "{", "line 2: " },
		{ HEAD "\n", "line 2: " },
		{ HEAD HEAD, "line 2: a second head" },
		{ "{\"kind\":\"core\",\"version\":2,\"page\":4096,\"chunk\":1048576}", "version" },
		{ "{\"kind\":\"core\",\"version\":1,\"page\":65536,\"chunk\":1048576}", "size" },
		{ "{\"kind\":\"core\",\"version\":1,\"page\":4096,\"chunk\":1048576,"
		  "\"base\":{\"id\":\"x\",\"digest\":\"y\"}}", "base" },
		{ "{\"kind\":\"core\",\"version\":1,\"page\":4096,\"chunk\":1048576,"
		  "\"scope\":\"12345678901234567\"}", "sense" },
		{ HEAD MAP("0x1000", "0x1000"), "line 2: a mapping without a range" },
		{ HEAD MAP("0x1001", "0x2000"), "without a range" },
		{ HEAD MAP("4096", "0x2000"), "without a range" },
		{ HEAD MAP("0x11111111111111111000", "0x2000"), "without a range" },
		{ HEAD MAP("0x1000", "0x3000") MAP("0x2000", "0x4000"), "line 3: a mapping below" },
		{ HEAD "{\"kind\":\"map\",\"start\":\"0x1000\",\"end\":\"0x2000\",\"prot\":\"rw\","
		  "\"dev\":\"0:0\",\"missing\":\"zero\"}", "sense" },
		{ HEAD "{\"kind\":\"map\",\"start\":\"0x1000\",\"end\":\"0x2000\",\"prot\":\"rw-p\","
		  "\"dev\":\"0\",\"missing\":\"zero\"}", "sense" },
		{ HEAD "{\"kind\":\"map\",\"start\":\"0x1000\",\"end\":\"0x2000\",\"prot\":\"rw-p\","
		  "\"dev\":\"0:0\",\"missing\":\"gone\"}", "sense" },
		{ HEAD CHUNK("0x1000", ""), "line 2: a chunk without its address" },
		{ HEAD CHUNK("0x100000", "") CHUNK("0x100000", ""), "line 3: a chunk below" },
		{ HEAD CHUNK("0x100000", ",\"pages\":\"01\""), "without pages" },
		{ HEAD CHUNK("0x100000", ",\"pages\":7"), "without pages" },
		{ HEAD CHUNK("0x100000", ",\"prefix\":true"), "base nobody named" },
		{ HEAD CHUNK("0x100000", ",\"base\":true"), "base nobody named" },
		{ HEAD_WITH_BASE CHUNK("0x100000", ",\"prefix\":\"no\""), "prefix is neither" },
		{ HEAD_WITH_BASE CHUNK("0x100000", ",\"base\":true,\"prefix\":true"),
		  "chunk of the base" },
		{ HEAD CHUNK("0x100000", ",\"x\":1,\"x\":2"), "duplicate" },
		{ HEAD "{\"kind\":\"chunk\",\"addr\":\"0x100000\","
		  "\"pack\":\"" D("c") "\",\"offset\":-1,\"stored\":9}", "frame" },
		{ HEAD "{\"kind\":\"chunk\",\"addr\":\"0x100000\","
		  "\"pack\":\"" D("c") "\",\"offset\":\"0xffffffffffffffff\",\"stored\":9}", "frame" },
		{ HEAD "{\"kind\":\"chunk\",\"addr\":\"0x100000\","
		  "\"pack\":\"" D("c") "\",\"offset\":0,\"stored\":9000000}", "frame" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_core_map map;
		struct gd_error err = { 0 };
		assert_fails(gd_core_map_parse(bad[i].text, strlen(bad[i].text), &map, &err),
		             -EBADMSG, &err);
		assert_contains(err.msg, bad[i].said);
	}
}

static void a_line_without_end_is_refused(void **state)
{
	(void)state;
	GD_FREE char *text = malloc(100000);
	struct gd_core_map map;
	struct gd_error err = { 0 };
	assert_non_null(text);
	memset(text, ' ', 100000);
	assert_fails(gd_core_map_parse(text, 100000, &map, &err), -E2BIG, &err);
	assert_fails(gd_core_map_parse(text, GD_CORE_MAP_MAX + 1, &map, &err), -E2BIG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_map_reads_back_as_it_was_put),
		test_case(jq_reads_it_too),
		test_case(unknown_lines_and_keys_are_passed_over),
		test_case(what_makes_no_sense_is_named_by_its_line),
		test_case(a_line_without_end_is_refused),
	};
	return test_run(tests);
}
