#pragma once
/*
 * Profiles in pprof's format (proto/profile.proto of google/pprof) made by hand, apart from
 * collectors/pprof.c, so that both do not share an error.
 */
#include "tests/test.h"

/* Protocol buffers; a message is emptied when it has been put. */
void profile_put_varint(struct gd_buf *out, uint64_t value);
void profile_put_number(struct gd_buf *out, unsigned field, uint64_t value);
void profile_put_bytes(struct gd_buf *out, unsigned field, const void *bytes, size_t n);
void profile_put_message(struct gd_buf *out, unsigned field, struct gd_buf *message);

/* A whole profile, piece by piece; strings, functions and locations get the ids that are returned. */
struct profile {
	struct gd_buf bytes;
	uint64_t n_strings, n_mappings, n_functions, n_locations;
};

struct profile_line {
	const char *function, *file;
	int64_t line;
};

/* text NULL: the number */
struct profile_label {
	const char *key, *text;
	int64_t number;
};

/* With sample types of two values each: "samples", "count", "cpu", "nanoseconds". */
struct profile profile_begin(const char *const *types, size_t n);
uint64_t profile_mapping(struct profile *p, const char *file);
/* Lines: innermost first. */
uint64_t profile_location(struct profile *p, uint64_t mapping, uint64_t address,
                          const struct profile_line *lines, size_t n);
/* Locations: innermost first; two values. */
void profile_sample(struct profile *p, const uint64_t *locations, size_t n, int64_t a, int64_t b,
                    const struct profile_label *labels, size_t n_labels);

/*
 * A shop of two threads, like a collector would write it: 100 samples of 10 ms, of which 8 are lost;
 * main.serve inlines main.parse; malloc, a system call in the kernel, a label of the program's own, an
 * address without a symbol.
 */
struct profile profile_shop(void);

/* Compressed; the profile is freed. */
struct gd_buf profile_gzip(struct profile *p);
