#pragma once
/*
 * The compressor: the jailed process that turns an image into the core of an archive.  Threads, one per
 * allowed CPU, read chunks from the image's file, hash and compress them into packs (archive/pack.h) and
 * hand each pack to the packer; map and executable come last.  It parses none of the bytes.
 *
 * gd_compressor_run is the broker's end.
 */
#include <signal.h>
#include <stdint.h>

#include "agent/packer_order.h"
#include "agent/ranges.h"
#include "base/error.h"
#include "base/sink.h"
#include "freeze/freeze.h"
#include "target/target.h"

struct gd_compressor_options {
	int file_fd, index_fd; /* the image; borrowed */
	struct gd_target *target;
	const struct gd_freeze_result *freeze; /* how the image was made: for the map's head */
	const char *scope;                     /* "full", "thin" */
	const struct gd_ranges *skip;          /* what is left out of it */
	const struct gd_ranges *zero;          /* what is kept as zeros */
	/* Of an earlier capture of the same process, -1 none; borrowed.  A base that does not fit (another
	 * process, damaged, itself against a base) is left aside, and the note says so. */
	int base_fd;
	const char *boot_id;
	unsigned workers;                      /* 0: one per CPU we may use, at most 8 */
	const volatile sig_atomic_t *cancelled; /* NULL allowed */
	void (*progress)(void *arg, uint64_t bytes, uint64_t of_bytes); /* NULL allowed */
	void *progress_arg;
};

struct gd_compressor_result {
	struct gd_outcome outcome;
	uint64_t bytes;        /* of its artifacts, as stored in packs */
	uint64_t plain_bytes;  /* of the chunks that were kept */
	uint64_t packs, chunks, unchanged_chunks;
	char note[160];        /* "" or what is to be known about the base */
	int64_t cpu_ns, wall_ns;
	uint64_t peak_rss_bytes;
};

void gd_compressor_run(const struct gd_compressor_options *options,
                       struct gd_packer_order *packer, struct gd_compressor_result *ret);
