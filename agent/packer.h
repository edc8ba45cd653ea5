#pragma once
/*
 * The packer: the jailed process that writes the archive.  Readers send it records through a socket
 * each (packer_sink.h), the broker orders through another (packer_order.h).  What readers send is
 * hostile: names, sizes and order are checked here, the collector's name is the broker's word and not
 * theirs, and whoever breaks a rule is cut off while the archive goes on.
 *
 * It opens nothing: the output and a few scratch files are descriptors it was given.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/capture.h"
#include "archive/archive.h"
#include "archive/layout.h"
#include "archive/output.h"
#include "archive/snapshot.h"
#include "base/error.h"

/* ---- records of readers ---------------------------------------------------------------------- */

enum gd_record {
	GD_RECORD_OPEN = 1,
	GD_RECORD_WRITE,
	GD_RECORD_CLOSE,
	GD_RECORD_ABSENT,
	GD_RECORD_MANY, /* several of those above: struct gd_record_head and a record, padded to 8 */
	/* A whole artifact at once, by descriptor; of who packs a core only.  The packer answers with
	 * GD_RECORD_STORED when it has its own copy: the memory can be used again. */
	GD_RECORD_PUT,
	GD_RECORD_STORED,
	GD_RECORDS,
};

struct gd_record_head {
	uint32_t type;
	uint32_t n; /* bytes that follow, without what pads them */
};

/* Artifacts one reader has open at once; scratch files go with them. */
#define GD_RECORD_STREAMS 8

struct gd_record_open {
	uint32_t stream; /* its number from here on, below GD_RECORD_STREAMS, free now */
	bool compress;
	char name[208];
	char media_type[64];
};

struct gd_record_write { /* bytes follow */
	uint32_t stream;
	uint32_t n;
};

struct gd_record_close {
	uint32_t stream;
	struct gd_outcome outcome;
};

struct gd_record_absent {
	char name[208];
	char media_type[64];
	struct gd_outcome outcome;
};

struct gd_record_put { /* with one descriptor of a memfd */
	char name[208];
	char media_type[64];
	uint64_t bytes; /* from its beginning; at most GD_PACK_BYTES_MAX */
};

struct gd_record_stored {
	char digest[GD_LAYOUT_DIGEST];
};

/* What one artifact, and all of one capture, may have before compression; and one reader's number. */
#define GD_PACKER_ARTIFACT_BYTES (UINT64_C(4) << 30)
#define GD_PACKER_ALL_BYTES (UINT64_C(16) << 30)
#define GD_PACKER_ARTIFACTS 1024

/* A core is as large as its process, in packs that nobody has parsed. */
#define GD_PACKER_CORE_BYTES (UINT64_C(256) << 30)
#define GD_PACKER_CORE_ARTIFACTS 12000

/* ---- the inside, for its process and for the fuzzer ------------------------------------------ */

struct gd_packer;

/* Takes the output over, also on failure. */
int gd_packer_create(struct gd_output *output, const char *plan_json, size_t plan_len,
                     struct gd_packer **ret, struct gd_error *err);
void gd_packer_destroy(struct gd_packer *packer); /* NULL allowed; forgets the archive */

/* Evidence that was there before anything was read from the target. */
int gd_packer_attach(struct gd_packer *packer, const struct gd_attachment *attachment,
                     struct gd_error *err);

/* A reader's records follow; `collector` becomes the collector of its artifacts.  `core`: it may write as
 * much as a core has. */
void gd_packer_begin(struct gd_packer *packer, const char *collector, bool core);

/*
 * One of its records.  -EBADMSG: it breaks the rules; -E2BIG: more than it may; else the archive's own
 * failure.  All end this reader.
 */
int gd_packer_record(struct gd_packer *packer, uint16_t type, const void *body, size_t len,
                     struct gd_error *err);

/*
 * The same of a GD_RECORD_PUT, whose memory is copied before it is looked at; the descriptor stays the
 * caller's.
 */
int gd_packer_put(struct gd_packer *packer, const struct gd_record_put *record, int memory_fd,
                  struct gd_record_stored *ret, struct gd_error *err);

/*
 * The reader has ended: what it left open is closed for it, as partial when it is text of which some
 * has come, else as failed, with `why`.  Returns the bytes of its artifacts.
 */
uint64_t gd_packer_end(struct gd_packer *packer, const struct gd_error *why);

/* Everything but the name; the archive is gone afterwards. */
int gd_packer_finish(struct gd_packer *packer, struct gd_snapshot *snapshot,
                     struct gd_sealed *ret, struct gd_error *err);
