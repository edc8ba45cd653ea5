#pragma once
/*
 * What the files spool*.c share: the spool in memory and how its journal is written.
 */
#include "base/journal.h"
#include "uploader/spool.h"

#define GD_SPOOL_ITEMS_MAX 16384U
#define GD_SPOOL_BEGUN_MAX 64U

struct gd_spool_begun {
	char id[64];
	enum gd_spool_class class;
};

struct gd_spool {
	char *dir, *ready; /* paths; all work goes through the descriptors */
	int dir_fd, ready_fd, done_fd, quarantine_fd;
	int lock_fd;
	struct gd_journal journal;
	struct gd_spool_item *items; /* oldest first */
	size_t n_items, items_cap;
	struct gd_spool_begun begun[GD_SPOOL_BEGUN_MAX];
	size_t n_begun;
	unsigned n_quarantined;
	uint64_t quarantined_bytes;
	uint64_t uploaded_total, failed_total;
};

/* File names, in no order. */
struct gd_spool_names {
	char **list;
	size_t n;
};
int gd_spool_names_add(struct gd_spool_names *names, const char *name); /* -ENOMEM, -E2BIG */
void gd_spool_names_deinit(struct gd_spool_names *names);

/* What an id and a file name may look like; everything that comes from outside passes by here. */
bool gd_spool_is_id(const char *id);
bool gd_spool_is_name(const char *name);

struct gd_spool_item *gd_spool_find(const struct gd_spool *spool, const char *id);

/* Keeps the order; item->location is taken over.  -EEXIST, -E2BIG, -ENOMEM. */
int gd_spool_insert(struct gd_spool *spool, const struct gd_spool_item *item, struct gd_error *err);
void gd_spool_remove(struct gd_spool *spool, struct gd_spool_item *item);
void gd_spool_set_error(struct gd_spool_item *item, const char *why);
int gd_spool_set_location(struct gd_spool_item *item, const char *location);

const struct gd_spool_begun *gd_spool_find_begun(const struct gd_spool *spool, const char *id);
int gd_spool_add_begun(struct gd_spool *spool, const char *id, enum gd_spool_class class,
                       struct gd_error *err);
void gd_spool_remove_begun(struct gd_spool *spool, const char *id);

/* Appends a line, after having written the journal anew when it is broken or mostly of the past. */
int gd_spool_record(struct gd_spool *spool, struct gd_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int gd_spool_record_commit(struct gd_spool *spool, const struct gd_spool_item *item,
                           struct gd_error *err);
/* The journal as it follows from what is in memory. */
int gd_spool_rewrite(struct gd_spool *spool, struct gd_error *err);

/* Opens the journal and reads it into memory; what lines took out again goes to `dropped`. */
int gd_spool_read_lines(struct gd_spool *spool, struct gd_spool_names *dropped,
                        struct gd_journal_found *ret, struct gd_error *err);

/* ready/ or done/ -> quarantine/, under a name that is free there. */
int gd_spool_quarantine(struct gd_spool *spool, int from_fd, const char *name,
                        struct gd_error *err);

extern gd_spool_examiner *gd_spool_examiner_now;

/* Reads the journal and the directories and brings both together. */
int gd_spool_recover(struct gd_spool *spool, struct gd_spool_recovery *ret, struct gd_error *err);
