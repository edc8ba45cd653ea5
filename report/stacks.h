#pragma once
/*
 * The different stacks of one goroutines.jsonl, by content: of each the few frames worth showing.
 * Stack 0 stands for all that are unknown or beyond the limits.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/groups.h"
#include "report/scan.h"
#include "report/words.h"

#define GD_STACKS_MAX (1U << 16)
#define GD_STACKS_NUMBERS_MAX (1U << 22)

struct gd_stack {
	uint64_t hash;
	struct gd_group_frame frames[GD_GROUP_FRAMES];
	const char *via; /* NULL: none */
	uint8_t n_frames;
	bool own;
	uint32_t depth;
};

struct gd_stacks {
	struct gd_words *words; /* borrowed */
	struct gd_stack *list;
	uint32_t n, cap;
	uint32_t *table; /* of 2 * cap: index by hash; 0 is free */
	uint32_t *numbers; /* the file's number of a stack -> index in list */
	uint32_t n_numbers;
};

int gd_stacks_init(struct gd_stacks *stacks, struct gd_words *words, struct gd_error *err);
void gd_stacks_deinit(struct gd_stacks *stacks);

/* Reads a "frames" array and returns the stack's index, 0 when it does not fit. */
uint32_t gd_stacks_read(struct gd_stacks *stacks, struct gd_scan *scan);

/* The file calls that stack `number`. */
void gd_stacks_number(struct gd_stacks *stacks, int64_t number, uint32_t stack);
uint32_t gd_stacks_by_number(const struct gd_stacks *stacks, int64_t number);
