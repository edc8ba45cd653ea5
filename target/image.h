#pragma once
/*
 * What the memory of a process held at one instant: raw pages in a file, and an index of them.  The
 * file is sparse, unlinked and as large as the pages that are kept; the index (chunks, mappings,
 * threads with their registers) is one block of shared memory, so both travel to other processes as two
 * descriptors.  freeze/ makes images; the image kind of memory.h, the collectors and the core
 * dump read them.
 *
 * An image knows nothing of how it was made or of ELF.  What a mapping says about pages that are not
 * in the file is in its `missing`.  One writer, any number of readers after gd_image_finish; an image
 * is used by one thread at a time, except that gd_image_read_chunk may run in many.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/maps.h"

#define GD_IMAGE_PAGE 4096u
#define GD_IMAGE_CHUNK (UINT64_C(1) << 20) /* address aligned, also the unit of packs */
#define GD_IMAGE_CHUNK_PAGES 256u

/* 1 MiB of address space of which at least one page is here. */
struct gd_image_chunk {
	uint64_t addr;     /* a multiple of GD_IMAGE_CHUNK */
	uint64_t slot;     /* its page i lies at slot * GD_IMAGE_CHUNK + i * GD_IMAGE_PAGE of the file */
	uint64_t pages[4]; /* bit i % 64 of word i / 64: page i is here */
};

/* What stands for a page of a mapping that is not in the file. */
enum gd_image_missing {
	GD_IMAGE_ZERO,    /* zeros: it was never touched, or given back */
	GD_IMAGE_OF_FILE, /* that page of the mapped file */
	GD_IMAGE_LOST,    /* not known: `why` of the mapping says so */
};

/* Why a mapping, or part of it, is not kept; enum, so that the index stays free of texts. */
enum gd_image_why {
	GD_IMAGE_KEPT,
	GD_IMAGE_DONTDUMP,   /* MADV_DONTDUMP, which the process asked for */
	GD_IMAGE_DEVICE,     /* io, pf: reading could have effects */
	GD_IMAGE_UNREADABLE, /* PROT_NONE, or its pages cannot be read (EIO) */
	GD_IMAGE_HUGETLB,
	GD_IMAGE_SHARED_BIG, /* shared memory beyond what fits the pause */
	GD_IMAGE_LATER,      /* kept, but read after the instant: shared or DONTFORK under fork */
	GD_IMAGE_TORN,       /* kept, read while the process ran */
	GD_IMAGE_NOT_WANTED, /* left out by request: thin, stacks only */
	GD_IMAGE_BEYOND,     /* in part: what did not fit the pause is lost */
	GD_IMAGE_WHYS,
};
const char *gd_image_why_text(enum gd_image_why why);

struct gd_image_map {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	uint32_t path; /* gd_image_path */
	bool read, write, exec, shared, deleted;
	uint8_t missing; /* enum gd_image_missing */
	uint8_t why;     /* enum gd_image_why */
};

#if defined(__x86_64__)
#include <sys/user.h>
#define GD_IMAGE_XSTATE_MAX 16384u /* with AMX tiles it is 11 KiB */

struct gd_image_thread {
	int32_t tid;    /* in our pid namespace */
	bool stopped;   /* false: it did not stop in time, its registers are not known */
	uint32_t xstate_bytes;
	uint64_t xstate; /* offset in the index; gd_image_xstate */
	uint64_t sigpend, sighold;
	struct user_regs_struct regs; /* as the thread would have gone on; orig_rax >= 0: in a system call */
};
#endif

struct gd_image; /* private to image.c: descriptors, the mapped index, the writer's lookup table */

/* ---- writing (freeze/) ------------------------------------------------------------------------ */

struct gd_image_limits {
	size_t chunks, maps, path_bytes, threads; /* room in the index; reserved, not filled */
};

/* `file_fd` is an empty unlinked file, taken over (also on failure). */
int gd_image_create(int file_fd, const struct gd_image_limits *limits, struct gd_image **ret,
                    struct gd_error *err);
void gd_image_destroy(struct gd_image *image); /* NULL allowed; closes both descriptors */

/*
 * Writes n whole pages at addr (page aligned) into the file and marks them; later bytes of a page
 * replace earlier ones.  -E2BIG: the index is full; -ENOSPC, -EIO: the file's.
 */
int gd_image_put(struct gd_image *image, uint64_t addr, const void *bytes, size_t n_pages,
                 struct gd_error *err);
/*
 * Takes room in the file for the pages in [start, end) (page aligned, ascending calls make it cheap), so that
 * putting them does not fail for want of it; gd_image_finish gives back what was not needed.  Does
 * nothing on file systems that cannot, and on tmpfs.  -ENOSPC, -EDQUOT, -E2BIG.
 */
int gd_image_reserve(struct gd_image *image, uint64_t start, uint64_t end, struct gd_error *err);
/* After the last of a row of those: 1 the room is there, 0 this file system cannot; errors as above. */
int gd_image_reserve_end(struct gd_image *image, struct gd_error *err);
/* Forgets the pages in [start, end) and gives their room in the file back. */
void gd_image_drop(struct gd_image *image, uint64_t start, uint64_t end);

/* The mappings as of the instant; `maps` may be freed afterwards.  Replaces what was there. */
int gd_image_set_maps(struct gd_image *image, const struct gd_maps *maps, struct gd_error *err);
struct gd_image_map *gd_image_maps_mut(struct gd_image *image, size_t *ret_n);
int gd_image_add_thread(struct gd_image *image, const struct gd_image_thread *thread,
                        const void *xstate, struct gd_error *err);

/* Sorts the index; from here on it is read. */
int gd_image_finish(struct gd_image *image, struct gd_error *err);

/* ---- reading ---------------------------------------------------------------------------------- */

/* Both stay the image's; to be passed on. */
int gd_image_file_fd(const struct gd_image *image);
int gd_image_index_fd(const struct gd_image *image);

/* From passed descriptors (taken over, also on failure); the index is checked: -EBADMSG. */
int gd_image_open(int file_fd, int index_fd, struct gd_image **ret, struct gd_error *err);

const struct gd_image_chunk *gd_image_chunks(const struct gd_image *image, size_t *ret_n);
const struct gd_image_map *gd_image_maps(const struct gd_image *image, size_t *ret_n);
const struct gd_image_thread *gd_image_threads(const struct gd_image *image, size_t *ret_n);
const char *gd_image_path(const struct gd_image *image, const struct gd_image_map *map);
const void *gd_image_xstate(const struct gd_image *image, const struct gd_image_thread *thread);
uint64_t gd_image_bytes(const struct gd_image *image); /* of the pages that are here */

/* The mappings in the shape the readers of live processes use; freed with gd_maps_deinit. */
int gd_image_to_maps(const struct gd_image *image, struct gd_maps *ret, struct gd_error *err);

/* All 1 MiB of a chunk; what is not here reads as zeros.  May run in several threads. */
int gd_image_read_chunk(const struct gd_image *image, const struct gd_image_chunk *chunk,
                        uint8_t to[GD_IMAGE_CHUNK], struct gd_error *err);
/*
 * For the last reader: gives the room of a chunk in the file back, whose content is zeros from then on.  Where the
 * file system cannot, nothing happens.
 */
void gd_image_forget_chunk(const struct gd_image *image, const struct gd_image_chunk *chunk);

struct gd_memory;
/*
 * The image kind (memory_image.c): pages of the image, zeros or `beneath` for what its mappings say is
 * missing (beneath: the live memory for pages of files, NULL: those are not readable).  Both are
 * borrowed.
 */
int gd_memory_image(const struct gd_image *image, struct gd_memory *beneath,
                    struct gd_memory **ret, struct gd_error *err);
