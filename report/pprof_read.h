#pragma once
/*
 * A profile in pprof's format (google/pprof proto/profile.proto) as tables and a walk over its
 * samples.  What the samples mean is the caller's business.  Foreign bytes: every count has a ceiling,
 * every index is compared before it is handed out, and texts are slices of the input that may hold
 * anything.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/reader.h"
#include "base/bytes.h"
#include "base/error.h"

#define GD_PPROF_READ_TYPES 8   /* values per sample that are kept */
#define GD_PPROF_READ_DEPTH 1024 /* locations per sample, the innermost */
#define GD_PPROF_READ_LABELS 64 /* labels per sample */

struct gd_pprof_text {
	const char *at; /* not NUL terminated; never NULL */
	size_t n;
};

/* All of the following have indices into strings; one that leads nowhere has become 0, "". */
struct gd_pprof_read_type {
	uint32_t type, unit;
};

struct gd_pprof_read_function {
	uint32_t name, file;
};

struct gd_pprof_read_mapping {
	uint64_t start, offset;
	uint32_t file;
};

struct gd_pprof_read_line {
	uint32_t function; /* 0: unknown */
	int64_t line;
};

/* Its lines: the innermost inlined function first. */
struct gd_pprof_read_location {
	uint64_t address;
	uint32_t mapping; /* 0: none */
	uint32_t first_line, n_lines;
};

struct gd_pprof_read {
	const char *what; /* borrowed, as the bytes are */
	struct gd_bytes bytes;
	struct gd_pprof_text *strings; /* 0 is "", whatever the file says */
	struct gd_pprof_read_function *functions;
	struct gd_pprof_read_mapping *mappings;
	struct gd_pprof_read_location *locations;
	struct gd_pprof_read_line *lines;
	/* Functions, mappings and locations are found by their id; there is always one, 0, of nothing. */
	uint32_t n_strings, n_functions, n_mappings, n_locations, n_lines;
	struct gd_pprof_read_type types[GD_PPROF_READ_TYPES];
	uint32_t n_types;
	uint32_t default_type; /* index into types */
	struct gd_pprof_read_type period_type;
	int64_t period, time_ns, duration_ns;
};

struct gd_pprof_read_label {
	uint32_t key, text, unit;
	int64_t number; /* when text is 0 */
};

struct gd_pprof_read_sample {
	uint32_t locations[GD_PPROF_READ_DEPTH]; /* innermost first */
	uint32_t n_locations;
	uint32_t n_deeper; /* that did not fit */
	int64_t values[GD_PPROF_READ_TYPES];
	struct gd_pprof_read_label labels[GD_PPROF_READ_LABELS];
	uint32_t n_labels;
};

/* The artifact decompressed into a buffer, whose ceiling should be GD_PPROF_READ_BYTES. */
#define GD_PPROF_READ_BYTES (128U << 20)
int gd_pprof_read_unpack(const struct gd_reader *reader, const char *artifact, struct gd_buf *out,
                         struct gd_error *err);

/* The same of bytes that are at hand. */
int gd_pprof_read_gunzip(const char *what, const void *packed, size_t n, struct gd_buf *out,
                         struct gd_error *err);

/* -EBADMSG: no profile; -E2BIG: more of something than our ceilings.  `what` is named in messages. */
int gd_pprof_read_init(struct gd_pprof_read *ret, const char *what, const void *bytes, size_t n,
                       struct gd_error *err);
void gd_pprof_read_deinit(struct gd_pprof_read *profile);
#define GD_PPROF_READ __attribute__((cleanup(gd_pprof_read_deinit)))

/*
 * The next sample of a walk that begins with a cursor of gd_pprof_read_samples, or false at the end.
 * One that makes no sense is passed over and counted in *bad.
 */
struct gd_bytes gd_pprof_read_samples(const struct gd_pprof_read *profile);
bool gd_pprof_read_next(const struct gd_pprof_read *profile, struct gd_bytes *cursor,
                        struct gd_pprof_read_sample *ret, uint64_t *bad);

/* Is the text with that index this one? */
bool gd_pprof_read_is(const struct gd_pprof_read *profile, uint32_t string, const char *want);

/*
 * Is this location in the kernel: by the name of its mapping, by an address in the upper half, or because
 * it has none where others have one?
 */
bool gd_pprof_read_in_kernel(const struct gd_pprof_read *profile,
                             const struct gd_pprof_read_location *location);

/* Which of a sample's values is of the type with this name; UINT32_MAX: none. */
uint32_t gd_pprof_read_type_of(const struct gd_pprof_read *profile, const char *name);
