#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/image.h"
#include "target/image_index.h"
#include "target/memory.h"

#define P GD_IMAGE_PAGE
#define MIB GD_IMAGE_CHUNK

static const struct gd_image_limits small = {
	.chunks = 64, .maps = 16, .path_bytes = 4096, .threads = 8,
};

static void cleanup_image(struct gd_image **image)
{
	gd_image_destroy(*image);
}
#define GD_IMAGE GD_CLEANUP(cleanup_image)

static struct gd_image *new_image(const struct gd_image_limits *limits)
{
	struct gd_error err = { 0 };
	struct gd_image *image = NULL;
	int fd = open(test_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_ok(gd_image_create(fd, limits, &image, &err), &err);
	return image;
}

/* Pages at addr, each filled with `c`. */
static void put(struct gd_image *image, uint64_t addr, char c, size_t n)
{
	struct gd_error err = { 0 };
	GD_FREE char *bytes = malloc(n * P);
	assert_non_null(bytes);
	memset(bytes, c, n * P);
	assert_ok(gd_image_put(image, addr, bytes, n, &err), &err);
}

static void set_maps(struct gd_image *image, const char *text)
{
	struct gd_error err = { 0 };
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(text, strlen(text), &maps, &err), &err);
	assert_ok(gd_image_set_maps(image, &maps, &err), &err);
}

static void finish(struct gd_image *image)
{
	struct gd_error err = { 0 };
	assert_ok(gd_image_finish(image, &err), &err);
}

/* What another process would open. */
static struct gd_image *passed(const struct gd_image *image)
{
	struct gd_error err = { 0 };
	struct gd_image *other = NULL;
	assert_ok(gd_image_open(dup(gd_image_file_fd(image)), dup(gd_image_index_fd(image)),
	                        &other, &err), &err);
	return other;
}

static const char two_maps[] =
	"10000000-10300000 rw-p 00000000 00:00 0 [heap]\n"
	"10300000-10301000 r--p 00002000 08:01 77 /lib/x.so\n"
	"10301000-10302000 rw-p 00003000 08:01 77 /lib/x.so\n"
	"10400000-10500000 ---p 00000000 00:00 0 \n"
	"10500000-10600000 rw-s 00000000 00:01 12 /dev/shm/y (deleted)\n";

static void pages_come_back_sorted_and_what_is_not_here_is_zero(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = new_image(&small);
	put(image, 0x10200000, 'c', 1);
	put(image, 0x100ff000, 'a', 3); /* over the border of two chunks */
	put(image, 0x10100000, 'b', 1); /* replaced */
	set_maps(image, two_maps);
	finish(image);
	GD_IMAGE struct gd_image *other = passed(image);
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(other, &n);
	assert_int_equal(n, 3);
	assert_int_equal(gd_image_bytes(other), 4 * P);
	assert_int_equal(chunks[0].addr, 0x10000000);
	assert_int_equal(chunks[1].addr, 0x10100000);
	assert_int_equal(chunks[2].addr, 0x10200000);

	static uint8_t to[GD_IMAGE_CHUNK];
	struct gd_error err = { 0 };
	memset(to, 'z', sizeof(to));
	assert_ok(gd_image_read_chunk(other, &chunks[1], to, &err), &err);
	assert_int_equal(to[0], 'b');
	assert_int_equal(to[P], 'a');
	assert_int_equal(to[2 * P], 0);
	assert_int_equal(to[MIB - 1], 0);
	assert_ok(gd_image_read_chunk(other, &chunks[0], to, &err), &err);
	assert_int_equal(to[0], 0);
	assert_int_equal(to[MIB - 1], 'a');
}

static void dropped_pages_are_gone_from_index_and_disk(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = new_image(&small);
	put(image, 0x10000000, 'a', 1024);
	put(image, 0x7f0000000000, 'b', 256);
	struct stat before, after;
	assert_int_equal(fstat(gd_image_file_fd(image), &before), 0);
	gd_image_drop(image, 0x10000000 + P, 0x10000000 + 1023 * P);
	gd_image_drop(image, 0x7f0000000000, 0x7fffffffffff);
	gd_image_drop(image, 0x20000000, 0x20000000);
	finish(image);
	assert_int_equal(gd_image_bytes(image), 2 * P);
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &n);
	assert_int_equal(n, 2);
	assert_int_equal(chunks[1].addr, 0x10300000);
	assert_int_equal(fstat(gd_image_file_fd(image), &after), 0);
	/* tmpfs, ext4 and xfs all give holes back. */
	assert_true(after.st_blocks < before.st_blocks / 8);

	/* A page that was dropped and whose room was not given back would still not be shown. */
	static uint8_t to[GD_IMAGE_CHUNK];
	struct gd_error err = { 0 };
	char stale[P];
	memset(stale, 's', P);
	assert_int_equal(pwrite(gd_image_file_fd(image), stale, P,
	                        (off_t)(chunks[0].slot * MIB + 5 * P)), P);
	assert_ok(gd_image_read_chunk(image, &chunks[0], to, &err), &err);
	assert_int_equal(to[5 * P], 0);
	assert_int_equal(to[0], 'a');
}

static uint64_t disk_bytes(const struct gd_image *image)
{
	struct stat st;
	assert_int_equal(fstat(gd_image_file_fd(image), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void what_was_reserved_is_there_and_goes_back_when_not_needed(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = new_image(&small);
	struct gd_error err = { 0 };
	/* Much, a little of a chunk, and two pages with a hole between them. */
	assert_ok(gd_image_reserve(image, 0x10000000, 0x10000000 + 20 * MIB + 5 * P, &err), &err);
	assert_ok(gd_image_reserve(image, 0x7f0000000000, 0x7f0000000000 + P, &err), &err);
	assert_ok(gd_image_reserve(image, 0x7f0000000000 + 200 * P, 0x7f0000000000 + 201 * P, &err),
	          &err);
	int r = gd_image_reserve_end(image, &err);
	assert_ok(r, &err);
	if (r == 0) {
		gd_image_destroy(image);
		image = NULL;
		test_skip("this file system reserves nothing, or is a tmpfs");
	}
	assert_in_range(disk_bytes(image), 20 * MIB + 7 * P, 21 * MIB);
	/* Where it was reserved and where it was not, in another order. */
	put(image, 0x7f0000000000 + 200 * P, 'z', 1);
	put(image, 0x20000000, 'n', 3);
	put(image, 0x10000000 + 18 * MIB, 'a', 256);
	put(image, 0x10000000, 'b', 100);
	assert_in_range(disk_bytes(image), 20 * MIB + 10 * P, 21 * MIB);
	finish(image);
	assert_int_equal(gd_image_bytes(image), 360 * P);
	assert_true(disk_bytes(image) <= 360 * P + (64 << 10));
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &n);
	assert_int_equal(n, 4);
	static uint8_t to[GD_IMAGE_CHUNK];
	assert_ok(gd_image_read_chunk(image, &chunks[0], to, &err), &err);
	assert_int_equal(to[99 * P], 'b');
	assert_int_equal(to[100 * P], 0);
	assert_ok(gd_image_read_chunk(image, &chunks[3], to, &err), &err);
	assert_int_equal(to[200 * P], 'z');
	assert_int_equal(to[0], 0);
}

static void mappings_keep_their_paths_and_what_stands_for_missing_pages(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = new_image(&small);
	set_maps(image, "1000-2000 rw-p 00000000 00:00 0 [stack]\n");
	set_maps(image, two_maps);
	size_t n;
	gd_image_maps_mut(image, &n)[3].why = GD_IMAGE_UNREADABLE;
	finish(image);
	GD_IMAGE struct gd_image *other = passed(image);
	const struct gd_image_map *maps = gd_image_maps(other, &n);
	assert_int_equal(n, 5);
	assert_string_equal(gd_image_path(other, &maps[0]), "[heap]");
	assert_int_equal(maps[0].missing, GD_IMAGE_ZERO);
	assert_string_equal(gd_image_path(other, &maps[2]), "/lib/x.so");
	assert_int_equal(maps[1].path, maps[2].path);
	assert_int_equal(maps[1].missing, GD_IMAGE_OF_FILE);
	assert_string_equal(gd_image_path(other, &maps[3]), "");
	assert_int_equal(maps[3].why, GD_IMAGE_UNREADABLE);
	assert_true(maps[4].shared && maps[4].deleted);

	struct gd_error err = { 0 };
	GD_MAPS struct gd_maps shape = { 0 };
	assert_ok(gd_image_to_maps(other, &shape, &err), &err);
	assert_int_equal(shape.n, 5);
	const struct gd_map *map = gd_maps_find(&shape, 0x10301234);
	assert_non_null(map);
	assert_int_equal(map->offset, 0x3000);
	assert_int_equal(map->inode, 77);
	assert_string_equal(map->path, "/lib/x.so");
}

static void threads_keep_registers_and_extended_state(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_IMAGE struct gd_image *image = new_image(&small);
	char xstate[GD_IMAGE_XSTATE_MAX + 1];
	for (int i = 0; i < 8; i++) {
		struct gd_image_thread thread = { .tid = 100 + i, .stopped = true };
		thread.xstate_bytes = 1000 + (uint32_t)i;
		thread.regs.rip = 0x400000 + (unsigned)i;
		memset(xstate, 'a' + i, sizeof(xstate));
		assert_ok(gd_image_add_thread(image, &thread, xstate, &err), &err);
	}
	struct gd_image_thread more = { .tid = 1 };
	assert_fails(gd_image_add_thread(image, &more, xstate, &err), -E2BIG, &err);
	finish(image);
	GD_IMAGE struct gd_image *other = passed(image);
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(other, &n);
	assert_int_equal(n, 8);
	for (int i = 0; i < 8; i++) {
		const char *x = gd_image_xstate(other, &threads[i]);
		assert_int_equal(threads[i].tid, 100 + i);
		assert_int_equal(threads[i].regs.rip, 0x400000 + i);
		assert_int_equal(x[0], 'a' + i);
		assert_int_equal(x[999 + i], 'a' + i);
	}
}

static void a_full_index_is_e2big_and_a_full_file_enospc(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_image_limits tiny = { .chunks = 2, .maps = 1, .path_bytes = 8, .threads = 1 };
	GD_IMAGE struct gd_image *image = new_image(&tiny);
	char page[P] = "";
	put(image, 0, 'a', 1);
	put(image, MIB, 'a', 1);
	put(image, MIB + P, 'a', 1);
	assert_fails(gd_image_put(image, 5 * MIB, page, 1, &err), -E2BIG, &err);
	GD_MAPS struct gd_maps maps = { 0 };
	assert_ok(gd_maps_parse(two_maps, strlen(two_maps), &maps, &err), &err);
	assert_fails(gd_image_set_maps(image, &maps, &err), -E2BIG, &err);
	maps.n = 1;
	maps.list[0].path = "/much/too/long";
	assert_fails(gd_image_set_maps(image, &maps, &err), -E2BIG, &err);
	struct gd_image *none = NULL;
	struct gd_image_limits absurd = { .chunks = SIZE_MAX };
	assert_fails(gd_image_create(dup(gd_image_file_fd(image)), &absurd, &none, &err), -E2BIG,
	             &err);
	GD_CLOSE int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	GD_IMAGE struct gd_image *nowhere = NULL;
	assert_ok(gd_image_create(gd_steal_fd(&full), &tiny, &nowhere, &err), &err);
	int r = gd_image_put(nowhere, 0, page, 1, &err);
	assert_fails(r, -ENOSPC, &err);
}

static void a_forked_reader_writes_what_its_parent_finishes(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = new_image(&small);
	put(image, MIB, 'a', 2);
	pid_t pid = fork();
	if (pid == 0) {
		char page[P];
		memset(page, 'b', P);
		int r = gd_image_put(image, 9 * MIB, page, 1, NULL);
		if (r == 0)
			r = gd_image_put(image, MIB + P, page, 1, NULL);
		_exit(r == 0 ? 7 : 1);
	}
	test_child_exits(pid, 7);
	put(image, 9 * MIB + P, 'c', 1);
	finish(image);
	assert_int_equal(gd_image_bytes(image), 4 * P);
	GD_MEMORY struct gd_memory *m = NULL;
	assert_ok(gd_memory_image(image, NULL, &m, NULL), NULL);
	char to[2];
	assert_int_equal(gd_memory_read_some(m, 2 * MIB - 1, to, 2), 0);
	assert_ok(gd_memory_read(m, MIB + P - 1, to, 2, NULL), NULL);
	assert_memory_equal(to, "ab", 2);
	assert_ok(gd_memory_read(m, 9 * MIB + P - 1, to, 2, NULL), NULL);
	assert_memory_equal(to, "bc", 2);
}

static void memory_of_an_image_knows_zeros_files_and_holes(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_IMAGE struct gd_image *image = new_image(&small);
	put(image, 0x10000000, 'a', 1);
	put(image, 0x10301000, 'd', 1);
	put(image, 0x102ff000, 'e', 1);
	set_maps(image, two_maps);
	size_t n;
	gd_image_maps_mut(image, &n)[3].missing = GD_IMAGE_LOST;
	finish(image);
	char text[P];
	memset(text, 'T', P);
	GD_MEMORY struct gd_memory *file = NULL;
	assert_ok(gd_memory_bytes(0x10300000, text, P, &file, &err), &err);
	GD_MEMORY struct gd_memory *m = NULL;
	GD_MEMORY struct gd_memory *alone = NULL;
	assert_ok(gd_memory_image(image, file, &m, &err), &err);
	assert_ok(gd_memory_image(image, NULL, &alone, &err), &err);
	assert_string_equal(m->ops->kind, "image");

	static char to[3 * 1024 * 1024 + 4 * P];
	assert_int_equal(gd_memory_read_some(m, 0x10000000, to, sizeof(to)), 0x302000);
	assert_int_equal(to[0], 'a');
	assert_int_equal(to[P], 0);
	assert_int_equal(to[0x2ff000], 'e');
	assert_int_equal(to[0x300000], 'T');
	assert_int_equal(to[0x301fff], 'd');
	assert_int_equal(gd_memory_read_some(alone, 0x10000000, to, sizeof(to)), 0x300000);
	assert_int_equal(gd_memory_read_some(alone, 0x10300000, to, 8), 0);
	assert_int_equal(gd_memory_read_some(m, 0x10400000, to, 8), 0);
	assert_int_equal(gd_memory_read_some(m, 0x10302000, to, 8), 0);
	assert_int_equal(gd_memory_read_some(m, UINT64_MAX - 3, to, 8), 0);
	/* Inside a page, over an edge of kinds. */
	assert_ok(gd_memory_read(m, 0x10000fff, to, 2, &err), &err);
	assert_memory_equal(to, "a\0", 2);
}

static void eight_gigabytes_of_chunks_and_sixty_thousand_maps_are_held(void **state)
{
	(void)state;
	struct gd_image_limits large = { .chunks = 70000, .maps = 60000, .path_bytes = 1 << 20,
		                         .threads = 1 };
	struct gd_error err = { 0 };
	GD_IMAGE struct gd_image *image = new_image(&large);
	char page[P] = "x";
	for (uint64_t i = 0; i < 60000; i++) {
		/* In an order that is none. */
		uint64_t at = i * 7919 % 60000;
		assert_ok(gd_image_put(image, at * 2 * MIB + i % 256 * P, page, 1, &err), &err);
	}
	GD_FREE struct gd_map *list = calloc(60000, sizeof(*list));
	for (size_t i = 0; i < 60000; i++)
		list[i] = (struct gd_map){ .start = i * 2 * MIB, .end = i * 2 * MIB + MIB,
			                   .path = i % 2 == 0 ? "" : "/a", .read = true };
	struct gd_maps maps = { .list = list, .n = 60000 };
	assert_ok(gd_image_set_maps(image, &maps, &err), &err);
	finish(image);
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &n);
	assert_int_equal(n, 60000);
	assert_int_equal(chunks[59999].addr, UINT64_C(59999) * 2 * MIB);
	assert_int_equal(gd_image_header(image)->sections[GD_IMAGE_PATHS].n, 4);
}

/* The sealed index with `n` bytes at `at` replaced. */
static int opens_with(const struct gd_image *image, uint64_t at, const void *bytes, size_t n,
                      bool sealed, struct gd_error *err)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->index, image->index_bytes), image->index_bytes);
	assert_int_equal(pwrite(fd, bytes, n, (off_t)at), n);
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		                 0);
	GD_IMAGE struct gd_image *other = NULL;
	return gd_image_open(dup(gd_image_file_fd(image)), fd, &other, err);
}

static void a_hostile_index_is_ebadmsg(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_IMAGE struct gd_image *image = new_image(&small);
	put(image, 0x10000000, 'a', 1);
	put(image, 0x10100000, 'a', 1);
	set_maps(image, two_maps);
	struct gd_image_thread thread = { .tid = 1, .xstate_bytes = 16 };
	assert_ok(gd_image_add_thread(image, &thread, "0123456789abcdef", &err), &err);
	finish(image);
	const struct gd_image_header *h = gd_image_header(image);
	uint64_t chunks = h->sections[GD_IMAGE_CHUNKS].at;
	uint64_t maps = h->sections[GD_IMAGE_MAPS].at;
	uint64_t threads = h->sections[GD_IMAGE_THREADS].at;
	static const uint8_t two = 2;
	static const uint8_t many = 200;
	static const uint64_t huge = UINT64_MAX - 7;
	static const uint64_t zeros[4];
	const struct { uint64_t at; const void *bytes; size_t n; } bad[] = {
		{ 0, &two, 1 },
		{ offsetof(struct gd_image_header, page_bytes), &huge, 4 },
		{ offsetof(struct gd_image_header, sections), &huge, 8 },
		{ offsetof(struct gd_image_header, sections[GD_IMAGE_CHUNKS].n), &huge, 8 },
		{ offsetof(struct gd_image_header, sections[GD_IMAGE_MAPS].at), &two, 1 },
		{ offsetof(struct gd_image_header, sections[GD_IMAGE_PATHS].n), zeros, 8 },
		{ offsetof(struct gd_image_header, sections[GD_IMAGE_PATHS].n), &two, 1 },
		{ chunks + offsetof(struct gd_image_chunk, addr), &two, 1 },
		{ chunks + offsetof(struct gd_image_chunk, addr) + 3, &many, 1 },
		{ chunks + offsetof(struct gd_image_chunk, slot), &two, 1 },
		{ chunks + offsetof(struct gd_image_chunk, slot), &huge, 8 },
		{ chunks + offsetof(struct gd_image_chunk, pages), zeros, 32 },
		{ maps + offsetof(struct gd_image_map, start), &two, 1 },
		{ maps + offsetof(struct gd_image_map, end), zeros, 8 },
		{ maps + offsetof(struct gd_image_map, end), &huge, 8 },
		{ maps + offsetof(struct gd_image_map, path), &huge, 4 },
		{ maps + offsetof(struct gd_image_map, read), &two, 1 },
		{ maps + offsetof(struct gd_image_map, deleted), &two, 1 },
		{ maps + offsetof(struct gd_image_map, missing), &many, 1 },
		{ maps + offsetof(struct gd_image_map, why), &many, 1 },
		{ threads + offsetof(struct gd_image_thread, stopped), &two, 1 },
		{ threads + offsetof(struct gd_image_thread, xstate_bytes), &huge, 4 },
		{ threads + offsetof(struct gd_image_thread, xstate), &huge, 8 },
	};
	uint64_t magic = GD_IMAGE_MAGIC;
	assert_ok(opens_with(image, 0, &magic, 8, true, &err), &err);
	assert_fails(opens_with(image, 0, &magic, 8, false, &err), -EBADMSG, &err);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = opens_with(image, bad[i].at, bad[i].bytes, bad[i].n, true, &err);
		if (r != -EBADMSG)
			print_message("case %zu\n", i);
		assert_fails(r, -EBADMSG, &err);
	}
}

static void what_is_no_image_is_refused_and_closed(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_image *image = NULL;
	int empty = memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	(void)fcntl(empty, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_fails(gd_image_open(open("/dev/null", O_RDONLY), empty, &image, &err), -EBADMSG,
	             &err);
	assert_fails(gd_image_open(open("/dev/null", O_RDONLY), open("/dev/zero", O_RDONLY), &image,
	                           &err), -EBADMSG, &err);
	assert_null(image);
	GD_IMAGE struct gd_image *nothing = new_image(&small);
	finish(nothing);
	GD_IMAGE struct gd_image *other = passed(nothing);
	assert_int_equal(gd_image_bytes(other), 0);
}

static void every_reason_has_words(void **state)
{
	(void)state;
	for (unsigned i = 0; i < GD_IMAGE_WHYS; i++)
		assert_true(strlen(gd_image_why_text((enum gd_image_why)i)) > 3);
	assert_string_equal(gd_image_why_text(GD_IMAGE_WHYS), "?");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(pages_come_back_sorted_and_what_is_not_here_is_zero),
		test_case(dropped_pages_are_gone_from_index_and_disk),
		test_case(what_was_reserved_is_there_and_goes_back_when_not_needed),
		test_case(mappings_keep_their_paths_and_what_stands_for_missing_pages),
		test_case(threads_keep_registers_and_extended_state),
		test_case(a_full_index_is_e2big_and_a_full_file_enospc),
		test_case(a_forked_reader_writes_what_its_parent_finishes),
		test_case(memory_of_an_image_knows_zeros_files_and_holes),
		test_case(eight_gigabytes_of_chunks_and_sixty_thousand_maps_are_held),
		test_case(a_hostile_index_is_ebadmsg),
		test_case(what_is_no_image_is_refused_and_closed),
		test_case(every_reason_has_words),
	};
	return test_run(tests);
}
