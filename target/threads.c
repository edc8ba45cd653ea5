#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/target.h"

static int ascending(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a;
	int32_t y = *(const int32_t *)b;
	return (x > y) - (x < y);
}

int gd_target_threads(struct gd_target *target, pid_t **ret, size_t *ret_n, struct gd_error *err)
{
	_Static_assert(sizeof(pid_t) == sizeof(int32_t), "the list is handed out as it came");
	GD_BUF struct gd_buf list = GD_BUF_INIT(GD_TARGET_THREADS_MAX * sizeof(int32_t));
	int r = target->access->ops->list(target->access, "task", GD_TARGET_THREADS_MAX, &list,
	                                  err);
	if (r < 0)
		return r;
	size_t n = list.len / sizeof(int32_t);
	if (n == 0)
		return gd_fail(err, -ESRCH, "task: the target has exited");
	pid_t *tids = malloc(n * sizeof(*tids));
	if (tids == NULL)
		return gd_fail_errno(err, -ENOMEM, "task");
	memcpy(tids, list.data, n * sizeof(*tids));
	qsort(tids, n, sizeof(*tids), ascending);
	*ret = tids;
	*ret_n = n;
	return 0;
}
