#include "uploader/spool_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"

const char *const gd_spool_class_names[GD_SPOOL_CLASSES] = {
	[GD_SPOOL_CRASH] = "crash",
	[GD_SPOOL_ALERT] = "alert",
	[GD_SPOOL_MANUAL] = "manual",
	[GD_SPOOL_PERIODIC] = "periodic",
};

enum gd_spool_class gd_spool_class_of(const char *trigger)
{
	static const struct {
		const char *trigger;
		enum gd_spool_class class;
	} known[] = {
		{ "event", GD_SPOOL_CRASH },       { "rule", GD_SPOOL_ALERT },
		{ "alert", GD_SPOOL_ALERT },       { "hook", GD_SPOOL_ALERT },
		{ "schedule", GD_SPOOL_PERIODIC }, { "baseline", GD_SPOOL_PERIODIC },
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(trigger, known[i].trigger) == 0)
			return known[i].class;
	return GD_SPOOL_MANUAL;
}

const char *gd_spool_ready(const struct gd_spool *spool)
{
	return spool->ready;
}

int gd_spool_begin(struct gd_spool *spool, const char *id, enum gd_spool_class class,
                   struct gd_error *err)
{
	if (!gd_spool_is_id(id))
		return gd_fail(err, -EINVAL, "\"%.40s\" is no capture id", id);
	if (gd_spool_find(spool, id) != NULL || gd_spool_find_begun(spool, id) != NULL)
		return gd_fail(err, -EEXIST, "capture %s is in the spool already", id);
	int r = gd_spool_add_begun(spool, id, class, err);
	if (r < 0)
		return r;
	r = gd_spool_record(spool, err, "B %s %s", id, gd_spool_class_names[class]);
	if (r < 0)
		gd_spool_remove_begun(spool, id);
	return r;
}

static int check_sealed(const struct gd_spool *spool, const char *name, uint64_t bytes,
                        struct gd_error *err)
{
	struct stat st;
	if (fstatat(spool->ready_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return gd_fail_errno(err, -errno, "ready/%.120s", name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes)
		return gd_fail(err, -EBADMSG,
		               "ready/%.120s is not the archive of %" PRIu64 " bytes that it "
		               "should be",
		               name, bytes);
	return 0;
}

int gd_spool_commit(struct gd_spool *spool, const char *id, const char *name, const char *digest,
                    uint64_t bytes, struct gd_error *err)
{
	const struct gd_spool_begun *begun = gd_spool_find_begun(spool, id);
	if (begun == NULL)
		return gd_fail(err, -ENOENT, "capture %.60s was not begun", id);
	if (!gd_spool_is_name(name) || strlen(digest) >= sizeof((struct gd_spool_item){ 0 }.digest))
		return gd_fail(err, -EINVAL, "\"%.60s\" is no name for an archive", name);
	int r = check_sealed(spool, name, bytes, err);
	if (r < 0)
		return r;
	struct gd_spool_item item = { .bytes = bytes, .class = begun->class };
	(void)snprintf(item.id, sizeof(item.id), "%s", id);
	(void)snprintf(item.name, sizeof(item.name), "%s", name);
	(void)snprintf(item.digest, sizeof(item.digest), "%s", digest);
	item.sealed_realtime_ns = gd_clock_now().realtime_ns;
	r = gd_spool_insert(spool, &item, err);
	if (r < 0)
		return r;
	gd_spool_remove_begun(spool, id);
	return gd_spool_record_commit(spool, &item, err);
}

int gd_spool_abort(struct gd_spool *spool, const char *id, const char *why, struct gd_error *err)
{
	if (gd_spool_find_begun(spool, id) == NULL)
		return gd_fail(err, -ENOENT, "capture %.60s was not begun", id);
	gd_spool_remove_begun(spool, id);
	return gd_spool_record(spool, err, "A %s %" PRId64 " %s", id, gd_clock_now().realtime_ns,
	                       why);
}

/* One that keeps failing must not stand before all others: who failed less often comes first. */
static bool goes_before(const struct gd_spool_item *a, const struct gd_spool_item *b)
{
	if (a->attempts != b->attempts)
		return a->attempts < b->attempts;
	return a->class < b->class; /* and then the older one, which is seen first */
}

bool gd_spool_next(const struct gd_spool *spool, const char *busy, struct gd_spool_item *ret)
{
	const struct gd_spool_item *best = NULL;
	for (size_t i = 0; i < spool->n_items; i++) {
		const struct gd_spool_item *item = &spool->items[i];
		if (item->uploaded || (busy != NULL && strcmp(item->id, busy) == 0))
			continue;
		if (best == NULL || goes_before(item, best))
			best = item;
	}
	if (best == NULL)
		return false;
	*ret = *best;
	return true;
}

int gd_spool_open_item(struct gd_spool *spool, const char *id, int *ret_fd, struct gd_error *err)
{
	const struct gd_spool_item *item = gd_spool_find(spool, id);
	struct stat st;
	if (item == NULL)
		return gd_fail(err, -ENOENT, "capture %.60s is not in the spool", id);
	GD_CLOSE int fd = openat(item->uploaded ? spool->done_fd : spool->ready_fd, item->name,
	                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%.200s", item->name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != item->bytes)
		return gd_fail(err, -EBADMSG, "%.150s changed since it was sealed", item->name);
	*ret_fd = gd_steal_fd(&fd);
	return 0;
}

int gd_spool_uploaded(struct gd_spool *spool, const char *id, const char *location,
                      struct gd_error *err)
{
	struct gd_spool_item *item = gd_spool_find(spool, id);
	if (item == NULL)
		return gd_fail(err, -ENOENT, "capture %.60s is not in the spool", id);
	if (item->uploaded)
		return 0;
	int r = gd_spool_set_location(item, location);
	if (r < 0)
		return gd_fail_errno(err, r, "spool");
	r = gd_spool_record(spool, err, "U %s %" PRId64 " %s", id, gd_clock_now().realtime_ns,
	                    location);
	if (r < 0)
		return r;
	item->uploaded = true;
	item->last_error[0] = '\0';
	spool->uploaded_total++;
	/* Neither name needs a sync: the line says where the file belongs, and open moves it there. */
	if (renameat(spool->ready_fd, item->name, spool->done_fd, item->name) < 0)
		return gd_fail_errno(err, -errno, "moving %.150s to done/", item->name);
	return 0;
}

int gd_spool_failed(struct gd_spool *spool, const char *id, const char *why, struct gd_error *err)
{
	struct gd_spool_item *item = gd_spool_find(spool, id);
	if (item == NULL)
		return gd_fail(err, -ENOENT, "capture %.60s is not in the spool", id);
	gd_spool_set_error(item, why);
	int r = gd_spool_record(spool, err, "F %s %u %" PRId64 " %s", id, item->attempts + 1,
	                        gd_clock_now().realtime_ns, item->last_error);
	item->attempts++; /* it did fail, recorded or not */
	spool->failed_total++;
	return r;
}

void gd_spool_stats(const struct gd_spool *spool, struct gd_spool_stats *ret)
{
	struct gd_spool_stats stats = { .quarantined = spool->n_quarantined,
		                        .quarantined_bytes = spool->quarantined_bytes,
		                        .uploaded_total = spool->uploaded_total,
		                        .failed_total = spool->failed_total };
	for (size_t i = 0; i < spool->n_items; i++) {
		const struct gd_spool_item *item = &spool->items[i];
		stats.ready += !item->uploaded;
		stats.done += item->uploaded;
		*(item->uploaded ? &stats.done_bytes : &stats.ready_bytes) += item->bytes;
	}
	struct statvfs fs;
	if (fstatvfs(spool->dir_fd, &fs) == 0) {
		stats.fs_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
		stats.fs_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	*ret = stats;
}

size_t gd_spool_items(const struct gd_spool *spool, const struct gd_spool_item **ret)
{
	*ret = spool->items;
	return spool->n_items;
}
