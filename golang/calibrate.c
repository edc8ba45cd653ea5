#include "golang/calibrator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

bool gd_sample_repeated(const struct gd_samples *list, size_t i, int32_t at)
{
	for (size_t j = 0; j < i; j++)
		if (gd_sample_word(&list->at[j], at) == gd_sample_word(&list->at[i], at))
			return true;
	return false;
}

const struct gd_sample *gd_sample_find(const struct gd_samples *list, uint64_t addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->at[i].addr == addr)
			return &list->at[i];
	return NULL;
}

enum gd_shape gd_calibrator_verdict(size_t fit, size_t of)
{
	if (of == 0)
		return GD_SHAPE_OPEN;
	if (fit * 10 >= of * 9)
		return GD_SHAPE_RIGHT;
	return fit * 2 < of ? GD_SHAPE_WRONG : GD_SHAPE_OPEN;
}

bool gd_calibrator_take(struct gd_calibrator *c, struct gd_samples *list, uint64_t addr)
{
	struct gd_sample *sample = &list->at[list->n];

	memset(sample, 0, sizeof(*sample));
	if (addr < 4096 || addr % 8 != 0 ||
	    gd_memory_read_some(c->input->memory, addr, sample->bytes, GD_SAMPLE_BYTES) <
	            GD_SAMPLE_BYTES / 2)
		return false;
	sample->addr = addr;
	list->n++;
	return true;
}

void gd_calibrator_take_slice(struct gd_calibrator *c, struct gd_samples *list, uint64_t slice)
{
	enum { FIRST = 64 };
	struct { uint64_t ptr, len; } header;
	uint64_t addr;

	if (slice == 0 ||
	    gd_memory_read(c->input->memory, slice, &header, sizeof(header), NULL) < 0)
		return;
	uint64_t rest = header.len > FIRST ? header.len - FIRST : 0;
	uint64_t step = 1 + rest / (GD_SAMPLES_MAX - FIRST);
	for (uint64_t i = 0; i < header.len && list->n < GD_SAMPLES_MAX; i += i < FIRST ? 1 : step)
		if (gd_memory_read_u64(c->input->memory, header.ptr + 8 * i, &addr, NULL) < 0 ||
		    !gd_calibrator_take(c, list, addr))
			return;
}

int32_t gd_calibrator_search(const struct gd_calibrator *c, gd_calibrator_fits_fn *fits,
                             int32_t now, int32_t low, int32_t high)
{
	enum gd_shape here = fits(c, now);
	if (here != GD_SHAPE_WRONG)
		return here == GD_SHAPE_RIGHT ? now : -1;
	for (int32_t off = 8; off <= high - low; off += 8) {
		if (now - off >= low && fits(c, now - off) == GD_SHAPE_RIGHT)
			return now - off;
		if (now + off <= high && fits(c, now + off) == GD_SHAPE_RIGHT)
			return now + off;
	}
	return -1;
}

int32_t gd_calibrator_settle(struct gd_calibrator *c, const char *name, int32_t *field,
                             int32_t found)
{
	if (found < 0)
		return 0;
	if (found == *field) {
		c->ret->proven++;
		return 0;
	}
	size_t used = strlen(c->ret->what);
	(void)snprintf(c->ret->what + used, sizeof(c->ret->what) - used,
	               "%s%s %" PRId32 " -> %" PRId32, used > 0 ? ", " : "", name, *field, found);
	c->ret->moved++;
	int32_t by = found - *field;
	*field = found;
	return by;
}

void gd_calibrator_move(struct gd_calibrator *c, const char *type, int32_t from, int32_t by)
{
	c->moves[c->n_moves++] = (struct gd_move){ type, from, by };
}

static int32_t moved(const struct gd_calibrator *c, const char *type, const char *path, int32_t at)
{
	const struct gd_move *best = NULL;

	/* Sizes and fields this release does not have stay. */
	if (path[0] == '\0' || at == GD_ABSENT)
		return at;
	for (size_t i = 0; i < c->n_moves; i++) {
		const struct gd_move *line = &c->moves[i];
		if (strcmp(line->type, type) == 0 && line->from <= at &&
		    (best == NULL || line->from >= best->from))
			best = line;
	}
	return best != NULL ? at + best->by : at;
}

static void apply(const struct gd_calibrator *c, struct gd_layout *layout)
{
#define MOVE(member, type, path) layout->member = moved(c, type, path, layout->member);
	GD_LAYOUT_FIELDS(MOVE)
#undef MOVE
}

/* The fields of the ring of collection pauses that its test looks at. */
static void shift_ring(struct gd_layout *l, int32_t by)
{
	l->mstats_last_gc_unix += by;
	l->mstats_pause_total_ns += by;
	l->mstats_pause_ns += by;
	l->mstats_pause_end += by;
	l->mstats_numgc += by;
}

static enum gd_shape fits_ring(const struct gd_calibrator *c, int32_t at)
{
	struct gd_layout layout = c->layout;
	struct gd_shapes shapes = {
		.memory = c->input->memory,
		.modules = c->input->modules,
		.layout = &layout,
	};

	shift_ring(&layout, at - layout.mstats_last_gc_unix);
	return gd_shapes_test(&shapes, GD_GLOBAL_memstats, c->input->globals->memstats);
}

static void calibrate_ring(struct gd_calibrator *c)
{
	enum { FAR = 512 };
	struct gd_layout *l = &c->layout;
	int32_t came = l->mstats_last_gc_unix;
	int32_t end = l->mstats_gc_cpu_fraction + 8;
	int32_t low = came > FAR ? came - FAR : came % 8;

	if (c->input->globals->memstats == 0)
		return;
	int32_t found = gd_calibrator_search(c, fits_ring, came, low, came + FAR);
	int32_t by = gd_calibrator_settle(c, "mstats.last_gc_unix", &l->mstats_last_gc_unix, found);
	gd_calibrator_move(c, "mstats", came, by);
	gd_calibrator_move(c, "mstats", end, 0);
}

static int run(const struct gd_calibrate_input *input, struct gd_layout *layout,
               struct gd_calibration *ret, struct gd_sample *samples, struct gd_error *err)
{
	struct gd_calibrator c = {
		.input = input,
		.layout = *layout,
		.ret = ret,
		.gs = { .at = samples },
		.ms = { .at = samples + GD_SAMPLES_MAX },
		.ps = { .at = samples + 2 * GD_SAMPLES_MAX },
		.spare = { .at = samples + 3 * GD_SAMPLES_MAX },
	};

	memset(ret, 0, sizeof(*ret));
	int r = gd_calibrator_goroutines(&c, err);
	if (r < 0)
		return r;
	gd_calibrator_take_slice(&c, &c.ps, input->globals->allp);
	gd_calibrator_threads(&c);
	calibrate_ring(&c);
	apply(&c, layout);
	return 0;
}

/* A moment's disorder (a P between two threads) can look like another layout, but not twice. */
int gd_calibrate(const struct gd_calibrate_input *input, struct gd_layout *layout,
                 struct gd_calibration *ret, struct gd_error *err)
{
	enum { TRIES = 4 };
	GD_FREE struct gd_sample *samples = malloc(4 * GD_SAMPLES_MAX * sizeof(*samples));
	struct gd_calibration result = { 0 };
	struct gd_layout before, now = *layout;

	if (samples == NULL)
		return gd_fail_errno(err, -ENOMEM, "layout calibration");
	for (int i = 0; i < TRIES; i++) {
		before = now;
		now = *layout;
		int r = run(input, &now, &result, samples, err);
		if (r < 0)
			return r;
		if (result.moved == 0 || (i > 0 && memcmp(&before, &now, sizeof(now)) == 0))
			break;
	}
	*layout = now;
	*ret = result;
	return 0;
}
