#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/text.h"

static void put_string(struct gd_buf *out, const char *s, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	gd_buf_putc(out, '"');
	size_t from = 0;
	size_t i = 0;
	while (i < n) {
		unsigned char c = (unsigned char)s[i];
		size_t len = c < 0x80 ? 1 : gd_text_utf8_len(s + i, n - i);
		if (len > 1 || (len == 1 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)) {
			i += len;
			continue;
		}
		gd_buf_append(out, s + from, i - from);
		if (len == 0) {
			gd_buf_puts(out, "\\ufffd");
		} else if (c == '"' || c == '\\') {
			char pair[2] = { '\\', (char)c };
			gd_buf_append(out, pair, 2);
		} else if (c == '\n') {
			gd_buf_puts(out, "\\n");
		} else if (c == '\t') {
			gd_buf_puts(out, "\\t");
		} else {
			char u[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
			gd_buf_append(out, u, 6);
		}
		i++;
		from = i;
	}
	if (n > from)
		gd_buf_append(out, s + from, n - from);
	gd_buf_putc(out, '"');
}

static void before_value(struct gd_json *j, const char *key)
{
	if (j->comma)
		gd_buf_putc(j->out, ',');
	if (key != NULL) {
		put_string(j->out, key, strlen(key));
		gd_buf_putc(j->out, ':');
	}
	j->comma = true;
}

static void open_with(struct gd_json *j, const char *key, char c)
{
	before_value(j, key);
	gd_buf_putc(j->out, c);
	j->comma = false;
}

static void close_with(struct gd_json *j, char c)
{
	gd_buf_putc(j->out, c);
	j->comma = true;
}

void gd_json_object(struct gd_json *j, const char *key)
{
	open_with(j, key, '{');
}

void gd_json_object_end(struct gd_json *j)
{
	close_with(j, '}');
}

void gd_json_array(struct gd_json *j, const char *key)
{
	open_with(j, key, '[');
}

void gd_json_array_end(struct gd_json *j)
{
	close_with(j, ']');
}

void gd_json_bytes(struct gd_json *j, const char *key, const void *value, size_t n)
{
	before_value(j, key);
	put_string(j->out, value, n);
}

void gd_json_string(struct gd_json *j, const char *key, const char *value)
{
	if (value == NULL)
		gd_json_null(j, key);
	else
		gd_json_bytes(j, key, value, strlen(value));
}

void gd_json_u64(struct gd_json *j, const char *key, uint64_t value)
{
	before_value(j, key);
	gd_text_put_u64(j->out, value);
}

void gd_json_i64(struct gd_json *j, const char *key, int64_t value)
{
	before_value(j, key);
	if (value < 0)
		gd_buf_putc(j->out, '-');
	gd_text_put_u64(j->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void gd_json_hex(struct gd_json *j, const char *key, uint64_t value)
{
	before_value(j, key);
	gd_buf_putc(j->out, '"');
	gd_text_put_hex(j->out, value);
	gd_buf_putc(j->out, '"');
}

void gd_json_double(struct gd_json *j, const char *key, double value)
{
	if (!isfinite(value)) {
		gd_json_null(j, key);
		return;
	}
	before_value(j, key);
	gd_buf_printf(j->out, "%.15g", value);
}

void gd_json_bool(struct gd_json *j, const char *key, bool value)
{
	before_value(j, key);
	gd_buf_puts(j->out, value ? "true" : "false");
}

void gd_json_null(struct gd_json *j, const char *key)
{
	before_value(j, key);
	gd_buf_puts(j->out, "null");
}

void gd_json_raw(struct gd_json *j, const char *key, const void *json, size_t n)
{
	before_value(j, key);
	gd_buf_append(j->out, json, n);
}

void gd_json_line_end(struct gd_json *j)
{
	gd_buf_putc(j->out, '\n');
	j->comma = false;
}
