#pragma once
/*
 * The spool: sealed archives waiting for upload, and the journal that says what happened to each.
 *
 *	DIR/ready/       sealed, not known to be uploaded
 *	DIR/done/        uploaded and verified, kept until retention takes them
 *	DIR/quarantine/  what could not be trusted after a crash
 *	DIR/journal      append only; a line per event with length and CRC32C, fdatasync'ed
 *
 * One process has it open (a lock that its children do not inherit): the broker, or `godiag upload`
 * without one.  Its state is the directories; the journal explains them.  Killed at any point, the
 * next open brings both together again: nothing torn is ever listed, nothing acknowledged is ever lost.
 *
 * Lines of the journal, times in nanoseconds since 1970:
 *	B ID CLASS                              a capture began
 *	A ID TIME WHY                           and gave up, or died
 *	C ID CLASS TIME BYTES DIGEST NAME       sealed as ready/NAME
 *	F ID ATTEMPTS TIME WHY                  an upload failed
 *	U ID TIME LOCATION                      uploaded and verified there; then moved to done/
 *	D ID TIME WHY                           to be deleted, or found deleted by somebody
 *	T UPLOADED FAILED                       totals so far; ends a compaction
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

/* What an archive is worth when space is short: the larger goes first. */
enum gd_spool_class {
	GD_SPOOL_CRASH,    /* gone, oom, restarts */
	GD_SPOOL_ALERT,    /* rules and alerts */
	GD_SPOOL_MANUAL,
	GD_SPOOL_PERIODIC, /* baselines */
	GD_SPOOL_CLASSES,
};
extern const char *const gd_spool_class_names[GD_SPOOL_CLASSES];

struct gd_spool_item {
	char id[64];         /* capture id */
	char name[256];      /* file name */
	char digest[72];     /* of the manifest: the capture's name */
	uint64_t bytes;
	enum gd_spool_class class;
	bool uploaded;
	int64_t sealed_realtime_ns;
	unsigned attempts;   /* uploads that failed so far */
	char last_error[200];
	const char *location; /* where it was uploaded to; NULL; valid until the next change */
};

struct gd_spool;

/* What opening found and mended; for one log line and status. */
struct gd_spool_recovery {
	unsigned adopted;     /* sealed but not in the journal: verified, now in it */
	unsigned quarantined; /* did not verify */
	unsigned aborted;     /* begun, never sealed */
	unsigned lost;        /* in the journal, file gone: somebody removed it */
	bool torn_tail;       /* the journal's last line was cut off */
	bool rebuilt;         /* the journal was damaged, put aside and written anew */
};

/* The classes' names, from a snapshot's trigger ("rule", "schedule", "event"...) or by hand. */
enum gd_spool_class gd_spool_class_of(const char *trigger);

/* What a file in ready/ that nobody told us about says of itself. */
struct gd_spool_facts {
	char id[64], digest[72], trigger[32];
	int64_t started_realtime_ns;
};
/* Verifies it whole.  -EBADMSG: it is not complete.  Takes fd over. */
typedef int gd_spool_examiner(int fd, struct gd_spool_facts *ret, struct gd_error *err);
int gd_spool_examine(int fd, struct gd_spool_facts *ret, struct gd_error *err);
/*
 * Who examines, when spools are opened from now on: a process with privileges has it done by one
 * without.  NULL: gd_spool_examine, which is the default.
 */
void gd_spool_examine_by(gd_spool_examiner *examiner);

/*
 * Makes what is missing (0700).  -EPERM: the directory is a symlink, not ours or writable for others;
 * -EBUSY: another process has it.
 */
int gd_spool_open(const char *dir, struct gd_spool **ret, struct gd_spool_recovery *recovery,
                  struct gd_error *err);
void gd_spool_close(struct gd_spool *spool); /* NULL allowed */

/* DIR/ready: where captures are sealed into. */
const char *gd_spool_ready(const struct gd_spool *spool);

/*
 * Every change is on the disk before it returns.  Negative: it could not be recorded (-ENOSPC, -EIO);
 * the next call tries to write the journal anew.
 */
int gd_spool_begin(struct gd_spool *spool, const char *id, enum gd_spool_class class,
                   struct gd_error *err);
/*
 * Sealed as ready/<name>.  When only the record fails, the archive stays in the spool all the same: it
 * is listed, uploaded, and adopted by the next open.
 */
int gd_spool_commit(struct gd_spool *spool, const char *id, const char *name, const char *digest,
                    uint64_t bytes, struct gd_error *err);
int gd_spool_abort(struct gd_spool *spool, const char *id, const char *why, struct gd_error *err);

/* The next to upload that is not `busy` (an id, NULL none): crash before periodic, old before new. */
bool gd_spool_next(const struct gd_spool *spool, const char *busy, struct gd_spool_item *ret);
/* Opens a ready archive for reading; the uploader gets this descriptor and never a path. */
int gd_spool_open_item(struct gd_spool *spool, const char *id, int *ret_fd, struct gd_error *err);
/* Verified at `location`: moves to done/. */
int gd_spool_uploaded(struct gd_spool *spool, const char *id, const char *location,
                      struct gd_error *err);
int gd_spool_failed(struct gd_spool *spool, const char *id, const char *why,
                    struct gd_error *err);

struct gd_spool_keep { /* 0: no limit */
	uint64_t age_ns, count, bytes; /* of done/, and of ready/ when nothing uploads (`local`) */
	uint64_t spool_bytes;          /* ready + done together never above this */
	double free_ratio;             /* of the file system stays free; <= 0: no floor */
	bool local;                    /* no place to upload to: ready/ is where archives live */
};
struct gd_spool_pruned {
	unsigned n;
	uint64_t bytes;
	unsigned n_unsent; /* of these, never uploaded: only to keep within spool_bytes or the floor */
};
/*
 * Done ones first, oldest first, then what is in quarantine; unsent ones only for space, periodic
 * first, crashes last, and for the floor only when that reaches it.
 */
int gd_spool_prune(struct gd_spool *spool, const struct gd_spool_keep *keep,
                   const struct gd_clock *now, struct gd_spool_pruned *ret, struct gd_error *err);

struct gd_spool_stats {
	unsigned ready, done, quarantined;
	uint64_t ready_bytes, done_bytes, quarantined_bytes;
	uint64_t fs_bytes, fs_free_bytes;
	uint64_t uploaded_total, failed_total;
};
void gd_spool_stats(const struct gd_spool *spool, struct gd_spool_stats *ret);

/* All items, oldest first; borrowed until the next change. */
size_t gd_spool_items(const struct gd_spool *spool, const struct gd_spool_item **ret);
