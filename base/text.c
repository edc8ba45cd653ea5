#include "base/text.h"

#include <stdio.h>
#include <string.h>

void gd_text_put_u64(struct gd_buf *out, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	gd_buf_append(out, digits + at, sizeof(digits) - at);
}

void gd_text_put_hex(struct gd_buf *out, uint64_t value)
{
	char digits[18];
	size_t at = sizeof(digits);
	do {
		digits[--at] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value != 0);
	digits[--at] = 'x';
	digits[--at] = '0';
	gd_buf_append(out, digits + at, sizeof(digits) - at);
}

size_t gd_text_utf8_len(const char *s, size_t n)
{
	if (n == 0)
		return 0;
	const unsigned char *p = (const unsigned char *)s;
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, and what lies beyond U+10FFFF */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

void gd_text_put_escaped(struct gd_buf *out, const void *bytes, size_t n)
{
	const char *s = bytes;
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t len = gd_text_utf8_len(s + i, n - i);
		/* 0xc2 0x80..0x9f are the C1 controls, which terminals obey */
		bool c1 = len == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0;
		if (len > 1 && !c1) {
			gd_buf_append(out, s + i, len);
			i += len;
			continue;
		}
		if (c == '\\')
			gd_buf_puts(out, "\\\\");
		else if (c >= 0x20 && c <= 0x7e)
			gd_buf_putc(out, (char)c);
		else
			gd_buf_printf(out, "\\x%02x", c);
		i++;
	}
}

void gd_text_put_folded(struct gd_buf *out, const void *bytes, size_t n)
{
	size_t from = out->len;
	gd_text_put_escaped(out, bytes, n);
	for (size_t i = from; i < out->len; i++)
		if (out->data[i] == ';')
			out->data[i] = ':';
}

void gd_text_escape(char *to, size_t size, const void *bytes, size_t n)
{
	GD_BUF struct gd_buf buf = GD_BUF_INIT(n * 4 + 1);
	gd_text_put_escaped(&buf, bytes, n);
	const char *text = gd_buf_str(&buf);
	size_t len = strlen(text);
	if (size == 0)
		return;
	if (len < size) {
		memcpy(to, text, len + 1);
		return;
	}
	static const char dots[] = "...";
	size_t keep = size >= sizeof(dots) ? size - sizeof(dots) : 0;
	while (keep > 0 && ((unsigned char)text[keep] & 0xc0) == 0x80)
		keep--; /* not through the middle of a character */
	memcpy(to, text, keep);
	(void)snprintf(to + keep, size - keep, "%s", dots);
}

bool gd_text_u64(const char *s, const char **end, int base, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = s;
	for (;; p++) {
		unsigned digit;
		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else if (*p >= 'A' && *p <= 'F')
			digit = (unsigned)(*p - 'A') + 10;
		else
			break;
		if (digit >= (unsigned)base)
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	if (p == s)
		return false;
	if (end != NULL)
		*end = p;
	*ret = value;
	return true;
}
