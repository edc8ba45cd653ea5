/*
 * Where the fields of g lie: its status and number, what the stack began with, where it started.
 */
#include "golang/calibrator.h"

#include <errno.h>

static bool is_status(uint32_t status)
{
	return (status & ~UINT32_C(0x1000)) <= 11;
}

/* Neither unborn nor dead nor a spare: its other fields mean something. */
static bool in_use(const struct gd_calibrator *c, const struct gd_sample *g)
{
	uint32_t status = gd_sample_half(g, c->layout.g_atomicstatus) & 0xfff;
	return status != 0 && status != 6 && status != 11;
}

/* A status, and 8 behind it the goroutine's number: 1 for the first, no two alike. */
static enum gd_shape fits_status(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0;

	if (c->gs.n == 0 || gd_sample_word(&c->gs.at[0], at + 8) != 1)
		return GD_SHAPE_WRONG;
	for (size_t i = 0; i < c->gs.n; i++)
		if (is_status(gd_sample_half(&c->gs.at[i], at)) &&
		    gd_sample_word(&c->gs.at[i], at + 8) != 0 &&
		    !gd_sample_repeated(&c->gs, i, at + 8))
			fit++;
	return gd_calibrator_verdict(fit, c->gs.n);
}

static bool is_entry(const struct gd_calibrator *c, uint64_t pc)
{
	const struct gd_module *module = gd_modules_of(c->input->modules, pc);
	struct gd_func func;
	return module != NULL && gd_pclntab_func(&module->pclntab, pc, &func) && func.entry == pc;
}

/* Where a goroutine starts is a function's entry; where it was created is in the text. */
static enum gd_shape fits_start(const struct gd_calibrator *c, int32_t at)
{
	size_t fit = 0, used = 0;

	for (size_t i = 0; i < c->gs.n; i++) {
		const struct gd_sample *g = &c->gs.at[i];
		if (!in_use(c, g))
			continue;
		used++;
		uint64_t gopc = gd_sample_word(g, at - 16);
		if (is_entry(c, gd_sample_word(g, at)) &&
		    (gopc == 0 || gd_modules_of(c->input->modules, gopc) != NULL))
			fit++;
	}
	return gd_calibrator_verdict(fit, used);
}

/* The end of what the first function's caller would own, just below the stack's upper end. */
static enum gd_shape fits_stktop(const struct gd_calibrator *c, int32_t at)
{
	enum { FIRST_FRAME = 256 };
	size_t fit = 0, used = 0;

	for (size_t i = 0; i < c->gs.n; i++) {
		const struct gd_sample *g = &c->gs.at[i];
		if (!in_use(c, g))
			continue;
		used++;
		uint64_t hi = gd_sample_word(g, c->layout.g_stack_hi), top = gd_sample_word(g, at);
		if (top != 0 && top <= hi && hi - top <= FIRST_FRAME)
			fit++;
	}
	return gd_calibrator_verdict(fit, used);
}

int gd_calibrator_goroutines(struct gd_calibrator *c, struct gd_error *err)
{
	const struct gd_layout came = c->layout;
	struct gd_layout *l = &c->layout;

	gd_calibrator_take_slice(c, &c->gs, c->input->globals->allgs);
	c->ret->goroutines = (unsigned)c->gs.n;
	if (c->gs.n == 0)
		return 0;
	int32_t found = gd_calibrator_search(c, fits_status, l->g_atomicstatus, 104, 256);
	if (found < 0)
		return gd_fail(err, -EBADMSG,
		               "layout: goroutine 1 is not the first of the %zu looked at", c->gs.n);
	int32_t by = gd_calibrator_settle(c, "g.atomicstatus", &l->g_atomicstatus, found);
	gd_calibrator_move(c, "g", came.g_atomicstatus, by);

	found = gd_calibrator_search(c, fits_stktop, l->g_stktopsp, 104, l->g_atomicstatus - 8);
	by = gd_calibrator_settle(c, "g.stktopsp", &l->g_stktopsp, found);
	gd_calibrator_move(c, "g", came.g_sched_bp, by);

	found = gd_calibrator_search(c, fits_start, l->g_startpc, l->g_atomicstatus + 64, 480);
	by = gd_calibrator_settle(c, "g.startpc", &l->g_startpc, found);
	bool has_parent = came.g_parent_goid != GD_ABSENT;
	gd_calibrator_move(c, "g", has_parent ? came.g_parent_goid : came.g_gopc, by);
	return 0;
}

