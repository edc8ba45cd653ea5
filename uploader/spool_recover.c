/*
 * After any death: the journal is read into memory, each file of ready/ and done/ is laid beside its
 * line, and what has no partner is settled.
 *
 *	line, no file       lost: somebody deleted it              D
 *	file, no line       sealed, and killed before the line     C when it verifies, else quarantine
 *	C, other size       not what was sealed                    quarantine, D
 *	U, still in ready/  killed before the move                 moved
 *	D, still there      killed before the deletion             deleted
 *	B alone             killed while capturing                 A
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "uploader/spool_state.h"

struct recovery {
	struct gd_spool *spool;
	struct gd_spool_recovery found;
	struct gd_spool_names dropped;    /* a D line took them out of the list */
	struct gd_spool_names orphans[2]; /* without a line, in ready/ and done/ */
	bool *here;                       /* of each item: its file was seen */
};

static void recovery_deinit(struct recovery *rec)
{
	gd_spool_names_deinit(&rec->dropped);
	gd_spool_names_deinit(&rec->orphans[0]);
	gd_spool_names_deinit(&rec->orphans[1]);
	free(rec->here);
}

/* --- the files ----------------------------------------------------------------------------- */

static bool was_dropped(const struct recovery *rec, const char *name)
{
	for (size_t i = 0; i < rec->dropped.n; i++)
		if (strcmp(rec->dropped.list[i], name) == 0)
			return true;
	return false;
}

static struct gd_spool_item *find_name(const struct gd_spool *spool, const char *name)
{
	for (size_t i = 0; i < spool->n_items; i++)
		if (strcmp(spool->items[i].name, name) == 0)
			return &spool->items[i];
	return NULL;
}

static int put_aside(struct recovery *rec, int dir_fd, const char *name, struct gd_error *err)
{
	int r = gd_spool_quarantine(rec->spool, dir_fd, name, err);
	rec->found.quarantined += r == 0;
	return r;
}

/* A file whose line we have. */
static int settle(struct recovery *rec, bool in_done, struct gd_spool_item *item,
                  const struct stat *st, struct gd_error *err)
{
	struct gd_spool *spool = rec->spool;
	bool *here = &rec->here[item - spool->items];
	int dir_fd = in_done ? spool->done_fd : spool->ready_fd;
	if (*here || !S_ISREG(st->st_mode) || (uint64_t)st->st_size != item->bytes)
		return put_aside(rec, dir_fd, item->name, err);
	*here = true;
	if (in_done) {
		item->uploaded = true; /* it got there by a U line, whatever became of that */
		return 0;
	}
	if (item->uploaded &&
	    renameat(spool->ready_fd, item->name, spool->done_fd, item->name) < 0)
		return gd_fail_errno(err, -errno, "moving %.150s to done/", item->name);
	return 0;
}

static int look_at(struct recovery *rec, bool in_done, const char *name, struct gd_error *err)
{
	struct gd_spool *spool = rec->spool;
	int dir_fd = in_done ? spool->done_fd : spool->ready_fd;
	struct stat st;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return gd_fail_errno(err, -errno, "%.200s", name);
	/* An output file of one who was killed, where the file system knows no O_TMPFILE. */
	if (strncmp(name, ".godiag-", 8) == 0 && S_ISREG(st.st_mode)) {
		(void)unlinkat(dir_fd, name, 0);
		return 0;
	}
	if (!gd_spool_is_name(name))
		return put_aside(rec, dir_fd, name, err);
	struct gd_spool_item *item = find_name(spool, name);
	if (item != NULL)
		return settle(rec, in_done, item, &st, err);
	if (was_dropped(rec, name)) {
		if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			return gd_fail_errno(err, -errno, "%.200s", name);
		return 0;
	}
	int r = gd_spool_names_add(&rec->orphans[in_done], name);
	return r < 0 ? gd_fail_errno(err, r, "%.200s", name) : 0;
}

static int scan(struct recovery *rec, bool in_done, struct gd_error *err)
{
	int fd = openat(in_done ? rec->spool->done_fd : rec->spool->ready_fd, ".",
	                O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	if (stream == NULL) {
		int code = -errno;
		if (fd >= 0)
			(void)close(fd);
		return gd_fail_errno(err, code, "reading the spool");
	}
	int r = 0;
	const struct dirent *entry;
	while (r == 0 && (entry = readdir(stream)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = look_at(rec, in_done, entry->d_name, err);
	return r;
}

static int count_quarantine(struct gd_spool *spool)
{
	int fd = openat(spool->quarantine_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	if (stream == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return -EIO;
	}
	const struct dirent *entry;
	while ((entry = readdir(stream)) != NULL) {
		struct stat st;
		if (entry->d_name[0] == '.' ||
		    fstatat(spool->quarantine_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		spool->n_quarantined++;
		spool->quarantined_bytes += S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	}
	return 0;
}

/*
 * A disk without room for the line must not keep us from starting: what is in memory is right, and the
 * journal is written anew as soon as there is room.
 */
static int or_later(struct gd_spool *spool, int r)
{
	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	spool->journal.broken = true;
	return 0;
}

/* --- those without a partner --------------------------------------------------------------- */

/*
 * 1: a whole archive; 0: something else.  Asked twice before it says no: memory or a disk that fail for
 * a moment must not put evidence aside.
 */
static int examine(int dir_fd, const char *name, struct gd_spool_facts *facts, struct stat *st,
                   struct gd_error *err)
{
	for (unsigned tries = 0; tries < 2; tries++) {
		int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno != ELOOP && errno != ENXIO)
			return gd_fail_errno(err, -errno, "%.200s", name);
		if (fd < 0)
			return 0;
		if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
			(void)close(fd);
			return 0;
		}
		int r = gd_spool_examiner_now(fd, facts, err);
		if (r == 0)
			return 1;
		if (r == -ENOMEM || r == -EMFILE)
			return gd_error_wrap(err, r, "%.100s", name);
	}
	return 0;
}

/*
 * When it was sealed: its file's time, by the kernel's coarse clock up to a tick early.  One that was
 * begun by us came after all that are committed, as captures come one at a time, and stays behind them.
 */
static int64_t sealed_at(const struct gd_spool *spool, const struct stat *st, bool begun)
{
	int64_t file_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	int64_t newest_ns = spool->n_items > 0 ? spool->items[spool->n_items - 1].sealed_realtime_ns
	                                       : 0;
	return begun && newest_ns > file_ns ? newest_ns : file_ns;
}

/* 0: adopted or put aside. */
static int adopt(struct recovery *rec, bool in_done, const char *name, struct gd_error *err)
{
	struct gd_spool *spool = rec->spool;
	int dir_fd = in_done ? spool->done_fd : spool->ready_fd;
	struct gd_spool_facts facts;
	struct stat st = { 0 };
	int r = examine(dir_fd, name, &facts, &st, err);
	if (r < 0)
		return r;
	if (r == 0 || !gd_spool_is_id(facts.id) || gd_spool_find(spool, facts.id) != NULL)
		return put_aside(rec, dir_fd, name, err);

	const struct gd_spool_begun *begun = gd_spool_find_begun(spool, facts.id);
	struct gd_spool_item item = {
		.bytes = (uint64_t)st.st_size,
		.class = begun != NULL ? begun->class : gd_spool_class_of(facts.trigger),
		.uploaded = in_done,
		.sealed_realtime_ns = sealed_at(spool, &st, begun != NULL),
	};
	(void)snprintf(item.id, sizeof(item.id), "%s", facts.id);
	(void)snprintf(item.name, sizeof(item.name), "%s", name);
	(void)snprintf(item.digest, sizeof(item.digest), "%s", facts.digest);
	r = gd_spool_insert(spool, &item, err);
	if (r < 0)
		return r;
	gd_spool_remove_begun(spool, facts.id);
	rec->found.adopted++;
	r = gd_spool_record_commit(spool, &item, err);
	if (r == 0 && in_done)
		r = gd_spool_record(spool, err, "U %s %" PRId64 " -", item.id,
		                    item.sealed_realtime_ns);
	return or_later(spool, r);
}

/* Lines without a file.  From the end, because items are taken out. */
static int drop_lost(struct recovery *rec, struct gd_error *err)
{
	struct gd_spool *spool = rec->spool;
	int r = 0;
	for (size_t i = spool->n_items; i > 0 && r == 0; i--) {
		struct gd_spool_item *item = &spool->items[i - 1];
		if (rec->here[i - 1])
			continue;
		char id[64];
		(void)snprintf(id, sizeof(id), "%s", item->id);
		gd_spool_remove(spool, item);
		rec->found.lost++;
		r = or_later(spool, gd_spool_record(spool, err,
		                                    "D %s %" PRId64 " its file was gone", id,
		                                    gd_clock_now().realtime_ns));
	}
	return r;
}

static int abort_begun(struct recovery *rec, struct gd_error *err)
{
	int r = 0;
	while (rec->spool->n_begun > 0 && r == 0) {
		char id[64];
		(void)snprintf(id, sizeof(id), "%s", rec->spool->begun[0].id);
		gd_spool_remove_begun(rec->spool, id);
		rec->found.aborted++;
		r = or_later(rec->spool,
		             gd_spool_record(rec->spool, err, "A %s %" PRId64 " the agent died", id,
		                             gd_clock_now().realtime_ns));
	}
	return r;
}

static int adopt_all(struct recovery *rec, bool in_done, struct gd_error *err)
{
	const struct gd_spool_names *orphans = &rec->orphans[in_done];
	int r = 0;
	for (size_t i = 0; i < orphans->n && r == 0; i++)
		r = adopt(rec, in_done, orphans->list[i], err);
	return r;
}

static int read_journal(struct recovery *rec, struct gd_error *err)
{
	struct gd_spool *spool = rec->spool;
	struct gd_journal_found found;
	char name[64];
	int r = gd_spool_read_lines(spool, &rec->dropped, &found, err);
	if (r < 0)
		return r;
	rec->found.torn_tail = found.torn_tail;
	rec->found.rebuilt = found.damaged > 0;
	if (found.damaged == 0)
		return 0;
	/* It stays for whoever wants to know; its good lines were used. */
	(void)snprintf(name, sizeof(name), "journal.%" PRId64, gd_clock_now().realtime_ns);
	return gd_journal_keep(&spool->journal, spool->quarantine_fd, name, err);
}

int gd_spool_recover(struct gd_spool *spool, struct gd_spool_recovery *ret, struct gd_error *err)
{
	GD_CLEANUP(recovery_deinit) struct recovery rec = { .spool = spool };
	int r = read_journal(&rec, err);
	if (r < 0)
		return r;
	rec.here = calloc(spool->n_items + 1, sizeof(*rec.here));
	if (rec.here == NULL)
		return gd_fail_errno(err, -ENOMEM, "spool");
	r = scan(&rec, true, err);
	if (r == 0)
		r = scan(&rec, false, err);
	if (r == 0)
		r = drop_lost(&rec, err);
	if (r == 0)
		r = adopt_all(&rec, true, err);
	if (r == 0)
		r = adopt_all(&rec, false, err);
	if (r == 0)
		r = abort_begun(&rec, err);
	if (r == 0 && spool->journal.broken)
		r = or_later(spool, gd_spool_rewrite(spool, err));
	if (r == 0)
		r = count_quarantine(spool);
	if (r < 0)
		return r;
	*ret = rec.found;
	return 0;
}

int gd_spool_quarantine(struct gd_spool *spool, int from_fd, const char *name,
                        struct gd_error *err)
{
	char to[300];
	(void)snprintf(to, sizeof(to), "%.255s", name[0] == '.' ? name + 1 : name);
	for (unsigned i = 1; i < 1000; i++) {
		if (renameat2(from_fd, name, spool->quarantine_fd, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			break;
		(void)snprintf(to, sizeof(to), "%u.%.250s", i, name);
	}
	return gd_fail_errno(err, -errno, "putting %.150s aside", name);
}
