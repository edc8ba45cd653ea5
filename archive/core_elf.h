#pragma once
/*
 * An ELF core for debuggers out of an archive's core.  The file is as large as the address space it
 * shows and has holes where that was zero; one chunk is in memory at a time.
 *
 * Each mapping becomes PT_LOADs.  What was kept, and what is known to be zero, has bytes.  What
 * lies in a file has a size in memory and none in the core: gdb and delve take it from the
 * executable and the libraries by NT_FILE; the executable's own pages are filled in when the
 * archive has it.  What is lost is in no PT_LOAD, so that debuggers say it is not there.
 */
#include "archive/core_base.h"
#include "archive/reader.h"

struct gd_core_elf_result {
	uint64_t file_bytes;   /* its size, holes included */
	uint64_t stored_bytes; /* written */
	uint64_t loads;        /* PT_LOADs */
	uint64_t chunks, chunks_bad;
	size_t problems;       /* sentences given out: the core is partial */
};

/*
 * Into `fd`, an empty file.  `base` may be NULL unless chunks need it (-ENOENT names the capture,
 * -EINVAL: it is another one).  Damage is told to `problem` and left as a hole.  -ENOENT: there is
 * no core; -ENOSPC.
 */
int gd_core_elf_write(const struct gd_reader *reader, const struct gd_core_base *base, int fd,
                      void (*problem)(void *arg, const char *sentence), void *arg,
                      struct gd_core_elf_result *ret, struct gd_error *err);
