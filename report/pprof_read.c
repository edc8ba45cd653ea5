#include "report/pprof_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "report/protobuf.h"

#define PACKED_MAX (32U << 20)
#define IDS_MAX (1U << 20) /* of functions, locations, mappings, strings */
#define LINES_MAX (1U << 22)
#define LOCATION_LINES_MAX 256 /* functions inlined into one another */

/* Field numbers of proto/profile.proto. */
enum {
	SAMPLE_TYPE = 1, SAMPLE = 2, MAPPING = 3, LOCATION = 4, FUNCTION = 5, STRING = 6,
	TIME_NANOS = 9, DURATION_NANOS = 10, PERIOD_TYPE = 11, PERIOD = 12, DEFAULT_TYPE = 14,
};

void gd_pprof_read_deinit(struct gd_pprof_read *p)
{
	free(p->strings);
	free(p->functions);
	free(p->mappings);
	free(p->locations);
	free(p->lines);
	*p = (struct gd_pprof_read){ 0 };
}

/* --- tables -------------------------------------------------------------------------------- */

static void measure_location(struct gd_bytes message, uint64_t *largest, uint64_t *lines)
{
	struct gd_protobuf_field field;
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 1 && field.value > *largest)
			*largest = field.value;
		*lines += field.number == 4;
	}
}

static void measure_id(struct gd_bytes message, uint64_t *largest)
{
	uint64_t lines = 0;
	measure_location(message, largest, &lines);
}

/* How long the tables must be: ids are ours to choose in no file but our own. */
static int measure(struct gd_pprof_read *p, struct gd_error *err)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	uint64_t strings = 0, functions = 0, mappings = 0, locations = 0, lines = 0;
	while (gd_protobuf_next(&message, &field)) {
		strings += field.number == STRING;
		if (field.number == LOCATION)
			measure_location(field.bytes, &locations, &lines);
		else if (field.number == FUNCTION)
			measure_id(field.bytes, &functions);
		else if (field.number == MAPPING)
			measure_id(field.bytes, &mappings);
	}
	if (message.bad || p->bytes.len == 0)
		return gd_fail(err, -EBADMSG, "%s: not a profile", p->what);
	if (strings >= IDS_MAX || functions >= IDS_MAX || mappings >= IDS_MAX ||
	    locations >= IDS_MAX || lines >= LINES_MAX)
		return gd_fail(err, -E2BIG, "%s: more than %u functions or locations", p->what,
		               IDS_MAX);
	p->n_strings = (uint32_t)strings;
	p->n_functions = (uint32_t)functions + 1;
	p->n_mappings = (uint32_t)mappings + 1;
	p->n_locations = (uint32_t)locations + 1;
	p->strings = calloc(strings + 1, sizeof(*p->strings));
	p->functions = calloc(p->n_functions, sizeof(*p->functions));
	p->mappings = calloc(p->n_mappings, sizeof(*p->mappings));
	p->locations = calloc(p->n_locations, sizeof(*p->locations));
	p->lines = calloc(lines + 1, sizeof(*p->lines));
	if (p->strings == NULL || p->functions == NULL || p->mappings == NULL ||
	    p->locations == NULL || p->lines == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->what);
	return 0;
}

static uint32_t string_of(const struct gd_pprof_read *p, uint64_t value)
{
	return value < p->n_strings ? (uint32_t)value : 0;
}

static uint64_t id_of(struct gd_bytes message)
{
	struct gd_protobuf_field field;
	while (gd_protobuf_next(&message, &field))
		if (field.number == 1)
			return field.value;
	return 0;
}

/* Ids were measured by the largest field 1 of all, so the first one is below too. */
static void take_function(struct gd_pprof_read *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	uint64_t id = id_of(message);
	struct gd_pprof_read_function *f = &p->functions[id];
	while (id != 0 && gd_protobuf_next(&message, &field)) {
		if (field.number == 2)
			f->name = string_of(p, field.value);
		else if (field.number == 4)
			f->file = string_of(p, field.value);
	}
}

static void take_mapping(struct gd_pprof_read *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	uint64_t id = id_of(message);
	struct gd_pprof_read_mapping *m = &p->mappings[id];
	while (id != 0 && gd_protobuf_next(&message, &field)) {
		if (field.number == 2)
			m->start = field.value;
		else if (field.number == 4)
			m->offset = field.value;
		else if (field.number == 5)
			m->file = string_of(p, field.value);
	}
}

static struct gd_pprof_read_line line_of(const struct gd_pprof_read *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	struct gd_pprof_read_line line = { 0 };
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 1 && field.value < p->n_functions)
			line.function = (uint32_t)field.value;
		else if (field.number == 2)
			line.line = (int64_t)field.value;
	}
	return line;
}

static void take_location(struct gd_pprof_read *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	uint64_t id = id_of(message);
	struct gd_pprof_read_location *l = &p->locations[id];
	if (id == 0)
		return;
	*l = (struct gd_pprof_read_location){ .first_line = p->n_lines };
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 2)
			l->mapping = field.value < p->n_mappings ? (uint32_t)field.value : 0;
		else if (field.number == 3)
			l->address = field.value;
		else if (field.number == 4 && l->n_lines < LOCATION_LINES_MAX) {
			p->lines[p->n_lines++] = line_of(p, field.bytes); /* measured */
			l->n_lines++;
		}
	}
}

static struct gd_pprof_read_type type_of(const struct gd_pprof_read *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	struct gd_pprof_read_type type = { 0 };
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 1)
			type.type = string_of(p, field.value);
		else if (field.number == 2)
			type.unit = string_of(p, field.value);
	}
	return type;
}

static void take_head(struct gd_pprof_read *p, const struct gd_protobuf_field *field,
                      uint64_t *default_type)
{
	switch (field->number) {
	case SAMPLE_TYPE:
		if (p->n_types < GD_PPROF_READ_TYPES)
			p->types[p->n_types++] = type_of(p, field->bytes);
		break;
	case TIME_NANOS:
		p->time_ns = (int64_t)field->value;
		break;
	case DURATION_NANOS:
		p->duration_ns = (int64_t)field->value;
		break;
	case PERIOD_TYPE:
		p->period_type = type_of(p, field->bytes);
		break;
	case PERIOD:
		p->period = (int64_t)field->value;
		break;
	case DEFAULT_TYPE:
		*default_type = field->value;
		break;
	default:
		break;
	}
}

/* A writer whose table of strings was full writes the same text twice. */
static bool same_text(const struct gd_pprof_read *p, uint32_t string, uint64_t other)
{
	const struct gd_pprof_text *a = &p->strings[string];
	const struct gd_pprof_text *b = &p->strings[string_of(p, other)];
	return a->n > 0 && a->n == b->n && memcmp(a->at, b->at, a->n) == 0;
}

static void fill_tables(struct gd_pprof_read *p)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	uint64_t default_type = 0;
	uint32_t n = 0;
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == STRING) {
			const char *at = (const char *)field.bytes.data;
			p->strings[n++] = (struct gd_pprof_text){ at != NULL ? at : "",
				                                  field.bytes.len };
		} else if (field.number == FUNCTION) {
			take_function(p, field.bytes);
		} else if (field.number == MAPPING) {
			take_mapping(p, field.bytes);
		} else if (field.number == LOCATION) {
			take_location(p, field.bytes);
		} else {
			take_head(p, &field, &default_type);
		}
	}
	p->strings[0] = (struct gd_pprof_text){ "", 0 };
	p->n_strings += p->n_strings == 0;
	/* pprof itself takes the last one when none is named. */
	p->default_type = p->n_types > 0 ? p->n_types - 1 : 0;
	for (uint32_t i = 0; i < p->n_types; i++)
		if (default_type != 0 && same_text(p, p->types[i].type, default_type))
			p->default_type = i;
}

int gd_pprof_read_init(struct gd_pprof_read *ret, const char *what, const void *bytes, size_t n,
                       struct gd_error *err)
{
	GD_PPROF_READ struct gd_pprof_read p = { .what = what, .bytes = gd_bytes_of(bytes, n) };
	int r = measure(&p, err);
	if (r < 0)
		return r;
	fill_tables(&p);
	if (p.n_types == 0)
		return gd_fail(err, -EBADMSG, "%s: says of no value what it means", what);
	*ret = p;
	p = (struct gd_pprof_read){ 0 };
	return 0;
}

bool gd_pprof_read_is(const struct gd_pprof_read *p, uint32_t string, const char *want)
{
	return string < p->n_strings && p->strings[string].n == strlen(want) &&
	       memcmp(p->strings[string].at, want, strlen(want)) == 0;
}

/* --- samples ------------------------------------------------------------------------------- */

static bool take_label(const struct gd_pprof_read *p, struct gd_bytes message,
                       struct gd_pprof_read_sample *s)
{
	struct gd_protobuf_field field;
	struct gd_pprof_read_label label = { 0 };
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 1)
			label.key = string_of(p, field.value);
		else if (field.number == 2)
			label.text = string_of(p, field.value);
		else if (field.number == 3)
			label.number = (int64_t)field.value;
		else if (field.number == 4)
			label.unit = string_of(p, field.value);
	}
	if (label.key != 0 && s->n_labels < GD_PPROF_READ_LABELS)
		s->labels[s->n_labels++] = label;
	return !message.bad;
}

static void take_location_id(const struct gd_pprof_read *p, uint64_t id,
                             struct gd_pprof_read_sample *s)
{
	if (s->n_locations == GD_PPROF_READ_DEPTH)
		s->n_deeper++;
	else
		s->locations[s->n_locations++] = id < p->n_locations ? (uint32_t)id : 0;
}

static bool take_sample(const struct gd_pprof_read *p, struct gd_bytes message,
                        struct gd_pprof_read_sample *s)
{
	struct gd_protobuf_field field;
	uint32_t n_values = 0;
	s->n_locations = s->n_deeper = s->n_labels = 0;
	memset(s->values, 0, sizeof(s->values));
	while (gd_protobuf_next(&message, &field)) {
		uint64_t number;
		bool single = false;
		if (field.number == 3 && !take_label(p, field.bytes, s))
			return false;
		while ((field.number == 1 || field.number == 2) &&
		       gd_protobuf_number(&field, &single, &number)) {
			if (field.number == 1)
				take_location_id(p, number, s);
			else if (n_values < p->n_types)
				s->values[n_values++] = (int64_t)number;
		}
		if (field.bytes.bad)
			return false;
	}
	return !message.bad;
}

struct gd_bytes gd_pprof_read_samples(const struct gd_pprof_read *p)
{
	return p->bytes;
}

bool gd_pprof_read_next(const struct gd_pprof_read *p, struct gd_bytes *cursor,
                        struct gd_pprof_read_sample *ret, uint64_t *bad)
{
	struct gd_protobuf_field field;
	while (gd_protobuf_next(cursor, &field)) {
		if (field.number != SAMPLE)
			continue;
		if (take_sample(p, field.bytes, ret))
			return true;
		(*bad)++;
	}
	return false;
}

/* --- gzip ---------------------------------------------------------------------------------- */

int gd_pprof_read_gunzip(const char *what, const void *packed, size_t n, struct gd_buf *out,
                         struct gd_error *err)
{
	/* zlib reads it only, but was declared before const. */
	z_stream z = { .next_in = (Bytef *)(uintptr_t)packed, .avail_in = (uInt)n };
	if (n > PACKED_MAX)
		return gd_fail(err, -E2BIG, "%s: more than %u MiB", what, PACKED_MAX >> 20);
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) /* 16: with a gzip header */
		return gd_fail_errno(err, -ENOMEM, "%s", what);
	int r = 0;
	int state = Z_OK;
	while (r == 0 && state == Z_OK) {
		enum { PIECE = 64 * 1024 };
		char *to = gd_buf_reserve(out, PIECE);
		if (to == NULL) {
			r = gd_buf_check(out, what, err);
			break;
		}
		z.next_out = (Bytef *)to;
		z.avail_out = PIECE;
		state = inflate(&z, Z_NO_FLUSH);
		out->len += PIECE - z.avail_out;
	}
	(void)inflateEnd(&z);
	if (r == 0 && state != Z_STREAM_END)
		r = gd_fail(err, -EBADMSG, "%s: damaged gzip", what);
	return r;
}

int gd_pprof_read_unpack(const struct gd_reader *reader, const char *artifact, struct gd_buf *out,
                         struct gd_error *err)
{
	GD_BUF struct gd_buf packed = GD_BUF_INIT(PACKED_MAX);
	int r = gd_reader_load(reader, artifact, &packed, err);
	return r < 0 ? r : gd_pprof_read_gunzip(artifact, packed.data, packed.len, out, err);
}

uint32_t gd_pprof_read_type_of(const struct gd_pprof_read *profile, const char *name)
{
	for (uint32_t i = 0; i < profile->n_types; i++)
		if (gd_pprof_read_is(profile, profile->types[i].type, name))
			return i;
	return UINT32_MAX;
}

bool gd_pprof_read_in_kernel(const struct gd_pprof_read *profile,
                             const struct gd_pprof_read_location *location)
{
	static const char *const names[] = { "[kernel", "[guest.kernel", "[vmlinux" };
	const struct gd_pprof_text *mapping =
		&profile->strings[profile->mappings[location->mapping].file];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mapping->n >= strlen(names[i]) &&
		    memcmp(mapping->at, names[i], strlen(names[i])) == 0)
			return true;
	/* What stands for something else, as "[lost]", has no address. */
	return location->mapping == 0 && location->address != 0 &&
	       (location->address >> 63 != 0 || profile->n_mappings > 1);
}
