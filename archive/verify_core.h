#pragma once
/*
 * The part of verify that knows what packs hold: which chunks of a damaged pack are bad, by
 * address, and which lie in packs that are gone.
 */
#include "archive/core_read.h"

struct gd_verify_core {
	const struct gd_reader *reader;
	void (*say)(void *arg, const char *sentence);
	void *arg;
	struct gd_core_map map; /* empty without a core, or when it is unreadable */
	uint8_t *chunk;         /* made when a pack is bad */
};

/* Reads the map; one that is damaged shows as the artifact it is, one without sense is said. */
void gd_verify_core_init(struct gd_verify_core *core, const struct gd_reader *reader,
                         void (*say)(void *arg, const char *sentence), void *arg);
void gd_verify_core_deinit(struct gd_verify_core *core); /* also of zeros */

/* Looks at each chunk of a pack that is not as it was stored. */
int gd_verify_core_pack(struct gd_verify_core *core, const char *digest, struct gd_error *err);
/* Chunks whose packs are not there: the map of a repaired archive still lists them. */
void gd_verify_core_lost(const struct gd_verify_core *core);
