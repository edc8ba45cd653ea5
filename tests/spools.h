#pragma once
/*
 * Spools for tests: real archives sealed into them, the way a capture does it.
 */
#include "tests/test.h"

#include "uploader/spool.h"

/* Opens test_path("spool"); the recovery may be NULL. */
struct gd_spool *spool_open(struct gd_spool_recovery *recovery);

/* A small archive with capture id `id`, sealed as ready/<id>.tar; no assertion, for children too. */
struct spool_sealed {
	char name[256], digest[72];
	uint64_t bytes;
};
int spool_seal(const char *ready, const char *id, const char *trigger, size_t n,
               struct spool_sealed *ret, struct gd_error *err);

/* Begin, seal, commit. */
int spool_capture(struct gd_spool *spool, const char *id, enum gd_spool_class class, size_t n,
                  struct gd_error *err);
void spool_add(struct gd_spool *spool, const char *id, enum gd_spool_class class, size_t n);

/* The item of that id, or NULL. */
const struct gd_spool_item *spool_item(const struct gd_spool *spool, const char *id);

/* "a b c": the ids, oldest first; uploaded ones with a '+' behind.  Valid until the next call. */
const char *spool_ids(const struct gd_spool *spool);

/* Whether every byte of DIR/name is as it was sealed. */
bool spool_verifies(const char *path);
