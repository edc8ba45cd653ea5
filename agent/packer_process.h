#pragma once
/*
 * What runs in the packer's jail: takes orders, drains the reader at hand, answers.  And the wire
 * between it and packer_order.c; both ends are one build.
 */
#include "agent/packer_order.h"

enum gd_packer_message {
	/* orders */
	GD_PACKER_BEGIN = 1, /* struct gd_packer_begin, one descriptor */
	GD_PACKER_END,       /* struct gd_error: why, for what was left open */
	GD_PACKER_SEAL,      /* struct gd_packer_order_end */
	/* answers */
	GD_PACKER_STARTED,   /* struct gd_error */
	GD_PACKER_ENDED,     /* struct gd_packer_order_ended */
	GD_PACKER_ROWS,      /* struct gd_packer_row, as many as fit */
	GD_PACKER_SEALED,    /* struct gd_packer_sealed */
	/* on a socket of its own, both ways: a scratch file, please; an int32_t that is 0 or -errno */
	GD_PACKER_SCRATCH,
};

struct gd_packer_begin {
	char collector[32];
	uint32_t core; /* 1: with the quota of a core */
};

struct gd_packer_row {
	char name[208], media_type[80], collector[32], digest[72];
	struct gd_outcome outcome;
	uint64_t bytes, stored_bytes;
	int64_t started_ns, ended_ns;
};
#define GD_PACKER_ROWS_MAX 80 /* in one message */

struct gd_packer_sealed {
	struct gd_error failure; /* code 0: the file is whole */
	char digest[72];
	uint64_t bytes;
	int64_t cpu_ns;
	uint64_t peak_rss_bytes;
};

struct gd_packer_process {
	const struct gd_packer_order_options *options;
	int fd; /* orders and answers */
	int scratch_fd;
};

/* A run of gd_role_fork; `arg` is a struct gd_packer_process. */
int gd_packer_process_run(void *arg);
