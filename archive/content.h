#pragma once
/*
 * Bytes of one stored blob on their way out: read, hashed, decompressed, bounded.  Used by the
 * reader and by verify; the blob's content is hostile.
 */
#include <stdbool.h>
#include <stdint.h>

#include "archive/digest.h"
#include "base/error.h"

/* Frames of ours need less; what zstd(1) writes at its default levels fits as well. */
#define GD_CONTENT_WINDOW_LOG 23

/*
 * How much stored bytes may grow.  A recursion of 100 frames in each of a million goroutines was
 * seen at 1,500:1, a bomb of zstd's run-length blocks reaches 40,000:1.
 */
#define GD_CONTENT_RATIO 8192U
#define GD_CONTENT_FREE_BYTES (64U * 1024 * 1024)

struct gd_content {
	int fd;
	uint64_t offset, stored_bytes;
	bool zstd;
	uint64_t limit; /* no more than this many bytes come out (-E2BIG) */
	int (*piece)(void *arg, const void *bytes, size_t n); /* NULL: only counted and hashed */
	void *arg;
	/* results, also when the call failed */
	uint64_t bytes;          /* came out */
	char hex[GD_DIGEST_HEX]; /* of the stored bytes; "" when not all could be read */
};

/* The limit for that many stored bytes when their content claims to be `claimed`. */
uint64_t gd_content_limit(uint64_t claimed, uint64_t stored_bytes, bool zstd);

/* Runs over all stored bytes; a negative answer of `piece` stops it and is returned. */
int gd_content_run(struct gd_content *content, struct gd_error *err);

/* Does a media type say that the bytes are zstd?  Packs are, but handed out as they are. */
bool gd_content_is_zstd(const char *media_type);
