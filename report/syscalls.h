#pragma once
/*
 * The system calls that a process made most while it was sampled, and how many it made in all: out of
 * samples.json, when they were counted.  Foreign text.
 */
#include <stdint.h>

#include "archive/reader.h"

#define GD_SYSCALLS_MAX 8

struct gd_syscalls {
	struct gd_syscall {
		char name[32]; /* raw; "#471" for one without a name */
		int64_t n;
	} list[GD_SYSCALLS_MAX]; /* as the file has them: most first */
	size_t n;
	int64_t all; /* 0: not counted */
};

/* All zero when there is nothing of them. */
void gd_syscalls_read(const struct gd_reader *reader, struct gd_syscalls *ret);
