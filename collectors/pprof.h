#pragma once
/*
 * Writes a profile in pprof's format (gzip around protobuf messages; google/pprof profile.proto) to
 * a stream as it grows: everything leaves at once, only the tables of which string, function and
 * location has which id stay in memory.  They have a ceiling: a full one is emptied and ids go on,
 * so that a profile of any size can be written; a reader sees some things twice under two ids.
 *
 * Errors stick, as in base/buf.h: after the first one every call is a no-op that returns 0, and
 * gd_pprof_finish (or gd_pprof_check) reports it.  Foreign strings are safe: what is not valid
 * UTF-8 becomes U+FFFD.  It does not open or close the stream.  Not thread safe.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sink.h"

#define GD_PPROF_TYPES_MAX 8
#define GD_PPROF_DEPTH_MAX 1024  /* locations per sample; what is deeper is left out */
#define GD_PPROF_TABLE_MAX (1u << 16) /* strings, functions and locations kept, each */

#define GD_PPROF_MEDIA_TYPE "application/vnd.google.protobuf+gzip"

/* What a sample's values mean: {"goroutine", "count"}, {"inuse_space", "bytes"}. */
struct gd_pprof_type {
	const char *type, *unit;
};

struct gd_pprof_mapping {
	uint64_t start, limit, offset;
	const char *file;     /* "" unknown */
	const char *build_id; /* "" unknown */
};

/* One logical frame of a location; the first is the innermost inlined one. */
struct gd_pprof_line {
	const char *function, *file;
	int64_t line, start_line; /* 0 unknown */
};

/* text NULL: `number` in `unit` (NULL: none). */
struct gd_pprof_label {
	const char *key;
	size_t key_len;
	const char *text;
	size_t text_len;
	int64_t number;
	const char *unit;
};

struct gd_pprof;

/* Borrows the stream until destroyed. */
int gd_pprof_create(struct gd_stream *stream, const struct gd_pprof_type *types, size_t n_types,
                    struct gd_pprof **ret, struct gd_error *err);
void gd_pprof_destroy(struct gd_pprof *pprof); /* NULL allowed */
static inline void gd_cleanup_pprof(struct gd_pprof **pprof)
{
	gd_pprof_destroy(*pprof);
}
#define GD_PPROF __attribute__((cleanup(gd_cleanup_pprof)))

/* Ids begin at 1.  The first mapping is by convention the main program. */
uint64_t gd_pprof_mapping(struct gd_pprof *pprof, const struct gd_pprof_mapping *mapping);

/*
 * Locations are known by a key of the caller's choice (for example the pc), so that he need not
 * symbolise again what is there already: find returns the id, or 0 when the key is new.  A location
 * may have no lines.  mapping 0: none (google/pprof#120: better not).
 */
uint64_t gd_pprof_find(const struct gd_pprof *pprof, uint64_t key);
uint64_t gd_pprof_location(struct gd_pprof *pprof, uint64_t key, uint64_t address,
                           uint64_t mapping, const struct gd_pprof_line *lines, size_t n_lines);

/* locations: innermost first; values: one per type given to create. */
void gd_pprof_sample(struct gd_pprof *pprof, const uint64_t *locations, size_t n_locations,
                     const int64_t *values, const struct gd_pprof_label *labels, size_t n_labels);

/* What went wrong so far: 0, or the sticky error. */
int gd_pprof_check(const struct gd_pprof *pprof, struct gd_error *err);

struct gd_pprof_about {
	int64_t time_ns;     /* since 1970 */
	int64_t duration_ns; /* 0: an instant */
	struct gd_pprof_type period_type; /* type NULL: none */
	int64_t period;
	const char *comment; /* NULL: none */
	const char *default_type; /* one of the types given; NULL: the last, as pprof decides */
};

/* Writes the rest and ends the gzip member; nothing can be added afterwards. */
int gd_pprof_finish(struct gd_pprof *pprof, const struct gd_pprof_about *about,
                    struct gd_error *err);
