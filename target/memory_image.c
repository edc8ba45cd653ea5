/*
 * The image kind: what a process held at one instant.  Pages come from the image's file; for others the
 * mapping they lie in says what stands for them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/image_index.h"
#include "target/memory.h"

struct memory_image {
	struct gd_memory memory;
	const struct gd_image *image;
	struct gd_memory *beneath;
	/* Reads come in neighbourhoods; what the last one found. */
	const struct gd_image_map *map;
	const struct gd_image_chunk *chunk;
};

static const struct gd_image_map *find_map(struct memory_image *m, uint64_t addr)
{
	if (m->map != NULL && addr >= m->map->start && addr < m->map->end)
		return m->map;
	size_t high;
	const struct gd_image_map *maps = gd_image_maps(m->image, &high);
	for (size_t low = 0; low < high;) {
		size_t mid = low + (high - low) / 2;
		if (addr < maps[mid].start)
			high = mid;
		else if (addr >= maps[mid].end)
			low = mid + 1;
		else
			return m->map = &maps[mid];
	}
	return NULL;
}

static const struct gd_image_chunk *find_chunk(struct memory_image *m, uint64_t addr)
{
	if (m->chunk == NULL || (addr & ~(GD_IMAGE_CHUNK - 1)) != m->chunk->addr)
		m->chunk = gd_image_find_chunk(m->image, addr);
	return m->chunk;
}

static bool is_here(const struct gd_image_chunk *chunk, uint64_t addr)
{
	size_t page = addr % GD_IMAGE_CHUNK / GD_IMAGE_PAGE;
	return chunk != NULL && (chunk->pages[page / 64] >> page % 64 & 1) != 0;
}

/* Bytes from addr on, at most len, that are of one kind: pages of this chunk that are here or not. */
static size_t alike(const struct gd_image_chunk *chunk, uint64_t addr, size_t len, bool here)
{
	uint64_t left_of_chunk = GD_IMAGE_CHUNK - addr % GD_IMAGE_CHUNK;
	size_t max = left_of_chunk < len ? (size_t)left_of_chunk : len;
	size_t n = GD_IMAGE_PAGE - addr % GD_IMAGE_PAGE;
	while (n < max && is_here(chunk, addr + n) == here)
		n += GD_IMAGE_PAGE;
	return n < max ? n : max;
}

static ssize_t read_here(struct memory_image *m, uint64_t addr, void *to, size_t len)
{
	off_t at = (off_t)(m->chunk->slot * GD_IMAGE_CHUNK + addr % GD_IMAGE_CHUNK);
	for (;;) {
		ssize_t n = pread(m->image->file_fd, to, len, at);
		if (n > 0)
			return n;
		if (n < 0 && errno == EINTR)
			continue;
		return n < 0 ? -errno : -EIO;
	}
}

static ssize_t read_missing(struct memory_image *m, uint64_t addr, void *to, size_t len)
{
	const struct gd_image_map *map = find_map(m, addr);
	if (map == NULL || map->missing == GD_IMAGE_LOST)
		return 0;
	if (map->end - addr < len)
		len = (size_t)(map->end - addr);
	if (map->missing == GD_IMAGE_OF_FILE)
		return m->beneath != NULL ? gd_memory_read_some(m->beneath, addr, to, len) : 0;
	memset(to, 0, len);
	return (ssize_t)len;
}

static ssize_t image_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	struct memory_image *m = (struct memory_image *)memory;
	size_t got = 0;
	while (got < len) {
		uint64_t at;
		if (__builtin_add_overflow(addr, (uint64_t)got, &at))
			break;
		const struct gd_image_chunk *chunk = find_chunk(m, at);
		bool here = is_here(chunk, at);
		size_t n = alike(chunk, at, len - got, here);
		ssize_t r = here ? read_here(m, at, (uint8_t *)to + got, n)
		                 : read_missing(m, at, (uint8_t *)to + got, n);
		if (r < 0 && got == 0)
			return r;
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

static void image_close(struct gd_memory *memory)
{
	free(memory);
}

static const struct gd_memory_ops image_ops = {
	.kind = "image",
	.read = image_read,
	.close = image_close,
};

int gd_memory_image(const struct gd_image *image, struct gd_memory *beneath,
                    struct gd_memory **ret, struct gd_error *err)
{
	struct memory_image *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return gd_fail_errno(err, -ENOMEM, "memory of an image");
	m->memory.ops = &image_ops;
	m->image = image;
	m->beneath = beneath;
	*ret = (struct gd_memory *)m;
	return 0;
}
