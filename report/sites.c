#include "report/sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/words.h"

#define WORDS_MAX (16U << 20)

struct entry {
	uint32_t function;
	int64_t line, value, count;
	bool own;
};

struct adding {
	const struct gd_pprof_read *read;
	bool *own; /* by function: is it the program's own? */
	uint32_t count_at, value_at; /* which of a sample's values; UINT32_MAX: none */
	struct entry *list; /* the sites */
	size_t n;
};

static void end_adding(struct adding *p)
{
	free(p->own);
	free(p->list);
}

static bool is_own(const struct gd_pprof_text *function)
{
	char name[128];
	size_t n = function->n < sizeof(name) ? function->n : sizeof(name) - 1;
	memcpy(name, function->at, n);
	name[n] = '\0';
	/* "[lost]" and the like are nobody's. */
	return n > 0 && name[0] != '[' && !gd_groups_is_standard(name);
}

static int find_own(struct adding *p, struct gd_error *err)
{
	p->own = calloc(p->read->n_functions, sizeof(*p->own));
	if (p->own == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read->what);
	for (uint32_t i = 0; i < p->read->n_functions; i++)
		p->own[i] = is_own(&p->read->strings[p->read->functions[i].name]);
	return 0;
}

static int find_values(struct adding *p, const char *value, const char *count, struct gd_error *err)
{
	p->value_at = gd_pprof_read_type_of(p->read, value);
	p->count_at = gd_pprof_read_type_of(p->read, count);
	return p->value_at != UINT32_MAX ? 0 : gd_fail(err, -EBADMSG, "%s: has no %s", p->read->what,
	                                               value);
}

/* --- samples ------------------------------------------------------------------------------- */

/* The lines of a location, innermost first; true when one is the program's own. */
static bool look_at(const struct adding *p, uint32_t location, struct entry *site)
{
	const struct gd_pprof_read_location *l = &p->read->locations[location];
	bool foreign = gd_pprof_read_in_kernel(p->read, l);
	for (uint32_t i = 0; i < l->n_lines; i++) {
		const struct gd_pprof_read_line *line = &p->read->lines[l->first_line + i];
		bool own = p->own[line->function] && !foreign;
		if (site->function == 0 || own) {
			site->function = line->function;
			site->line = line->line;
			site->own = own;
		}
		if (own)
			return true;
	}
	return false;
}

static struct entry site_of(const struct adding *p, const struct gd_pprof_read_sample *sample)
{
	struct entry site = { .value = sample->values[p->value_at] };
	if (p->count_at != UINT32_MAX)
		site.count = sample->values[p->count_at];
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
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->own - y->own;
}

static int by_value(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;
	return x->value > y->value ? -1 : x->value < y->value ? 1 : by_site(a, b);
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/* All samples, those of one site added up, largest first. */
static int sum_up(struct adding *p, struct gd_error *err)
{
	struct gd_pprof_read_sample sample;
	struct gd_bytes cursor = gd_pprof_read_samples(p->read);
	uint64_t bad = 0;
	size_t n = 0;
	while (gd_pprof_read_next(p->read, &cursor, &sample, &bad))
		n++;
	struct entry *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read->what);
	cursor = gd_pprof_read_samples(p->read);
	n = 0;
	while (gd_pprof_read_next(p->read, &cursor, &sample, &bad))
		list[n++] = site_of(p, &sample);
	qsort(list, n, sizeof(*list), by_site);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && by_site(&list[kept - 1], &list[i]) == 0) {
			list[kept - 1].value = plus(list[kept - 1].value, list[i].value);
			list[kept - 1].count = plus(list[kept - 1].count, list[i].count);
		} else {
			list[kept++] = list[i];
		}
	}
	qsort(list, kept, sizeof(*list), by_value);
	p->list = list;
	p->n = kept;
	return 0;
}

static const char *keep(struct gd_words *words, const struct adding *p, uint32_t string)
{
	const struct gd_pprof_text *text = &p->read->strings[string];
	const char *kept = NULL;
	if (text->n > 0)
		kept = gd_words_keep(words, text->at, text->n < 4096 ? text->n : 4096);
	return kept != NULL ? kept : "";
}

static int fill(const struct adding *p, struct gd_sites *sites, struct gd_error *err)
{
	const struct entry *entries = p->list;
	size_t n = p->n;
	sites->list = calloc(n + 1, sizeof(*sites->list));
	if (sites->list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", p->read->what);
	int r = gd_words_create(WORDS_MAX, &sites->words, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct gd_pprof_read_function *f =
			&p->read->functions[entries[i].function];
		sites->list[sites->n++] = (struct gd_site){
			.frame = { .function = keep(sites->words, p, f->name),
			           .file = keep(sites->words, p, f->file),
			           .line = entries[i].line },
			.own = entries[i].own,
			.value = entries[i].value,
			.count = entries[i].count,
		};
		sites->value = plus(sites->value, entries[i].value);
		sites->count = plus(sites->count, entries[i].count);
	}
	return r;
}

int gd_sites_add_up(const struct gd_pprof_read *profile, const char *value, const char *count,
                    struct gd_sites *ret, struct gd_error *err)
{
	GD_CLEANUP(end_adding) struct adding p = { .read = profile };
	GD_CLEANUP(gd_sites_deinit) struct gd_sites sites = { 0 };
	int r = find_values(&p, value, count, err);
	if (r == 0)
		r = find_own(&p, err);
	if (r == 0)
		r = sum_up(&p, err);
	if (r == 0)
		r = fill(&p, &sites, err);
	if (r < 0)
		return r;
	*ret = sites;
	sites = (struct gd_sites){ 0 };
	return 0;
}

void gd_sites_deinit(struct gd_sites *sites)
{
	free(sites->list);
	gd_words_destroy(sites->words);
	*sites = (struct gd_sites){ 0 };
}
