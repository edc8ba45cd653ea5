#pragma once
/*
 * Something that answers "read these bytes at this address".  Everything above (golang/, the
 * unwinders) sees a target only through this, so it works alike on a live process, on a consistent
 * image of one, on a core file and on bytes a test made up.
 *
 * It does not know what is mapped where (maps.h does) and promises no consistency: the live kind
 * can return torn data, and whoever needs certainty reads again and compares.
 * A memory is used by one thread at a time.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct gd_memory_stats {
	uint64_t reads;  /* calls that reached the kind */
	uint64_t bytes;  /* bytes they returned */
	uint64_t faults; /* reads that ended early or not at all */
};

struct gd_memory;

struct gd_memory_ops {
	const char *kind; /* "live", "image", "core", "bytes": as written into the manifest */
	/*
	 * Reads up to len bytes; returns how many were readable from addr on (0: none), or a
	 * negative errno when the memory as a whole is gone (-ESRCH) or broken (-EIO).
	 */
	ssize_t (*read)(struct gd_memory *memory, uint64_t addr, void *to, size_t len);
	void (*close)(struct gd_memory *memory); /* frees it */
};

struct gd_memory {
	const struct gd_memory_ops *ops;
	struct gd_memory_stats stats;
};

/* A live process by its /proc/PID/mem descriptor, which stays the caller's.  Uses pread: a page on
 * a userfaultfd that nobody serves is then -EFAULT and not a hang. */
int gd_memory_live(int mem_fd, struct gd_memory **ret, struct gd_error *err);

/* `len` bytes at `addr`, copied.  For tests, fuzzers and single sections of a file. */
int gd_memory_bytes(uint64_t addr, const void *bytes, size_t len, struct gd_memory **ret,
                    struct gd_error *err);

void gd_memory_close(struct gd_memory *memory); /* NULL allowed */
static inline void gd_cleanup_memory(struct gd_memory **memory)
{
	gd_memory_close(*memory);
}
#define GD_MEMORY __attribute__((cleanup(gd_cleanup_memory)))

/* All of it or -EFAULT (naming length and address); -ESRCH when the target is gone. */
int gd_memory_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len,
                   struct gd_error *err);

/* As much as is readable from addr on; 0 is not an error. */
ssize_t gd_memory_read_some(struct gd_memory *memory, uint64_t addr, void *to, size_t len);

int gd_memory_read_u64(struct gd_memory *memory, uint64_t addr, uint64_t *ret,
                       struct gd_error *err);
int gd_memory_read_u32(struct gd_memory *memory, uint64_t addr, uint32_t *ret,
                       struct gd_error *err);

/*
 * A Go string header {ptr, len} at addr, its bytes copied to `to`, NUL-terminated.  More than
 * size - 1 bytes: -E2BIG.  Returns the length.
 */
ssize_t gd_memory_read_go_string(struct gd_memory *memory, uint64_t addr, char *to, size_t size,
                                 struct gd_error *err);
