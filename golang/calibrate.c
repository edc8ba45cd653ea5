/*
 * Each field that proves itself has a function fits_x(at): "could x lie at this offset?".  It is
 * asked first where the layout has x, and only when that is refuted elsewhere, nearest first.  What
 * proves nothing at the moment (no thread runs a goroutine, no collection has ended) is open and
 * stays as it is.
 *
 * The target runs meanwhile, so no test wants all of its samples to fit.
 */
#include "golang/calibrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "golang/shapes.h"

enum {
	WINDOW = 640, /* bytes read of a g or m; everything calibrated lies in them */
	SAMPLES_MAX = 256,
};

struct sample {
	uint64_t addr;
	uint8_t bytes[WINDOW]; /* zero behind what was readable */
};

struct list {
	struct sample *at;
	size_t n;
};

/* Fields of a struct from one offset on, up to where the next such line of it begins. */
struct move {
	const char *type;
	int32_t from; /* as the layout came */
	int32_t by;
};

struct calibrator {
	const struct gd_calibrate_input *input;
	struct gd_layout layout; /* with what is known so far */
	struct gd_calibration *ret;
	struct move moves[16];
	size_t n_moves;
	struct list gs; /* the first is the first of allgs */
	struct list ms; /* along alllink; the first is the newest thread */
	struct list ps;
};

static uint64_t word(const struct sample *sample, int32_t at)
{
	return at >= 0 && at + 8 <= WINDOW ? gd_load_u64(sample->bytes + at) : 0;
}

static uint32_t half(const struct sample *sample, int32_t at)
{
	return at >= 0 && at + 4 <= WINDOW ? gd_load_u32(sample->bytes + at) : 0;
}

/* Of so many samples that could tell so many fit: nine of ten prove, less than half refute. */
static enum gd_shape verdict(size_t fit, size_t of)
{
	if (of == 0)
		return GD_SHAPE_OPEN;
	if (fit * 10 >= of * 9)
		return GD_SHAPE_RIGHT;
	return fit * 2 < of ? GD_SHAPE_WRONG : GD_SHAPE_OPEN;
}

static bool take(struct calibrator *c, struct list *list, uint64_t addr)
{
	struct sample *sample = &list->at[list->n];

	memset(sample, 0, sizeof(*sample));
	if (addr < 4096 || addr % 8 != 0 ||
	    gd_memory_read_some(c->input->memory, addr, sample->bytes, WINDOW) < WINDOW / 2)
		return false;
	sample->addr = addr;
	list->n++;
	return true;
}

/* The elements of a slice of pointers: the first 64, and of the others as many, evenly spread. */
static void take_slice(struct calibrator *c, struct list *list, uint64_t slice)
{
	enum { FIRST = 64 };
	struct { uint64_t ptr, len; } header;
	uint64_t addr;

	if (slice == 0 ||
	    gd_memory_read(c->input->memory, slice, &header, sizeof(header), NULL) < 0)
		return;
	uint64_t rest = header.len > FIRST ? header.len - FIRST : 0;
	uint64_t step = 1 + rest / (SAMPLES_MAX - FIRST);
	for (uint64_t i = 0; i < header.len && list->n < SAMPLES_MAX; i += i < FIRST ? 1 : step)
		if (gd_memory_read_u64(c->input->memory, header.ptr + 8 * i, &addr, NULL) < 0 ||
		    !take(c, list, addr))
			return;
}

typedef enum gd_shape fits_fn(const struct calibrator *c, int32_t at);

/* The offset nearest to the layout's that fits, its own first; -1 when none does, or none is asked
 * because its own is open. */
static int32_t search(const struct calibrator *c, fits_fn *fits, int32_t now, int32_t low,
                      int32_t high)
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

/* Notes how a field came out and puts it there; returns how far it moved. */
static int32_t settle(struct calibrator *c, const char *name, int32_t *field, int32_t found)
{
	if (found < 0)
		return 0;
	if (found == *field) {
		c->ret->proven++;
		return 0;
	}
	size_t used = strlen(c->ret->what);
	(void)snprintf(c->ret->what + used, sizeof(c->ret->what) - used, "%s%s %" PRId32 " -> %" PRId32,
	               used > 0 ? ", " : "", name, *field, found);
	c->ret->moved++;
	int32_t by = found - *field;
	*field = found;
	return by;
}

/* A later line for the same offsets adds to an earlier one's: both end where the next begins. */
static void move(struct calibrator *c, const char *type, int32_t from, int32_t by)
{
	c->moves[c->n_moves++] = (struct move){ type, from, by };
}

static int32_t moved(const struct calibrator *c, const char *type, const char *path, int32_t at)
{
	const struct move *best = NULL;

	/* Sizes and fields this release does not have stay. */
	if (path[0] == '\0' || at == GD_ABSENT)
		return at;
	for (size_t i = 0; i < c->n_moves; i++) {
		const struct move *line = &c->moves[i];
		if (strcmp(line->type, type) == 0 && line->from <= at &&
		    (best == NULL || line->from >= best->from))
			best = line;
	}
	return best != NULL ? at + best->by : at;
}

static void apply_moves(const struct calibrator *c, struct gd_layout *layout)
{
#define MOVE(member, type, path) layout->member = moved(c, type, path, layout->member);
	GD_LAYOUT_FIELDS(MOVE)
#undef MOVE
}

/* -- g -- */

static bool is_status(uint32_t status)
{
	return (status & ~UINT32_C(0x1000)) <= 11;
}

/* Neither unborn nor dead nor a spare: its other fields mean something. */
static bool in_use(const struct calibrator *c, const struct sample *g)
{
	uint32_t status = half(g, c->layout.g_atomicstatus) & 0xfff;
	return status != 0 && status != 6 && status != 11;
}

static bool repeated(const struct list *list, size_t i, int32_t at)
{
	for (size_t j = 0; j < i; j++)
		if (word(&list->at[j], at) == word(&list->at[i], at))
			return true;
	return false;
}

/* A status, and 8 behind it the goroutine's number: 1 for the first, no two alike. */
static enum gd_shape fits_status(const struct calibrator *c, int32_t at)
{
	size_t fit = 0;

	if (c->gs.n == 0 || word(&c->gs.at[0], at + 8) != 1)
		return GD_SHAPE_WRONG;
	for (size_t i = 0; i < c->gs.n; i++)
		if (is_status(half(&c->gs.at[i], at)) && word(&c->gs.at[i], at + 8) != 0 &&
		    !repeated(&c->gs, i, at + 8))
			fit++;
	return verdict(fit, c->gs.n);
}

static bool is_entry(const struct calibrator *c, uint64_t pc)
{
	const struct gd_module *module = gd_modules_of(c->input->modules, pc);
	struct gd_func func;
	return module != NULL && gd_pclntab_func(&module->pclntab, pc, &func) && func.entry == pc;
}

/* Where a goroutine starts is a function's entry; where it was created is in the text. */
static enum gd_shape fits_start(const struct calibrator *c, int32_t at)
{
	size_t fit = 0, used = 0;

	for (size_t i = 0; i < c->gs.n; i++) {
		const struct sample *g = &c->gs.at[i];
		if (!in_use(c, g))
			continue;
		used++;
		uint64_t gopc = word(g, at - 16);
		if (is_entry(c, word(g, at)) &&
		    (gopc == 0 || gd_modules_of(c->input->modules, gopc) != NULL))
			fit++;
	}
	return verdict(fit, used);
}

/* The end of what the first function's caller would own, just below the stack's upper end. */
static enum gd_shape fits_stktop(const struct calibrator *c, int32_t at)
{
	enum { FIRST_FRAME = 256 };
	size_t fit = 0, used = 0;

	for (size_t i = 0; i < c->gs.n; i++) {
		const struct sample *g = &c->gs.at[i];
		if (!in_use(c, g))
			continue;
		used++;
		uint64_t hi = word(g, c->layout.g_stack_hi), top = word(g, at);
		if (top != 0 && top <= hi && hi - top <= FIRST_FRAME)
			fit++;
	}
	return verdict(fit, used);
}

static int calibrate_g(struct calibrator *c, struct gd_error *err)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	take_slice(c, &c->gs, c->input->globals->allgs);
	c->ret->goroutines = (unsigned)c->gs.n;
	if (c->gs.n == 0)
		return 0;
	int32_t found = search(c, fits_status, l->g_atomicstatus, 104, 256);
	if (found < 0)
		return gd_fail(err, -EBADMSG, "layout: goroutine 1 is not the first of the %zu looked at",
		               c->gs.n);
	int32_t by = settle(c, "g.atomicstatus", &l->g_atomicstatus, found);
	move(c, "g", came.g_atomicstatus, by);

	found = search(c, fits_stktop, l->g_stktopsp, 104, l->g_atomicstatus - 8);
	by = settle(c, "g.stktopsp", &l->g_stktopsp, found);
	move(c, "g", came.g_sched_bp, by);

	found = search(c, fits_start, l->g_startpc, l->g_atomicstatus + 64, 480);
	by = settle(c, "g.startpc", &l->g_startpc, found);
	move(c, "g", came.g_parent_goid != GD_ABSENT ? came.g_parent_goid : came.g_gopc, by);
	return 0;
}

/* -- m -- */

/* Each m knows its g0, and the g0 its m; these two places never changed. */
static bool is_m(const struct calibrator *c, const struct sample *m)
{
	uint64_t back;
	return gd_memory_read_u64(c->input->memory, word(m, c->layout.m_g0) + (uint64_t)c->layout.g_m,
	                          &back, NULL) == 0 &&
	       back == m->addr;
}

/* The list of threads linked at `at`: its length, 0 when it breaks; up to SAMPLES_MAX kept. */
static size_t walk(struct calibrator *c, int32_t at, struct list *list)
{
	uint64_t head, next;

	list->n = 0;
	if (gd_memory_read_u64(c->input->memory, c->input->globals->allm, &head, NULL) < 0)
		return 0;
	for (next = head; next != 0 && list->n < SAMPLES_MAX; next = word(&list->at[list->n - 1], at))
		if (!take(c, list, next) || !is_m(c, &list->at[list->n - 1]))
			return 0;
	return list->n;
}

/* Idle threads are linked, too: the list of all is the longest. */
static int32_t search_alllink(struct calibrator *c, struct list *spare)
{
	int32_t now = c->layout.m_alllink, best = -1;
	size_t most = walk(c, now, &c->ms);

	if (most > 0)
		best = now;
	for (int32_t at = 240; at <= 480; at += 8) {
		if (at == now || walk(c, at, spare) <= most)
			continue;
		most = spare->n;
		best = at;
		struct list swap = c->ms;
		c->ms = *spare;
		*spare = swap;
	}
	return best;
}

static int compare_tids(const void *a, const void *b)
{
	pid_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

static bool is_tid(const struct calibrator *c, uint64_t value)
{
	if (value == 0 || value > INT32_MAX)
		return false;
	pid_t tid = (pid_t)value;
	return bsearch(&tid, c->input->tids, c->input->n_tids, sizeof(tid), compare_tids) != NULL;
}

/* A thread that is just starting has none yet. */
static enum gd_shape fits_procid(const struct calibrator *c, int32_t at)
{
	size_t fit = 0, starting = 0;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t value = word(&c->ms.at[i], at);
		if (value == 0)
			starting++;
		else if (is_tid(c, value) && !repeated(&c->ms, i, at))
			fit++;
	}
	if (c->input->n_tids == 0)
		return GD_SHAPE_OPEN;
	return starting > 1 + c->ms.n / 8 ? GD_SHAPE_WRONG : verdict(fit, c->ms.n - starting);
}

static const struct sample *find(const struct list *list, uint64_t addr)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->at[i].addr == addr)
			return &list->at[i];
	return NULL;
}

static bool read_word(const struct calibrator *c, uint64_t base, int32_t at, uint64_t *ret)
{
	return gd_memory_read_u64(c->input->memory, base + (uint64_t)at, ret, NULL) == 0;
}

/*
 * Nothing, or a goroutine which says that it runs on this thread.  Both change all the time: read
 * anew, and left out when they change under our hands.  A P says of its thread what a g says, at the
 * same distance in some releases.
 */
static enum gd_shape fits_curg(const struct calibrator *c, int32_t at)
{
	size_t fit = 0, could = 0;
	uint64_t g, back, again;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t m = c->ms.at[i].addr;
		if (!read_word(c, m, at, &g) || g == 0)
			continue;
		bool is = g % 8 == 0 && find(&c->ps, g) == NULL &&
		          read_word(c, g, c->layout.g_m, &back) && back == m;
		if (!read_word(c, m, at, &again) || again != g)
			continue;
		could++;
		if (is)
			fit++;
	}
	return verdict(fit, could);
}

/* Nothing, or a P. */
static enum gd_shape fits_p(const struct calibrator *c, int32_t at)
{
	size_t fit = 0, none = 0;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t p = word(&c->ms.at[i], at);
		if (p == 0)
			none++;
		else if (find(&c->ps, p) != NULL)
			fit++;
	}
	return verdict(fit, c->ms.n - none);
}

/* What a P says of its thread, the other way round. */
static enum gd_shape fits_p_m(const struct calibrator *c, int32_t at)
{
	size_t fit = 0, none = 0;

	for (size_t i = 0; i < c->ps.n; i++) {
		uint64_t m = word(&c->ps.at[i], at);
		if (m == 0)
			none++;
		else if (find(&c->ms, m) != NULL)
			fit++;
	}
	return verdict(fit, c->ps.n - none);
}

/* Threads are numbered; the last of the list is the first ever, number 0. */
static enum gd_shape fits_id(const struct calibrator *c, int32_t at)
{
	if (c->ms.n < 3 || c->ms.n == SAMPLES_MAX)
		return GD_SHAPE_OPEN;
	for (size_t i = 0; i < c->ms.n; i++)
		if (word(&c->ms.at[i], at) > 1000000 || repeated(&c->ms, i, at))
			return GD_SHAPE_WRONG;
	return word(&c->ms.at[c->ms.n - 1], at) == 0 && word(&c->ms.at[0], at) >= c->ms.n - 1 ?
	               GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

/* procid proves where the fields up to curg lie; of a process in another pid namespace no thread id
 * is one of those we were given. */
static int32_t calibrate_thread(struct calibrator *c)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	int32_t found = search(c, fits_procid, l->m_procid, 40, 160);
	int32_t by = settle(c, "m.procid", &l->m_procid, found);
	move(c, "m", came.m_procid, by);
	/* No farther: m.tls holds a goroutine of this thread, too. */
	l->m_curg += by;
	found = search(c, fits_curg, l->m_curg, l->m_curg - 40, l->m_curg + 40);
	by += settle(c, "m.curg", &l->m_curg, found);
	move(c, "m", came.m_curg, by);
	return by;
}

/* m.p and m.id have been 24 bytes apart in all releases: either says where both are. */
static void calibrate_processor(struct calibrator *c, int32_t by)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	l->m_p += by;
	l->m_id += by;
	int32_t found = search(c, fits_p, l->m_p, l->m_p - 32, l->m_p + 64);
	int32_t by_p = settle(c, "m.p", &l->m_p, found);
	l->m_id += by_p;
	found = search(c, fits_id, l->m_id, l->m_id - 32, l->m_id + 64);
	int32_t by_id = settle(c, "m.id", &l->m_id, found);
	/* When nothing runs m.p is open, and goes with m.id. */
	move(c, "m", came.m_p, by + (by_p != 0 ? by_p : by_id));
	move(c, "m", came.m_id, by + by_p + by_id);

	found = search(c, fits_p_m, l->p_m, 32, 96);
	move(c, "p", came.p_m, settle(c, "p.m", &l->p_m, found));
}

static void calibrate_m(struct calibrator *c, struct list *spare)
{
	const struct gd_layout came = c->layout;

	if (c->input->globals->allm == 0)
		return;
	int32_t found = search_alllink(c, spare);
	c->ret->threads = (unsigned)c->ms.n;
	if (found < 0)
		return;
	move(c, "m", came.m_ncgo, settle(c, "m.alllink", &c->layout.m_alllink, found));
	calibrate_processor(c, calibrate_thread(c));
}

/* -- the ring of collection pauses -- */

static void shift_ring(struct gd_layout *l, int32_t by)
{
	l->mstats_last_gc_unix += by;
	l->mstats_pause_total_ns += by;
	l->mstats_pause_ns += by;
	l->mstats_pause_end += by;
	l->mstats_numgc += by;
}

static enum gd_shape fits_ring(const struct calibrator *c, int32_t at)
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

static void calibrate_ring(struct calibrator *c)
{
	enum { FAR = 512 };
	struct gd_layout *l = &c->layout;
	int32_t came = l->mstats_last_gc_unix;
	int32_t end = l->mstats_gc_cpu_fraction + 8;
	int32_t low = came > FAR ? came - FAR : came % 8;

	if (c->input->globals->memstats == 0)
		return;
	int32_t found = search(c, fits_ring, came, low, came + FAR);
	move(c, "mstats", came, settle(c, "mstats.last_gc_unix", &l->mstats_last_gc_unix, found));
	move(c, "mstats", end, 0);
}

static int run(const struct gd_calibrate_input *input, struct gd_layout *layout,
               struct gd_calibration *ret, struct sample *samples, struct gd_error *err)
{
	struct calibrator c = {
		.input = input,
		.layout = *layout,
		.ret = ret,
		.gs = { .at = samples },
		.ms = { .at = samples + SAMPLES_MAX },
		.ps = { .at = samples + 2 * SAMPLES_MAX },
	};
	struct list spare = { .at = samples + 3 * SAMPLES_MAX };

	memset(ret, 0, sizeof(*ret));
	int r = calibrate_g(&c, err);
	if (r < 0)
		return r;
	take_slice(&c, &c.ps, input->globals->allp);
	calibrate_m(&c, &spare);
	calibrate_ring(&c);
	apply_moves(&c, layout);
	return 0;
}

/* A moment's disorder (a P between two threads) can look like another layout, but not twice. */
int gd_calibrate(const struct gd_calibrate_input *input, struct gd_layout *layout,
                 struct gd_calibration *ret, struct gd_error *err)
{
	enum { TRIES = 4 };
	GD_FREE struct sample *samples = malloc(4 * SAMPLES_MAX * sizeof(*samples));
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
