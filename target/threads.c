#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "target/identity.h"
#include "target/target.h"

struct tids {
	pid_t *list;
	size_t n, cap;
};

static int append(struct tids *tids, pid_t tid)
{
	if (tids->n == tids->cap) {
		size_t cap = tids->cap == 0 ? 64 : tids->cap * 2;
		pid_t *list = reallocarray(tids->list, cap, sizeof(*list));
		if (list == NULL)
			return -ENOMEM;
		tids->list = list;
		tids->cap = cap;
	}
	tids->list[tids->n++] = tid;
	return 0;
}

static int ascending(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a;
	pid_t y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

static int read_tids(DIR *dir, struct tids *tids, struct gd_error *err)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (entry == NULL && errno != 0)
			return gd_fail_errno(err, -errno, "task");
		if (entry == NULL)
			return 0;
		uint64_t tid;
		const char *end;
		if (!gd_text_u64(entry->d_name, &end, 10, &tid) || *end != '\0' ||
		    tid > INT32_MAX)
			continue;
		if (tids->n == GD_TARGET_THREADS_MAX)
			return gd_fail(err, -E2BIG, "task: more than %d threads",
			               GD_TARGET_THREADS_MAX);
		int r = append(tids, (pid_t)tid);
		if (r < 0)
			return gd_fail_errno(err, r, "task");
	}
}

int gd_target_threads(struct gd_target *target, pid_t **ret, size_t *ret_n, struct gd_error *err)
{
	int fd = openat(target->fds.proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && gd_identity_ended(target->fds.pid_fd))
		return gd_fail(err, -ESRCH, "task: the target has exited");
	if (fd < 0)
		return gd_fail_errno(err, -errno, "task");
	GD_CLOSEDIR DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		int code = -errno;
		(void)close(fd);
		return gd_fail_errno(err, code, "task");
	}
	struct tids tids = { 0 };
	int r = read_tids(dir, &tids, err);
	if (r == 0 && tids.n == 0)
		r = gd_fail(err, -ESRCH, "task: the target has exited");
	if (r < 0) {
		free(tids.list);
		return r;
	}
	qsort(tids.list, tids.n, sizeof(*tids.list), ascending);
	*ret = tids.list;
	*ret_n = tids.n;
	return 0;
}
