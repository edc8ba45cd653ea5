#include "collectors/perf_ring.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int gd_perf_ring_map(int fd, size_t most, struct gd_perf_ring *ret, struct gd_error *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = MAP_FAILED;
	size_t bytes = most;
	for (; bytes >= GD_PERF_RING_MIN; bytes /= 2) {
		at = mmap(NULL, page + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		/* Not permission but the budget of locked memory; less may fit. */
		if (at != MAP_FAILED || errno != EPERM)
			break;
	}
	if (at == MAP_FAILED)
		return gd_fail_errno(err, -errno, "the ring of a perf event "
		                     "(kernel.perf_event_mlock_kb)");
	*ret = (struct gd_perf_ring){ .pages = at, .page = page, .data_bytes = bytes, .fd = fd };
	return 0;
}

void gd_perf_ring_unmap(struct gd_perf_ring *ring)
{
	if (ring->pages != NULL)
		(void)munmap(ring->pages, ring->page + ring->data_bytes);
	ring->pages = NULL;
}

static void copy_out(const struct gd_perf_ring *ring, uint64_t at, void *to, size_t n)
{
	const uint8_t *data = ring->pages + ring->page;
	size_t from = (size_t)(at & (ring->data_bytes - 1));
	size_t first = n < ring->data_bytes - from ? n : ring->data_bytes - from;
	memcpy(to, data + from, first);
	memcpy((uint8_t *)to + first, data, n - first);
}

int gd_perf_ring_next(struct gd_perf_ring *ring, uint8_t to[GD_PERF_RECORD_BYTES])
{
	struct perf_event_mmap_page *meta = (void *)ring->pages;
	struct perf_event_header header;
	uint64_t head = __atomic_load_n(&meta->data_head, __ATOMIC_ACQUIRE);
	uint64_t tail = meta->data_tail;
	if (head == tail)
		return 0;
	int r = -EBADMSG;
	if (head - tail >= sizeof(header) && head - tail <= ring->data_bytes) {
		copy_out(ring, tail, &header, sizeof(header));
		if (header.size >= sizeof(header) && header.size <= head - tail) {
			copy_out(ring, tail, to, header.size);
			r = header.size;
		}
	}
	__atomic_store_n(&meta->data_tail, r > 0 ? tail + (uint64_t)r : head, __ATOMIC_RELEASE);
	return r;
}
