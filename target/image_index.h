#pragma once
/*
 * How the index of an image lies in its block of shared memory; private to image*.c.
 * A header, then sections.  While it is written every section has room to grow (sparse: what is not
 * filled costs nothing) and nothing private is needed to go on writing, so that a forked reader
 * may write what its parent finishes.  gd_image_finish copies it sorted and without gaps into a block
 * that is sealed: what was checked once stays so.
 */
#include "target/image.h"

#define GD_IMAGE_MAGIC UINT64_C(0x3147414d49444447) /* "GDDIMAG1" */

enum gd_image_section_kind {
	GD_IMAGE_CHUNKS,
	GD_IMAGE_MAPS,
	GD_IMAGE_THREADS,
	GD_IMAGE_PATHS,   /* NUL-terminated each; the first is "" */
	GD_IMAGE_XSTATES,
	GD_IMAGE_TABLE,   /* uint32_t each, the writer's: hash of a chunk's address to its place + 1 */
	GD_IMAGE_SECTIONS,
};

struct gd_image_section {
	uint64_t at;  /* bytes from the start of the index; a multiple of 8 */
	uint64_t max; /* elements there is room for */
	uint64_t n;   /* elements that are there */
};

struct gd_image_header {
	uint64_t magic;
	uint32_t page_bytes, chunk_bytes;
	uint64_t n_slots; /* given to chunks so far */
	struct gd_image_section sections[GD_IMAGE_SECTIONS];
};

struct gd_image {
	int file_fd, index_fd;
	uint8_t *index;   /* mapped: writable until gd_image_finish, read-only afterwards */
	uint64_t index_bytes;
	uint64_t bytes;   /* of pages; known once it is finished */
	bool finished;
	bool asked, reserves;              /* image_space.c: can the file's blocks be reserved? */
	uint64_t reserve_from, reserve_to; /* in the file: what comes next */
};

/* Bytes of one element of each section. */
extern const size_t gd_image_element_bytes[GD_IMAGE_SECTIONS];

static inline struct gd_image_header *gd_image_header(const struct gd_image *image)
{
	return (struct gd_image_header *)(void *)image->index;
}

static inline void *gd_image_section(const struct gd_image *image, enum gd_image_section_kind kind)
{
	return image->index + gd_image_header(image)->sections[kind].at;
}

/* Checks all of a mapped index against its file and fills image->bytes; -EBADMSG. */
int gd_image_check(struct gd_image *image, struct gd_error *err);

/* The bits of the pages of the chunk that holds addr, in an image that is being written; or NULL. */
const uint64_t *gd_image_pages(const struct gd_image *image, uint64_t addr);

/* The chunk at addr (a multiple of GD_IMAGE_CHUNK) of one that is being written, made when it is not there; NULL: full. */
struct gd_image_chunk *gd_image_make_chunk(struct gd_image *image, uint64_t addr);

/* Blocks of the file that were reserved and hold no page; before the chunks are sorted. */
void gd_image_give_back(struct gd_image *image);

/* The chunk of a finished image that holds addr, or NULL. */
const struct gd_image_chunk *gd_image_find_chunk(const struct gd_image *image, uint64_t addr);
