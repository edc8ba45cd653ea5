#pragma once
/*
 * Archives for tests to read, damage and repair: made by the real writer, or, where the writer
 * refuses to make such a thing, by hand.
 */
#include "tests/test.h"

#include "archive/archive.h"

struct made {
	const char *name; /* of the artifact */
	const char *media_type, *collector;
	const void *bytes; /* NULL: absent, skipped */
	size_t n;
	bool compress;
};

/* One archive test_path(file) of these artifacts; its path. */
struct gd_sealed archive_make(const char *file, const struct made *made, size_t n);

/* plan.json, a small, a middle (compressed) and a large (scratch file) artifact, an absent one. */
struct gd_sealed archive_usual(const char *file);

/* n bytes of text like a goroutine dump's; malloc'ed. */
char *archive_text(size_t n);

/* A whole file in memory, and back. */
struct gd_buf archive_read(const char *path);
void archive_write(const char *path, const void *bytes, size_t n);

/* What a shell command prints; it must succeed.  Valid until the next call. */
char *archive_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
