#include "tests/cores.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/core_elf_layout.h"
#include "archive/verify.h"
#include "base/cleanup.h"

#define MIB UINT64_C(0x100000)
#define PAGE UINT64_C(4096)
#define EXE UINT64_C(0x400000)
#define HEAP UINT64_C(0xc000000000)
#define LIB UINT64_C(0x7f0000000000)
#define LOST UINT64_C(0x7f1000000000)
#define NONE UINT64_C(0x7f2000000000)

/* A process with one of everything a mapping can say about what is missing. */
static const struct gd_core_area areas[] = {
	{ .start = EXE, .end = EXE + 0x4000, .offset = 0x1000, .read = true, .exec = true,
	  .missing = GD_CORE_OF_FILE, .path = "/srv/checkout" },
	{ .start = HEAP, .end = HEAP + 2 * MIB + 0x3000, .read = true, .write = true, .path = "" },
	{ .start = LIB, .end = LIB + 0x6000, .read = true, .missing = GD_CORE_OF_FILE,
	  .path = "/lib/libc.so.6" },
	{ .start = LIB + 0x6000, .end = LIB + 0x8000, .read = true, .write = true, .path = "" },
	{ .start = LOST, .end = LOST + 2 * MIB, .read = true, .write = true, .path = "",
	  .missing = GD_CORE_LOST, .why = "left out on request" },
	{ .start = NONE, .end = NONE + 64 * MIB, .path = "" },
};

enum { C_EXE, C_HEAP, C_HEAP_END, C_LIB, C_LOST, N_CHUNKS };

static void make_chunks(struct core_chunk chunks[N_CHUNKS])
{
	chunks[C_EXE] = core_chunk(EXE, 1);
	core_keep(&chunks[C_EXE], 1, 1); /* written by the process */
	chunks[C_HEAP] = core_chunk(HEAP, 2);
	core_keep(&chunks[C_HEAP], 0, 256);
	chunks[C_HEAP_END] = core_chunk(HEAP + 2 * MIB, 3);
	core_keep(&chunks[C_HEAP_END], 1, 1);
	core_keep(&chunks[C_HEAP_END], 9, 1); /* of no mapping */
	chunks[C_LIB] = core_chunk(LIB, 4);
	core_keep(&chunks[C_LIB], 2, 2);
	core_keep(&chunks[C_LIB], 6, 1);
	chunks[C_LOST] = core_chunk(LOST, 5);
	core_keep(&chunks[C_LOST], 10, 3);
	core_keep(&chunks[C_LOST], 250, 6);
}

static uint8_t exe_file[0x3800];

static struct gd_sealed make(const char *file, struct core_chunk chunks[N_CHUNKS], size_t per_pack)
{
	for (size_t i = 0; i < sizeof(exe_file); i++)
		exe_file[i] = (uint8_t)(1 + i / 4096 + i % 50);
	const struct core_made made = { .areas = areas, .n_areas = 6, .chunks = chunks,
		                        .n_chunks = N_CHUNKS, .exe_path = "/srv/checkout",
		                        .exe = exe_file, .n_exe = sizeof(exe_file),
		                        .per_pack = per_pack };
	return core_make(file, &made);
}

static void same(const char *core, uint64_t addr, const uint8_t *bytes)
{
	uint8_t page[4096];
	assert_true(core_peek(core, addr, page));
	assert_memory_equal(page, bytes, 4096);
}

static void absent(const char *core, uint64_t addr)
{
	uint8_t page[4096];
	assert_false(core_peek(core, addr, page));
}

static void every_page_is_what_the_map_says(void **state)
{
	(void)state;
	static const uint8_t zeros[4096];
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	uint8_t half[4096] = { 0 };
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 0);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	const char *core = test_path("core");
	/*
	 * Of the executable: what the process wrote, else the file from its offset on, else zeros.
	 */
	same(core, EXE, exe_file + 0x1000);
	same(core, EXE + 0x1000, chunks[C_EXE].bytes + 0x1000);
	memcpy(half, exe_file + 0x3000, 0x800);
	same(core, EXE + 0x2000, half);
	same(core, EXE + 0x3000, zeros);
	/* What was never touched is zero. */
	for (uint64_t page = 0; page < MIB; page += 4096)
		same(core, HEAP + page, chunks[C_HEAP].bytes + page);
	same(core, HEAP + MIB, zeros);
	same(core, HEAP + 2 * MIB, zeros);
	same(core, HEAP + 2 * MIB + 4096, chunks[C_HEAP_END].bytes + 4096);
	/* A library's own pages come from the library. */
	absent(core, LIB);
	same(core, LIB + 0x2000, chunks[C_LIB].bytes + 0x2000);
	same(core, LIB + 0x3000, chunks[C_LIB].bytes + 0x3000);
	absent(core, LIB + 0x4000);
	same(core, LIB + 0x6000, chunks[C_LIB].bytes + 0x6000);
	same(core, LIB + 0x7000, zeros);
	absent(core, LOST + 9 * PAGE);
	same(core, LOST + 10 * PAGE, chunks[C_LOST].bytes + 10 * PAGE);
	absent(core, LOST + 13 * PAGE);
	same(core, LOST + 255 * PAGE, chunks[C_LOST].bytes + 255 * PAGE);
	absent(core, LOST + 256 * PAGE);
	absent(core, NONE);
	assert_int_equal(result.problems, 0);
	assert_int_equal(result.chunks, N_CHUNKS);
	core_free(chunks, N_CHUNKS);
}

static void the_file_has_holes(void **state)
{
	(void)state;
	const struct gd_core_area large = { .start = HEAP, .end = HEAP + 8192 * MIB, .read = true,
		                            .write = true, .path = "" };
	struct core_chunk chunk = core_chunk(HEAP + 4096 * MIB, 1);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	struct stat st;
	core_keep(&chunk, 0, 256);
	memset(chunk.bytes + MIB / 2, 0, MIB / 2); /* kept, and zero all the same */
	const struct core_made made = { .areas = &large, .n_areas = 1, .chunks = &chunk,
		                        .n_chunks = 1 };
	struct gd_sealed sealed = core_make("a.tar", &made);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	assert_int_equal(stat(test_path("core"), &st), 0);
	assert_true((uint64_t)st.st_size > 8192 * MIB);
	assert_int_equal((uint64_t)st.st_size, result.file_bytes);
	assert_true((uint64_t)st.st_blocks * 512 < MIB / 2 + 65536);
	core_free(&chunk, 1);
}

static void gdb_and_readelf_take_it(void **state)
{
	(void)state;
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	char want[64];
	char command[64];
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 0);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	const char *core = test_path("core");
	const char *said = archive_run("readelf -hlnW %s 2>&1", core);
	assert_contains(said, "CORE (Core file)");
	assert_contains(said, "NT_PRSTATUS");
	assert_null(strstr(said, "arning"));
	static const struct {
		uint64_t addr;
		int chunk;
	} at[] = { { HEAP + 0x5008, C_HEAP }, { LOST + 10 * PAGE + 16, C_LOST } };
	for (size_t i = 0; i < 2; i++) {
		const uint8_t *bytes = chunks[at[i].chunk].bytes + at[i].addr % MIB;
		(void)snprintf(command, sizeof(command), "x/1xb %#lx", (unsigned long)at[i].addr);
		(void)snprintf(want, sizeof(want), "0x%02x", *bytes);
		assert_contains(core_gdb("", core, command), want);
	}
	assert_contains(core_gdb("", core, "x/1xb 0x7f1000000000"), "Cannot access memory");
	assert_contains(core_gdb("", core, "info threads"), "LWP 4711");
	core_free(chunks, N_CHUNKS);
}

static void more_mappings_than_a_half_word_counts(void **state)
{
	(void)state;
	enum { N = 66000 };
	struct gd_core_area *many = calloc(N, sizeof(*many));
	struct core_chunk chunk = core_chunk(HEAP, 1);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	assert_non_null(many);
	core_keep(&chunk, 0, 2);
	for (size_t i = 0; i < N; i++)
		many[i] = (struct gd_core_area){ .start = HEAP + i * 0x2000,
			                         .end = HEAP + i * 0x2000 + 0x1000, .path = "" };
	const struct core_made made = { .areas = many, .n_areas = N, .chunks = &chunk,
		                        .n_chunks = 1 };
	struct gd_sealed sealed = core_make("a.tar", &made);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	assert_int_equal(result.loads, N);
	same(test_path("core"), HEAP, chunk.bytes);
	assert_contains(archive_run("readelf -hW %s", test_path("core")), "65535 (66001)");
	core_free(&chunk, 1);
	free(many);
}

/* Where the frames of a pack lie in the archive, from the map itself. */
static uint64_t frame_at(const char *archive, size_t i, struct gd_core_chunk *ret)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_core_map map;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(archive, &reader, &err), &err);
	assert_ok(gd_core_read_map(&reader, &map, &err), &err);
	*ret = map.chunks[i];
	uint64_t at = gd_reader_blob(&reader, ret->pack)->offset + ret->offset;
	gd_core_map_deinit(&map);
	return at;
}

static void remember(void *arg, const char *sentence)
{
	gd_buf_puts(arg, sentence);
	gd_buf_putc(arg, '\n');
}

static void a_bad_chunk_is_named_and_the_others_are_there(void **state)
{
	(void)state;
	static const uint8_t zeros[4096];
	GD_BUF struct gd_buf said = GD_BUF_INIT(1U << 20);
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_chunk hit;
	struct gd_core_elf_result result;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 3);
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	file.data[frame_at(sealed.path, C_HEAP, &hit) + 1000] ^= 4;
	archive_write(test_path("bad.tar"), file.data, file.len);
	assert_ok(core_extract(test_path("bad.tar"), NULL, "core", &result, &said, &err), &err);
	assert_contains(gd_buf_str(&said), "core/pack-00000: chunk 0xc000000000: ");
	assert_int_equal(result.chunks_bad, 1);
	assert_int_equal(result.problems, 1);
	same(test_path("core"), HEAP, zeros);
	same(test_path("core"), EXE + 0x1000, chunks[C_EXE].bytes + 0x1000);
	same(test_path("core"), HEAP + 2 * MIB + 4096, chunks[C_HEAP_END].bytes + 4096);
	/* godiag verify says the same, and --repair keeps the other pack. */
	GD_READER struct gd_reader reader = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("bad.tar"), &reader, &err), &err);
	gd_buf_reset(&said);
	assert_ok(gd_verify(&reader, remember, &said, &verdict, &err), &err);
	assert_contains(gd_buf_str(&said), "core/pack-00000: content does not match its digest");
	assert_contains(gd_buf_str(&said), "core/pack-00000: chunk 0xc000000000: zstd: ");
	assert_contains(gd_buf_str(&said), ": 2 of its chunks are good");
	assert_int_equal(verdict.blobs_bad, 1);
	assert_ok(gd_verify_repair(&reader, test_path("fixed.tar"), &verdict, &err), &err);
	assert_int_equal(verdict.blobs_missing, 1);
	gd_buf_reset(&said);
	assert_ok(core_extract(test_path("fixed.tar"), NULL, "core2", &result, &said, &err), &err);
	assert_contains(gd_buf_str(&said), "the pack is not in the archive");
	same(test_path("core2"), LIB + 0x2000, chunks[C_LIB].bytes + 0x2000);
	core_free(chunks, N_CHUNKS);
}

static void a_sealed_core_verifies_and_a_repaired_one_says_what_it_lost(void **state)
{
	(void)state;
	GD_BUF struct gd_buf said = GD_BUF_INIT(1U << 20);
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_chunk hit;
	struct gd_verdict verdict;
	struct gd_error err = { 0 };
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 1);
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		assert_ok(gd_verify(&reader, remember, &said, &verdict, &err), &err);
		assert_string_equal(gd_buf_str(&said), "");
		assert_true(verdict.complete);
	}
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	file.data[frame_at(sealed.path, C_LOST, &hit) + 10] ^= 4;
	archive_write(test_path("bad.tar"), file.data, file.len);
	GD_READER struct gd_reader bad = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("bad.tar"), &bad, &err), &err);
	assert_ok(gd_verify_repair(&bad, test_path("fixed.tar"), &verdict, &err), &err);
	GD_READER struct gd_reader fixed = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("fixed.tar"), &fixed, &err), &err);
	assert_ok(gd_verify(&fixed, remember, &said, &verdict, &err), &err);
	assert_contains(gd_buf_str(&said), ": chunk 0x7f1000000000: the pack is not in the archive");
	assert_int_equal(verdict.blobs_bad, 0);
	core_free(chunks, N_CHUNKS);
}

/* No index, no snapshot.json, half a pack: what is whole comes out. */
static void of_an_archive_cut_off_the_rest_comes_out(void **state)
{
	(void)state;
	GD_BUF struct gd_buf said = GD_BUF_INIT(1U << 20);
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	uint64_t end = 0;
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 0);
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, GD_CORE_MAP_NAME);
		const struct gd_blob *blob = gd_reader_blob(&reader, row->digest);
		end = blob->offset + (blob->bytes + 511) / 512 * 512;
	}
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	archive_write(test_path("cut.tar"), file.data, end);
	assert_ok(core_extract(test_path("cut.tar"), NULL, "core", &result, &said, &err), &err);
	assert_string_equal(gd_buf_str(&said), "");
	same(test_path("core"), HEAP, chunks[C_HEAP].bytes);
	same(test_path("core"), EXE + 0x1000, chunks[C_EXE].bytes + 0x1000);
	absent(test_path("core"), EXE); /* the executable came behind */
	assert_contains(archive_run("readelf -nW %s", test_path("core")), "NT_PRSTATUS");
	core_free(chunks, N_CHUNKS);
}

static void damaged_notes_are_left_out(void **state)
{
	(void)state;
	GD_BUF struct gd_buf said = GD_BUF_INIT(1U << 20);
	struct core_chunk chunks[N_CHUNKS];
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	uint64_t at;
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 0);
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, GD_CORE_NOTES_NAME);
		at = gd_reader_blob(&reader, row->digest)->offset;
	}
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	file.data[at + 40] ^= 1;
	archive_write(test_path("bad.tar"), file.data, file.len);
	assert_ok(core_extract(test_path("bad.tar"), NULL, "core", &result, &said, &err), &err);
	assert_contains(gd_buf_str(&said), "core/notes: content does not match its digest");
	assert_null(strstr(archive_run("readelf -nW %s", test_path("core")), "NT_PRSTATUS"));
	same(test_path("core"), HEAP, chunks[C_HEAP].bytes);
	core_free(chunks, N_CHUNKS);
}

static void an_archive_without_a_core_says_so(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	assert_fails(core_extract(sealed.path, NULL, "core", &result, NULL, &err), -ENOENT, &err);
	assert_contains(err.msg, "core/map.jsonl");
}

static void reservations_larger_than_files_are_cut(void **state)
{
	(void)state;
	const struct gd_core_area huge[] = {
		{ .start = 0x10000, .end = 1ULL << 46, .read = true, .write = true, .path = "" },
		{ .start = 1ULL << 46, .end = 1ULL << 47, .read = true, .write = true, .path = "" },
	};
	struct core_chunk chunk = core_chunk(HEAP, 1);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	core_keep(&chunk, 0, 1);
	const struct core_made made = { .areas = huge, .n_areas = 2, .chunks = &chunk,
		                        .n_chunks = 1 };
	struct gd_sealed sealed = core_make("a.tar", &made);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	assert_true(result.file_bytes < HEAP + MIB);
	same(test_path("core"), HEAP, chunk.bytes);
	absent(test_path("core"), 1ULL << 46);
	core_free(&chunk, 1);
}

/* The commands of docs/archive-format.md. */
static void a_mapping_is_rebuilt_by_hand(void **state)
{
	(void)state;
	struct core_chunk chunks[N_CHUNKS];
	make_chunks(chunks);
	struct gd_sealed sealed = make("a.tar", chunks, 2);
	(void)archive_run(
		"cd %s && mkdir s && cd s && tar xf %s && "
		"M=blobs/sha256/$(jq -r '.manifests[0].digest[7:]' index.json) && "
		"blob() { jq -r --arg n \"$1\" '.layers[] | "
		"select(.annotations[\"org.opencontainers.image.title\"] == $n) | .digest[7:]' $M; } && "
		"zstd -dcf blobs/sha256/$(blob core/map.jsonl) >map.jsonl && "
		"zstd -l blobs/sha256/$(blob core/pack-00000) >/dev/null && "
		"jq -r 'select(.kind == \"chunk\" and .base == null and .prefix == null) | "
		"[.addr, .pack[7:], .offset, .stored] | @tsv' map.jsonl | "
		"while read addr pack offset stored; do "
		"[ $((addr >= 0xc000000000 && addr < 0xc000400000)) = 1 ] || continue; "
		"tail -c +$((offset + 1)) blobs/sha256/$pack | head -c $stored | zstd -qdc | "
		"dd of=../heap bs=1M seek=$(((addr - 0xc000000000) >> 20)) conv=notrunc,sparse "
		"status=none; done 2>/dev/null", test_dir(), sealed.path);
	GD_BUF struct gd_buf memory = archive_read(test_path("heap"));
	assert_int_equal(memory.len, 3 * MIB);
	assert_memory_equal(memory.data, chunks[C_HEAP].bytes, MIB);
	assert_memory_equal(memory.data + 2 * MIB, chunks[C_HEAP_END].bytes, MIB);
	core_free(chunks, N_CHUNKS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_page_is_what_the_map_says),
		test_case(the_file_has_holes),
		test_case(gdb_and_readelf_take_it),
		test_case(more_mappings_than_a_half_word_counts),
		test_case(a_bad_chunk_is_named_and_the_others_are_there),
		test_case(a_sealed_core_verifies_and_a_repaired_one_says_what_it_lost),
		test_case(of_an_archive_cut_off_the_rest_comes_out),
		test_case(damaged_notes_are_left_out),
		test_case(an_archive_without_a_core_says_so),
		test_case(reservations_larger_than_files_are_cut),
		test_case(a_mapping_is_rebuilt_by_hand),
	};
	return test_run(tests);
}
