#pragma once
/*
 * The broker's end of the packer: starts its process, orders, and takes its answers for what they are,
 * the word of a process that has seen hostile bytes.  Publishing stays with the broker, and happens
 * only after the packer has said that the file is whole.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/capture.h"
#include "agent/role.h"
#include "archive/archive.h"
#include "archive/output.h"
#include "base/error.h"

struct gd_packer_order_options {
	struct gd_output *output; /* borrowed; the packer gets copies of its descriptors */
	const char *plan_json;
	size_t plan_len;
	struct gd_snapshot *snapshot; /* as far as known: the packer has it by being our fork */
	const struct gd_attachment *attachments;
	size_t n_attachments;
};

struct gd_packer_order {
	pid_t pid; /* 0: none */
	int fd;    /* -1 */
	int scratch_fd; /* where it asks for scratch files; poll it and call _scratch; -1 */
	unsigned n_scratch;
	struct gd_output *output; /* borrowed */
	uint32_t seq;
};
#define GD_PACKER_ORDER_INIT ((struct gd_packer_order){ .fd = -1, .scratch_fd = -1 })

/* What the snapshot lacks until the end; goes to the packer as it is. */
struct gd_packer_order_end {
	struct gd_clock ended;
	struct gd_outcome outcome;
	bool interrupted;
	uint64_t memory_reads, memory_bytes, memory_faults;
	int64_t cpu_ns;          /* of all processes but the packer */
	uint64_t peak_rss_bytes; /* the same */
	struct gd_frozen frozen;
	uint64_t target_pause_ns;
	char go_version[128], go_note[248];
	uint64_t n_steps;
	struct gd_step steps[GD_STEPS_MAX];
};

/* Forks it; -ENOSPC and the like are the archive's, said by gd_packer_order_started. */
int gd_packer_order_start(const struct gd_packer_order_options *options,
                          struct gd_packer_order *ret, struct gd_error *err);
/* Waits until the archive is begun and the attachments are in. */
int gd_packer_order_started(struct gd_packer_order *packer, struct gd_error *err);

/*
 * Gives it a scratch file if it has asked for one.  Whoever waits for anything else meanwhile does
 * this; the functions below do.
 */
void gd_packer_order_scratch(struct gd_packer_order *packer);

/*
 * Records of that collector come through fd, which stays the caller's; `core`: from the compressor, with
 * the quota of a core.
 */
int gd_packer_order_begin(struct gd_packer_order *packer, const char *collector, bool core, int fd,
                          struct gd_error *err);

struct gd_packer_order_ended {
	uint64_t bytes;
	struct gd_error fault; /* code 0: the reader kept the rules and the archive is well */
};
/* No more records come; `why` goes to the artifacts left open. */
int gd_packer_order_ended(struct gd_packer_order *packer, const struct gd_error *why,
                          struct gd_packer_order_ended *ret, struct gd_error *err);

/*
 * The end: fills the snapshot with the end, the artifact rows, and cpu and peak RSS with the packer's
 * own share; digest and bytes of *ret.  The file is whole then, and has no name yet.
 */
int gd_packer_order_seal(struct gd_packer_order *packer, const struct gd_packer_order_end *end,
                         struct gd_snapshot *snapshot, struct gd_sealed *ret,
                         struct gd_error *err);

/* Kills it when it still lives, and waits. */
void gd_packer_order_stop(struct gd_packer_order *packer);

/* Waits for a child that was killed, at most two seconds; false when it hangs in the kernel. */
bool gd_packer_order_reap(pid_t pid);
