/*
 * The live kind: pread on a /proc/PID/mem descriptor.
 *
 * Why not process_vm_readv: a page registered with a userfaultfd that nobody serves puts its caller
 * into an uninterruptible sleep, while the mem file answers EIO at once (measured on 6.18).  And the
 * descriptor is bound to the address space it was opened on, so a reused pid cannot be read.
 */
#include "target/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct live {
	struct gd_memory memory;
	int fd;
};

static ssize_t live_read(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	struct live *live = (struct live *)memory;
	size_t got = 0;
	while (got < len) {
		uint64_t at;
		if (__builtin_add_overflow(addr, got, &at) || at > INT64_MAX)
			break; /* kernel half: pread would say EINVAL */
		ssize_t n = pread(live->fd, (char *)to + got, len - got, (off_t)at);
		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		/* End of file is the kernel's word for an address space without users. */
		if (n == 0)
			return -ESRCH;
		if (errno == EINTR)
			continue;
		if (errno == EIO || errno == EFAULT || errno == EINVAL)
			break;
		return -errno;
	}
	return (ssize_t)got;
}

static void live_close(struct gd_memory *memory)
{
	free(memory);
}

static const struct gd_memory_ops live_ops = {
	.kind = "live",
	.read = live_read,
	.close = live_close,
};

int gd_memory_live(int mem_fd, struct gd_memory **ret, struct gd_error *err)
{
	struct live *live = calloc(1, sizeof(*live));
	if (live == NULL)
		return gd_fail_errno(err, -ENOMEM, "live memory");
	live->memory.ops = &live_ops;
	live->fd = mem_fd;
	*ret = (struct gd_memory *)live;
	return 0;
}
