/*
 * Images being written.  All state lies in the shared index: a hash table with open addressing finds
 * the chunk of an address (pages come in address order, mostly, but round after round), slots of the
 * file are given out in the order in which chunks appear.
 */
#include "target/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "target/image_index.h"

/* 64 TiB of memory, more threads than pids, all paths of a million mappings. */
#define CHUNKS_MAX (UINT64_C(1) << 26)
#define THREADS_MAX (UINT64_C(1) << 20)
#define PATHS_MAX (UINT64_C(1) << 30)

const size_t gd_image_element_bytes[GD_IMAGE_SECTIONS] = {
	[GD_IMAGE_CHUNKS] = sizeof(struct gd_image_chunk),
	[GD_IMAGE_MAPS] = sizeof(struct gd_image_map),
	[GD_IMAGE_THREADS] = sizeof(struct gd_image_thread),
	[GD_IMAGE_PATHS] = 1,
	[GD_IMAGE_XSTATES] = 1,
	[GD_IMAGE_TABLE] = sizeof(uint32_t),
};

const char *gd_image_why_text(enum gd_image_why why)
{
	static const char *const texts[GD_IMAGE_WHYS] = {
		[GD_IMAGE_KEPT] = "kept",
		[GD_IMAGE_DONTDUMP] = "the process asked for it not to be dumped",
		[GD_IMAGE_DEVICE] = "memory of a device, which is never read",
		[GD_IMAGE_UNREADABLE] = "its pages cannot be read",
		[GD_IMAGE_HUGETLB] = "pages of a hugetlb pool",
		[GD_IMAGE_SHARED_BIG] = "shared memory beyond what fits the pause",
		[GD_IMAGE_LATER] = "read after the instant",
		[GD_IMAGE_TORN] = "read while the process ran",
		[GD_IMAGE_NOT_WANTED] = "left out by request",
		[GD_IMAGE_BEYOND] = "beyond what could be read in the pause",
	};
	return why >= GD_IMAGE_KEPT && why < GD_IMAGE_WHYS ? texts[why] : "?";
}

static uint64_t align(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Sections one after the other, each on pages of its own; returns the size of all. */
static uint64_t lay_out(struct gd_image_header *header)
{
	uint64_t at = align(sizeof(*header), GD_IMAGE_PAGE);
	for (size_t i = 0; i < GD_IMAGE_SECTIONS; i++) {
		header->sections[i].at = at;
		at += align(header->sections[i].max * gd_image_element_bytes[i], GD_IMAGE_PAGE);
	}
	return at;
}

static uint64_t power_of_two(uint64_t at_least)
{
	uint64_t n = 64;
	while (n < at_least)
		n *= 2;
	return n;
}

static int make_index(struct gd_image *image, const struct gd_image_limits *limits,
                      struct gd_error *err)
{
	if (limits->chunks > CHUNKS_MAX || limits->maps > GD_MAPS_MAX ||
	    limits->threads > THREADS_MAX || limits->path_bytes > PATHS_MAX)
		return gd_fail(err, -E2BIG, "an image of %zu chunks, %zu mappings, %zu threads and "
		               "%zu bytes of paths", limits->chunks, limits->maps,
		               limits->threads, limits->path_bytes);
	struct gd_image_header header = {
		.magic = GD_IMAGE_MAGIC,
		.page_bytes = GD_IMAGE_PAGE,
		.chunk_bytes = GD_IMAGE_CHUNK,
	};
	header.sections[GD_IMAGE_CHUNKS].max = limits->chunks;
	header.sections[GD_IMAGE_MAPS].max = limits->maps;
	header.sections[GD_IMAGE_THREADS].max = limits->threads;
	header.sections[GD_IMAGE_PATHS].max = limits->path_bytes + 1;
	header.sections[GD_IMAGE_PATHS].n = 1;
	header.sections[GD_IMAGE_XSTATES].max = limits->threads * GD_IMAGE_XSTATE_MAX;
	header.sections[GD_IMAGE_TABLE].max = power_of_two(2 * limits->chunks);
	uint64_t size = lay_out(&header);

	image->index_fd = memfd_create("godiag-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (image->index_fd < 0 || ftruncate(image->index_fd, (off_t)size) != 0)
		return gd_fail_errno(err, -errno, "index of an image");
	void *index = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, image->index_fd, 0);
	if (index == MAP_FAILED)
		return gd_fail_errno(err, -errno, "index of an image: mmap");
	image->index = index;
	image->index_bytes = size;
	memcpy(image->index, &header, sizeof(header));
	return 0;
}

int gd_image_create(int file_fd, const struct gd_image_limits *limits, struct gd_image **ret,
                    struct gd_error *err)
{
	struct gd_image *image = calloc(1, sizeof(*image));
	if (image == NULL) {
		(void)close(file_fd);
		return gd_fail_errno(err, -ENOMEM, "image");
	}
	image->file_fd = file_fd;
	image->index_fd = -1;
	int r = make_index(image, limits, err);
	if (r < 0) {
		gd_image_destroy(image);
		return r;
	}
	*ret = image;
	return 0;
}

void gd_image_destroy(struct gd_image *image)
{
	if (image == NULL)
		return;
	if (image->index != NULL)
		(void)munmap(image->index, image->index_bytes);
	if (image->index_fd >= 0)
		(void)close(image->index_fd);
	if (image->file_fd >= 0)
		(void)close(image->file_fd);
	free(image);
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The chunk at addr (aligned); `make` adds it when it is not there, NULL then means full. */
static struct gd_image_chunk *find(const struct gd_image *image, uint64_t addr, bool make)
{
	struct gd_image_header *header = gd_image_header(image);
	struct gd_image_section *section = &header->sections[GD_IMAGE_CHUNKS];
	struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint32_t *table = gd_image_section(image, GD_IMAGE_TABLE);
	uint64_t mask = header->sections[GD_IMAGE_TABLE].max - 1;
	/* Multiplicative hashing: neighbours spread, a table half empty keeps the walks short. */
	uint64_t at = ((addr / GD_IMAGE_CHUNK) * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & mask;
	for (; table[at] != 0; at = (at + 1) & mask)
		if (chunks[table[at] - 1].addr == addr)
			return &chunks[table[at] - 1];
	if (!make || section->n == section->max)
		return NULL;
	struct gd_image_chunk *chunk = &chunks[section->n++];
	*chunk = (struct gd_image_chunk){ .addr = addr, .slot = header->n_slots++ };
	table[at] = (uint32_t)section->n;
	return chunk;
}

struct gd_image_chunk *gd_image_make_chunk(struct gd_image *image, uint64_t addr)
{
	return find(image, addr, true);
}

const uint64_t *gd_image_pages(const struct gd_image *image, uint64_t addr)
{
	const struct gd_image_chunk *chunk = find(image, addr & ~(GD_IMAGE_CHUNK - 1), false);
	return chunk != NULL ? chunk->pages : NULL;
}

static int write_pages(struct gd_image *image, const struct gd_image_chunk *chunk, size_t page,
                       const uint8_t *bytes, size_t n, struct gd_error *err)
{
	off_t at = (off_t)(chunk->slot * GD_IMAGE_CHUNK + page * GD_IMAGE_PAGE);
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(image->file_fd, bytes + done, n - done, at + (off_t)done);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return gd_fail_errno(err, r < 0 ? -errno : -EIO, "image of %" PRIu64 " MiB",
			                     gd_image_header(image)->n_slots);
		done += (size_t)r;
	}
	return 0;
}

int gd_image_put(struct gd_image *image, uint64_t addr, const void *bytes, size_t n_pages,
                 struct gd_error *err)
{
	const uint8_t *from = bytes;
	while (n_pages > 0) {
		struct gd_image_chunk *chunk = find(image, addr & ~(GD_IMAGE_CHUNK - 1), true);
		if (chunk == NULL)
			return gd_fail(err, -E2BIG, "image: more than %" PRIu64 " MiB of memory",
			               gd_image_header(image)->sections[GD_IMAGE_CHUNKS].max);
		size_t page = addr % GD_IMAGE_CHUNK / GD_IMAGE_PAGE;
		size_t n = GD_IMAGE_CHUNK_PAGES - page < n_pages ? GD_IMAGE_CHUNK_PAGES - page
		                                                 : n_pages;
		int r = write_pages(image, chunk, page, from, n * GD_IMAGE_PAGE, err);
		if (r < 0)
			return r;
		for (size_t i = page; i < page + n; i++)
			chunk->pages[i / 64] |= UINT64_C(1) << i % 64;
		from += n * GD_IMAGE_PAGE;
		addr += n * GD_IMAGE_PAGE;
		n_pages -= n;
	}
	return 0;
}

static void drop_of_chunk(struct gd_image *image, struct gd_image_chunk *chunk, size_t from,
                          size_t to)
{
	uint64_t had = 0;
	for (size_t i = from; i < to; i++) {
		uint64_t bit = UINT64_C(1) << i % 64;
		had |= chunk->pages[i / 64] & bit;
		chunk->pages[i / 64] &= ~bit;
	}
	/* Where the file system cannot, the room is lost and nothing else: the bits decide. */
	if (had != 0)
		(void)fallocate(image->file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		                (off_t)(chunk->slot * GD_IMAGE_CHUNK + from * GD_IMAGE_PAGE),
		                (off_t)((to - from) * GD_IMAGE_PAGE));
}

void gd_image_drop(struct gd_image *image, uint64_t start, uint64_t end)
{
	struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint64_t n = gd_image_header(image)->sections[GD_IMAGE_CHUNKS].n;
	if (end <= start)
		return;
	/* A range of more chunks than there are is found from the other side. */
	bool walk = (end - start) / GD_IMAGE_CHUNK >= n;
	uint64_t first = start & ~(GD_IMAGE_CHUNK - 1);
	for (uint64_t i = 0; walk ? i < n : first + i * GD_IMAGE_CHUNK < end; i++) {
		struct gd_image_chunk *chunk =
			walk ? &chunks[i] : find(image, first + i * GD_IMAGE_CHUNK, false);
		if (chunk == NULL || chunk->addr >= end || chunk->addr + GD_IMAGE_CHUNK <= start)
			continue;
		uint64_t from = start > chunk->addr ? start - chunk->addr : 0;
		uint64_t to = end - chunk->addr < GD_IMAGE_CHUNK ? end - chunk->addr
		                                                 : GD_IMAGE_CHUNK;
		drop_of_chunk(image, chunk, from / GD_IMAGE_PAGE, to / GD_IMAGE_PAGE);
	}
}

/* ---- mappings and threads -------------------------------------------------------------------- */

/* Appends a path; `last` is found again, since a library's mappings follow each other. */
static int add_path(struct gd_image *image, const char *path, uint32_t last, uint32_t *ret,
                    struct gd_error *err)
{
	struct gd_image_section *section = &gd_image_header(image)->sections[GD_IMAGE_PATHS];
	char *paths = gd_image_section(image, GD_IMAGE_PATHS);
	if (path[0] == '\0' || strcmp(paths + last, path) == 0) {
		*ret = path[0] == '\0' ? 0 : last;
		return 0;
	}
	size_t n = strlen(path) + 1;
	if (n > section->max - section->n)
		return gd_fail(err, -E2BIG, "image: no room for the paths of its mappings");
	memcpy(paths + section->n, path, n);
	*ret = (uint32_t)section->n;
	section->n += n;
	return 0;
}

int gd_image_set_maps(struct gd_image *image, const struct gd_maps *maps, struct gd_error *err)
{
	struct gd_image_section *section = &gd_image_header(image)->sections[GD_IMAGE_MAPS];
	struct gd_image_map *to = gd_image_section(image, GD_IMAGE_MAPS);
	if (maps->n > section->max)
		return gd_fail(err, -E2BIG, "image: %zu mappings, room for %" PRIu64, maps->n,
		               section->max);
	gd_image_header(image)->sections[GD_IMAGE_PATHS].n = 1;
	section->n = 0;
	uint32_t last = 0;
	for (size_t i = 0; i < maps->n; i++) {
		const struct gd_map *map = &maps->list[i];
		uint32_t path = 0;
		int r = add_path(image, map->path, last, &path, err);
		if (r < 0)
			return r;
		to[i] = (struct gd_image_map){
			.start = map->start,
			.end = map->end,
			.offset = map->offset,
			.inode = map->inode,
			.dev_major = map->dev_major,
			.dev_minor = map->dev_minor,
			.path = path,
			.read = map->read,
			.write = map->write,
			.exec = map->exec,
			.shared = map->shared,
			.deleted = map->deleted,
			.missing = map->inode != 0 ? GD_IMAGE_OF_FILE : GD_IMAGE_ZERO,
		};
		last = path != 0 ? path : last;
	}
	section->n = maps->n;
	return 0;
}

struct gd_image_map *gd_image_maps_mut(struct gd_image *image, size_t *ret_n)
{
	*ret_n = (size_t)gd_image_header(image)->sections[GD_IMAGE_MAPS].n;
	return gd_image_section(image, GD_IMAGE_MAPS);
}

int gd_image_add_thread(struct gd_image *image, const struct gd_image_thread *thread,
                        const void *xstate, struct gd_error *err)
{
	struct gd_image_header *header = gd_image_header(image);
	struct gd_image_section *section = &header->sections[GD_IMAGE_THREADS];
	struct gd_image_section *xstates = &header->sections[GD_IMAGE_XSTATES];
	struct gd_image_thread *to = gd_image_section(image, GD_IMAGE_THREADS);
	if (section->n == section->max)
		return gd_fail(err, -E2BIG, "image: more than %" PRIu64 " threads", section->max);
	if (thread->xstate_bytes > GD_IMAGE_XSTATE_MAX)
		return gd_fail(err, -E2BIG, "image: thread %d: %u bytes of extended state",
		               thread->tid, thread->xstate_bytes);
	struct gd_image_thread *added = &to[section->n];
	*added = *thread;
	added->xstate = xstates->at + xstates->n;
	if (thread->xstate_bytes > 0)
		memcpy(image->index + added->xstate, xstate, thread->xstate_bytes);
	xstates->n += align(thread->xstate_bytes, 8);
	section->n++;
	return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct gd_image_chunk *)a)->addr;
	uint64_t y = ((const struct gd_image_chunk *)b)->addr;
	return (x > y) - (x < y);
}

/* Chunks that are left without a page go, the others are sorted. */
static void sort_chunks(struct gd_image *image)
{
	struct gd_image_section *section = &gd_image_header(image)->sections[GD_IMAGE_CHUNKS];
	struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint64_t n = 0;
	for (uint64_t i = 0; i < section->n; i++)
		if ((chunks[i].pages[0] | chunks[i].pages[1] | chunks[i].pages[2] |
		     chunks[i].pages[3]) != 0)
			chunks[n++] = chunks[i];
	section->n = n;
	qsort(chunks, n, sizeof(*chunks), by_address);
}

/* Writes what is filled to a new block, without gaps, and seals it. */
static int write_sealed(struct gd_image *image, int fd, struct gd_error *err)
{
	const struct gd_image_header *header = gd_image_header(image);
	struct gd_image_header packed = *header;
	struct gd_image_thread *threads = gd_image_section(image, GD_IMAGE_THREADS);
	uint64_t at = sizeof(packed);
	for (size_t i = 0; i < GD_IMAGE_SECTIONS; i++) {
		struct gd_image_section *section = &packed.sections[i];
		section->n = i == GD_IMAGE_TABLE ? 0 : section->n;
		section->max = section->n;
		section->at = at;
		at += align(section->n * gd_image_element_bytes[i], 8);
	}
	for (uint64_t i = 0; i < packed.sections[GD_IMAGE_THREADS].n; i++)
		threads[i].xstate += packed.sections[GD_IMAGE_XSTATES].at -
		                     header->sections[GD_IMAGE_XSTATES].at;
	/* Longer first: the gaps of alignment become zeros. */
	if (ftruncate(fd, (off_t)at) != 0)
		return gd_fail_errno(err, -errno, "index of an image");
	int r = gd_io_write_all(fd, &packed, sizeof(packed), err);
	for (size_t i = 0; r == 0 && i < GD_IMAGE_SECTIONS; i++) {
		if (lseek(fd, (off_t)packed.sections[i].at, SEEK_SET) < 0)
			return gd_fail_errno(err, -errno, "index of an image");
		r = gd_io_write_all(fd, image->index + header->sections[i].at,
		                    packed.sections[i].n * gd_image_element_bytes[i], err);
	}
	if (r == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
	                    F_SEAL_SEAL) != 0)
		return gd_fail_errno(err, -errno, "sealing the index of an image");
	return r;
}

int gd_image_finish(struct gd_image *image, struct gd_error *err)
{
	uint64_t size = gd_image_header(image)->n_slots * GD_IMAGE_CHUNK;
	/* So that the last chunk is whole as well. */
	if (ftruncate(image->file_fd, (off_t)size) != 0)
		return gd_fail_errno(err, -errno, "image of %" PRIu64 " bytes", size);
	gd_image_give_back(image);
	sort_chunks(image);
	GD_CLOSE int fd = memfd_create("godiag-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "index of an image");
	int r = write_sealed(image, fd, err);
	struct gd_image *sealed = NULL;
	if (r == 0) {
		int again = fcntl(image->file_fd, F_DUPFD_CLOEXEC, 0);
		if (again < 0)
			return gd_fail_errno(err, -errno, "image");
		r = gd_image_open(again, gd_steal_fd(&fd), &sealed, err);
	}
	if (sealed == NULL)
		return gd_error_wrap(err, r, "finishing an image");
	/* The caller's pointer stays: the two change contents. */
	struct gd_image written = *image;
	*image = *sealed;
	*sealed = written;
	gd_image_destroy(sealed);
	return 0;
}
