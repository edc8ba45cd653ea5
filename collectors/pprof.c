#include "collectors/pprof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/text.h"
#include "collectors/known.h"

/* Field numbers of profile.proto. */
enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING = 6,
	PROFILE_TIME_NANOS = 9,
	PROFILE_DURATION_NANOS = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_COMMENT = 13,
	PROFILE_DEFAULT_SAMPLE_TYPE = 14,
};

#define OUT_BYTES 65536
#define STRING_BYTES_MAX (8u << 20)
#define MESSAGE_BYTES_MAX (1u << 20)

struct gd_pprof {
	struct gd_stream *stream;
	size_t n_types;
	int failed; /* sticky */
	struct gd_error why;
	z_stream z;
	bool z_open;
	uint8_t *out; /* OUT_BYTES */
	/*
	 * What has got an id.  Each may be emptied when full: ids go on, and something may then be
	 * written a second time under another id, which a reader cannot tell from the first.
	 */
	struct gd_known *strings, *functions, *locations;
	uint64_t n_strings, n_functions, n_locations, n_mappings;
	struct gd_buf message, part, packed;
};

static void fail(struct gd_pprof *p, int code, const char *what)
{
	if (p->failed == 0)
		p->failed = gd_fail_errno(&p->why, code, "%s", what);
}

/* --- bytes to the stream, through zlib --- */

static void write_out(struct gd_pprof *p)
{
	size_t have = OUT_BYTES - p->z.avail_out;
	if (p->failed == 0 && have > 0)
		p->failed = p->stream->write(p->stream, p->out, have, &p->why);
	p->z.next_out = p->out;
	p->z.avail_out = OUT_BYTES;
}

static void deflate_bytes(struct gd_pprof *p, const void *bytes, size_t n, int flush)
{
	if (p->failed != 0)
		return;
	p->z.next_in = (uint8_t *)(uintptr_t)bytes; /* zlib's older prototype is not const */
	p->z.avail_in = (uInt)n;
	int r = Z_OK;
	do {
		if (p->z.avail_out == 0 || flush == Z_FINISH) {
			write_out(p);
		}
		r = deflate(&p->z, flush);
		if (r == Z_STREAM_ERROR) {
			fail(p, -EIO, "deflate");
			return;
		}
	} while (p->failed == 0 &&
	         (p->z.avail_in > 0 || (flush == Z_FINISH && r != Z_STREAM_END)));
	if (flush == Z_FINISH)
		write_out(p);
}

static void put_varint(struct gd_buf *to, uint64_t value)
{
	uint8_t bytes[10];
	size_t n = 0;
	for (; value >= 0x80; value >>= 7)
		bytes[n++] = (uint8_t)(value | 0x80);
	bytes[n++] = (uint8_t)value;
	gd_buf_append(to, bytes, n);
}

/* Zero is the default of proto3 and not written. */
static void put_number(struct gd_buf *to, unsigned field, uint64_t value)
{
	if (value == 0)
		return;
	put_varint(to, field << 3);
	put_varint(to, value);
}

static void put_bytes(struct gd_buf *to, unsigned field, const void *bytes, size_t n)
{
	put_varint(to, field << 3 | 2);
	put_varint(to, n);
	gd_buf_append(to, bytes, n);
}

static void write_field(struct gd_pprof *p, unsigned field, const void *bytes, size_t n)
{
	uint8_t head[16];
	struct gd_buf to = { .data = (char *)head, .cap = sizeof(head),
		             .ceiling = sizeof(head) - 1 };
	put_varint(&to, field << 3 | 2);
	put_varint(&to, n);
	deflate_bytes(p, head, to.len, Z_NO_FLUSH);
	if (n > 0)
		deflate_bytes(p, bytes, n, Z_NO_FLUSH);
}

static void write_message(struct gd_pprof *p, unsigned field)
{
	if (p->message.failed != 0)
		fail(p, p->message.failed, "a message of a profile");
	if (p->part.failed != 0)
		fail(p, p->part.failed, "a message of a profile");
	write_field(p, field, p->message.data, p->message.len);
}

/* --- strings --- */

/* protoc's readers insist on UTF-8 */
static void put_utf8(struct gd_buf *to, const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = gd_text_utf8_len(s + i, n - i);
		if (len == 0)
			gd_buf_append(to, "\xef\xbf\xbd", 3);
		else
			gd_buf_append(to, s + i, len);
		i += len == 0 ? 1 : len;
	}
}

static uint64_t string_id(struct gd_pprof *p, const char *s, size_t n)
{
	if (n == 0 || p->failed != 0)
		return 0;
	uint64_t *id = gd_known_slot(p->strings, s, n);
	if (id == NULL) {
		fail(p, -E2BIG, "a string of a profile");
		return 0;
	}
	if (*id != 0)
		return *id;
	*id = p->n_strings++;
	uint64_t ret = *id;
	GD_BUF struct gd_buf clean = GD_BUF_INIT(3 * (size_t)STRING_BYTES_MAX);
	put_utf8(&clean, s, n);
	if (clean.failed != 0)
		fail(p, clean.failed, "a string of a profile");
	write_field(p, PROFILE_STRING, clean.data, clean.len);
	return ret;
}

static uint64_t text_id(struct gd_pprof *p, const char *s)
{
	return s != NULL ? string_id(p, s, strlen(s)) : 0;
}

static void write_type(struct gd_pprof *p, unsigned field, const struct gd_pprof_type *type)
{
	uint64_t name = text_id(p, type->type);
	uint64_t unit = text_id(p, type->unit);
	gd_buf_reset(&p->message);
	put_number(&p->message, 1, name);
	put_number(&p->message, 2, unit);
	write_message(p, field);
}

/* --- life --- */

static int open_tables(struct gd_pprof *p, struct gd_error *err)
{
	struct gd_known **const tables[] = { &p->strings, &p->functions, &p->locations };
	for (size_t i = 0; i < 3; i++) {
		int r = gd_known_create(GD_PPROF_TABLE_MAX, STRING_BYTES_MAX, tables[i], err);
		if (r < 0)
			return r;
	}
	p->out = malloc(OUT_BYTES);
	if (p->out == NULL)
		return gd_fail_errno(err, -ENOMEM, "a profile");
	p->z.next_out = p->out;
	p->z.avail_out = OUT_BYTES;
	/* level 1: profiles repeat themselves, and we are a guest on a busy host; 16: gzip */
	if (deflateInit2(&p->z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return gd_fail_errno(err, -ENOMEM, "deflate");
	p->z_open = true;
	return 0;
}

int gd_pprof_create(struct gd_stream *stream, const struct gd_pprof_type *types, size_t n_types,
                    struct gd_pprof **ret, struct gd_error *err)
{
	if (n_types == 0 || n_types > GD_PPROF_TYPES_MAX)
		return gd_fail(err, -EINVAL, "a profile of %zu sample types", n_types);
	GD_PPROF struct gd_pprof *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return gd_fail_errno(err, -ENOMEM, "a profile");
	p->stream = stream;
	p->n_types = n_types;
	p->message = GD_BUF_INIT(MESSAGE_BYTES_MAX);
	p->part = GD_BUF_INIT(MESSAGE_BYTES_MAX);
	p->packed = GD_BUF_INIT(MESSAGE_BYTES_MAX);
	int r = open_tables(p, err);
	if (r < 0)
		return r;
	write_field(p, PROFILE_STRING, "", 0); /* string 0 is empty by definition */
	p->n_strings = 1;
	for (size_t i = 0; i < n_types; i++)
		write_type(p, PROFILE_SAMPLE_TYPE, &types[i]);
	r = gd_pprof_check(p, err);
	if (r < 0)
		return r;
	*ret = p;
	p = NULL;
	return 0;
}

void gd_pprof_destroy(struct gd_pprof *p)
{
	if (p == NULL)
		return;
	if (p->z_open)
		(void)deflateEnd(&p->z);
	gd_known_destroy(p->strings);
	gd_known_destroy(p->functions);
	gd_known_destroy(p->locations);
	gd_buf_deinit(&p->message);
	gd_buf_deinit(&p->part);
	gd_buf_deinit(&p->packed);
	free(p->out);
	free(p);
}

int gd_pprof_check(const struct gd_pprof *p, struct gd_error *err)
{
	if (p->failed != 0 && err != NULL)
		*err = p->why;
	return p->failed;
}

/* --- content --- */

uint64_t gd_pprof_mapping(struct gd_pprof *p, const struct gd_pprof_mapping *mapping)
{
	uint64_t file = text_id(p, mapping->file);
	uint64_t build_id = text_id(p, mapping->build_id);
	if (p->failed != 0)
		return 0;
	uint64_t id = ++p->n_mappings;
	gd_buf_reset(&p->message);
	put_number(&p->message, 1, id);
	put_number(&p->message, 2, mapping->start);
	put_number(&p->message, 3, mapping->limit);
	put_number(&p->message, 4, mapping->offset);
	put_number(&p->message, 5, file);
	put_number(&p->message, 6, build_id);
	/* has_functions, filenames, line_numbers, inline_frames: pprof must not symbolise again */
	for (unsigned field = 7; field <= 10; field++)
		put_number(&p->message, field, 1);
	write_message(p, PROFILE_MAPPING);
	return p->failed == 0 ? id : 0;
}

static uint64_t function_id(struct gd_pprof *p, const struct gd_pprof_line *line)
{
	uint64_t name = text_id(p, line->function);
	uint64_t file = text_id(p, line->file);
	uint64_t key[3] = { name, file, (uint64_t)line->start_line };
	uint64_t *id = gd_known_slot(p->functions, key, sizeof(key));
	if (id == NULL) {
		fail(p, -ENOMEM, "a function of a profile");
		return 0;
	}
	if (*id != 0)
		return *id;
	uint64_t ret = *id = ++p->n_functions;
	gd_buf_reset(&p->message);
	put_number(&p->message, 1, ret);
	put_number(&p->message, 2, name);
	put_number(&p->message, 3, name);
	put_number(&p->message, 4, file);
	put_number(&p->message, 5, (uint64_t)line->start_line);
	write_message(p, PROFILE_FUNCTION);
	return ret;
}

uint64_t gd_pprof_find(const struct gd_pprof *p, uint64_t key)
{
	const uint64_t *id = gd_known_find(p->locations, &key, sizeof(key));
	return id != NULL ? *id : 0;
}

uint64_t gd_pprof_location(struct gd_pprof *p, uint64_t key, uint64_t address, uint64_t mapping,
                           const struct gd_pprof_line *lines, size_t n_lines)
{
	if (p->failed != 0)
		return 0;
	uint64_t *slot = gd_known_slot(p->locations, &key, sizeof(key));
	if (slot == NULL) {
		fail(p, -ENOMEM, "a location of a profile");
		return 0;
	}
	if (*slot != 0)
		return *slot;
	uint64_t id = *slot = ++p->n_locations;
	gd_buf_reset(&p->packed); /* the lines; functions write messages of their own meanwhile */
	for (size_t i = 0; i < n_lines; i++) {
		uint64_t function = function_id(p, &lines[i]);
		gd_buf_reset(&p->part);
		put_number(&p->part, 1, function);
		put_number(&p->part, 2, (uint64_t)lines[i].line);
		put_bytes(&p->packed, 4, p->part.data, p->part.len);
	}
	gd_buf_reset(&p->message);
	put_number(&p->message, 1, id);
	put_number(&p->message, 2, mapping);
	put_number(&p->message, 3, address);
	gd_buf_append(&p->message, p->packed.data, p->packed.len);
	if (p->packed.failed != 0)
		fail(p, p->packed.failed, "a location of a profile");
	write_message(p, PROFILE_LOCATION);
	return p->failed == 0 ? id : 0;
}

static void put_label(struct gd_pprof *p, const struct gd_pprof_label *label)
{
	uint64_t key = string_id(p, label->key, label->key_len);
	uint64_t text = label->text != NULL ? string_id(p, label->text, label->text_len) : 0;
	uint64_t unit = label->text == NULL ? text_id(p, label->unit) : 0;
	gd_buf_reset(&p->part);
	put_number(&p->part, 1, key);
	put_number(&p->part, 2, text);
	if (label->text == NULL) {
		put_number(&p->part, 3, (uint64_t)label->number);
		put_number(&p->part, 4, unit);
	}
	put_bytes(&p->message, 3, p->part.data, p->part.len);
}

void gd_pprof_sample(struct gd_pprof *p, const uint64_t *locations, size_t n_locations,
                     const int64_t *values, const struct gd_pprof_label *labels, size_t n_labels)
{
	if (p->failed != 0)
		return;
	if (n_locations > GD_PPROF_DEPTH_MAX)
		n_locations = GD_PPROF_DEPTH_MAX;
	gd_buf_reset(&p->message);
	gd_buf_reset(&p->packed);
	for (size_t i = 0; i < n_locations; i++)
		put_varint(&p->packed, locations[i]);
	put_bytes(&p->message, 1, p->packed.data, p->packed.len);
	gd_buf_reset(&p->packed);
	for (size_t i = 0; i < p->n_types; i++)
		put_varint(&p->packed, (uint64_t)values[i]);
	put_bytes(&p->message, 2, p->packed.data, p->packed.len);
	for (size_t i = 0; i < n_labels; i++)
		put_label(p, &labels[i]);
	write_message(p, PROFILE_SAMPLE);
}

int gd_pprof_finish(struct gd_pprof *p, const struct gd_pprof_about *about, struct gd_error *err)
{
	if (about->period_type.type != NULL)
		write_type(p, PROFILE_PERIOD_TYPE, &about->period_type);
	uint64_t comment = text_id(p, about->comment);
	uint64_t type = text_id(p, about->default_type);
	gd_buf_reset(&p->message);
	put_number(&p->message, PROFILE_TIME_NANOS, (uint64_t)about->time_ns);
	put_number(&p->message, PROFILE_DURATION_NANOS, (uint64_t)about->duration_ns);
	put_number(&p->message, PROFILE_PERIOD, (uint64_t)about->period);
	put_number(&p->message, PROFILE_COMMENT, comment);
	put_number(&p->message, PROFILE_DEFAULT_SAMPLE_TYPE, type);
	if (p->message.failed != 0)
		fail(p, p->message.failed, "the end of a profile");
	deflate_bytes(p, p->message.data, p->message.len, Z_FINISH);
	return gd_pprof_check(p, err);
}
