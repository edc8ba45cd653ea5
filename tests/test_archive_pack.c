#include "tests/archives.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/pack.h"
#include "base/cleanup.h"

static void release(struct gd_pack_writer **writer)
{
	gd_pack_writer_destroy(*writer);
}
#define WRITER GD_CLEANUP(release) struct gd_pack_writer *

/* Chunk i: text of its own, zeros, or noise. */
static uint8_t *chunk_of(unsigned i)
{
	uint8_t *bytes = calloc(1, GD_PACK_CHUNK);
	unsigned seed = i;
	assert_non_null(bytes);
	for (size_t k = 0; i % 4 != 3 && k < GD_PACK_CHUNK; k++)
		bytes[k] = i % 4 == 2 ? (uint8_t)rand_r(&seed)
		                      : (uint8_t)"session 4711: user=a "[(k + i + k / 977) % 21];
	return bytes;
}

/* Into the file at path: packs of chunks [from, from + n), one file only. */
static void pack_into(const char *path, struct gd_pack_writer *writer, unsigned from, unsigned n,
                      struct gd_packed_chunk *chunks)
{
	struct gd_error err = { 0 };
	const void *bytes;
	size_t size;
	for (unsigned i = 0; i < n; i++) {
		GD_FREE uint8_t *chunk = chunk_of(from + i);
		assert_false(gd_pack_is_full(writer));
		assert_ok(gd_pack_add(writer, chunk, NULL, &chunks[i], &err), &err);
	}
	assert_int_equal(gd_pack_chunks(writer), n);
	assert_ok(gd_pack_close(writer, &bytes, &size, &err), &err);
	archive_write(path, bytes, size);
}

static void zstd_itself_reads_a_pack(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[5];
	struct gd_error err = { 0 };
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	const char *path = test_path("pack.zst");
	pack_into(path, writer, 0, 5, chunks);
	for (unsigned i = 0; i < 5; i++) {
		GD_FREE uint8_t *chunk = chunk_of(i);
		archive_write(test_path("chunk"), chunk, GD_PACK_CHUNK);
		(void)archive_run("zstd -dc %s 2>/dev/null | tail -c +%llu | head -c 1048576 | "
		                  "cmp - %s", path,
		                  i * 1048576ULL + 1, test_path("chunk"));
		(void)archive_run("tail -c +%llu %s | head -c %llu | zstd -dc | cmp - %s",
		                  (unsigned long long)chunks[i].offset + 1, path,
		                  (unsigned long long)chunks[i].stored_bytes, test_path("chunk"));
	}
	assert_contains(archive_run("zstd -dc %s | wc -c", path), "5242880");
	/* Five frames and the skippable one, with a checksum and the size written down. */
	const char *list = archive_run("zstd -lv %s 2>&1", path);
	assert_contains(list, "# Zstandard Frames: 5");
	assert_contains(list, "# Skippable Frames: 1");
	assert_contains(list, "Check: XXH64");
	assert_contains(list, "(5242880 B)");
}

static void the_seek_table_is_zstds(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[3];
	struct gd_error err = { 0 };
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	pack_into(test_path("p"), writer, 8, 3, chunks);
	GD_BUF struct gd_buf pack = archive_read(test_path("p"));
	const uint8_t *end = (const uint8_t *)pack.data + pack.len;
	const uint8_t footer[] = { 3, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f };
	assert_memory_equal(end - 9, footer, 9);
	const uint8_t head[] = { 0x5e, 0x2a, 0x4d, 0x18, 3 * 8 + 9, 0, 0, 0 };
	const uint8_t *table = end - 9 - 3 * 8 - 8;
	assert_memory_equal(table, head, 8);
	uint64_t at = 0;
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *entry = table + 8 + 8 * (size_t)i;
		uint64_t stored = (uint64_t)entry[0] | (uint64_t)entry[1] << 8 |
		                  (uint64_t)entry[2] << 16;
		assert_int_equal(stored, chunks[i].stored_bytes);
		assert_int_equal(at, chunks[i].offset);
		assert_int_equal(entry[6], 0x10); /* 1 MiB */
		at += stored;
	}
	assert_ptr_equal((const uint8_t *)pack.data + at, table);
}

static void chunks_come_back(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[8];
	struct gd_error err = { 0 };
	GD_FREE uint8_t *to = malloc(GD_PACK_CHUNK);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	for (unsigned round = 0; round < 2; round++) { /* a writer is used again */
		pack_into(test_path("p"), writer, round, 8, chunks);
		GD_BUF struct gd_buf pack = archive_read(test_path("p"));
		for (unsigned i = 0; i < 8; i++) {
			GD_FREE uint8_t *was = chunk_of(round + i);
			assert_ok(gd_pack_decode(pack.data + chunks[i].offset,
			                         (size_t)chunks[i].stored_bytes, NULL, to, &err),
			          &err);
			assert_memory_equal(to, was, GD_PACK_CHUNK);
		}
	}
}

static void a_full_pack_says_so_and_stays_in_its_bounds(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunk;
	struct gd_error err = { 0 };
	const void *bytes;
	size_t size;
	GD_FREE uint8_t *noise = chunk_of(2);
	GD_FREE uint8_t *zeros = chunk_of(3);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	assert_fails(gd_pack_close(writer, &bytes, &size, &err), -EINVAL, &err);
	while (!gd_pack_is_full(writer))
		assert_ok(gd_pack_add(writer, noise, NULL, &chunk, &err), &err);
	assert_int_equal(gd_pack_chunks(writer), 8);
	assert_true(chunk.stored_bytes > GD_PACK_CHUNK && chunk.stored_bytes <= GD_PACK_FRAME_MAX);
	assert_fails(gd_pack_add(writer, noise, NULL, &chunk, &err), -E2BIG, &err);
	assert_ok(gd_pack_close(writer, &bytes, &size, &err), &err);
	assert_int_equal(gd_pack_chunks(writer), 0);
	assert_false(gd_pack_is_full(writer));
	for (unsigned i = 0; i < GD_PACK_CHUNKS_MAX; i++) {
		assert_false(gd_pack_is_full(writer));
		assert_ok(gd_pack_add(writer, zeros, NULL, &chunk, &err), &err);
	}
	assert_true(gd_pack_is_full(writer));
	assert_ok(gd_pack_close(writer, &bytes, &size, &err), &err);
	assert_true(size < 200000);
}

static void a_changed_chunk_is_little_beside_its_prefix(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk first;
	struct gd_packed_chunk second;
	struct gd_packed_chunk third;
	struct gd_error err = { 0 };
	const void *bytes;
	size_t size;
	GD_FREE uint8_t *old = chunk_of(2); /* noise: alone it does not get smaller */
	GD_FREE uint8_t *new = chunk_of(2);
	GD_FREE uint8_t *zeros = chunk_of(3);
	GD_FREE uint8_t *to = malloc(GD_PACK_CHUNK);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	for (size_t i = 0; i < GD_PACK_CHUNK; i += 40000)
		new[i] ^= 0x55;
	assert_ok(gd_pack_add(writer, new, old, &first, &err), &err);
	assert_ok(gd_pack_add(writer, old, NULL, &second, &err), &err);
	assert_ok(gd_pack_add(writer, new, old, &third, &err), &err);
	assert_true(first.stored_bytes < 4096);
	assert_int_equal(third.stored_bytes, first.stored_bytes);
	assert_ok(gd_pack_close(writer, &bytes, &size, &err), &err);
	const uint8_t *pack = bytes;
	assert_ok(gd_pack_decode(pack + first.offset, first.stored_bytes, old, to, &err), &err);
	assert_memory_equal(to, new, GD_PACK_CHUNK);
	/*
	 * Without the prefix, or with another, it is refused, and the next frame is not the worse
	 * for it.
	 */
	assert_fails(gd_pack_decode(pack + first.offset, first.stored_bytes, NULL, to, &err),
	             -EBADMSG, &err);
	assert_fails(gd_pack_decode(pack + first.offset, first.stored_bytes, zeros, to, &err),
	             -EBADMSG, &err);
	assert_ok(gd_pack_decode(pack + second.offset, second.stored_bytes, NULL, to, &err), &err);
	assert_memory_equal(to, old, GD_PACK_CHUNK);
	archive_write(test_path("frame.zst"), pack + third.offset, third.stored_bytes);
	archive_write(test_path("old"), old, GD_PACK_CHUNK);
	archive_write(test_path("new"), new, GD_PACK_CHUNK);
	(void)archive_run("cd %s && zstd -qdc --patch-from=old frame.zst | cmp - new", test_dir());
}

static void no_damaged_frame_passes(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[1];
	struct gd_error err = { 0 };
	GD_FREE uint8_t *to = malloc(GD_PACK_CHUNK);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	const char *path = test_path("p");
	pack_into(path, writer, 4, 1, chunks);
	GD_BUF struct gd_buf pack = archive_read(path);
	size_t n = (size_t)chunks[0].stored_bytes;
	uint8_t *frame = (uint8_t *)pack.data;
	for (size_t i = 0; i < n; i += i < 64 || i + 64 > n ? 1 : n / 200 + 1) {
		frame[i] ^= (uint8_t)(1u << (i % 8));
		int r = gd_pack_decode(frame, n, NULL, to, &err);
		if (r == 0) { /* a bit nobody looks at: then the content is right */
			GD_FREE uint8_t *was = chunk_of(4);
			assert_memory_equal(to, was, GD_PACK_CHUNK);
		} else {
			assert_fails(r, -EBADMSG, &err);
		}
		frame[i] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t cut = 0; cut < n; cut += n / 50 + 1)
		assert_fails(gd_pack_decode(frame, cut, NULL, to, &err), -EBADMSG, &err);
	/* More than one frame, and the seek table alone. */
	assert_fails(gd_pack_decode(frame, pack.len, NULL, to, &err), -EBADMSG, &err);
	assert_fails(gd_pack_decode(frame + n, pack.len - n, NULL, to, &err), -EBADMSG, &err);
}

static void a_frame_is_read_where_it_lies(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[3];
	struct gd_error err = { 0 };
	GD_FREE uint8_t *to = malloc(GD_PACK_CHUNK);
	GD_FREE uint8_t *was = chunk_of(1);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	pack_into(test_path("p"), writer, 0, 3, chunks);
	GD_FCLOSE FILE *file = fopen(test_path("p"), "r");
	assert_non_null(file);
	int fd = fileno(file);
	assert_ok(gd_pack_read(fd, chunks[1].offset, chunks[1].stored_bytes, NULL, to, &err), &err);
	assert_memory_equal(to, was, GD_PACK_CHUNK);
	/* The same bytes are where another process would take them. */
	assert_ok(gd_pack_read(gd_pack_fd(writer), chunks[1].offset, chunks[1].stored_bytes, NULL,
	                       to, &err), &err);
	assert_memory_equal(to, was, GD_PACK_CHUNK);
	assert_fails(gd_pack_read(fd, chunks[1].offset + 1, chunks[1].stored_bytes, NULL, to, &err),
	             -EBADMSG, &err);
	assert_fails(gd_pack_read(fd, 1ULL << 40, 4096, NULL, to, &err), -EBADMSG, &err);
	assert_fails(gd_pack_read(fd, 0, UINT64_MAX, NULL, to, &err), -EBADMSG, &err);
}

static void a_frame_without_checksum_is_refused(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_FREE uint8_t *chunk = chunk_of(1);
	GD_FREE uint8_t *to = malloc(GD_PACK_CHUNK);
	archive_write(test_path("chunk"), chunk, GD_PACK_CHUNK);
	(void)archive_run("cd %s && zstd -q --no-check chunk -o bare && zstd -q --check chunk -o good",
	                  test_dir());
	GD_BUF struct gd_buf bare = archive_read(test_path("bare"));
	GD_BUF struct gd_buf good = archive_read(test_path("good"));
	assert_ok(gd_pack_decode(good.data, good.len, NULL, to, &err), &err);
	assert_memory_equal(to, chunk, GD_PACK_CHUNK);
	assert_fails(gd_pack_decode(bare.data, bare.len, NULL, to, &err), -EBADMSG, &err);
	assert_contains(err.msg, "checksum");
}

struct side {
	const struct gd_buf *pack;
	const struct gd_packed_chunk *chunks;
	unsigned bad;
};

static void *read_all(void *arg)
{
	struct side *side = arg;
	struct gd_error err = { 0 };
	WRITER writer = NULL;
	uint8_t *to = malloc(GD_PACK_CHUNK);
	side->bad += to == NULL || gd_pack_writer_create(&writer, &err) < 0;
	for (unsigned i = 0; side->bad == 0 && i < 12; i++) {
		const struct gd_packed_chunk *chunk = &side->chunks[i % 4];
		struct gd_packed_chunk again;
		side->bad += gd_pack_decode(side->pack->data + chunk->offset,
		                            (size_t)chunk->stored_bytes, NULL, to, &err) < 0 ||
		             gd_pack_add(writer, to, NULL, &again, &err) < 0 ||
		             again.stored_bytes != chunk->stored_bytes;
	}
	free(to);
	return NULL;
}

static void many_threads_read_and_write_side_by_side(void **state)
{
	(void)state;
	WRITER writer = NULL;
	struct gd_packed_chunk chunks[4];
	struct gd_error err = { 0 };
	pthread_t threads[4];
	struct side sides[4];
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	pack_into(test_path("p"), writer, 0, 4, chunks);
	GD_BUF struct gd_buf pack = archive_read(test_path("p"));
	for (size_t i = 0; i < 4; i++) {
		sides[i] = (struct side){ .pack = &pack, .chunks = chunks };
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &sides[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(sides[i].bad, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(zstd_itself_reads_a_pack),
		test_case(the_seek_table_is_zstds),
		test_case(chunks_come_back),
		test_case(a_full_pack_says_so_and_stays_in_its_bounds),
		test_case(a_changed_chunk_is_little_beside_its_prefix),
		test_case(no_damaged_frame_passes),
		test_case(a_frame_is_read_where_it_lies),
		test_case(a_frame_without_checksum_is_refused),
		test_case(many_threads_read_and_write_side_by_side),
	};
	return test_run(tests);
}
