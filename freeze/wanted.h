#pragma once
/*
 * What of an address space is read and how: read once from smaps, whose VmFlags say what the kernel or
 * the process itself does not want read.  Mappings that come later are judged by name alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "freeze/freeze.h"
#include "target/image.h"
#include "target/target.h"

enum gd_wanted_kind {
	GD_WANTED_OWN,    /* pages of its own: anonymous, or written copies of a file's */
	GD_WANTED_SHARED, /* memory that exists nowhere else: shm, memfd, vdso; all that is there */
	GD_WANTED_FILE,   /* pages of a file that anybody can read later */
	GD_WANTED_NEVER,  /* devices, the kernel's pages */
};

struct gd_wanted_range {
	uint64_t start, end;
	enum gd_image_why why; /* of what is skipped */
};

struct gd_wanted_shared {
	uint64_t start, end, offset;
	int fd;     /* the memory as a file, to ask which pages exist; -1: only the page tables say */
	bool in_pause; /* it was read while all stood still */
	bool whole;    /* the vdso: the kernel's code is there whether or not a page table says so */
};

#define GD_WANTED_SHARED_MAX 64

struct gd_wanted {
	struct gd_wanted_range *skip;     /* sorted, disjoint */
	size_t n_skip;
	struct gd_wanted_range *unforked; /* not in a child: DONTFORK, WIPEONFORK */
	size_t n_unforked;
	struct gd_wanted_range *tracked;  /* write-protected by a userfaultfd of ours; filled by that */
	size_t n_tracked;
	struct gd_wanted_range *huge;     /* mappings with huge pages */
	size_t n_huge;
	struct gd_wanted_shared *shared;
	size_t n_shared;
	uint64_t huge_bytes;              /* in them */
	uint64_t shared_bytes;            /* at most, in `shared` */
	bool flags_known;                 /* smaps could be read */
	struct gd_maps maps;
};

int gd_wanted_read(struct gd_target *target, const struct gd_freeze_options *options,
                   struct gd_wanted *ret, struct gd_error *err);
void gd_wanted_deinit(struct gd_wanted *wanted);

/* By the line of maps alone; path not terminated.  Allocates nothing. */
enum gd_wanted_kind gd_wanted_kind_of(const char *path, size_t len, bool shared, bool of_file,
                                      bool deleted);

/* The range that holds addr, or the first one above it, or NULL. */
const struct gd_wanted_range *gd_wanted_find(const struct gd_wanted_range *ranges, size_t n,
                                             uint64_t addr);

/* AnonHugePages of all it has now. */
uint64_t gd_wanted_huge_bytes(struct gd_target *target);
