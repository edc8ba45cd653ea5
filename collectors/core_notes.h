#pragma once
/*
 * The PT_NOTE segment of a core: registers of every thread of an image, who the process was, its
 * auxiliary vector and which files it had mapped.  The notes, their order and their contents are
 * those of the kernel's own core dumps (fs/binfmt_elf.c, 6.1), x86-64 only; what reads it is
 * archive/core_elf.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "target/image.h"
#include "target/target.h"

struct gd_core_notes_order {
	int32_t first_tid; /* whom debuggers show first; 0: the main thread */
	const void *auxv;  /* of /proc/PID/auxv at the same instant; n 0: no such note */
	size_t n_auxv;
};

/*
 * Appends to `out`, whose ceiling bounds it (a thread takes about 3.5 KiB, with AMX tiles 12).
 * Threads that did not stop are there with registers of zero, behind all others.  The target is
 * asked for its parent, its ids and its command line, masked as proc/cmdline.json; it may be gone
 * by then.
 */
int gd_core_notes_write(const struct gd_image *image, struct gd_target *target,
                        const struct gd_core_notes_order *order, struct gd_buf *out,
                        struct gd_error *err);
