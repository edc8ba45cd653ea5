#pragma once
/*
 * Reads JSON where it lies, front to back, without building anything: what a million goroutine
 * lines need.  Strings are slices of the input and are decoded only when they are shown.  Hostile
 * input: nothing outside [p, end) is read, nesting is capped, and the first nonsense makes `bad`
 * stick, after which every answer is empty.
 *
 *	gd_scan_object(&s);
 *	while (gd_scan_key(&s, &key))
 *		if (gd_scan_is(&key, "goid"))
 *			goid = gd_scan_i64(&s);
 *		else
 *			gd_scan_skip(&s);
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

struct gd_scan {
	const char *p, *end;
	unsigned depth;
	bool first; /* no comma is due before the next key or item */
	bool bad;
};

/* Between the quotes, escapes and all. */
struct gd_scan_text {
	const char *at;
	size_t n;
};

static inline struct gd_scan gd_scan_of(const char *text, size_t n)
{
	return (struct gd_scan){ .p = text, .end = text + n };
}

/* Enter the value that comes next; false (and bad) when it is something else. */
bool gd_scan_object(struct gd_scan *scan);
bool gd_scan_array(struct gd_scan *scan);

/* The next key of the object entered last, or false and the object is left behind. */
bool gd_scan_key(struct gd_scan *scan, struct gd_scan_text *key);
/* Is there one more item in the array?  false: the array is left behind. */
bool gd_scan_item(struct gd_scan *scan);

/* Values; one of another type is skipped and counts as empty, 0 or false. */
struct gd_scan_text gd_scan_string(struct gd_scan *scan);
int64_t gd_scan_i64(struct gd_scan *scan);   /* saturates; fractions are cut off */
double gd_scan_double(struct gd_scan *scan);
bool gd_scan_bool(struct gd_scan *scan);
void gd_scan_skip(struct gd_scan *scan);

/* What kind of value comes next: '{' '[' '"' 't' 'f' 'n' '0' (a number), or 0. */
char gd_scan_peek(struct gd_scan *scan);

static inline bool gd_scan_is(const struct gd_scan_text *text, const char *want)
{
	return strlen(want) == text->n && memcmp(text->at, want, text->n) == 0;
}

/* Appends the decoded string; an escape that is none becomes U+FFFD. */
void gd_scan_put(const struct gd_scan_text *text, struct gd_buf *out);
