/*
 * Where the fields of m and p lie: the list of all threads, thread ids, who runs what.
 */
#include "golang/calibrator.h"

#include <stdlib.h>
#include <string.h>

static bool read_word(const struct gd_calibrator *c, uint64_t base, int32_t at, uint64_t *ret)
{
	return gd_memory_read_u64(c->input->memory, base + (uint64_t)at, ret, NULL) == 0;
}

/* Each m knows its g0, and the g0 its m; these two places never changed. */
static bool is_m(const struct gd_calibrator *c, const struct gd_sample *m)
{
	uint64_t back;
	uint64_t g0 = gd_sample_word(m, c->layout.m_g0);
	return read_word(c, g0, c->layout.g_m, &back) && back == m->addr;
}

/* The list of threads linked at `at`: its length, 0 when it breaks; up to GD_SAMPLES_MAX kept. */
static size_t walk(struct gd_calibrator *c, int32_t at, struct gd_samples *list)
{
	uint64_t head, next;

	list->n = 0;
	if (gd_memory_read_u64(c->input->memory, c->input->globals->allm, &head, NULL) < 0)
		return 0;
	for (next = head; next != 0 && list->n < GD_SAMPLES_MAX;) {
		const struct gd_sample *m = &list->at[list->n];
		if (!gd_calibrator_take(c, list, next) || !is_m(c, m))
			return 0;
		next = gd_sample_word(m, at);
	}
	return list->n;
}

/* Idle threads are linked, too: the list of all is the longest. */
static int32_t search_alllink(struct gd_calibrator *c)
{
	int32_t now = c->layout.m_alllink, best = -1;
	size_t most = walk(c, now, &c->ms);

	if (most > 0)
		best = now;
	for (int32_t at = 240; at <= 480; at += 8) {
		if (at == now || walk(c, at, &c->spare) <= most)
			continue;
		most = c->spare.n;
		best = at;
		struct gd_samples swap = c->ms;
		c->ms = c->spare;
		c->spare = swap;
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

static bool is_tid(const struct gd_calibrator *c, uint64_t value)
{
	if (value == 0 || value > INT32_MAX || c->input->n_tids == 0)
		return false;
	pid_t tid = (pid_t)value;
	return bsearch(&tid, c->input->tids, c->input->n_tids, sizeof(tid), compare_tids) != NULL;
}

/* A thread that is just starting has none yet. */
static enum gd_shape fits_procid(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0, starting = 0;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t value = gd_sample_word(&c->ms.at[i], at);
		if (value == 0)
			starting++;
		else if (is_tid(c, value) && !gd_sample_repeated(&c->ms, i, at))
			fit++;
	}
	if (c->input->n_tids == 0)
		return GD_SHAPE_OPEN;
	if (starting > 1 + c->ms.n / 8)
		return GD_SHAPE_WRONG;
	return gd_calibrator_verdict(fit, c->ms.n - starting);
}

/*
 * Nothing, or a goroutine which says that it runs on this thread.  Both change all the time: read
 * anew, and left out when they change under our hands.  A P says of its thread what a g says, and in
 * some releases at the same distance.
 */
static enum gd_shape fits_curg(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0, could = 0;
	uint64_t g, back, again;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t m = c->ms.at[i].addr;
		if (!read_word(c, m, at, &g) || g == 0)
			continue;
		bool is = g % 8 == 0 && gd_sample_find(&c->ps, g) == NULL &&
		          read_word(c, g, c->layout.g_m, &back) && back == m;
		if (!read_word(c, m, at, &again) || again != g)
			continue;
		could++;
		if (is)
			fit++;
	}
	return gd_calibrator_verdict(fit, could);
}

/* Nothing, or a P. */
static enum gd_shape fits_p(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0, none = 0;

	for (size_t i = 0; i < c->ms.n; i++) {
		uint64_t p = gd_sample_word(&c->ms.at[i], at);
		if (p == 0)
			none++;
		else if (gd_sample_find(&c->ps, p) != NULL)
			fit++;
	}
	return gd_calibrator_verdict(fit, c->ms.n - none);
}

/* What a P says of its thread, the other way round. */
static enum gd_shape fits_p_m(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0, none = 0;

	for (size_t i = 0; i < c->ps.n; i++) {
		uint64_t m = gd_sample_word(&c->ps.at[i], at);
		if (m == 0)
			none++;
		else if (gd_sample_find(&c->ms, m) != NULL)
			fit++;
	}
	return gd_calibrator_verdict(fit, c->ps.n - none);
}

/* Threads are numbered; the last of the list is the first ever, number 0. */
static enum gd_shape fits_id(const struct gd_calibrator *c, int32_t at)
{
	if (c->ms.n < 3 || c->ms.n == GD_SAMPLES_MAX)
		return GD_SHAPE_OPEN;
	for (size_t i = 0; i < c->ms.n; i++)
		if (gd_sample_word(&c->ms.at[i], at) > 1000000 || gd_sample_repeated(&c->ms, i, at))
			return GD_SHAPE_WRONG;
	uint64_t newest = gd_sample_word(&c->ms.at[0], at);
	uint64_t first = gd_sample_word(&c->ms.at[c->ms.n - 1], at);
	return first == 0 && newest >= c->ms.n - 1 ? GD_SHAPE_RIGHT : GD_SHAPE_WRONG;
}

/* procid proves where the fields up to curg lie; of a process in another pid namespace no thread id
 * is one of those we were given. */
static int32_t calibrate_thread(struct gd_calibrator *c)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	int32_t found = gd_calibrator_search(c, fits_procid, l->m_procid, 40, 160);
	int32_t by = gd_calibrator_settle(c, "m.procid", &l->m_procid, found);
	gd_calibrator_move(c, "m", came.m_procid, by);
	/* No farther: m.tls holds a goroutine of this thread, too. */
	l->m_curg += by;
	found = gd_calibrator_search(c, fits_curg, l->m_curg, l->m_curg - 40, l->m_curg + 40);
	by += gd_calibrator_settle(c, "m.curg", &l->m_curg, found);
	gd_calibrator_move(c, "m", came.m_curg, by);
	return by;
}

/* m.p and m.id have been 24 bytes apart in all releases: either says where both are. */
static void calibrate_processor(struct gd_calibrator *c, int32_t by)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	l->m_p += by;
	l->m_id += by;
	int32_t found = gd_calibrator_search(c, fits_p, l->m_p, l->m_p - 32, l->m_p + 64);
	int32_t by_p = gd_calibrator_settle(c, "m.p", &l->m_p, found);
	l->m_id += by_p;
	found = gd_calibrator_search(c, fits_id, l->m_id, l->m_id - 32, l->m_id + 64);
	int32_t by_id = gd_calibrator_settle(c, "m.id", &l->m_id, found);
	/* When nothing runs m.p is open, and goes with m.id. */
	gd_calibrator_move(c, "m", came.m_p, by + (by_p != 0 ? by_p : by_id));
	gd_calibrator_move(c, "m", came.m_id, by + by_p + by_id);

	found = gd_calibrator_search(c, fits_p_m, l->p_m, 32, 96);
	gd_calibrator_move(c, "p", came.p_m, gd_calibrator_settle(c, "p.m", &l->p_m, found));
}

void gd_calibrator_threads(struct gd_calibrator *c)
{
	const struct gd_layout came = c->layout;

	if (c->input->globals->allm == 0)
		return;
	int32_t found = search_alllink(c);
	c->ret->threads = (unsigned)c->ms.n;
	if (found < 0)
		return;
	int32_t by = gd_calibrator_settle(c, "m.alllink", &c->layout.m_alllink, found);
	gd_calibrator_move(c, "m", came.m_ncgo, by);
	calibrate_processor(c, calibrate_thread(c));
}

