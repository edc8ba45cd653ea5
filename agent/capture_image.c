/*
 * The part of a capture that needs memory of one instant.  What goes wrong costs the image or the core,
 * never what was collected before: the target runs on in any case (freeze/freeze.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture_state.h"
#include "agent/compressor.h"

/* Without a core the program's objects are not needed either. */
static bool is_thin(const struct gd_capture_state *c)
{
	return c->options->freeze.thin || gd_capture_core(c) == NULL;
}

static void on_freeze_bytes(void *arg, uint64_t bytes, uint64_t of_bytes)
{
	const struct gd_capture_state *c = arg;
	if (c->options->progress_bytes != NULL)
		c->options->progress_bytes(c->options->progress_arg, "freeze", bytes, of_bytes);
}

static void on_core_bytes(void *arg, uint64_t bytes, uint64_t of_bytes)
{
	const struct gd_capture_state *c = arg;
	if (c->options->progress_bytes != NULL)
		c->options->progress_bytes(c->options->progress_arg, "core", bytes, of_bytes);
}

static int make_image(struct gd_capture_state *c, struct gd_error *err)
{
	const struct gd_capture_freeze *f = &c->options->freeze;
	if (is_thin(c)) {
		int r = gd_parser_order_ranges(&c->parser, GD_WORK_SKIP, c->packer.pid, &c->skip, err);
		if (r < 0)
			return gd_error_wrap(err, r, "what a thin image leaves out");
	}
	struct gd_freeze_options freeze = {
		.max_pause_ns = f->max_pause_ns,
		.scope = is_thin(c) ? GD_FREEZE_THIN : GD_FREEZE_ALL,
		.skip = c->skip.list,
		.n_skip = c->skip.n,
		.secret = f->secret,
		.keep_huge = !f->lose_huge,
	};
	memcpy(freeze.methods_off, f->methods_off, sizeof(freeze.methods_off));
	const struct gd_freezer_options options = {
		.target = c->target,
		.freeze = &freeze,
		.output = &c->output,
		.cancelled = c->options->cancelled,
		.progress = on_freeze_bytes,
		.progress_arg = c,
	};
	return gd_freezer_run(&options, &c->frozen, err);
}

static void note_frozen(struct gd_capture_state *c)
{
	const struct gd_freeze_result *from = &c->frozen.freeze;
	struct gd_frozen *to = &c->snapshot->frozen;
	_Static_assert(sizeof(to->notes) == sizeof(from->notes), "both are one list");
	(void)snprintf(to->method, sizeof(to->method), "%s", gd_freeze_method_name(from->method));
	to->instant_ns = from->instant_ns;
	to->pause_ns = from->pause_ns;
	to->predicted_pause_ns = from->predicted_pause_ns;
	to->rounds = from->rounds;
	to->bytes_read = from->bytes_read;
	to->bytes_in_stop = from->bytes_in_stop;
	to->threads = from->threads;
	to->threads_not_stopped = from->threads_not_stopped;
	to->huge_before_bytes = from->huge_before_bytes;
	to->huge_after_bytes = from->huge_after_bytes;
	to->grown_bytes = from->grown_bytes;
	to->n_notes = from->n_notes;
	memcpy(to->notes, from->notes, sizeof(to->notes));
	if (from->pause_ns > 0)
		c->snapshot->target_pause_ns += (uint64_t)from->pause_ns;
}

/* The artifact that there will not be, with the reason. */
static void core_is_absent(struct gd_capture_state *c, const struct gd_error *why)
{
	const struct gd_plan_item *core = gd_capture_core(c);
	if (core == NULL)
		return;
	struct gd_step *step = gd_capture_step_begin(c, "", core->collector->name);
	struct gd_outcome outcome = gd_outcome_of(GD_GRADE_FAILED, why);
	gd_capture_step_end(step, outcome);
	gd_capture_progress(c, core->collector->name, step, 0);
}

bool gd_capture_freeze(struct gd_capture_state *c)
{
	struct gd_error err = { 0 };
	struct gd_step *step = gd_capture_step_begin(c, "", "freeze");
	struct gd_outcome outcome;
	gd_capture_progress(c, "freeze", NULL, 0);
	int r = gd_capture_cancelled(c) ? gd_fail(&err, -ECANCELED, "interrupted") : make_image(c, &err);
	/* Also of one that failed: it may have stopped the target. */
	step->pause_ns = c->frozen.freeze.pause_ns;
	if (r == 0) {
		note_frozen(c);
		outcome = c->frozen.freeze.outcome;
		r = gd_parser_order_image(&c->parser, c->frozen.file_fd, c->frozen.index_fd, &err);
	} else if (c->frozen.freeze.pause_ns > 0) {
		c->snapshot->target_pause_ns += (uint64_t)c->frozen.freeze.pause_ns;
	}
	if (r < 0)
		outcome = gd_outcome_of(r == -ECANCELED ? GD_GRADE_SKIPPED : GD_GRADE_FAILED, &err);
	gd_capture_step_end(step, outcome);
	gd_capture_progress(c, "freeze", step, c->frozen.freeze.bytes_read);
	gd_capture_count(c, "freeze", true, outcome);
	if (c->frozen.file_fd < 0)
		core_is_absent(c, &err);
	return c->frozen.file_fd >= 0;
}

/* The notes by a jailed reader, which may ask for what is not memory; then the memory. */
static void pack_core(struct gd_capture_state *c, const struct gd_compressor_options *options,
                      struct gd_compressor_result *ret)
{
	size_t item = (size_t)(gd_capture_core(c) - c->options->plan->list);
	struct gd_parser_order_result notes = { .bytes = 0 };
	gd_parser_order_collect(&c->parser, item, &c->packer, &notes);
	gd_compressor_run(options, &c->packer, ret);
	ret->bytes += notes.bytes;
	ret->outcome = gd_outcome_worse(ret->outcome, notes.outcome);
}

static void run_core(struct gd_capture_state *c)
{
	const struct gd_plan_item *core = gd_capture_core(c);
	struct gd_step *step = gd_capture_step_begin(c, "", core->collector->name);
	struct gd_compressor_result result = { .bytes = 0 };
	const struct gd_compressor_options options = {
		.file_fd = c->frozen.file_fd,
		.index_fd = c->frozen.index_fd,
		.target = c->target,
		.freeze = &c->frozen.freeze,
		.scope = is_thin(c) ? "thin" : "full",
		.skip = &c->left_out,
		.zero = &c->noscan,
		.base_fd = c->options->freeze.base_fd,
		.boot_id = c->snapshot->boot_id != NULL ? c->snapshot->boot_id : "",
		.workers = c->options->freeze.workers,
		.cancelled = c->options->cancelled,
		.progress = on_core_bytes,
		.progress_arg = c,
	};
	gd_capture_progress(c, step->name, NULL, 0);
	if (gd_capture_cancelled(c))
		result.outcome = gd_outcome(GD_GRADE_SKIPPED, -ECANCELED, "interrupted");
	else
		pack_core(c, &options, &result);
	struct gd_frozen *to = &c->snapshot->frozen;
	to->core_plain_bytes = result.plain_bytes;
	to->core_chunks = result.chunks;
	to->core_unchanged_chunks = result.unchanged_chunks;
	to->core_packs = result.packs;
	if (result.note[0] != '\0' && to->n_notes < GD_FROZEN_NOTES)
		memcpy(to->notes[to->n_notes++], result.note, sizeof(result.note));
	c->parser.cpu_ns += result.cpu_ns;
	c->parser.peak_rss_bytes += result.peak_rss_bytes;
	gd_capture_step_end(step, result.outcome);
	gd_capture_progress(c, step->name, step, result.bytes);
	gd_capture_count(c, step->name, core->named, result.outcome);
}

/* Values that were to be left out are not kept for want of knowing which. */
static int choose_memory(struct gd_capture_state *c, struct gd_error *err)
{
	int r = 0;
	if (is_thin(c))
		r = gd_parser_order_ranges(&c->parser, GD_WORK_SKIP, c->packer.pid, &c->left_out, err);
	if (r < 0)
		return gd_error_wrap(err, r, "what a thin core leaves out");
	if (c->options->freeze.zero_noscan)
		r = gd_parser_order_ranges(&c->parser, GD_WORK_NOSCAN, c->packer.pid, &c->noscan, err);
	return r < 0 ? gd_error_wrap(err, r, "which objects have no pointers") : 0;
}

void gd_capture_image(struct gd_capture_state *c)
{
	const struct gd_plan *plan = c->options->plan;
	struct gd_error err = { 0 };
	for (size_t i = 0; i < plan->n; i++)
		if (plan->list[i].collector->needs_go)
			gd_capture_collector(c, "image:", i);
	if (gd_capture_core(c) == NULL)
		return;
	if (!gd_capture_cancelled(c) && choose_memory(c, &err) < 0) {
		core_is_absent(c, &err);
		gd_capture_count(c, "core", true, gd_outcome_of(GD_GRADE_FAILED, &err));
		return;
	}
	run_core(c);
}
