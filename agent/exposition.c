/*
 * Lines are collected until their newline and looked at in place.  One of the histogram is
 *
 *	NAME_bucket{label="value",le="0.5"} 17 [timestamp] [# exemplar]
 *
 * or, with a name that older scrapers would not take, {"NAME_bucket",le="0.5"} 17.
 */
#include "agent/exposition.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text);
	size_t m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

int gd_exposition_begin(struct gd_exposition *e, const char *histogram, struct gd_error *err)
{
	size_t n = strlen(histogram);
	if (n == 0 || n > sizeof(e->name) - sizeof("_bucket") || strpbrk(histogram, "{}\"\\ \n\t"))
		return gd_fail(err, -EINVAL, "\"%.64s\" is no name of a histogram", histogram);
	e->buckets.n = 0;
	e->line_len = 0;
	e->skipping = false;
	e->too_many = false;
	e->bad = 0;
	e->unit_s = ends_with(histogram, "_milliseconds") || ends_with(histogram, "_ms") ? 1e-3 : 1;
	(void)snprintf(e->name, sizeof(e->name), "%s_bucket", histogram);
	return 0;
}

/* --- one line --- */

static const char *blanks(const char *p)
{
	return p + strspn(p, " \t");
}

/* Behind the closing quote of a string whose first character is at p; NULL when it does not end. */
static const char *string_end(const char *p)
{
	for (; *p != '\0'; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && p[1] != '\0')
			p++;
	}
	return NULL;
}

/* A number that ends where the format allows it to. */
static bool number(const char *p, const char *stops, double *ret, const char **ret_end)
{
	char *end;
	/* strtod takes more than the format has: leading blanks, "0x1p3". */
	if (*p == '\0' || strchr("+-.0123456789IiNn", *p) == NULL || strncmp(p, "0x", 2) == 0)
		return false;
	*ret = strtod(p, &end);
	*ret_end = end;
	return end != p && strchr(stops, *end) != NULL;
}

/*
 * p is behind '{'.  Returns what is behind '}', NULL when these are no labels.  A name in quotes is
 * allowed as the first.
 */
static const char *labels(const char *p, const char *name, bool *ret_named, double *ret_le)
{
	size_t n_name = strlen(name);
	*ret_le = (double)NAN;
	for (p = blanks(p); *p != '}'; p = blanks(p)) {
		const char *key = p;
		bool quoted = *p == '"';
		p = quoted ? string_end(p + 1) : p + strcspn(p, "=,}\" \t");
		if (p == NULL || p == key)
			return NULL;
		size_t n_key = (size_t)(p - key);
		p = blanks(p);
		if (quoted && *p != '=') {
			*ret_named = n_key == n_name + 2 && memcmp(key + 1, name, n_name) == 0;
		} else {
			const char *end;
			if (*p != '=' || *(p = blanks(p + 1)) != '"')
				return NULL;
			bool is_le = n_key == 2 && memcmp(key, "le", 2) == 0;
			if (is_le && !number(p + 1, "\"", ret_le, &end))
				return NULL;
			p = string_end(p + 1);
			if (p == NULL)
				return NULL;
			p = blanks(p);
		}
		if (*p == ',')
			p++;
		else if (*p != '}')
			return NULL;
	}
	return p + 1;
}

static void add(struct gd_exposition *e, double le, double count)
{
	struct gd_exposition_buckets *b = &e->buckets;
	/* Bounds come in order, again for each label set: mostly the one looked at is the next. */
	for (size_t i = 0; i < b->n; i++) {
		if (b->list[i].le == le) {
			b->list[i].count += count;
			return;
		}
	}
	if (b->n == GD_EXPOSITION_BUCKETS_MAX) {
		e->too_many = true;
		return;
	}
	b->list[b->n++] = (struct gd_exposition_bucket){ .le = le, .count = count };
}

static void take_line(struct gd_exposition *e)
{
	size_t n_name = strlen(e->name);
	const char *p = e->line;
	const char *end;
	bool named = false;
	double le;
	double count;

	e->line[e->line_len] = '\0';
	/* A line ends at a zero byte too: there is none in the format. */
	if (strncmp(p, e->name, n_name) == 0) {
		p = blanks(p + n_name);
		named = true;
		if (*p != '{') {
			/* Another name that begins alike, or one without labels: no bucket. */
			return;
		}
	} else if (*p != '{') {
		return;
	}
	p = labels(p + 1, e->name, &named, &le);
	if (!named)
		return;
	if (p == NULL || isnan(le) || !number(blanks(p), " \t\r", &count, &end) ||
	    !(count >= 0 && count < 0x1p63)) {
		e->bad++;
		return;
	}
	add(e, isinf(le) ? le : le * e->unit_s, count);
}

void gd_exposition_feed(struct gd_exposition *e, const void *bytes, size_t n)
{
	const char *p = bytes;
	while (n > 0) {
		const char *newline = memchr(p, '\n', n);
		size_t part = newline != NULL ? (size_t)(newline - p) : n;
		if (part > sizeof(e->line) - 1 - e->line_len)
			e->skipping = true;
		if (!e->skipping) {
			memcpy(e->line + e->line_len, p, part);
			e->line_len += part;
		}
		if (newline != NULL) {
			if (!e->skipping)
				take_line(e);
			e->line_len = 0;
			e->skipping = false;
			part++;
		}
		p += part;
		n -= part;
	}
}

/* --- buckets --- */

static int by_bound(const void *a, const void *b)
{
	const struct gd_exposition_bucket *x = a;
	const struct gd_exposition_bucket *y = b;
	return x->le < y->le ? -1 : x->le > y->le;
}

int gd_exposition_end(struct gd_exposition *e, struct gd_error *err)
{
	struct gd_exposition_buckets *b = &e->buckets;
	if (e->line_len > 0 && !e->skipping)
		take_line(e);
	e->line_len = 0;
	if (e->too_many)
		return gd_fail(err, -E2BIG, "%s: more than %d bounds", e->name,
		               GD_EXPOSITION_BUCKETS_MAX);
	if (b->n == 0)
		return gd_fail(err, e->bad > 0 ? -EBADMSG : -ENOENT, "%s is not in the answer%s",
		               e->name, e->bad > 0 ? " in a form that can be read" : "");
	qsort(b->list, b->n, sizeof(b->list[0]), by_bound);
	if (!isinf(b->list[b->n - 1].le) || isinf(b->list[0].le) == -1)
		return gd_fail(err, -EBADMSG, "%s has no bucket le=\"+Inf\"", e->name);
	return 0;
}

bool gd_exposition_delta(const struct gd_exposition_buckets *now,
                         const struct gd_exposition_buckets *before,
                         struct gd_exposition_buckets *ret)
{
	if (now->n != before->n)
		return false;
	for (size_t i = 0; i < now->n; i++) {
		if (now->list[i].le != before->list[i].le ||
		    now->list[i].count < before->list[i].count)
			return false;
		ret->list[i].le = now->list[i].le;
		ret->list[i].count = now->list[i].count - before->list[i].count;
	}
	ret->n = now->n;
	return true;
}

double gd_exposition_quantile(const struct gd_exposition_buckets *b, double part)
{
	double total = b->n > 0 ? b->list[b->n - 1].count : 0;
	double rank = part * total;
	double low = 0;
	double seen = 0;
	if (!(total > 0))
		return (double)NAN;
	for (size_t i = 0; i + 1 < b->n; i++) {
		double le = b->list[i].le;
		double count = b->list[i].count;
		if (count >= rank && count > seen)
			return le <= low ? low : low + (le - low) * (rank - seen) / (count - seen);
		/* Label sets with other bounds can make it fall: it is not less than before. */
		seen = count > seen ? count : seen;
		low = le > low ? le : low;
	}
	return b->n > 1 ? low : (double)NAN;
}
