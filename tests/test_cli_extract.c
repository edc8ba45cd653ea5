/*
 * godiag extract, list and verify on an archive with a core, as somebody at a shell meets them.
 */
#include "tests/cores.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB UINT64_C(0x100000)
#define HEAP UINT64_C(0xc000000000)
enum { N = 3 };

static const struct gd_core_area heap = { .start = HEAP, .end = HEAP + 8 * MIB, .read = true,
	                                  .write = true, .path = "" };

/* What the command said on both channels, and "exit N"; the test's directory is the current one. */
static const char *godiag(const char *arguments)
{
	char here[4096];
	const char *build = getenv("BUILD");
	assert_non_null(build);
	assert_non_null(getcwd(here, sizeof(here)));
	return archive_run("B='%s'; case $B in /*) ;; *) B='%s'/$B ;; esac; cd %s && "
	                   "$B/godiag %s 2>&1; echo \"exit $?\"", build, here, test_dir(),
	                   arguments);
}

static void make_two(struct core_chunk chunks[N])
{
	for (unsigned i = 0; i < N; i++) {
		chunks[i] = core_chunk(HEAP + i * MIB, i + 1);
		core_keep(&chunks[i], 0, 256);
	}
	struct core_made made = { .areas = &heap, .n_areas = 1, .chunks = chunks, .n_chunks = N,
		                  .per_pack = 1 };
	struct gd_sealed one = core_make("first.tar", &made);
	chunks[1].bytes[77] ^= 1;
	made.base = core_base(one.path);
	(void)core_make("second.tar", &made);
	struct gd_core_base *base;
	memcpy(&base, &made.base, sizeof(base));
	gd_core_base_close(base);
}

static void core_is_a_name(void **state)
{
	(void)state;
	struct core_chunk chunks[N];
	uint8_t page[4096];
	make_two(chunks);
	assert_contains(godiag("extract first.tar core"), "core  8.0 MiB, ");
	assert_true(core_peek(test_path("core"), HEAP, page));
	assert_memory_equal(page, chunks[0].bytes, 4096);
	const char *said = godiag("extract first.tar core");
	assert_contains(said, "core exists already, not overwritten");
	assert_null(strstr(said, "exit 0"));
	assert_contains(godiag("extract first.tar core --output mem.elf"), "exit 0");
	assert_contains(godiag("extract first.tar core --output d --quiet"), "exit 0");
	assert_int_equal(mkdir(test_path("dir"), 0700), 0);
	assert_contains(godiag("extract first.tar core --output dir"), "exit 0");
	assert_int_equal(access(test_path("dir/core"), F_OK), 0);
	assert_contains(godiag("extract first.tar core --output -"), "holes");
	assert_contains(godiag("extract first.tar snapshot.json core --output both"), "exit 0");
	assert_int_equal(access(test_path("both/core"), F_OK), 0);
	assert_int_equal(access(test_path("both/snapshot.json"), F_OK), 0);
	(void)archive_usual("usual.tar");
	said = godiag("extract usual.tar core");
	assert_contains(said, "usual.tar has no core");
	assert_contains(said, "exit 1");
	core_free(chunks, N);
}

static void its_base_is_found_beside_it_or_named(void **state)
{
	(void)state;
	struct core_chunk chunks[N];
	uint8_t page[4096];
	make_two(chunks);
	assert_contains(godiag("extract second.tar core"), "exit 0");
	assert_true(core_peek(test_path("core"), HEAP + MIB, page));
	assert_memory_equal(page, chunks[1].bytes, 4096);
	assert_int_equal(mkdir(test_path("away"), 0700), 0);
	assert_int_equal(rename(test_path("first.tar"), test_path("away/first.tar")), 0);
	const char *said = godiag("extract second.tar core --output c2");
	assert_contains(said, "needs the capture it is based on: id-of-first.tar, sha256:");
	assert_contains(said, "exit 4");
	assert_int_equal(access(test_path("c2"), F_OK), -1);
	assert_contains(godiag("extract second.tar core --output c2 --base away/first.tar"),
	                "exit 0");
	said = godiag("extract second.tar core --output c3 --base second.tar");
	assert_contains(said, "only a full capture can be a base");
	assert_contains(said, "exit 4");
	core_free(chunks, N);
}

static void packs_are_one_line_of_the_list(void **state)
{
	(void)state;
	struct core_chunk chunks[N];
	make_two(chunks);
	const char *said = godiag("list first.tar");
	assert_contains(said, "core: 3 packs");
	assert_null(strstr(said, "core/pack-"));
	assert_contains(said, "core/map.jsonl");
	assert_contains(godiag("list first.tar --json"), "core/pack-00002");
	core_free(chunks, N);
}

static void a_bad_chunk_has_its_address_and_the_rest_is_written(void **state)
{
	(void)state;
	struct core_chunk chunks[N];
	struct gd_error err = { 0 };
	uint64_t at;
	make_two(chunks);
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(test_path("first.tar"), &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, "core/pack-00001");
		at = gd_reader_blob(&reader, row->digest)->offset + 9999;
	}
	GD_BUF struct gd_buf file = archive_read(test_path("first.tar"));
	file.data[at] ^= 1;
	archive_write(test_path("bad.tar"), file.data, file.len);
	const char *said = godiag("verify bad.tar");
	assert_contains(said, "core/pack-00001: chunk 0xc000100000: ");
	assert_contains(said, "exit 4");
	said = godiag("extract bad.tar core");
	assert_contains(said, "core/pack-00001: chunk 0xc000100000: ");
	assert_contains(said, "exit 4");
	assert_int_equal(access(test_path("core"), F_OK), 0);
	assert_contains(godiag("verify bad.tar --repair fixed.tar"), "exit 4");
	assert_contains(godiag("extract fixed.tar core --output core2"), "exit 4");
	core_free(chunks, N);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(core_is_a_name),
		test_case(its_base_is_found_beside_it_or_named),
		test_case(packs_are_one_line_of_the_list),
		test_case(a_bad_chunk_has_its_address_and_the_rest_is_written),
	};
	return test_run(tests);
}
