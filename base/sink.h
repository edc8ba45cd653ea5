#pragma once
/*
 * Where a collector's bytes go.  A collector opens one stream per artifact, writes, and closes it
 * with an outcome; several streams may be open at once (one walk over the goroutines writes text,
 * JSON lines and pprof together).  Collectors know nothing of archives: the archive writer, a
 * directory and the test suite each implement this interface.  Not thread safe.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* How an artifact came out.  Order matters: the worse of two is the larger. */
enum gd_grade {
	GD_GRADE_COMPLETE, /* everything that was there */
	GD_GRADE_PARTIAL,  /* usable, but `why` says what is missing */
	GD_GRADE_SKIPPED,  /* not attempted, `why` says what would have to be allowed */
	GD_GRADE_FAILED,   /* attempted, nothing usable */
};

/* "complete", "partial", "skipped", "failed": the spelling in snapshot.json. */
const char *gd_grade_name(enum gd_grade grade);

struct gd_outcome {
	enum gd_grade grade;
	struct gd_error why; /* code 0 and empty when complete */
};

#define GD_OUTCOME_COMPLETE ((struct gd_outcome){ .grade = GD_GRADE_COMPLETE })

/* An outcome with its reason; the code is kept in why.code. */
struct gd_outcome gd_outcome(enum gd_grade grade, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The outcome of an error value. */
struct gd_outcome gd_outcome_of(enum gd_grade grade, const struct gd_error *why);

/* Worse of two; the first one's reason wins when they are equally bad. */
struct gd_outcome gd_outcome_worse(struct gd_outcome a, struct gd_outcome b);

struct gd_artifact {
	const char *name;       /* "goroutines.txt", "proc/status"; relative, no "..", unique */
	const char *media_type; /* of the bytes as written, e.g. "text/plain" */
	const char *collector;  /* who made it: "goroutines" */
	int compress;           /* 1: the sink may store it zstd-compressed (then "+zstd") */
};

struct gd_stream {
	int (*write)(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err);
	/* Ends the artifact and frees the stream, also on failure. */
	int (*close)(struct gd_stream *stream, const struct gd_outcome *outcome,
	             struct gd_error *err);
};

struct gd_sink {
	/* *ret is owned by the caller until closed. */
	int (*open)(struct gd_sink *sink, const struct gd_artifact *artifact,
	            struct gd_stream **ret, struct gd_error *err);
	/* Records an artifact that has no bytes (skipped or failed before the first byte). */
	int (*absent)(struct gd_sink *sink, const struct gd_artifact *artifact,
	              const struct gd_outcome *outcome, struct gd_error *err);
	/* NULL, or what gd_sink_put does with an artifact that is not to be compressed, without a copy. */
	int (*put)(struct gd_sink *sink, const struct gd_artifact *artifact, const void *bytes,
	           size_t n, const struct gd_outcome *outcome, struct gd_error *err);
};

/* A whole artifact in one call. */
int gd_sink_put(struct gd_sink *sink, const struct gd_artifact *artifact, const void *bytes,
                size_t n, const struct gd_outcome *outcome, struct gd_error *err);
