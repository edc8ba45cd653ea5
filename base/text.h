#pragma once
/*
 * Small pieces of text: numbers printed fast, foreign bytes made safe for a terminal, a log line or
 * a table.  Nothing here knows JSON (see json.h) or units (see units.h).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Decimal, and "0x" + lower-case hex without leading zeros, as Go and the kernel print them. */
void gd_text_put_u64(struct gd_buf *out, uint64_t value);
void gd_text_put_hex(struct gd_buf *out, uint64_t value);

/* Length (1 to 4) of the valid UTF-8 sequence at s, 0 when there is none within n bytes. */
size_t gd_text_utf8_len(const char *s, size_t n);

/*
 * Appends foreign bytes so that they cannot break a line or a terminal: everything outside
 * 0x20..0x7e becomes \xNN (valid UTF-8 beyond ASCII is kept), a backslash becomes \\.
 */
void gd_text_put_escaped(struct gd_buf *out, const void *bytes, size_t n);

/* One word of a folded stack, which has no escapes of its own: the same, and ';' becomes ':'. */
void gd_text_put_folded(struct gd_buf *out, const void *bytes, size_t n);

/* Escaped into a fixed array, truncated with "..." at its end; always NUL-terminated. */
void gd_text_escape(char *to, size_t size, const void *bytes, size_t n);

/* Unsigned number with an explicit end; false when there is no digit, or on overflow. */
bool gd_text_u64(const char *s, const char **end, int base, uint64_t *ret);
