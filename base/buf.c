#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gd_buf_deinit(struct gd_buf *buf)
{
	free(buf->data);
	*buf = GD_BUF_INIT(buf->ceiling);
}

void gd_buf_reset(struct gd_buf *buf)
{
	buf->len = 0;
	buf->failed = 0;
}

char *gd_buf_reserve(struct gd_buf *buf, size_t n)
{
	if (buf->failed != 0)
		return NULL;
	/* So that the sums below cannot wrap; nobody has that much memory. */
	size_t ceiling = buf->ceiling < SIZE_MAX / 4 ? buf->ceiling : SIZE_MAX / 4;
	if (n > ceiling || buf->len > ceiling - n) {
		buf->failed = -E2BIG;
		return NULL;
	}
	size_t need = buf->len + n + 1; /* one spare byte for gd_buf_str */
	if (need > buf->cap) {
		size_t cap = buf->cap < 128 ? 128 : buf->cap;
		while (cap < need)
			cap += cap / 2;
		if (cap > ceiling + 1)
			cap = ceiling + 1;
		char *data = realloc(buf->data, cap);
		if (data == NULL) {
			buf->failed = -ENOMEM;
			return NULL;
		}
		buf->data = data;
		buf->cap = cap;
	}
	return buf->data + buf->len;
}

void gd_buf_append(struct gd_buf *buf, const void *bytes, size_t n)
{
	char *to = gd_buf_reserve(buf, n);
	if (to != NULL && n > 0) {
		memcpy(to, bytes, n);
		buf->len += n;
	}
}

void gd_buf_puts(struct gd_buf *buf, const char *text)
{
	gd_buf_append(buf, text, strlen(text));
}

void gd_buf_putc(struct gd_buf *buf, char c)
{
	gd_buf_append(buf, &c, 1);
}

void gd_buf_printf(struct gd_buf *buf, const char *fmt, ...)
{
	va_list args;
	va_list again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n >= 0) {
		char *to = gd_buf_reserve(buf, (size_t)n);
		if (to != NULL) {
			(void)vsnprintf(to, (size_t)n + 1, fmt, again);
			buf->len += (size_t)n;
		}
	} else if (buf->failed == 0) {
		buf->failed = -EINVAL; /* a text of more than INT_MAX bytes */
	}
	va_end(again);
}

const char *gd_buf_str(struct gd_buf *buf)
{
	if (gd_buf_reserve(buf, 0) == NULL)
		return "";
	buf->data[buf->len] = '\0';
	return buf->data;
}

int gd_buf_check(const struct gd_buf *buf, const char *what, struct gd_error *err)
{
	if (buf->failed == -E2BIG)
		return gd_fail(err, -E2BIG, "%s: larger than our limit of %zu bytes", what,
		               buf->ceiling);
	if (buf->failed != 0)
		return gd_fail_errno(err, buf->failed, "%s", what);
	return 0;
}
