#pragma once
/*
 * goroutines.jsonl grouped while it streams by: goroutines with the same stack in the same state
 * are one group.  Memory is bounded by the number of different stacks, which is capped; what does
 * not fit is counted as one group without frames.  The file is foreign: missing and unknown keys
 * are fine, lines that are no JSON are counted and passed over.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/reader.h"
#include "base/error.h"

struct gd_group_frame {
	const char *function, *file;
	int64_t line;
};

#define GD_GROUP_FRAMES 3

struct gd_group {
	uint64_t count;
	int64_t longest_ns;  /* of their waits, 0 unknown */
	uint64_t goid;       /* one of them: to find it in goroutines.txt */
	const char *state;   /* what it waits for ("chan receive"), or "running", "syscall", ... */
	bool waiting;
	/*
	 * The innermost frames of the program itself; without any the standard library's, without
	 * those the runtime's.
	 */
	struct gd_group_frame frames[GD_GROUP_FRAMES];
	size_t n_frames;
	bool own;            /* the frames are the program's own */
	const char *via;     /* library function that frames[0] called, or "" */
	size_t depth;        /* frames of the whole stack */
	const char *created_by; /* "" unknown */
};

struct gd_group_state {
	char name[48];
	bool waiting;
	uint64_t count;
	int64_t longest_ns;
};

#define GD_GROUP_STATES 64

struct gd_groups {
	uint64_t total;      /* goroutines, without the runtime's own */
	uint64_t system;     /* the runtime's own */
	uint64_t torn;       /* read while they changed: stack incomplete */
	uint64_t unreadable; /* lines that are no JSON of ours */
	uint64_t ungrouped;  /* goroutines whose stack did not fit our limits */
	struct gd_group *list; /* largest first */
	size_t n;
	struct gd_group_state states[GD_GROUP_STATES]; /* largest first */
	size_t n_states;
	struct gd_groups_work *work; /* texts that the groups point to */
};

int gd_groups_begin(struct gd_groups *ret, struct gd_error *err);
/* Any piece of the file, cut anywhere. */
int gd_groups_feed(struct gd_groups *groups, const void *bytes, size_t n, struct gd_error *err);
/* Sorts; `list` is only valid from here on. */
int gd_groups_end(struct gd_groups *groups, struct gd_error *err);
void gd_groups_deinit(struct gd_groups *groups);

/* All of it; -ENOENT when the archive has none.  What was readable of a damaged one is kept. */
int gd_groups_read(const struct gd_reader *reader, struct gd_groups *ret, struct gd_error *err);

/* Is that function of Go's standard library (or the runtime)? */
bool gd_groups_is_standard(const char *function);
