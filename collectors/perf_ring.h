#pragma once
/*
 * The ring that the kernel writes the records of perf events into, mapped from a descriptor that
 * somebody more privileged opened.  Reads records one by one; knows nothing of what they say.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* 512 KiB and a page is what the kernel lets everybody lock for each CPU (perf_event_mlock_kb). */
#define GD_PERF_RING_MAX (512u << 10)
/* For more than so many samples in a second, if RLIMIT_MEMLOCK has room for it. */
#define GD_PERF_RING_FAST_HZ 250
#define GD_PERF_RING_FAST (1u << 20)
#define GD_PERF_RING_MIN (32u << 10)

struct gd_perf_ring {
	uint8_t *pages; /* one of the kernel's, then the data; NULL: none */
	size_t page, data_bytes;
	int fd;         /* borrowed */
};

/* Maps as much as is allowed, at most `most` (a power of two); -EPERM: not even the least. */
int gd_perf_ring_map(int fd, size_t most, struct gd_perf_ring *ret, struct gd_error *err);
void gd_perf_ring_unmap(struct gd_perf_ring *ring);

/*
 * The next record into `to` (64 KiB, the longest there is).  Its length; 0: there is none now;
 * -EBADMSG: the ring makes no sense, and is emptied.
 */
#define GD_PERF_RECORD_BYTES (64u << 10)
int gd_perf_ring_next(struct gd_perf_ring *ring, uint8_t to[GD_PERF_RECORD_BYTES]);
