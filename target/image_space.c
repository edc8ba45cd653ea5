/*
 * Room in the file for pages that will be written: each range of addresses gets its blocks where
 * gd_image_put will write it, since chunks are made, and so have their slots, here already.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "target/image_index.h"

/* A call for each page between holes costs more than the holes for a while. */
#define GAP_MAX (UINT64_C(64) << 10)
/* Blocks of the file's own tables, and what rounding makes of the rest. */
#define SLACK_BYTES (UINT64_C(1) << 20)

/* tmpfs would fill all pages with zeros, which is as dear as writing the image. */
static bool can(const struct gd_image *image)
{
	struct statfs fs;
	return fstatfs(image->file_fd, &fs) == 0 && (unsigned long)fs.f_type != TMPFS_MAGIC &&
	       (unsigned long)fs.f_type != RAMFS_MAGIC;
}

static int allocate(struct gd_image *image, struct gd_error *err)
{
	uint64_t from = image->reserve_from;
	uint64_t to = image->reserve_to;
	image->reserve_from = image->reserve_to = 0;
	while (from < to && image->reserves) {
		if (fallocate(image->file_fd, FALLOC_FL_KEEP_SIZE, (off_t)from,
		              (off_t)(to - from)) == 0)
			break;
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			image->reserves = false;
		else if (errno != EINTR)
			return gd_fail_errno(err, -errno, "room for an image of %" PRIu64 " MiB",
			                     gd_image_header(image)->n_slots);
	}
	return 0;
}

int gd_image_reserve(struct gd_image *image, uint64_t start, uint64_t end, struct gd_error *err)
{
	if (!image->asked)
		image->reserves = can(image);
	image->asked = true;
	while (start < end && image->reserves) {
		struct gd_image_chunk *chunk =
			gd_image_make_chunk(image, start & ~(GD_IMAGE_CHUNK - 1));
		if (chunk == NULL)
			return gd_fail(err, -E2BIG, "image: more than %" PRIu64 " MiB of memory",
			               gd_image_header(image)->sections[GD_IMAGE_CHUNKS].max);
		uint64_t until = chunk->addr + GD_IMAGE_CHUNK < end ? chunk->addr + GD_IMAGE_CHUNK
		                                                    : end;
		uint64_t from = chunk->slot * GD_IMAGE_CHUNK + (start - chunk->addr);
		bool follows = from >= image->reserve_to && from - image->reserve_to <= GAP_MAX;
		if (image->reserve_to == 0)
			image->reserve_from = from;
		else if (!follows) {
			int r = allocate(image, err);
			if (r < 0)
				return r;
			image->reserve_from = from;
		}
		image->reserve_to = from + (until - start);
		start = until;
	}
	return 0;
}

int gd_image_reserve_end(struct gd_image *image, struct gd_error *err)
{
	int r = allocate(image, err);
	return r < 0 ? r : image->reserves;
}

static void punch(const struct gd_image *image, uint64_t from, uint64_t to)
{
	if (from < to)
		(void)fallocate(image->file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		                (off_t)from, (off_t)(to - from));
}

static uint64_t kept_bytes(const struct gd_image *image)
{
	const struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint64_t n = gd_image_header(image)->sections[GD_IMAGE_CHUNKS].n;
	uint64_t pages = 0;
	for (uint64_t i = 0; i < n; i++)
		for (size_t k = 0; k < 4; k++)
			pages += (uint64_t)__builtin_popcountll(chunks[i].pages[k]);
	return pages * GD_IMAGE_PAGE;
}

/* Chunks lie in the order of their slots, as they were made. */
void gd_image_give_back(struct gd_image *image)
{
	const struct gd_image_chunk *chunks = gd_image_section(image, GD_IMAGE_CHUNKS);
	uint64_t n = gd_image_header(image)->sections[GD_IMAGE_CHUNKS].n;
	struct stat st;
	if (!image->reserves || fstat(image->file_fd, &st) != 0 ||
	    (uint64_t)st.st_blocks * 512 <= kept_bytes(image) + SLACK_BYTES)
		return;
	uint64_t free_from = 0;
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t page = 0; page < GD_IMAGE_CHUNK_PAGES; page++) {
			uint64_t at = chunks[i].slot * GD_IMAGE_CHUNK + page * GD_IMAGE_PAGE;
			if ((chunks[i].pages[page / 64] >> page % 64 & 1) == 0)
				continue;
			punch(image, free_from, at);
			free_from = at + GD_IMAGE_PAGE;
		}
	punch(image, free_from, gd_image_header(image)->n_slots * GD_IMAGE_CHUNK);
}
