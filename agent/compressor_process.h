#pragma once
/*
 * What runs in the compressor's jail.
 */
#include "agent/compressor.h"
#include "base/buf.h"

/* What both sides see; outlives the process. */
struct gd_compressor_shared {
	volatile sig_atomic_t cancelled;
	volatile uint64_t progress; /* beats: a silent one is ended */
	volatile uint64_t bytes, of_bytes;
	bool done; /* `result` is whole */
	struct gd_compressor_result result;
};

struct gd_compressor_process {
	const struct gd_compressor_options *options;
	struct gd_compressor_shared *shared;
	int sink_fd;        /* records to the packer */
};

/* A run of gd_role_fork; `arg` is a struct gd_compressor_process. */
int gd_compressor_process_run(void *arg);
