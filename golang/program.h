#pragma once
/*
 * The writable data of a target's executable, shared libraries and plugins, read piece by piece:
 * the Go linker puts build info and moduledata there in all of Go 1.18 to 1.27, PIE or not
 * (cmd/link data.go: Segdata).  Read-only data, which can be hundreds of MiB, need not be touched.
 * Only the map list is looked at, no ELF file is opened, so deleted, replaced and unreachable
 * files will do.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "target/maps.h"
#include "target/memory.h"

enum gd_program_data {
	/* Of files that are also mapped executable. */
	GD_PROGRAM_FILES,
	/* Without a file, near code without a file: what a packer unpacked or a checkpoint tool
	 * restored.  Also the heap of many a virtual machine, so there is a limit. */
	GD_PROGRAM_UNPACKED,
};

/*
 * n readable bytes of the target's memory at addr (a multiple of 16), valid during the call.  Not 0
 * ends the scan.
 */
typedef int gd_program_fn(uint64_t addr, const uint8_t *bytes, size_t n, void *arg);

/*
 * Calls fn for all such data in address order.  Neighbouring pieces share `overlap` bytes (a
 * multiple of 16, below 4096), so that a record of at most that length is whole in one of them;
 * one on an edge is seen twice.  Returns 0 or what fn returned; -ESRCH when the target is gone,
 * -ENOMEM.
 */
int gd_program_scan(struct gd_memory *memory, const struct gd_maps *maps, enum gd_program_data what,
                    size_t overlap, gd_program_fn *fn, void *arg, struct gd_error *err);

/* How far mappings go on without a hole from addr; addr itself when nothing is mapped there. */
uint64_t gd_program_mapped_until(const struct gd_maps *maps, uint64_t addr);
