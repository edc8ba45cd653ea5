/* Deleting what retention chose.  The line comes before the deletion: nothing goes unrecorded. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uploader/retention.h"
#include "uploader/spool_state.h"

/* Where it is: a move to done/ that failed is made up for by the next open only. */
static int unlink_item(const struct gd_spool *spool, const struct gd_spool_item *item,
                       struct gd_error *err)
{
	if (item->uploaded && unlinkat(spool->done_fd, item->name, 0) == 0)
		return 0;
	if (item->uploaded && errno != ENOENT)
		return gd_fail_errno(err, -errno, "deleting %.150s", item->name);
	if (unlinkat(spool->ready_fd, item->name, 0) < 0 && errno != ENOENT)
		return gd_fail_errno(err, -errno, "deleting %.150s", item->name);
	return 0;
}

static int drop(struct gd_spool *spool, struct gd_spool_item *item, enum gd_retention_why why,
                struct gd_error *err)
{
	char id[64];
	(void)snprintf(id, sizeof(id), "%s", item->id);
	int recorded = gd_spool_record(spool, err, "D %s %" PRId64 " %s", id,
	                               gd_clock_now().realtime_ns, gd_retention_why_texts[why]);
	/* A disk without room for the line is what deleting cures. */
	if (recorded < 0 && recorded != -ENOSPC && recorded != -EDQUOT)
		return recorded;
	int r = unlink_item(spool, item, err);
	if (r < 0)
		return r;
	gd_spool_remove(spool, item);
	if (recorded < 0)
		return gd_spool_record(spool, err, "D %s %" PRId64 " %s", id,
		                       gd_clock_now().realtime_ns, gd_retention_why_texts[why]);
	return 0;
}

static void drop_quarantine(struct gd_spool *spool)
{
	int fd = openat(spool->quarantine_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	if (stream == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	spool->n_quarantined = 0;
	spool->quarantined_bytes = 0;
	const struct dirent *entry;
	while ((entry = readdir(stream)) != NULL)
		if (entry->d_name[0] != '.' &&
		    unlinkat(spool->quarantine_fd, entry->d_name, 0) < 0)
			spool->n_quarantined++;
}

static void look_at_space(const struct gd_spool *spool, struct gd_retention_space *ret)
{
	struct gd_spool_stats stats;
	gd_spool_stats(spool, &stats);
	*ret = (struct gd_retention_space){ .fs_bytes = stats.fs_bytes,
		                            .fs_free_bytes = stats.fs_free_bytes,
		                            .quarantined_bytes = spool->quarantined_bytes };
}

/* The choices as copies: what is deleted moves the others. */
static int apply(struct gd_spool *spool, const struct gd_retention_choice *chosen, size_t n,
                 struct gd_spool_pruned *pruned, struct gd_error *err)
{
	GD_FREE char(*ids)[64] = calloc(n, sizeof(*ids));
	if (ids == NULL)
		return gd_fail_errno(err, -ENOMEM, "pruning");
	for (size_t i = 0; i < n; i++)
		if (chosen[i].item != SIZE_MAX)
			memcpy(ids[i], spool->items[chosen[i].item].id, sizeof(ids[i]));
	for (size_t i = 0; i < n; i++) {
		if (chosen[i].item == SIZE_MAX) {
			drop_quarantine(spool);
			continue;
		}
		struct gd_spool_item *item = gd_spool_find(spool, ids[i]);
		uint64_t bytes = item->bytes;
		bool uploaded = item->uploaded;
		int r = drop(spool, item, chosen[i].why, err);
		if (r < 0)
			return r;
		pruned->n++;
		pruned->bytes += bytes;
		pruned->n_unsent += !uploaded;
	}
	return 0;
}

int gd_spool_prune(struct gd_spool *spool, const struct gd_spool_keep *keep,
                   const struct gd_clock *now, struct gd_spool_pruned *ret, struct gd_error *err)
{
	struct gd_retention_space space;
	struct gd_spool_pruned pruned = { 0 };
	GD_FREE struct gd_retention_choice *chosen = calloc(spool->n_items + 1, sizeof(*chosen));
	GD_FREE bool *gone = calloc(spool->n_items + 1, sizeof(*gone));
	if (chosen == NULL || gone == NULL)
		return gd_fail_errno(err, -ENOMEM, "pruning");
	look_at_space(spool, &space);
	size_t n = gd_retention_choose(spool->items, spool->n_items, keep, &space,
	                               now->realtime_ns, chosen, gone);
	int r = n > 0 ? apply(spool, chosen, n, &pruned, err) : 0;
	if (ret != NULL)
		*ret = pruned;
	return r;
}
