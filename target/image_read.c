/*
 * Finished images.  Whoever opens one has it from somebody else, so the index is checked from the first
 * byte to the last before anything of it is used; its seals say that nobody changes it afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/image_index.h"

static int check_sections(const struct gd_image *image, struct gd_error *err)
{
	const struct gd_image_header *header = gd_image_header(image);
	if (header->magic != GD_IMAGE_MAGIC || header->page_bytes != GD_IMAGE_PAGE ||
	    header->chunk_bytes != GD_IMAGE_CHUNK)
		return gd_fail(err, -EBADMSG, "image: its index is none");
	for (size_t i = 0; i < GD_IMAGE_SECTIONS; i++) {
		const struct gd_image_section *section = &header->sections[i];
		uint64_t bytes;
		if (__builtin_mul_overflow(section->n, (uint64_t)gd_image_element_bytes[i],
		                           &bytes) ||
		    section->at % 8 != 0 || section->at > image->index_bytes ||
		    bytes > image->index_bytes - section->at)
			return gd_fail(err, -EBADMSG, "image: section %zu lies outside of the index",
			               i);
	}
	const struct gd_image_section *paths = &header->sections[GD_IMAGE_PATHS];
	const char *text = gd_image_section(image, GD_IMAGE_PATHS);
	if (paths->n == 0 || paths->n > UINT32_MAX || text[0] != '\0' || text[paths->n - 1] != '\0')
		return gd_fail(err, -EBADMSG, "image: its paths have no end");
	return 0;
}

static int check_chunks(struct gd_image *image, uint64_t file_bytes, struct gd_error *err)
{
	const struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint64_t n = gd_image_header(image)->sections[GD_IMAGE_CHUNKS].n;
	uint64_t pages = 0;
	for (uint64_t i = 0; i < n; i++) {
		const struct gd_image_chunk *chunk = &chunks[i];
		uint64_t here = 0;
		for (size_t k = 0; k < 4; k++)
			here += (uint64_t)__builtin_popcountll(chunk->pages[k]);
		if (chunk->addr % GD_IMAGE_CHUNK != 0 || here == 0 ||
		    (i > 0 && chunk->addr <= chunks[i - 1].addr))
			return gd_fail(err, -EBADMSG, "image: chunk %" PRIu64 " makes no sense", i);
		if (chunk->slot >= file_bytes / GD_IMAGE_CHUNK)
			return gd_fail(err, -EBADMSG, "image: chunk %" PRIu64 " lies behind the end "
			               "of the file", i);
		pages += here;
	}
	image->bytes = pages * GD_IMAGE_PAGE;
	return 0;
}

/* A byte that is read as a bool must be one: anything else is undefined behaviour. */
static bool is_bool(const void *at)
{
	return *(const uint8_t *)at <= 1;
}

static int check_maps(const struct gd_image *image, struct gd_error *err)
{
	const struct gd_image_map *maps = gd_image_section(image, GD_IMAGE_MAPS);
	const struct gd_image_header *header = gd_image_header(image);
	uint64_t n = header->sections[GD_IMAGE_MAPS].n;
	if (n > GD_MAPS_MAX)
		return gd_fail(err, -EBADMSG, "image: more than %d mappings", GD_MAPS_MAX);
	for (uint64_t i = 0; i < n; i++) {
		const struct gd_image_map *map = &maps[i];
		if (map->start >= map->end || map->start % GD_IMAGE_PAGE != 0 ||
		    map->end % GD_IMAGE_PAGE != 0 || (i > 0 && map->start < maps[i - 1].end) ||
		    map->path >= header->sections[GD_IMAGE_PATHS].n || !is_bool(&map->read) ||
		    !is_bool(&map->write) || !is_bool(&map->exec) || !is_bool(&map->shared) ||
		    !is_bool(&map->deleted) || map->missing > GD_IMAGE_LOST ||
		    map->why >= GD_IMAGE_WHYS)
			return gd_fail(err, -EBADMSG, "image: mapping %" PRIu64 " makes no sense", i);
	}
	return 0;
}

static int check_threads(const struct gd_image *image, struct gd_error *err)
{
	const struct gd_image_thread *threads = gd_image_section(image, GD_IMAGE_THREADS);
	uint64_t n = gd_image_header(image)->sections[GD_IMAGE_THREADS].n;
	for (uint64_t i = 0; i < n; i++) {
		const struct gd_image_thread *thread = &threads[i];
		if (!is_bool(&thread->stopped) || thread->xstate_bytes > GD_IMAGE_XSTATE_MAX ||
		    thread->xstate % 8 != 0 || thread->xstate > image->index_bytes ||
		    thread->xstate_bytes > image->index_bytes - thread->xstate)
			return gd_fail(err, -EBADMSG, "image: thread %" PRIu64 " makes no sense", i);
	}
	return 0;
}

int gd_image_check(struct gd_image *image, struct gd_error *err)
{
	struct stat file;
	if (fstat(image->file_fd, &file) != 0)
		return gd_fail_errno(err, -errno, "image");
	if (!S_ISREG(file.st_mode))
		return gd_fail(err, -EBADMSG, "image: its file is none");
	int r = check_sections(image, err);
	if (r == 0)
		r = check_chunks(image, (uint64_t)file.st_size, err);
	if (r == 0)
		r = check_maps(image, err);
	return r == 0 ? check_threads(image, err) : r;
}

static int open_index(struct gd_image *image, struct gd_error *err)
{
	int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int seals = fcntl(image->index_fd, F_GET_SEALS);
	struct stat index;
	if (seals < 0 || (seals & wanted) != wanted || fstat(image->index_fd, &index) != 0 ||
	    index.st_size < (off_t)sizeof(struct gd_image_header))
		return gd_fail(err, -EBADMSG, "image: its index is not sealed memory");
	void *at = mmap(NULL, (size_t)index.st_size, PROT_READ, MAP_SHARED, image->index_fd, 0);
	if (at == MAP_FAILED)
		return gd_fail_errno(err, -errno, "image: mmap of its index");
	image->index = at;
	image->index_bytes = (uint64_t)index.st_size;
	image->finished = true;
	return gd_image_check(image, err);
}

int gd_image_open(int file_fd, int index_fd, struct gd_image **ret, struct gd_error *err)
{
	struct gd_image *image = calloc(1, sizeof(*image));
	if (image == NULL) {
		(void)close(file_fd);
		(void)close(index_fd);
		return gd_fail_errno(err, -ENOMEM, "image");
	}
	image->file_fd = file_fd;
	image->index_fd = index_fd;
	int r = open_index(image, err);
	if (r < 0) {
		gd_image_destroy(image);
		return r;
	}
	*ret = image;
	return 0;
}

int gd_image_file_fd(const struct gd_image *image)
{
	return image->file_fd;
}

int gd_image_index_fd(const struct gd_image *image)
{
	return image->index_fd;
}

const struct gd_image_chunk *gd_image_chunks(const struct gd_image *image, size_t *ret_n)
{
	*ret_n = (size_t)gd_image_header(image)->sections[GD_IMAGE_CHUNKS].n;
	return gd_image_section(image, GD_IMAGE_CHUNKS);
}

const struct gd_image_map *gd_image_maps(const struct gd_image *image, size_t *ret_n)
{
	*ret_n = (size_t)gd_image_header(image)->sections[GD_IMAGE_MAPS].n;
	return gd_image_section(image, GD_IMAGE_MAPS);
}

const struct gd_image_thread *gd_image_threads(const struct gd_image *image, size_t *ret_n)
{
	*ret_n = (size_t)gd_image_header(image)->sections[GD_IMAGE_THREADS].n;
	return gd_image_section(image, GD_IMAGE_THREADS);
}

const char *gd_image_path(const struct gd_image *image, const struct gd_image_map *map)
{
	return (const char *)gd_image_section(image, GD_IMAGE_PATHS) + map->path;
}

const void *gd_image_xstate(const struct gd_image *image, const struct gd_image_thread *thread)
{
	return image->index + thread->xstate;
}

uint64_t gd_image_bytes(const struct gd_image *image)
{
	return image->bytes;
}

int gd_image_to_maps(const struct gd_image *image, struct gd_maps *ret, struct gd_error *err)
{
	size_t n;
	const struct gd_image_map *from = gd_image_maps(image, &n);
	size_t path_bytes = (size_t)gd_image_header(image)->sections[GD_IMAGE_PATHS].n;
	GD_FREE struct gd_map *list = calloc(n > 0 ? n : 1, sizeof(*list));
	GD_FREE char *paths = malloc(path_bytes);
	if (list == NULL || paths == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu mappings of an image", n);
	memcpy(paths, gd_image_section(image, GD_IMAGE_PATHS), path_bytes);
	for (size_t i = 0; i < n; i++)
		list[i] = (struct gd_map){
			.start = from[i].start,
			.end = from[i].end,
			.offset = from[i].offset,
			.inode = from[i].inode,
			.dev_major = from[i].dev_major,
			.dev_minor = from[i].dev_minor,
			.read = from[i].read,
			.write = from[i].write,
			.exec = from[i].exec,
			.shared = from[i].shared,
			.deleted = from[i].deleted,
			.path = paths + from[i].path,
		};
	*ret = (struct gd_maps){
		.list = gd_steal_ptr(&list),
		.n = n,
		.paths = gd_steal_ptr(&paths),
	};
	return 0;
}

const struct gd_image_chunk *gd_image_find_chunk(const struct gd_image *image, uint64_t addr)
{
	size_t high;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &high);
	uint64_t at = addr & ~(GD_IMAGE_CHUNK - 1);
	for (size_t low = 0; low < high;) {
		size_t mid = low + (high - low) / 2;
		if (chunks[mid].addr == at)
			return &chunks[mid];
		if (chunks[mid].addr < at)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool has(const struct gd_image_chunk *chunk, size_t page)
{
	return (chunk->pages[page / 64] >> page % 64 & 1) != 0;
}

int gd_image_read_chunk(const struct gd_image *image, const struct gd_image_chunk *chunk,
                        uint8_t to[GD_IMAGE_CHUNK], struct gd_error *err)
{
	for (size_t i = 0; i < GD_IMAGE_CHUNK_PAGES;) {
		bool here = has(chunk, i);
		size_t end = i + 1;
		while (end < GD_IMAGE_CHUNK_PAGES && has(chunk, end) == here)
			end++;
		uint8_t *at = to + i * GD_IMAGE_PAGE;
		size_t left = (end - i) * GD_IMAGE_PAGE;
		off_t from = (off_t)(chunk->slot * GD_IMAGE_CHUNK + i * GD_IMAGE_PAGE);
		if (!here)
			memset(at, 0, left);
		while (here && left > 0) {
			ssize_t n = pread(image->file_fd, at, left, from);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return gd_fail_errno(err, n < 0 ? -errno : -EIO,
				                     "image: read of the chunk at 0x%" PRIx64,
				                     chunk->addr);
			at += n;
			from += n;
			left -= (size_t)n;
		}
		i = end;
	}
	return 0;
}

void gd_image_forget_chunk(const struct gd_image *image, const struct gd_image_chunk *chunk)
{
	(void)fallocate(image->file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	                (off_t)(chunk->slot * GD_IMAGE_CHUNK), (off_t)GD_IMAGE_CHUNK);
}
