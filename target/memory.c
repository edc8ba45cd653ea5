#include "target/memory.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"

void gd_memory_close(struct gd_memory *memory)
{
	if (memory != NULL)
		memory->ops->close(memory);
}

ssize_t gd_memory_read_some(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	/* Never asked of the kind: an empty pread looks like the end of an address space. */
	if (len == 0)
		return 0;
	memory->stats.reads++;
	ssize_t n = memory->ops->read(memory, addr, to, len);
	if (n > 0)
		memory->stats.bytes += (uint64_t)n;
	if (n < 0 || (size_t)n < len)
		memory->stats.faults++;
	return n;
}

int gd_memory_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len,
                   struct gd_error *err)
{
	ssize_t n = gd_memory_read_some(memory, addr, to, len);
	if (n == -ESRCH)
		return gd_fail(err, -ESRCH, "read %zu bytes at 0x%" PRIx64
		               ": the target is gone", len, addr);
	if (n < 0)
		return gd_fail_errno(err, (int)n, "read %zu bytes at 0x%" PRIx64, len, addr);
	if ((size_t)n < len)
		return gd_fail(err, -EFAULT, "read %zu bytes at 0x%" PRIx64
		               ": only %zd are there", len, addr, n);
	return 0;
}

int gd_memory_read_u64(struct gd_memory *memory, uint64_t addr, uint64_t *ret,
                       struct gd_error *err)
{
	uint64_t value;
	int r = gd_memory_read(memory, addr, &value, sizeof(value), err);
	if (r == 0)
		*ret = value;
	return r;
}

int gd_memory_read_u32(struct gd_memory *memory, uint64_t addr, uint32_t *ret,
                       struct gd_error *err)
{
	uint32_t value;
	int r = gd_memory_read(memory, addr, &value, sizeof(value), err);
	if (r == 0)
		*ret = value;
	return r;
}

ssize_t gd_memory_read_go_string(struct gd_memory *memory, uint64_t addr, char *to, size_t size,
                                 struct gd_error *err)
{
	uint8_t header[16];
	int r = gd_memory_read(memory, addr, header, sizeof(header), err);
	if (r < 0)
		return gd_error_wrap(err, r, "string header");
	uint64_t data = gd_load_u64(header);
	uint64_t len = gd_load_u64(header + 8);
	if (size == 0 || len > size - 1)
		return gd_fail(err, -E2BIG, "string at 0x%" PRIx64 ": %" PRIu64
		               " bytes do not fit into %zu", addr, len, size);
	/* `to` stays untouched on failure only up to here: a torn string is overwritten. */
	r = gd_memory_read(memory, data, to, (size_t)len, err);
	if (r < 0)
		return gd_error_wrap(err, r, "string at 0x%" PRIx64, addr);
	to[len] = '\0';
	return (ssize_t)len;
}
