#include "tests/cores.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MIB UINT64_C(0x100000)
#define HEAP UINT64_C(0xc000000000)
enum { N = 4 };

static const struct gd_core_area heap = { .start = HEAP, .end = HEAP + 16 * MIB, .read = true,
	                                  .write = true, .path = "" };

/*
 * A first capture of N chunks, and how its memory looks later: one changed, one new, the rest as
 * before.
 */
static struct gd_sealed first(struct core_chunk chunks[N + 1])
{
	for (unsigned i = 0; i <= N; i++) {
		chunks[i] = core_chunk(HEAP + i * MIB, i + 1);
		core_keep(&chunks[i], 0, 256);
	}
	const struct core_made made = { .areas = &heap, .n_areas = 1, .chunks = chunks,
		                        .n_chunks = N };
	return core_make("first.tar", &made);
}

static struct gd_sealed second(struct core_chunk chunks[N + 1], const struct gd_core_base *base)
{
	for (size_t i = 100; i < MIB; i += 100000)
		chunks[1].bytes[i] ^= 0xff;
	const struct core_made made = { .areas = &heap, .n_areas = 1, .chunks = chunks,
		                        .n_chunks = N + 1, .base = base };
	return core_make("second.tar", &made);
}

static void what_lay_there_is_found_and_read(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_sealed sealed = first(chunks);
	struct gd_core_base *base = core_base(sealed.path);
	GD_FREE uint8_t *to = malloc(MIB);
	struct gd_error err = { 0 };
	assert_string_equal(gd_core_base_digest(base), sealed.digest);
	assert_string_equal(gd_core_base_snapshot(base)->id, "id-of-first.tar");
	assert_string_equal(gd_core_base_head(base)->scope, "full");
	for (unsigned i = 0; i < N; i++) {
		assert_non_null(gd_core_base_chunk(base, HEAP + i * MIB));
		assert_ok(gd_core_base_read(base, HEAP + i * MIB, to, &err), &err);
		assert_memory_equal(to, chunks[i].bytes, MIB);
	}
	assert_null(gd_core_base_chunk(base, HEAP + N * MIB));
	assert_null(gd_core_base_chunk(base, HEAP + 4096));
	assert_fails(gd_core_base_read(base, HEAP + N * MIB, to, &err), -ENOENT, &err);
	gd_core_base_close(base);
	core_free(chunks, N + 1);
}

static void a_second_capture_is_little_and_whole_with_its_base(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_sealed one = first(chunks);
	struct gd_core_base *base = core_base(one.path);
	struct gd_sealed two = second(chunks, base);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	/* A new chunk in full, some bytes of the changed one. */
	assert_true(two.bytes < one.bytes / 2);
	assert_ok(core_extract(two.path, base, "core", &result, NULL, &err), &err);
	assert_int_equal(result.problems, 0);
	for (unsigned i = 0; i <= N; i++) {
		for (uint64_t page = 0; page < MIB; page += 4096) {
			uint8_t is[4096];
			assert_true(core_peek(test_path("core"), HEAP + i * MIB + page, is));
			assert_memory_equal(is, chunks[i].bytes + page, 4096);
		}
	}
	gd_core_base_close(base);
	core_free(chunks, N + 1);
}

static void without_its_base_it_says_which_one_is_needed(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_sealed one = first(chunks);
	struct gd_core_base *base = core_base(one.path);
	struct gd_sealed two = second(chunks, base);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	assert_fails(core_extract(two.path, NULL, "core", &result, NULL, &err), -ENOENT, &err);
	assert_contains(err.msg, "id-of-first.tar");
	assert_contains(err.msg, one.digest);
	const struct core_made made = { .areas = &heap, .n_areas = 1, .chunks = chunks,
		                        .n_chunks = 1 };
	struct gd_sealed other = core_make("other.tar", &made);
	struct gd_core_base *wrong = core_base(other.path);
	assert_fails(core_extract(two.path, wrong, "core", &result, NULL, &err), -EINVAL, &err);
	assert_contains(err.msg, "id-of-other.tar");
	gd_core_base_close(wrong);
	gd_core_base_close(base);
	core_free(chunks, N + 1);
}

static void it_is_looked_for_among_the_archives_of_a_directory(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_sealed one = first(chunks);
	struct gd_error err = { 0 };
	(void)archive_usual("usual.tar");
	(void)test_file("none.tar", "x", 1);
	assert_int_equal(symlink("/dev/zero", test_path("link.tar")), 0);
	GD_CLOSE int dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSE int fd = gd_core_base_look(dir_fd, one.digest, &err);
	assert_ok(fd, &err);
	char gone[GD_LAYOUT_DIGEST];
	memcpy(gone, one.digest, sizeof(gone));
	gone[70] = gone[70] == '0' ? '1' : '0';
	assert_fails(gd_core_base_look(dir_fd, gone, &err), -ENOENT, &err);
	core_free(chunks, N + 1);
}

static void only_a_full_capture_can_be_a_base(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_sealed one = first(chunks);
	struct gd_core_base *base = core_base(one.path);
	struct gd_sealed two = second(chunks, base);
	struct gd_core_base *none = NULL;
	struct gd_error err = { 0 };
	gd_core_base_close(base);
	assert_fails(gd_core_base_open(open(two.path, O_RDONLY | O_CLOEXEC), &none, &err), -ENOTSUP,
	             &err);
	assert_contains(err.msg, "id-of-first.tar");
	struct gd_sealed usual = archive_usual("usual.tar");
	assert_fails(gd_core_base_open(open(usual.path, O_RDONLY | O_CLOEXEC), &none, &err),
	             -ENOENT, &err);
	assert_fails(gd_core_base_open(open(test_file("x", "x", 1), O_RDONLY | O_CLOEXEC), &none,
	                               &err), -EBADMSG, &err);
	core_free(chunks, N + 1);
}

static void a_damaged_base_is_a_bad_chunk(void **state)
{
	(void)state;
	GD_BUF struct gd_buf said = GD_BUF_INIT(1U << 20);
	struct core_chunk chunks[N + 1];
	struct gd_sealed one = first(chunks);
	struct gd_core_base *base = core_base(one.path);
	struct gd_sealed two = second(chunks, base);
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf file = archive_read(one.path);
	uint64_t at;
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(one.path, &reader, &err), &err);
		const struct gd_core_chunk *chunk = gd_core_base_chunk(base, HEAP + MIB);
		at = gd_reader_blob(&reader, chunk->pack)->offset + chunk->offset + 5000;
	}
	gd_core_base_close(base);
	file.data[at] ^= 1;
	archive_write(test_path("first-damaged.tar"), file.data, file.len);
	base = core_base(test_path("first-damaged.tar"));
	assert_ok(core_extract(two.path, base, "core", &result, &said, &err), &err);
	assert_int_equal(result.chunks_bad, 1);
	assert_contains(gd_buf_str(&said), "chunk 0xc000100000: in the base capture: ");
	gd_core_base_close(base);
	core_free(chunks, N + 1);
}

struct side {
	const struct gd_core_base *base;
	const struct core_chunk *chunks;
	unsigned bad;
};

static void *read_all(void *arg)
{
	struct side *side = arg;
	uint8_t *to = malloc(MIB);
	for (unsigned i = 0; to != NULL && i < 4 * N; i++)
		side->bad += gd_core_base_read(side->base, HEAP + i % N * MIB, to, NULL) < 0 ||
		             memcmp(to, side->chunks[i % N].bytes, MIB) != 0;
	free(to);
	return NULL;
}

static void threads_read_one_base_at_once(void **state)
{
	(void)state;
	struct core_chunk chunks[N + 1];
	struct gd_core_base *base = core_base(first(chunks).path);
	pthread_t threads[4];
	struct side sides[4];
	for (size_t i = 0; i < 4; i++) {
		sides[i] = (struct side){ .base = base, .chunks = chunks };
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &sides[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(sides[i].bad, 0);
	}
	gd_core_base_close(base);
	core_free(chunks, N + 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_lay_there_is_found_and_read),
		test_case(a_second_capture_is_little_and_whole_with_its_base),
		test_case(without_its_base_it_says_which_one_is_needed),
		test_case(it_is_looked_for_among_the_archives_of_a_directory),
		test_case(only_a_full_capture_can_be_a_base),
		test_case(a_damaged_base_is_a_bad_chunk),
		test_case(threads_read_one_base_at_once),
	};
	return test_run(tests);
}
