#include "report/scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define NUMBER_MAX 64

static void spoil(struct gd_scan *s)
{
	s->bad = true;
	s->p = s->end;
}

static char next(struct gd_scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
	return s->p < s->end ? *s->p : '\0';
}

char gd_scan_peek(struct gd_scan *s)
{
	char c = next(s);
	return c == '-' || (c >= '0' && c <= '9') ? '0' : c;
}

static bool enter(struct gd_scan *s, char open)
{
	if (next(s) != open || s->depth >= DEPTH_MAX) {
		spoil(s);
		return false;
	}
	s->p++;
	s->depth++;
	s->first = true;
	return true;
}

bool gd_scan_object(struct gd_scan *s)
{
	return enter(s, '{');
}

bool gd_scan_array(struct gd_scan *s)
{
	return enter(s, '[');
}

/* Past the comma to what follows, or out of the container. */
static bool more(struct gd_scan *s, char close)
{
	char c = next(s);
	if (s->bad || s->depth == 0 || c == '\0') {
		spoil(s);
		return false;
	}
	if (c == close) {
		s->p++;
		s->depth--;
		s->first = false;
		return false;
	}
	if (!s->first) {
		if (c != ',') {
			spoil(s);
			return false;
		}
		s->p++;
	}
	s->first = false;
	return true;
}

static bool take_string(struct gd_scan *s, struct gd_scan_text *ret)
{
	if (next(s) != '"') {
		spoil(s);
		return false;
	}
	const char *from = ++s->p;
	for (;;) {
		const char *quote = memchr(s->p, '"', (size_t)(s->end - s->p));
		if (quote == NULL) {
			spoil(s);
			return false;
		}
		/* An odd number of backslashes before it: the quote belongs to the string. */
		const char *back = quote;
		while (back > from && back[-1] == '\\')
			back--;
		s->p = quote + 1;
		if ((quote - back) % 2 == 0) {
			*ret = (struct gd_scan_text){ .at = from, .n = (size_t)(quote - from) };
			return true;
		}
	}
}

bool gd_scan_key(struct gd_scan *s, struct gd_scan_text *key)
{
	if (!more(s, '}') || !take_string(s, key))
		return false;
	if (next(s) != ':') {
		spoil(s);
		return false;
	}
	s->p++;
	return true;
}

bool gd_scan_item(struct gd_scan *s)
{
	return more(s, ']');
}

static void skip_word(struct gd_scan *s, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		spoil(s);
	else
		s->p += n;
}

static size_t number_len(const struct gd_scan *s)
{
	size_t n = 0;
	while (s->p + n < s->end && n < NUMBER_MAX &&
	       ((s->p[n] >= '0' && s->p[n] <= '9') || s->p[n] == '-' || s->p[n] == '+' ||
	        s->p[n] == '.' || s->p[n] == 'e' || s->p[n] == 'E'))
		n++;
	return n < NUMBER_MAX ? n : 0;
}

/* Everything that is neither object nor array. */
static void skip_scalar(struct gd_scan *s, char kind)
{
	struct gd_scan_text text;
	switch (kind) {
	case '"':
		(void)take_string(s, &text);
		break;
	case 't':
		skip_word(s, "true");
		break;
	case 'f':
		skip_word(s, "false");
		break;
	case 'n':
		skip_word(s, "null");
		break;
	case '0': {
		size_t n = number_len(s);
		if (n == 0)
			spoil(s);
		s->p += n;
		break;
	}
	default:
		spoil(s);
	}
}

void gd_scan_skip(struct gd_scan *s)
{
	/* Which containers are open below here, innermost last; without recursion. */
	char open[DEPTH_MAX];
	unsigned n = 0;
	struct gd_scan_text key;
	do {
		char kind = gd_scan_peek(s);
		if (kind == '{' || kind == '[') {
			if (!enter(s, kind))
				return;
			open[n++] = kind;
		} else {
			skip_scalar(s, kind);
		}
		while (n > 0 && !(open[n - 1] == '{' ? gd_scan_key(s, &key) : gd_scan_item(s)))
			n--;
	} while (n > 0 && !s->bad);
}

struct gd_scan_text gd_scan_string(struct gd_scan *s)
{
	struct gd_scan_text text = { .at = "", .n = 0 };
	if (gd_scan_peek(s) == '"')
		(void)take_string(s, &text);
	else
		gd_scan_skip(s);
	return text;
}

int64_t gd_scan_i64(struct gd_scan *s)
{
	if (gd_scan_peek(s) != '0') {
		gd_scan_skip(s);
		return 0;
	}
	size_t n = number_len(s);
	const char *p = s->p;
	bool negative = *p == '-';
	int64_t value = 0;
	if (n == 0) {
		spoil(s);
		return 0;
	}
	for (size_t i = negative; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
		int digit = p[i] - '0';
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, digit, &value)) {
			value = INT64_MAX;
			break;
		}
	}
	s->p += n;
	return negative ? -value : value;
}

double gd_scan_double(struct gd_scan *s)
{
	char copy[NUMBER_MAX + 1];
	if (gd_scan_peek(s) != '0') {
		gd_scan_skip(s);
		return 0;
	}
	size_t n = number_len(s);
	if (n == 0) {
		spoil(s);
		return 0;
	}
	memcpy(copy, s->p, n);
	copy[n] = '\0';
	s->p += n;
	double value = strtod(copy, NULL);
	return isfinite(value) ? value : 0;
}

bool gd_scan_bool(struct gd_scan *s)
{
	bool value = gd_scan_peek(s) == 't';
	gd_scan_skip(s);
	return value && !s->bad;
}

static int hex4(const char *p)
{
	int value = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
		            : c >= 'a' && c <= 'f' ? c - 'a' + 10
		            : c >= 'A' && c <= 'F' ? c - 'A' + 10
		                                   : -1;
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static void put_rune(struct gd_buf *out, int rune)
{
	if (rune < 0x80) {
		gd_buf_putc(out, (char)rune);
	} else if (rune < 0x800) {
		gd_buf_putc(out, (char)(0xc0 | rune >> 6));
		gd_buf_putc(out, (char)(0x80 | (rune & 0x3f)));
	} else {
		gd_buf_putc(out, (char)(0xe0 | rune >> 12));
		gd_buf_putc(out, (char)(0x80 | (rune >> 6 & 0x3f)));
		gd_buf_putc(out, (char)(0x80 | (rune & 0x3f)));
	}
}

void gd_scan_put(const struct gd_scan_text *text, struct gd_buf *out)
{
	static const char plain[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	for (size_t i = 0; i < text->n; i++) {
		if (text->at[i] != '\\') {
			gd_buf_putc(out, text->at[i]);
			continue;
		}
		char c = i + 1 < text->n ? text->at[i + 1] : '\0';
		const char *known = c != '\0' ? strchr(plain, c) : NULL;
		int rune = 0xfffd; /* also for surrogates: names of functions have none */
		if (known != NULL) {
			gd_buf_putc(out, meant[known - plain]);
			i++;
			continue;
		}
		if (c == 'u' && i + 5 < text->n) {
			int value = hex4(text->at + i + 2);
			if (value >= 0 && (value < 0xd800 || value > 0xdfff))
				rune = value;
			i += 4;
		}
		i += i + 1 < text->n;
		put_rune(out, rune);
	}
}
