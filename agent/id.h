#pragma once
/*
 * Capture ids: "20261120T130507.123Z-3f9c21ab", the UTC instant and 32 random bits.  They sort by
 * time, are unique on a host for all practical purposes, and are safe in file names and object keys.
 */
#include <stdint.h>

#define GD_ID_SIZE 32

void gd_id_make(char to[GD_ID_SIZE], int64_t realtime_ns);
