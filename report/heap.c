#include "report/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "report/protobuf.h"
#include "report/words.h"
#include "report/instant.h"

#define PACKED_MAX (32U << 20)
#define PROFILE_MAX (128U << 20)
#define IDS_MAX (1U << 20) /* of functions, locations, strings */
#define WORDS_MAX (16U << 20)

/* Field numbers of proto/profile.proto. */
enum { SAMPLE_TYPE = 1, SAMPLE = 2, LOCATION = 4, FUNCTION = 5, STRING = 6 };

struct text {
	const uint8_t *at;
	uint32_t n;
};

struct function {
	uint64_t name, file; /* strings */
	bool own;
};

struct profile {
	struct gd_bytes bytes;
	struct text *strings;
	size_t n_strings;
	struct function *functions; /* by id */
	size_t n_functions;
	struct gd_bytes *locations; /* by id: the message */
	size_t n_locations;
	size_t objects_at, bytes_at; /* which of a sample's values */
};

struct entry {
	uint64_t function;
	int64_t line, bytes, objects;
};

static void end_profile(struct profile *p)
{
	free(p->strings);
	free(p->functions);
	free(p->locations);
}

/* --- tables -------------------------------------------------------------------------------- */

/* How long the tables must be: ids are ours to choose in no file but our own. */
static int measure(struct profile *p, struct gd_error *err)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	uint64_t largest[2] = { 0, 0 };
	while (gd_protobuf_next(&message, &field)) {
		struct gd_protobuf_field inner;
		p->n_strings += field.number == STRING;
		if (field.number != LOCATION && field.number != FUNCTION)
			continue;
		uint64_t *top = &largest[field.number == FUNCTION];
		while (gd_protobuf_next(&field.bytes, &inner))
			if (inner.number == 1 && inner.value > *top)
				*top = inner.value;
	}
	if (message.bad)
		return gd_fail(err, -EBADMSG, "heap.pb.gz: not a profile");
	if (largest[0] >= IDS_MAX || largest[1] >= IDS_MAX || p->n_strings >= IDS_MAX)
		return gd_fail(err, -E2BIG, "heap.pb.gz: more than %u functions or locations",
		               IDS_MAX);
	p->n_locations = (size_t)largest[0] + 1;
	p->n_functions = (size_t)largest[1] + 1;
	p->strings = calloc(p->n_strings + 1, sizeof(*p->strings));
	p->functions = calloc(p->n_functions, sizeof(*p->functions));
	p->locations = calloc(p->n_locations, sizeof(*p->locations));
	if (p->strings == NULL || p->functions == NULL || p->locations == NULL)
		return gd_fail_errno(err, -ENOMEM, "heap.pb.gz");
	return 0;
}

static uint64_t id_of(struct gd_bytes message)
{
	struct gd_protobuf_field field;
	while (gd_protobuf_next(&message, &field))
		if (field.number == 1)
			return field.value;
	return 0;
}

static void take_function(struct profile *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	struct function *f = &p->functions[id_of(message)]; /* measured */
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == 2)
			f->name = field.value;
		else if (field.number == 4)
			f->file = field.value;
	}
}

static bool is_own(const struct profile *p, uint64_t string)
{
	char name[128];
	if (string >= p->n_strings || p->strings[string].n == 0)
		return false;
	size_t n = p->strings[string].n;
	n = n < sizeof(name) ? n : sizeof(name) - 1;
	memcpy(name, p->strings[string].at, n);
	name[n] = '\0';
	return !gd_groups_is_standard(name);
}

static void fill_tables(struct profile *p)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	size_t n = 0;
	while (gd_protobuf_next(&message, &field)) {
		if (field.number == STRING)
			p->strings[n++] = (struct text){ field.bytes.data,
				                         (uint32_t)field.bytes.len };
		else if (field.number == FUNCTION)
			take_function(p, field.bytes);
		else if (field.number == LOCATION)
			p->locations[id_of(field.bytes)] = field.bytes;
	}
	for (size_t i = 0; i < p->n_functions; i++)
		p->functions[i].own = is_own(p, p->functions[i].name);
}

static bool string_is(const struct profile *p, uint64_t string, const char *want)
{
	return string < p->n_strings && p->strings[string].n == strlen(want) &&
	       memcmp(p->strings[string].at, want, strlen(want)) == 0;
}

static int find_values(struct profile *p, struct gd_error *err)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	size_t n = 0;
	p->objects_at = p->bytes_at = SIZE_MAX;
	while (gd_protobuf_next(&message, &field)) {
		if (field.number != SAMPLE_TYPE)
			continue;
		uint64_t type = id_of(field.bytes); /* its field 1 */
		if (string_is(p, type, "inuse_objects"))
			p->objects_at = n;
		else if (string_is(p, type, "inuse_space"))
			p->bytes_at = n;
		n++;
	}
	if (p->bytes_at == SIZE_MAX)
		return gd_fail(err, -EBADMSG, "heap.pb.gz: has no inuse_space");
	return 0;
}

/* --- samples ------------------------------------------------------------------------------- */

/* The lines of a location, innermost first; true when one is the program's own. */
static bool look_at(const struct profile *p, uint64_t location, struct entry *site)
{
	struct gd_protobuf_field field;
	struct gd_protobuf_field inner;
	if (location >= p->n_locations)
		return false;
	struct gd_bytes message = p->locations[location];
	while (gd_protobuf_next(&message, &field)) {
		uint64_t function = 0;
		int64_t line = 0;
		if (field.number != 4)
			continue;
		while (gd_protobuf_next(&field.bytes, &inner)) {
			if (inner.number == 1)
				function = inner.value;
			else if (inner.number == 2)
				line = (int64_t)inner.value;
		}
		if (function >= p->n_functions)
			continue;
		if (site->function == 0 || p->functions[function].own) {
			site->function = function;
			site->line = line;
		}
		if (p->functions[function].own)
			return true;
	}
	return false;
}

static struct entry take_sample(const struct profile *p, struct gd_bytes message)
{
	struct gd_protobuf_field field;
	struct entry site = { 0 };
	bool found = false;
	size_t n = 0;
	while (gd_protobuf_next(&message, &field)) {
		uint64_t number;
		bool single = false;
		while ((field.number == 1 || field.number == 2) &&
		       gd_protobuf_number(&field, &single, &number)) {
			if (field.number == 1 && !found)
				found = look_at(p, number, &site);
			if (field.number != 2)
				continue;
			if (n == p->objects_at)
				site.objects = (int64_t)number;
			if (n == p->bytes_at)
				site.bytes = (int64_t)number;
			n++;
		}
	}
	return site;
}

static int by_site(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	if (x->function != y->function)
		return x->function < y->function ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static int by_bytes(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	return x->bytes > y->bytes ? -1 : x->bytes < y->bytes ? 1 : by_site(a, b);
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* All samples, those of one site added up, largest first; returns their number. */
static int sum_up(const struct profile *p, struct entry **ret, size_t *ret_n,
                  struct gd_error *err)
{
	struct gd_bytes message = p->bytes;
	struct gd_protobuf_field field;
	size_t n = 0;
	while (gd_protobuf_next(&message, &field))
		n += field.number == SAMPLE;
	struct entry *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "heap.pb.gz");
	message = p->bytes;
	n = 0;
	while (gd_protobuf_next(&message, &field))
		if (field.number == SAMPLE)
			list[n++] = take_sample(p, field.bytes);
	qsort(list, n, sizeof(*list), by_site);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && by_site(&list[kept - 1], &list[i]) == 0) {
			list[kept - 1].bytes = plus(list[kept - 1].bytes, list[i].bytes);
			list[kept - 1].objects = plus(list[kept - 1].objects, list[i].objects);
		} else {
			list[kept++] = list[i];
		}
	}
	qsort(list, kept, sizeof(*list), by_bytes);
	*ret = list;
	*ret_n = kept;
	return 0;
}

static const char *keep(struct gd_words *words, const struct profile *p, uint64_t string)
{
	const char *kept = NULL;
	if (string < p->n_strings && p->strings[string].n > 0)
		kept = gd_words_keep(words, (const char *)p->strings[string].at,
		                     p->strings[string].n < 4096 ? p->strings[string].n : 4096);
	return kept != NULL ? kept : "";
}

static int fill(const struct profile *p, const struct entry *entries, size_t n,
                struct gd_heap *heap, struct gd_error *err)
{
	heap->list = calloc(n + 1, sizeof(*heap->list));
	if (heap->list == NULL)
		return gd_fail_errno(err, -ENOMEM, "heap.pb.gz");
	int r = gd_words_create(WORDS_MAX, &heap->words, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct function *f = &p->functions[entries[i].function];
		heap->list[heap->n++] = (struct gd_heap_site){
			.frame = { .function = keep(heap->words, p, f->name),
			           .file = keep(heap->words, p, f->file),
			           .line = entries[i].line },
			.bytes = entries[i].bytes,
			.objects = entries[i].objects,
		};
		heap->bytes = plus(heap->bytes, entries[i].bytes);
		heap->objects = plus(heap->objects, entries[i].objects);
	}
	return r;
}

int gd_heap_parse(const void *bytes, size_t n, struct gd_heap *ret, struct gd_error *err)
{
	GD_CLEANUP(end_profile) struct profile p = { .bytes = gd_bytes_of(bytes, n) };
	GD_CLEANUP(gd_heap_deinit) struct gd_heap heap = { 0 };
	GD_FREE struct entry *entries = NULL;
	size_t n_entries = 0;
	int r = measure(&p, err);
	if (r < 0)
		return r;
	fill_tables(&p);
	r = find_values(&p, err);
	if (r == 0)
		r = sum_up(&p, &entries, &n_entries, err);
	if (r == 0)
		r = fill(&p, entries, n_entries, &heap, err);
	if (r < 0)
		return r;
	*ret = heap;
	heap = (struct gd_heap){ 0 };
	return 0;
}

void gd_heap_deinit(struct gd_heap *heap)
{
	free(heap->list);
	gd_words_destroy(heap->words);
	*heap = (struct gd_heap){ 0 };
}

/* --- gzip ---------------------------------------------------------------------------------- */

static int gunzip(struct gd_buf *packed, struct gd_buf *out, struct gd_error *err)
{
	z_stream z = { .next_in = (Bytef *)packed->data, .avail_in = (uInt)packed->len };
	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) /* 16: with a gzip header */
		return gd_fail_errno(err, -ENOMEM, "heap.pb.gz");
	int r = 0;
	int state = Z_OK;
	while (r == 0 && state == Z_OK) {
		enum { PIECE = 64 * 1024 };
		char *to = gd_buf_reserve(out, PIECE);
		if (to == NULL) {
			r = gd_buf_check(out, "heap.pb.gz", err);
			break;
		}
		z.next_out = (Bytef *)to;
		z.avail_out = PIECE;
		state = inflate(&z, Z_NO_FLUSH);
		out->len += PIECE - z.avail_out;
	}
	(void)inflateEnd(&z);
	if (r == 0 && state != Z_STREAM_END)
		r = gd_fail(err, -EBADMSG, "heap.pb.gz: damaged gzip");
	return r;
}

int gd_heap_read(const struct gd_reader *reader, struct gd_heap *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf packed = GD_BUF_INIT(PACKED_MAX);
	GD_BUF struct gd_buf profile = GD_BUF_INIT(PROFILE_MAX);
	char name[208];
	int r = gd_reader_load(reader, gd_instant_name(reader, "heap.pb.gz", name), &packed, err);
	if (r == 0)
		r = gunzip(&packed, &profile, err);
	return r < 0 ? r : gd_heap_parse(profile.data, profile.len, ret, err);
}
