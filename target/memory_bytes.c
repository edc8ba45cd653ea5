/*
 * The bytes kind: one copied range.  Reads outside of it fault, as they would in a process.
 */
#include "target/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	struct gd_memory memory;
	uint64_t addr;
	size_t len;
	unsigned char bytes[];
};

static ssize_t range_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	struct range *range = (struct range *)memory;
	if (addr < range->addr || addr - range->addr >= range->len)
		return 0;
	size_t from = (size_t)(addr - range->addr);
	size_t n = range->len - from < len ? range->len - from : len;
	memcpy(to, range->bytes + from, n);
	return (ssize_t)n;
}

static void range_close(struct gd_memory *memory)
{
	free(memory);
}

static const struct gd_memory_ops range_ops = {
	.kind = "bytes",
	.read = range_read,
	.close = range_close,
};

int gd_memory_bytes(uint64_t addr, const void *bytes, size_t len, struct gd_memory **ret,
                    struct gd_error *err)
{
	size_t size;
	uint64_t end;
	if (__builtin_add_overflow(sizeof(struct range), len, &size) ||
	    __builtin_add_overflow(addr, (uint64_t)len, &end))
		return gd_fail(err, -EINVAL, "memory of %zu bytes: wraps around", len);
	struct range *range = malloc(size);
	if (range == NULL)
		return gd_fail_errno(err, -ENOMEM, "memory of %zu bytes", len);
	range->memory = (struct gd_memory){ .ops = &range_ops };
	range->addr = addr;
	range->len = len;
	if (len > 0)
		memcpy(range->bytes, bytes, len);
	*ret = (struct gd_memory *)range;
	return 0;
}
