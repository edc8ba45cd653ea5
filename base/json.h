#pragma once
/*
 * A streaming JSON writer onto a gd_buf.  Commas, nesting and escaping are its business; it writes
 * compact JSON.  Foreign bytes are safe in every string: what is not valid UTF-8 becomes U+FFFD,
 * control characters become \u00XX.  Errors stick in the buffer.  Reading is jansson's job.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct gd_json {
	struct gd_buf *out;
	bool comma; /* the next value needs a comma first */
};

#define GD_JSON_INIT(buf) ((struct gd_json){ .out = (buf) })

/* key is NULL inside an array and at the top level. */
void gd_json_object(struct gd_json *j, const char *key);
void gd_json_object_end(struct gd_json *j);
void gd_json_array(struct gd_json *j, const char *key);
void gd_json_array_end(struct gd_json *j);

void gd_json_string(struct gd_json *j, const char *key, const char *value); /* NULL: null */
void gd_json_bytes(struct gd_json *j, const char *key, const void *value, size_t n);
void gd_json_u64(struct gd_json *j, const char *key, uint64_t value);
void gd_json_i64(struct gd_json *j, const char *key, int64_t value);
void gd_json_hex(struct gd_json *j, const char *key, uint64_t value); /* "0x1f" */
void gd_json_double(struct gd_json *j, const char *key, double value); /* NaN, Inf: null */
void gd_json_bool(struct gd_json *j, const char *key, bool value);
void gd_json_null(struct gd_json *j, const char *key);

/* A value that is JSON already (trusted: written by us). */
void gd_json_raw(struct gd_json *j, const char *key, const void *json, size_t n);

/* Ends a line of JSON lines: newline, and the next value starts afresh. */
void gd_json_line_end(struct gd_json *j);
