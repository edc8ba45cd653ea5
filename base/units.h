#pragma once
/*
 * Durations and sizes as people write and read them.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* "250ms", "10s", "1m30s", "1.5h", "0"; -EINVAL says what was meant, -ERANGE: above INT64_MAX ns. */
int gd_units_parse_duration(const char *text, uint64_t *ret_ns, struct gd_error *err);

/* "5GiB", "512 KiB", "20MB", "4096"; -EINVAL, -ERANGE: above INT64_MAX. */
int gd_units_parse_bytes(const char *text, uint64_t *ret_bytes, struct gd_error *err);

/* Enough for every answer of the two below. */
#define GD_UNITS_TEXT 24

/* "3.2 ms", "14 s", "2 m 05 s": two or three significant digits. Returns `to`. */
const char *gd_units_duration(char to[GD_UNITS_TEXT], uint64_t ns);

/* "0 B", "412 B", "1.3 MiB". Returns `to`. */
const char *gd_units_bytes(char to[GD_UNITS_TEXT], uint64_t bytes);
