#include "report/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/instant.h"
#include "report/pprof_read.h"
#include "report/words.h"

#define WORDS_MAX (16U << 20)

struct profile {
	struct gd_pprof_read read;
	bool *own; /* by function: is it the program's own? */
	uint32_t objects_at, bytes_at; /* which of a sample's values; UINT32_MAX: none */
};

struct entry {
	uint32_t function;
	int64_t line, bytes, objects;
};

static void end_profile(struct profile *p)
{
	gd_pprof_read_deinit(&p->read);
	free(p->own);
}

static bool is_own(const struct gd_pprof_text *function)
{
	char name[128];
	size_t n = function->n < sizeof(name) ? function->n : sizeof(name) - 1;
	memcpy(name, function->at, n);
	name[n] = '\0';
	return n > 0 && !gd_groups_is_standard(name);
}

static int find_own(struct profile *p, struct gd_error *err)
{
	p->own = calloc(p->read.n_functions, sizeof(*p->own));
	if (p->own == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read.what);
	for (uint32_t i = 0; i < p->read.n_functions; i++)
		p->own[i] = is_own(&p->read.strings[p->read.functions[i].name]);
	return 0;
}

static int find_values(struct profile *p, struct gd_error *err)
{
	p->objects_at = p->bytes_at = UINT32_MAX;
	for (uint32_t i = 0; i < p->read.n_types; i++) {
		if (gd_pprof_read_is(&p->read, p->read.types[i].type, "inuse_objects"))
			p->objects_at = i;
		else if (gd_pprof_read_is(&p->read, p->read.types[i].type, "inuse_space"))
			p->bytes_at = i;
	}
	if (p->bytes_at == UINT32_MAX)
		return gd_fail(err, -EBADMSG, "%s: has no inuse_space", p->read.what);
	return 0;
}

/* --- samples ------------------------------------------------------------------------------- */

/* The lines of a location, innermost first; true when one is the program's own. */
static bool look_at(const struct profile *p, uint32_t location, struct entry *site)
{
	const struct gd_pprof_read_location *l = &p->read.locations[location];
	for (uint32_t i = 0; i < l->n_lines; i++) {
		const struct gd_pprof_read_line *line = &p->read.lines[l->first_line + i];
		if (site->function == 0 || p->own[line->function]) {
			site->function = line->function;
			site->line = line->line;
		}
		if (p->own[line->function])
			return true;
	}
	return false;
}

static struct entry site_of(const struct profile *p, const struct gd_pprof_read_sample *sample)
{
	struct entry site = { .bytes = sample->values[p->bytes_at] };
	if (p->objects_at != UINT32_MAX)
		site.objects = sample->values[p->objects_at];
	for (uint32_t i = 0; i < sample->n_locations; i++)
		if (look_at(p, sample->locations[i], &site))
			break;
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
	struct gd_pprof_read_sample sample;
	struct gd_bytes cursor = gd_pprof_read_samples(&p->read);
	uint64_t bad = 0;
	size_t n = 0;
	while (gd_pprof_read_next(&p->read, &cursor, &sample, &bad))
		n++;
	struct entry *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read.what);
	cursor = gd_pprof_read_samples(&p->read);
	n = 0;
	while (gd_pprof_read_next(&p->read, &cursor, &sample, &bad))
		list[n++] = site_of(p, &sample);
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

static const char *keep(struct gd_words *words, const struct profile *p, uint32_t string)
{
	const struct gd_pprof_text *text = &p->read.strings[string];
	const char *kept = NULL;
	if (text->n > 0)
		kept = gd_words_keep(words, text->at, text->n < 4096 ? text->n : 4096);
	return kept != NULL ? kept : "";
}

static int fill(const struct profile *p, const struct entry *entries, size_t n,
                struct gd_heap *heap, struct gd_error *err)
{
	heap->list = calloc(n + 1, sizeof(*heap->list));
	if (heap->list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read.what);
	int r = gd_words_create(WORDS_MAX, &heap->words, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct gd_pprof_read_function *f =
			&p->read.functions[entries[i].function];
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
	GD_CLEANUP(end_profile) struct profile p = { 0 };
	GD_CLEANUP(gd_heap_deinit) struct gd_heap heap = { 0 };
	GD_FREE struct entry *entries = NULL;
	size_t n_entries = 0;
	int r = gd_pprof_read_init(&p.read, "heap.pb.gz", bytes, n, err);
	if (r == 0)
		r = find_own(&p, err);
	if (r == 0)
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

int gd_heap_read(const struct gd_reader *reader, struct gd_heap *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf profile = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	char name[208];
	int r = gd_pprof_read_unpack(reader, gd_instant_name(reader, "heap.pb.gz", name), &profile,
	                             err);
	return r < 0 ? r : gd_heap_parse(profile.data, profile.len, ret, err);
}
