#include "report/cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARKING "[runtime parking]" /* docs/archive-format.md */

static struct gd_cpu_share *share_of(struct gd_cpu_shares *shares, const struct gd_pprof_text *name)
{
	struct gd_cpu_share *share = shares->list;
	size_t n = name->n < sizeof(share->name) ? name->n : sizeof(share->name) - 1;
	for (size_t i = 0; i < shares->n; i++, share++)
		if (strncmp(share->name, name->at, n) == 0 && share->name[n] == '\0')
			return share;
	if (shares->n == GD_CPU_SHARES_MAX)
		return NULL;
	memcpy(share->name, name->at, n);
	shares->n++;
	return share;
}

/* A thread of the runtime's that had nothing to do; not one that was woken and is kept waiting. */
static bool parks(const struct gd_pprof_read *p, const struct gd_pprof_read_sample *sample)
{
	if (sample->n_locations == 0)
		return false;
	for (uint32_t i = 0; i < sample->n_labels; i++)
		if (sample->labels[i].text != 0 && gd_pprof_read_is(p, sample->labels[i].key, "state") &&
		    gd_pprof_read_is(p, sample->labels[i].text, "runnable"))
			return false;
	const struct gd_pprof_read_location *l = &p->locations[sample->locations[0]];
	return l->n_lines > 0 &&
	       gd_pprof_read_is(p, p->functions[p->lines[l->first_line].function].name, PARKING);
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int by_ns(const void *a, const void *b)
{
	const struct gd_cpu_share *x = a;
	const struct gd_cpu_share *y = b;
	return x->ns > y->ns ? -1 : x->ns < y->ns ? 1 : strcmp(x->name, y->name);
}

static void add_up(const struct gd_pprof_read *p, uint32_t value_at, const char *key,
                   struct gd_cpu_shares *ret)
{
	struct gd_pprof_read_sample sample;
	struct gd_bytes cursor = gd_pprof_read_samples(p);
	uint64_t bad = 0;
	while (gd_pprof_read_next(p, &cursor, &sample, &bad)) {
		if (parks(p, &sample))
			continue;
		ret->ns = plus(ret->ns, sample.values[value_at]);
		for (uint32_t i = 0; i < sample.n_labels; i++) {
			const struct gd_pprof_read_label *label = &sample.labels[i];
			struct gd_cpu_share *share =
				label->text != 0 && gd_pprof_read_is(p, label->key, key)
					? share_of(ret, &p->strings[label->text])
					: NULL;
			if (share != NULL)
				share->ns = plus(share->ns, sample.values[value_at]);
		}
	}
	qsort(ret->list, ret->n, sizeof(ret->list[0]), by_ns);
}

static int read_on(const struct gd_reader *reader, struct gd_cpu *cpu, struct gd_error *err)
{
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	GD_PPROF_READ struct gd_pprof_read profile = { 0 };
	int r = gd_pprof_read_unpack(reader, "cpu.pb.gz", &bytes, err);
	if (r == 0)
		r = gd_pprof_read_init(&profile, "cpu.pb.gz", bytes.data, bytes.len, err);
	if (r == 0)
		r = gd_sites_add_up(&profile, "cpu", "samples", &cpu->sites, err);
	if (r < 0)
		return r;
	cpu->window_ns = profile.duration_ns;
	add_up(&profile, gd_pprof_read_type_of(&profile, "cpu"), "class", &cpu->classes);
	return 0;
}

static int read_off(const struct gd_reader *reader, struct gd_cpu *cpu, struct gd_error *err)
{
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	GD_PPROF_READ struct gd_pprof_read profile = { 0 };
	int r = gd_pprof_read_unpack(reader, "offcpu.pb.gz", &bytes, err);
	if (r == 0)
		r = gd_pprof_read_init(&profile, "offcpu.pb.gz", bytes.data, bytes.len, err);
	if (r < 0)
		return r;
	uint32_t value_at = gd_pprof_read_type_of(&profile, "offcpu");
	if (value_at != UINT32_MAX)
		add_up(&profile, value_at, "state", &cpu->away);
	return 0;
}

int gd_cpu_read(const struct gd_reader *reader, struct gd_cpu *ret, struct gd_error *err)
{
	struct gd_cpu cpu = { 0 };
	int r = read_on(reader, &cpu, err);
	if (r == 0)
		r = read_off(reader, &cpu, err);
	gd_syscalls_read(reader, &cpu.syscalls);
	/* What is missing of the second is not shown; without memory there is nothing. */
	if (r == -ENOMEM || cpu.sites.list == NULL) {
		gd_cpu_deinit(&cpu);
		return r;
	}
	*ret = cpu;
	return 0;
}

void gd_cpu_deinit(struct gd_cpu *cpu)
{
	gd_sites_deinit(&cpu->sites);
	*cpu = (struct gd_cpu){ 0 };
}
