/*
 * The broker's half of one capture.
 *
 * The happy path: open target (and start its reader), open archive (and start the packer), read
 * runtime, start the window of what samples, collect, and when an image is wanted: freeze, collect again
 * from it, pack the core; end the window, check target, seal.  Nothing foreign is parsed here: what readers and packer say comes as checked structs.
 *
 * What goes wrong where, and what is left behind:
 *   open target   gone (exit 2) or not ours to read (3): nothing exists yet
 *   open archive  no place or no space (5): nothing exists yet
 *   read runtime  never fatal: not Go, or not readable, is what the Go collectors report
 *   collect       a collector returns a grade, or its reader dies; Ctrl-C skips the rest and seals
 *                 (130)
 *   freeze        no image: what was collected before is sealed as partial (4), the target runs
 *   collect image as collect; the core's own failure costs the core
 *   check target  gone or another program now: sealed as partial (4)
 *   seal          no space (5), or the packer has died: the archive never had a name, so nothing is
 *                 left
 */
#include "agent/capture.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/capture_state.h"
#include "agent/host.h"
#include "agent/id.h"
#include "agent/role.h"
#include "agent/subject.h"
#include "archive/output.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/sm.h"

enum state {
	OPEN_TARGET,
	OPEN_ARCHIVE,
	READ_RUNTIME,
	START_WINDOW,
	COLLECT,
	FREEZE,
	COLLECT_IMAGE,
	END_WINDOW,
	CHECK_TARGET,
	SEAL,
	DONE,
	FAILED,
};

static enum state fail(struct gd_capture_state *c, enum gd_exit exit)
{
	c->exit = exit;
	return FAILED;
}

static enum gd_exit exit_of_open(int r)
{
	if (r == -EACCES || r == -EPERM)
		return GD_EXIT_PERMISSION;
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return GD_EXIT_SPACE;
	return GD_EXIT_GONE;
}

/* Whether what was opened is what was meant, and can be read. */
static enum gd_exit examine_target(struct gd_capture_state *c)
{
	const struct gd_target *t = c->target;
	uint64_t meant = c->options->start_ticks;
	int pid = (int)c->options->pid;
	if (meant != 0 && t->start_ticks != meant) {
		(void)gd_fail(&c->error, -ESRCH, "pid %d has exited: another process has its number "
		              "now", pid);
		return GD_EXIT_GONE;
	}
	if (t->kernel_thread) {
		(void)gd_fail(&c->error, -EINVAL,
		              "pid %d (%s) is a kernel thread: it has no memory of its own to "
		              "capture; see /proc/%d/stack",
		              pid, t->comm, pid);
		return GD_EXIT_USAGE;
	}
	if (t->zombie) {
		(void)gd_fail(&c->error, -ESRCH,
		              "pid %d (%s) has exited already and only waits for its parent to "
		              "notice (zombie)",
		              pid, t->comm);
		return GD_EXIT_GONE;
	}
	if (t->fds.mem_fd < 0) {
		c->error = t->mem_error;
		return c->error.code == -ESRCH ? GD_EXIT_GONE : GD_EXIT_PERMISSION;
	}
	return GD_EXIT_COMPLETE;
}

static enum state open_target(struct gd_capture_state *c)
{
	if (c->options->pid == 0) {
		c->snapshot->comm = strdup(c->options->subject != NULL ? c->options->subject : "");
		return OPEN_ARCHIVE;
	}
	int r = gd_target_open_unread(c->options->pid, &c->target, &c->error);
	if (r < 0)
		return fail(c, exit_of_open(r));
	enum gd_exit exit = examine_target(c);
	if (exit != GD_EXIT_COMPLETE)
		return fail(c, exit);
	c->parser.target = c->target;
	c->parser.plan = c->options->plan;
	c->parser.cancelled = c->options->cancelled;
	c->parser.silent_ns = c->options->silent_ns;
	if (gd_parser_order_start(&c->parser, &c->error) < 0)
		return fail(c, GD_EXIT_SPACE);
	gd_parser_order_subject(&c->parser);
	gd_subject_take(c->target, c->parser.has_subject ? &c->parser.subject : NULL, c->snapshot);
	return OPEN_ARCHIVE;
}

static enum state open_archive(struct gd_capture_state *c)
{
	struct gd_json json = GD_JSON_INIT(&c->plan_json);
	gd_json_object(&json, NULL);
	gd_snapshot_put_start(c->snapshot, &json);
	gd_plan_put(c->options->plan, &json);
	gd_json_object_end(&json);
	int r = gd_buf_check(&c->plan_json, "plan", &c->error);
	if (r == 0)
		r = gd_output_create(c->options->output_dir, false, &c->output, &c->error);
	if (r < 0)
		return fail(c, GD_EXIT_SPACE);
	const struct gd_packer_order_options options = {
		.output = &c->output,
		.plan_json = c->plan_json.data,
		.plan_len = c->plan_json.len,
		.snapshot = c->snapshot,
		.attachments = c->options->attachments,
		.n_attachments = c->options->n_attachments,
	};
	r = gd_packer_order_start(&options, &c->packer, &c->error);
	return r < 0 ? fail(c, GD_EXIT_SPACE) : READ_RUNTIME;
}

/* The packer has been at work meanwhile: only now is it asked how that went. */
static enum state read_runtime(struct gd_capture_state *c)
{
	if (c->target != NULL) {
		gd_parser_order_runtime(&c->parser);
		if (c->parser.runtime.why.code == 0) {
			c->snapshot->go_version = strdup(c->parser.runtime.version);
			c->snapshot->go_note = strdup(c->parser.runtime.note);
		}
	}
	if (gd_packer_order_started(&c->packer, &c->error) < 0)
		return fail(c, GD_EXIT_SPACE);
	return START_WINDOW;
}

static enum state start_window(struct gd_capture_state *c)
{
	gd_capture_window_begin(c);
	return COLLECT;
}

static enum state collect(struct gd_capture_state *c)
{
	const struct gd_plan *plan = c->options->plan;
	if (c->target == NULL)
		return END_WINDOW;
	for (size_t i = 0; i < plan->n; i++)
		if (!plan->list[i].collector->of_image && !plan->list[i].collector->windowed &&
		    !plan->list[i].collector->apart)
			gd_capture_collector(c, "collect:", i);
	return gd_capture_core(c) != NULL || c->options->freeze.consistent ? FREEZE : END_WINDOW;
}

static enum state freeze(struct gd_capture_state *c)
{
	return gd_capture_freeze(c) ? COLLECT_IMAGE : END_WINDOW;
}

static enum state collect_image(struct gd_capture_state *c)
{
	gd_capture_image(c);
	return END_WINDOW;
}

static enum state end_window(struct gd_capture_state *c)
{
	gd_capture_window_end(c);
	return CHECK_TARGET;
}

static enum state check_target(struct gd_capture_state *c)
{
	struct gd_error err = { 0 };
	if (c->target != NULL && gd_target_check(c->target, &err) < 0) {
		(void)gd_error_wrap(&err, err.code, "during the capture");
		c->worst = gd_outcome_worse(gd_outcome_of(GD_GRADE_PARTIAL, &err), c->worst);
	}
	return SEAL;
}

/* "godiag-<id>-<comm>-<pid>.tar"; comm is foreign, so only harmless characters of it are kept. */
static void make_file_name(const struct gd_capture_state *c, char *to, size_t size)
{
	char comm[16] = "";
	const char *from = c->target != NULL ? c->target->comm : c->options->subject;
	size_t n = 0;
	for (; from != NULL && n + 1 < sizeof(comm) && from[n] != '\0'; n++) {
		bool harmless = isalnum((unsigned char)from[n]) || (from[n] == '.' && n > 0);
		comm[n] = harmless ? from[n] : '_';
	}
	comm[n] = '\0';
	(void)snprintf(to, size, "godiag-%s-%s-%d.tar", c->snapshot->id, comm,
	               (int)c->options->pid);
}

/*
 * What all roles have cost together.  Peaks are added up, although pages that they share by being
 * forks of one another then count more than once: at most so much, never more.
 */
static void fill_end(struct gd_capture_state *c, struct gd_packer_order_end *end)
{
	struct gd_snapshot *s = c->snapshot;
	struct rusage usage;
	*end = (struct gd_packer_order_end){
		.ended = gd_clock_now(),
		.outcome = c->worst,
		.interrupted = gd_capture_cancelled(c),
		.memory_reads = c->parser.memory.reads,
		.memory_bytes = c->parser.memory.bytes,
		.memory_faults = c->parser.memory.faults,
		.cpu_ns = gd_clock_cpu_ns() + c->parser.cpu_ns + c->frozen.cpu_ns +
		          c->debug_port_result.cpu_ns,
		.peak_rss_bytes = c->parser.peak_rss_bytes + c->frozen.peak_rss_bytes +
		                  c->debug_port_result.peak_rss_bytes,
		.frozen = s->frozen,
		.target_pause_ns = s->target_pause_ns,
		.n_steps = s->n_steps,
	};
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		end->peak_rss_bytes += (uint64_t)usage.ru_maxrss * 1024;
	(void)snprintf(end->go_version, sizeof(end->go_version), "%s",
	               s->go_version != NULL ? s->go_version : "");
	(void)snprintf(end->go_note, sizeof(end->go_note), "%s",
	               s->go_note != NULL ? s->go_note : "");
	memcpy(end->steps, s->steps, sizeof(end->steps));
}

/* The file is whole, says the packer; its length must say so as well. */
static int publish(struct gd_capture_state *c, struct gd_sealed *sealed)
{
	char name[256];
	struct stat st;
	make_file_name(c, name, sizeof(name));
	int n = snprintf(sealed->path, sizeof(sealed->path), "%s/%s", c->output.dir, name);
	if (n < 0 || (size_t)n >= sizeof(sealed->path))
		return gd_fail(&c->error, -ENAMETOOLONG, "%.100s/%.80s", c->output.dir, name);
	if (fstat(c->output.fd, &st) < 0 || (uint64_t)st.st_size != sealed->bytes)
		return gd_fail(&c->error, -EIO, "%.100s: the archive has not the %" PRIu64
		               " bytes that were written", c->output.dir, sealed->bytes);
	c->output.bytes = sealed->bytes;
	return gd_output_publish(&c->output, name, &c->error);
}

static enum state seal(struct gd_capture_state *c)
{
	static struct gd_packer_order_end end;
	struct gd_sealed sealed = { .bytes = 0 };
	gd_parser_order_end(&c->parser);
	fill_end(c, &end);
	int r = gd_packer_order_seal(&c->packer, &end, c->snapshot, &sealed, &c->error);
	if (r == 0)
		r = publish(c, &sealed);
	if (r < 0)
		return fail(c, GD_EXIT_SPACE);
	*c->sealed = sealed;
	return DONE;
}

static const struct gd_sm_state states[] = {
	[OPEN_TARGET] = { "open-target", GD_SM_TO(OPEN_ARCHIVE) | GD_SM_TO(FAILED), GD_SM_INITIAL },
	[OPEN_ARCHIVE] = { "open-archive", GD_SM_TO(READ_RUNTIME) | GD_SM_TO(FAILED), 0 },
	[READ_RUNTIME] = { "read-runtime", GD_SM_TO(START_WINDOW) | GD_SM_TO(FAILED), 0 },
	[START_WINDOW] = { "start-window", GD_SM_TO(COLLECT), 0 },
	[COLLECT] = { "collect", GD_SM_TO(FREEZE) | GD_SM_TO(END_WINDOW), 0 },
	[FREEZE] = { "freeze", GD_SM_TO(COLLECT_IMAGE) | GD_SM_TO(END_WINDOW), 0 },
	[COLLECT_IMAGE] = { "collect-image", GD_SM_TO(END_WINDOW), 0 },
	[END_WINDOW] = { "end-window", GD_SM_TO(CHECK_TARGET), 0 },
	[CHECK_TARGET] = { "check-target", GD_SM_TO(SEAL), 0 },
	[SEAL] = { "seal", GD_SM_TO(DONE) | GD_SM_TO(FAILED), 0 },
	[DONE] = { "done", 0, GD_SM_FINAL },
	[FAILED] = { "failed", 0, GD_SM_FINAL },
};

static enum state (*const work[])(struct gd_capture_state *c) = {
	[OPEN_TARGET] = open_target,   [OPEN_ARCHIVE] = open_archive,
	[READ_RUNTIME] = read_runtime, [START_WINDOW] = start_window,
	[COLLECT] = collect,           [FREEZE] = freeze,
	[COLLECT_IMAGE] = collect_image, [END_WINDOW] = end_window,
	[CHECK_TARGET] = check_target, [SEAL] = seal,
};

/* From open-target's end until the machine stops there is a target (if one was named), and after
 * open-archive's a file and its packer. */
static bool invariant(const void *owner, unsigned state)
{
	const struct gd_capture_state *c = owner;
	bool needs_target = state > OPEN_TARGET && state < DONE && c->options->pid != 0;
	bool needs_packer = state > OPEN_ARCHIVE && state < DONE;
	return (!needs_target || c->target != NULL) &&
	       (!needs_packer || (c->packer.pid != 0 && c->output.fd >= 0));
}

static enum gd_exit exit_of(const struct gd_capture_state *c, struct gd_error *err)
{
	if (c->exit != GD_EXIT_COMPLETE) {
		*err = c->error;
		return c->exit;
	}
	if (c->snapshot->interrupted) {
		(void)gd_fail(err, -ECANCELED, "interrupted; what was finished is sealed");
		return GD_EXIT_INTERRUPTED;
	}
	if (c->worst.grade != GD_GRADE_COMPLETE) {
		*err = c->worst.why;
		return GD_EXIT_PARTIAL;
	}
	return GD_EXIT_COMPLETE;
}

/* Labels and texts belong to the caller, the snapshot owns what it has. */
static int fill_start(struct gd_snapshot *s, const struct gd_capture_options *o)
{
	s->started = gd_clock_now();
	if (o->id != NULL)
		(void)snprintf(s->id, sizeof(s->id), "%s", o->id);
	else
		gd_id_make(s->id, s->started.realtime_ns);
	s->trigger = strdup(o->trigger);
	s->reason = strdup(o->reason != NULL ? o->reason : "");
	s->profile = strdup(o->plan->profile);
	s->godiag_version = strdup(GD_VERSION);
	s->labels = calloc(o->n_labels + 1, sizeof(*s->labels));
	if (s->trigger == NULL || s->reason == NULL || s->profile == NULL ||
	    s->godiag_version == NULL || s->labels == NULL)
		return -ENOMEM;
	for (; s->n_labels < o->n_labels; s->n_labels++) {
		struct gd_label *label = &s->labels[s->n_labels];
		label->key = strdup(o->labels[s->n_labels].key);
		label->value = strdup(o->labels[s->n_labels].value);
		if (label->key == NULL || label->value == NULL) {
			free(label->key);
			free(label->value);
			return -ENOMEM;
		}
	}
	gd_host_identify(s);
	return 0;
}

/* What the roles lack on this kernel is part of what one has to know about the evidence. */
static void note_gaps(struct gd_capture_state *c)
{
	struct gd_role_gaps gaps;
	gd_role_find_gaps(&gaps);
	if (gaps.text[0] == '\0')
		return;
	struct gd_step *step = gd_capture_step_begin(c, "", "enter-roles");
	gd_capture_step_end(step, gd_outcome(GD_GRADE_PARTIAL, -ENOTSUP, "%s", gaps.text));
}

enum gd_exit gd_capture_run(const struct gd_capture_options *options,
                            struct gd_capture_result *ret, struct gd_error *err)
{
	*ret = (struct gd_capture_result){ .snapshot.pid = options->pid };
	struct gd_capture_state c = {
		.options = options,
		.snapshot = &ret->snapshot,
		.sealed = &ret->sealed,
		.parser = GD_PARSER_ORDER_INIT,
		.packer = GD_PACKER_ORDER_INIT,
		.output = GD_OUTPUT_INIT,
		.plan_json = GD_BUF_INIT(65536),
		.frozen = GD_FREEZER_RESULT_INIT,
		.debug_port = GD_DEBUG_PORT_INIT,
	};
	struct gd_sm sm = {
		.name = "capture",
		.states = states,
		.n_states = sizeof(states) / sizeof(*states),
		.owner = &c,
		.invariant = invariant,
	};
	if (fill_start(&ret->snapshot, options) < 0) {
		(void)gd_fail_errno(err, -ENOMEM, "capture");
		return GD_EXIT_SPACE;
	}
	note_gaps(&c);
	gd_sm_start(&sm);
	while (!gd_sm_is_final(&sm)) {
		/* collecting stamps one step per collector, freeze its own; seal cannot write its end */
		bool stamped = sm.state < START_WINDOW || sm.state == CHECK_TARGET;
		struct gd_step *step = stamped ? gd_capture_step_begin(&c, "", gd_sm_name(&sm)) : NULL;
		enum state next = work[sm.state](&c);
		if (step != NULL)
			gd_capture_step_end(step, next == FAILED
			                       ? gd_outcome_of(GD_GRADE_FAILED, &c.error)
			                       : GD_OUTCOME_COMPLETE);
		gd_sm_move(&sm, next);
	}
	enum gd_exit exit = exit_of(&c, err);
	gd_debug_port_stop(&c.debug_port);
	gd_packer_order_stop(&c.packer);
	gd_parser_order_stop(&c.parser);
	gd_freezer_result_deinit(&c.frozen);
	gd_ranges_deinit(&c.skip);
	gd_ranges_deinit(&c.left_out);
	gd_ranges_deinit(&c.noscan);
	gd_output_deinit(&c.output);
	gd_buf_deinit(&c.plan_json);
	gd_target_close(c.target);
	return exit;
}

enum gd_exit gd_capture_plan(pid_t pid, const struct gd_capture_freeze *freeze,
                             const char *output_dir, struct gd_freeze_plan *ret,
                             struct gd_error *err)
{
	const struct gd_capture_options options = { .pid = pid };
	struct gd_capture_state c = { .options = &options };
	GD_CLEANUP(gd_output_deinit) struct gd_output output = GD_OUTPUT_INIT;
	int r = gd_target_open_unread(pid, &c.target, err);
	if (r < 0)
		return exit_of_open(r);
	enum gd_exit exit = examine_target(&c);
	const struct gd_freeze_options wish = {
		.max_pause_ns = freeze->max_pause_ns,
		.scope = freeze->thin ? GD_FREEZE_THIN : GD_FREEZE_ALL,
		.secret = freeze->secret,
	};
	struct gd_freezer_result result = GD_FREEZER_RESULT_INIT;
	const struct gd_freezer_options asked = { .target = c.target, .freeze = &wish,
		                                  .output = &output, .plan_only = true };
	if (exit != GD_EXIT_COMPLETE)
		*err = c.error;
	else if (gd_output_create(output_dir, false, &output, err) < 0)
		exit = GD_EXIT_SPACE;
	else if (gd_freezer_run(&asked, &result, err) < 0)
		exit = GD_EXIT_PARTIAL;
	*ret = result.plan;
	gd_target_close(c.target);
	return exit;
}

void gd_capture_result_deinit(struct gd_capture_result *result)
{
	gd_snapshot_deinit(&result->snapshot);
}

int gd_capture_check_states(struct gd_error *err)
{
	return gd_sm_check(states, sizeof(states) / sizeof(*states), err);
}
