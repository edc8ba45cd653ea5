#pragma once
/* A range of addresses; what it is of is said where it is used. */
#include <stdint.h>

struct gd_range {
	uint64_t start; /* inclusive */
	uint64_t end;   /* exclusive */
};
