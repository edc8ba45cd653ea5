#include "tests/pprof_lines.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/text.h"
#include "tests/test.h"

enum { RAW_MAX = 64 << 20, TABLE_MAX = 1 << 20, IDS_MAX = 1 << 20, VALUES_MAX = 8,
       LABELS_MAX = 64, SHOWN = 6 };

/* One field of a protobuf message: a number, or bytes. */
struct field {
	uint32_t number;
	bool is_bytes;
	uint64_t value;
	struct gd_bytes bytes;
};

struct list {
	struct field *items;
	size_t n;
};

struct location {
	uint64_t address;
	struct gd_bytes message;
	bool known;
};

struct profile {
	struct list strings, samples, types, functions, locations;
	struct gd_bytes period_type;
	uint64_t period;
	struct location *location_by_id;
	struct gd_bytes *function_by_id;
	uint64_t *file_by_id; /* of functions, a string */
};

static bool next_field(struct gd_bytes *from, struct field *ret)
{
	if (from->pos >= from->len || from->bad)
		return false;
	uint64_t key = gd_bytes_uvarint(from);
	*ret = (struct field){ .number = (uint32_t)(key >> 3), .is_bytes = (key & 7) == 2 };
	if ((key & 7) != 0 && (key & 7) != 2)
		fail_msg("protobuf wire type %u", (unsigned)(key & 7));
	ret->value = gd_bytes_uvarint(from);
	if (ret->is_bytes) {
		const uint8_t *at = gd_bytes_take(from, ret->value);
		if (at != NULL)
			ret->bytes = gd_bytes_of(at, ret->value);
	}
	if (from->bad)
		fail_msg("the profile's protobuf ends in the middle of field %u", ret->number);
	return true;
}

static void add(struct list *list, const struct field *field)
{
	assert_true(list->n < TABLE_MAX);
	if ((list->n & (list->n - 1)) == 0) {
		size_t room = list->n == 0 ? 1 : list->n * 2;
		struct field *more = realloc(list->items, room * sizeof(*more));
		assert_non_null(more);
		list->items = more;
	}
	list->items[list->n++] = *field;
}

/* The field of that number in a message, once; 0 when it is not there. */
static uint64_t number_of(struct gd_bytes message, uint32_t number)
{
	struct field f;
	uint64_t value = 0;
	while (next_field(&message, &f))
		if (f.number == number && !f.is_bytes)
			value = f.value;
	return value;
}

/*
 * A package's init lies in several files.  The runtime's own profile takes functions of one name for
 * one, and the file of the one it met first for all.  So do we here, with both profiles.
 */
static void name_files(struct profile *p)
{
	p->file_by_id = calloc(IDS_MAX, sizeof(*p->file_by_id));
	assert_non_null(p->file_by_id);
	for (uint64_t id = 1; id <= p->functions.n; id++) {
		uint64_t first = 1;
		assert_true(id < IDS_MAX && p->function_by_id[id].data != NULL);
		while (number_of(p->function_by_id[first], 2) != number_of(p->function_by_id[id], 2))
			first++;
		p->file_by_id[id] = number_of(p->function_by_id[first], 4);
	}
}

static void read_profile(struct gd_bytes raw, struct profile *p)
{
	struct field f;
	while (next_field(&raw, &f)) {
		switch (f.number) {
		case 1: add(&p->types, &f); break;
		case 2: add(&p->samples, &f); break;
		case 4: add(&p->locations, &f); break;
		case 5: add(&p->functions, &f); break;
		case 6: add(&p->strings, &f); break;
		case 11: p->period_type = f.bytes; break;
		case 12: p->period = f.value; break;
		default: break; /* mappings, comments, times, the default type */
		}
	}
	p->location_by_id = calloc(IDS_MAX, sizeof(*p->location_by_id));
	p->function_by_id = calloc(IDS_MAX, sizeof(*p->function_by_id));
	assert_non_null(p->location_by_id);
	assert_non_null(p->function_by_id);
	for (size_t i = 0; i < p->locations.n; i++) {
		struct gd_bytes m = p->locations.items[i].bytes;
		uint64_t id = number_of(m, 1);
		assert_true(id > 0 && id < IDS_MAX && !p->location_by_id[id].known);
		p->location_by_id[id] = (struct location){ number_of(m, 3), m, true };
	}
	for (size_t i = 0; i < p->functions.n; i++) {
		uint64_t id = number_of(p->functions.items[i].bytes, 1);
		assert_true(id > 0 && id < IDS_MAX && p->function_by_id[id].data == NULL);
		p->function_by_id[id] = p->functions.items[i].bytes;
	}
	name_files(p);
}

static void put_string(const struct profile *p, uint64_t index, struct gd_buf *out)
{
	if (p->strings.items == NULL || index >= p->strings.n) {
		fail_msg("the profile has no string %" PRIu64, index);
		return;
	}
	const struct gd_bytes *s = &p->strings.items[index].bytes;
	gd_buf_append(out, s->data, s->len);
}

static void put_type(const struct profile *p, struct gd_bytes type, struct gd_buf *out)
{
	put_string(p, number_of(type, 1), out);
	gd_buf_putc(out, '/');
	put_string(p, number_of(type, 2), out);
	gd_buf_putc(out, ' ');
}

struct sample {
	const struct profile *profile;
	const struct pprof_view *view;
	struct gd_buf key; /* labels and stack, then the whole line */
	int64_t values[VALUES_MAX];
	size_t n_values, n_steps;
	unsigned frames;
};

/* A location with its frames, as far as the view goes; one cut short has no address. */
static void take_step(void *arg, uint64_t id)
{
	struct sample *s = arg;
	const struct profile *p = s->profile;
	assert_true(id < IDS_MAX && p->location_by_id[id].known);
	struct gd_bytes m = p->location_by_id[id].message;
	unsigned room = s->view->frames_max == 0 ? UINT_MAX : s->view->frames_max - s->frames;
	unsigned frames = 0;
	struct field f;
	while (next_field(&m, &f))
		frames += f.number == 4;
	if (room == 0)
		return;
	gd_buf_puts(&s->key, s->n_steps++ > 0 ? " <- " : "");
	if (frames <= room)
		gd_buf_printf(&s->key, "0x%" PRIx64, p->location_by_id[id].address);
	m.pos = 0;
	for (unsigned shown = 0; shown < room && next_field(&m, &f);) {
		if (f.number != 4)
			continue;
		uint64_t function = number_of(f.bytes, 1);
		assert_true(function < IDS_MAX && p->function_by_id[function].data != NULL);
		gd_buf_puts(&s->key, shown++ == 0 ? " " : "; ");
		put_string(p, number_of(p->function_by_id[function], 2), &s->key);
		gd_buf_putc(&s->key, ' ');
		put_string(p, p->file_by_id[function], &s->key);
		gd_buf_printf(&s->key, ":%" PRIu64, number_of(f.bytes, 2));
		s->frames++;
	}
}

static void take_value(void *arg, uint64_t value)
{
	struct sample *s = arg;
	assert_true(s->n_values < VALUES_MAX);
	s->values[s->n_values++] = (int64_t)value;
}

/* Calls `each` for every number of a repeated field, packed or not. */
static void each_number(struct gd_bytes message, uint32_t number,
                        void (*each)(void *arg, uint64_t value), void *arg)
{
	struct field f;
	while (next_field(&message, &f)) {
		if (f.number != number)
			continue;
		if (!f.is_bytes)
			each(arg, f.value);
		while (f.is_bytes && f.bytes.pos < f.bytes.len) {
			each(arg, gd_bytes_uvarint(&f.bytes));
			assert_false(f.bytes.bad);
		}
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "key=value", with what would break a line escaped. */
static char *label_text(const struct profile *p, struct gd_bytes label)
{
	struct gd_buf raw = GD_BUF_INIT(1 << 16);
	struct gd_buf text = GD_BUF_INIT(1 << 18);
	put_string(p, number_of(label, 1), &raw);
	gd_buf_putc(&raw, '=');
	uint64_t number = number_of(label, 3);
	if (number != 0)
		gd_buf_printf(&raw, "%" PRIu64, number);
	else
		put_string(p, number_of(label, 2), &raw);
	gd_text_put_escaped(&text, raw.data, raw.len);
	gd_buf_deinit(&raw);
	char *copy = strdup(gd_buf_str(&text));
	gd_buf_deinit(&text);
	assert_non_null(copy);
	return copy;
}

static void put_labels(const struct profile *p, struct gd_bytes sample, const char *without,
                       struct gd_buf *out)
{
	size_t len = without != NULL ? strlen(without) : 0;
	char *labels[LABELS_MAX];
	size_t n = 0;
	struct field f;
	while (next_field(&sample, &f)) {
		if (f.number != 3)
			continue;
		assert_true(n < LABELS_MAX);
		labels[n++] = label_text(p, f.bytes);
	}
	qsort(labels, n, sizeof(*labels), by_text);
	gd_buf_putc(out, '{');
	for (size_t i = 0, shown = 0; i < n; i++) {
		if (len == 0 || strncmp(labels[i], without, len) != 0 || labels[i][len] != '=') {
			gd_buf_puts(out, shown++ > 0 ? ", " : "");
			gd_buf_puts(out, labels[i]);
		}
		free(labels[i]);
	}
	gd_buf_puts(out, "} ");
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct sample *)a)->key.data, ((const struct sample *)b)->key.data);
}

/* Adds up neighbours with the same key; how many are left. */
static size_t merge(struct sample *samples, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		struct sample *last = &samples[kept > 0 ? kept - 1 : 0];
		if (kept > 0 && strcmp(last->key.data, samples[i].key.data) == 0) {
			for (size_t v = 0; v < last->n_values; v++)
				last->values[v] += samples[i].values[v];
			gd_buf_deinit(&samples[i].key);
		} else {
			samples[kept++] = samples[i];
		}
	}
	return kept;
}

static void put_samples(const struct profile *p, const struct pprof_view *view, struct gd_buf *out)
{
	size_t n = p->samples.n;
	struct sample *samples = calloc(n + 1, sizeof(*samples));
	assert_non_null(samples);
	for (size_t i = 0; i < n; i++) {
		struct gd_bytes m = p->samples.items[i].bytes;
		struct sample *s = &samples[i];
		*s = (struct sample){ .profile = p, .view = view, .key = GD_BUF_INIT(1 << 20) };
		put_labels(p, m, view->without, &s->key);
		each_number(m, 1, take_step, s);
		each_number(m, 2, take_value, s);
		(void)gd_buf_str(&s->key);
		assert_int_equal(s->n_values, p->types.n);
	}
	if (view->merge) {
		qsort(samples, n, sizeof(*samples), by_key);
		n = merge(samples, n);
	}
	for (size_t i = 0; i < n; i++) {
		gd_buf_puts(&samples[i].key, " :");
		for (size_t v = 0; v < samples[i].n_values; v++)
			gd_buf_printf(&samples[i].key, " %" PRId64, samples[i].values[v]);
		(void)gd_buf_str(&samples[i].key);
	}
	qsort(samples, n, sizeof(*samples), by_key);
	for (size_t i = 0; i < n; i++) {
		gd_buf_puts(out, samples[i].key.data);
		gd_buf_putc(out, '\n');
		gd_buf_deinit(&samples[i].key);
	}
	free(samples);
}

static void put_head(const struct profile *p, struct gd_buf *out)
{
	for (size_t i = 0; i < p->types.n; i++)
		put_type(p, p->types.items[i].bytes, out);
	gd_buf_printf(out, "period=%" PRIu64 " ", p->period);
	put_type(p, p->period_type, out);
	gd_buf_putc(out, '\n');
}

static void unzip(const void *gz, size_t n, struct gd_buf *raw)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)gz, .avail_in = (uInt)n };
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	int r;
	do {
		char *to = gd_buf_reserve(raw, 1 << 16);
		assert_non_null(to);
		z.next_out = (Bytef *)to;
		z.avail_out = 1 << 16;
		r = inflate(&z, Z_NO_FLUSH);
		raw->len += (size_t)((1 << 16) - z.avail_out);
	} while (r == Z_OK);
	assert_int_equal(r, Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	(void)inflateEnd(&z);
}

void pprof_lines(const void *gz, size_t n, const struct pprof_view *view, struct gd_buf *out)
{
	struct gd_buf raw = GD_BUF_INIT(RAW_MAX);
	struct profile p = { 0 };
	unzip(gz, n, &raw);
	read_profile(gd_bytes_of(raw.data, raw.len), &p);
	put_head(&p, out);
	put_samples(&p, view, out);
	(void)gd_buf_str(out);
	assert_int_equal(out->failed, 0);
	free(p.location_by_id);
	free(p.function_by_id);
	free(p.file_by_id);
	free(p.strings.items);
	free(p.samples.items);
	free(p.types.items);
	free(p.functions.items);
	free(p.locations.items);
	gd_buf_deinit(&raw);
}

/* Deep stacks are alike at both ends of a line: so its begin, and what follows where it parts from the
 * other side's line. */
static void print_line(const char *where, const char *line, const char *other)
{
	size_t same = 0;
	while (other != NULL && line[same] != '\0' && line[same] == other[same])
		same++;
	if (same <= 800)
		print_message("# only %s: %.900s\n", where, line);
	else
		print_message("# only %s: %.400s ... %.800s\n", where, line, line + same - 400);
}

size_t pprof_compare(char *theirs, char *ours, bool (*excused)(const char *line, bool there))
{
	size_t differences = 0;
	size_t n_excused = 0;
	char *a = strsep(&theirs, "\n");
	char *b = strsep(&ours, "\n");
	for (;;) {
		/* What follows the last newline is empty. */
		a = a != NULL && *a != '\0' ? a : NULL;
		b = b != NULL && *b != '\0' ? b : NULL;
		if (a == NULL && b == NULL)
			break;
		int order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a, b);
		if (order != 0 && excused(order < 0 ? a : b, order < 0))
			n_excused++;
		else if (order != 0 && differences++ < SHOWN)
			print_line(order < 0 ? "there" : "here", order < 0 ? a : b, order < 0 ? b : a);
		a = order <= 0 ? strsep(&theirs, "\n") : a;
		b = order >= 0 ? strsep(&ours, "\n") : b;
	}
	if (n_excused > 0)
		print_message("# excused %zu samples of the request itself\n", n_excused);
	return differences;
}
