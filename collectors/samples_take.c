#include "collectors/samples_take.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "collectors/known.h"
#include "collectors/samples_cgo.h"

enum {
	LOOK_MS = 100, /* a goroutine is asked about at most so long after its sample */
	LOOK_SOON_MS = 20, /* when calls of C are looked at, which must last from one look to the next */
	EVERY_MAX = 1 << 16,
	LABELS_KNOWN_MAX = 4096,
};
#define SECOND INT64_C(1000000000)

struct taking {
	struct gd_collect *c;
	struct gd_samples_taken *t;
	struct gd_samples_goroutines *goroutines; /* NULL: not Go */
	struct gd_samples_cgo *cgo;               /* likewise */
	struct gd_samples_switches *switches;     /* NULL: none are sampled */
	struct gd_native_unwind *native;          /* NULL: there is no memory */
	int64_t mapped_ns;                        /* when the maps were read last */
	struct gd_perf_stack stack;               /* of the sample at hand */
	bool left;                                /* a stack ended in C since the last look */
	struct gd_labels labels;
	struct gd_known *label_sets; /* numbers of label sets by g.labels, for a second at most */
	int64_t second_ns;           /* when this one began */
	int64_t cpu_ns;              /* our own, when it started */
	uint64_t switches_in_it, records_in_it;
};

/* ---- one sample ------------------------------------------------------------------------------ */

/* Label sets are immutable, but their memory is used again: what was read is believed for a second. */
static uint32_t label_set_of(struct taking *s, struct gd_samples_profile *profile, uint64_t addr)
{
	const uint64_t key[2] = { addr, profile == s->t->away };
	if (addr == 0)
		return 0;
	const uint64_t *known = gd_known_find(s->label_sets, key, sizeof(key));
	if (known != NULL)
		return (uint32_t)*known;
	uint32_t number = 0;
	if (gd_labels_read(s->c->go->memory, s->c->go->version.minor, addr, &s->labels, NULL) == 0)
		number = gd_samples_profile_label_set(profile, &s->labels);
	uint64_t *slot = gd_known_slot(s->label_sets, key, sizeof(key));
	if (slot != NULL)
		*slot = number;
	return number;
}

/* The number of the sample's stack in the profile, 0: it is not kept. */
static uint32_t number_of(struct taking *s, const struct gd_perf_record *record,
                          struct gd_samples_profile *profile, uint32_t *ret_confidence)
{
	struct gd_samples_goroutine goroutine = { .goid = 0 };
	uint32_t label_set = 0;
	gd_perf_stack_of(s->c->go, s->native, &s->c->target->maps, record, &s->stack);
	if (s->goroutines != NULL) {
		if (s->stack.left_g != 0) {
			uint64_t m = gd_samples_goroutines_m(s->goroutines, record);
			s->left = true;
			s->t->resumed += gd_samples_cgo_resume(s->cgo, record, m, &s->stack);
		}
		gd_samples_goroutines_find(s->goroutines, record, &s->stack, &goroutine);
		label_set = label_set_of(s, profile, goroutine.labels);
		if (goroutine.skipped != 0)
			gd_perf_stack_insert_first(&s->stack, goroutine.skipped);
	}
	const struct gd_samples_labels labels = { .tid = record->tid,
		                                  .confidence = goroutine.confidence,
		                                  .goid = goroutine.goid,
		                                  .label_set = label_set };
	*ret_confidence = goroutine.confidence;
	return gd_samples_profile_number(profile, &s->stack, &labels);
}

static void take_sample(struct taking *s, const struct gd_perf_record *record)
{
	struct gd_samples_taken *t = s->t;
	uint32_t confidence = 0;
	uint32_t number = number_of(s, record, t->cpu, &confidence);
	t->samples++;
	t->by_end[s->stack.end]++;
	t->by_confidence[confidence]++;
	t->spliced += s->stack.spliced;
	t->by_cfi += s->stack.by_cfi;
	t->by_pointer += s->stack.by_pointer;
	for (size_t i = 0; i < s->stack.n; i++)
		t->inferred += s->stack.list[i].inferred;
	if (number == 0) {
		t->overflown++;
		return;
	}
	gd_samples_profile_count(t->cpu, number, 0, 1, 0);
	gd_samples_timeline_sample(t->timeline, record->time_ns, record->cpu, number);
}

static void take_switch(struct taking *s, const struct gd_perf_record *record)
{
	uint32_t confidence = 0;
	uint32_t number = number_of(s, record, s->t->away, &confidence);
	s->t->switches++;
	s->switches_in_it++;
	gd_samples_switches_sampled(s->switches, record->tid, record->time_ns, number,
	                            s->t->every > 0 ? s->t->every : 1);
}

/* ---- records --------------------------------------------------------------------------------- */

static void take_record_of_switches(struct taking *s, const struct gd_perf_record *record)
{
	bool ours = record->pid == (uint32_t)s->c->target->pid;
	if (record->kind == GD_PERF_LOST)
		s->t->switches_lost += record->lost;
	if (record->kind == GD_PERF_SWITCH) {
		s->t->switch_records++;
		s->records_in_it++;
	}
	if (record->kind == GD_PERF_WAKEUP) {
		/* The fields are the waker's, who may be anybody. */
		s->t->wakeups++;
		s->records_in_it++;
		gd_samples_switches_woken(s->switches, record->woken, record->time_ns);
	}
	if (!ours || (s->t->exec_ns != 0 && record->time_ns >= s->t->exec_ns))
		return;
	if (record->kind == GD_PERF_SAMPLE)
		take_switch(s, record);
	else if (record->kind == GD_PERF_SWITCH)
		gd_samples_switches_switched(s->switches, record->tid, record->time_ns,
		                             record->out, record->preempted);
}

static void take_record(void *arg, const struct gd_perf_record *record, bool of_switches)
{
	struct taking *s = arg;
	struct gd_samples_taken *t = s->t;
	bool ours = record->pid == (uint32_t)s->c->target->pid;
	if (of_switches) {
		take_record_of_switches(s, record);
		return;
	}
	switch (record->kind) {
	case GD_PERF_SAMPLE:
		if (!ours)
			t->foreign++;
		else if (t->exec_ns == 0 || record->time_ns < t->exec_ns)
			take_sample(s, record);
		break;
	case GD_PERF_LOST:
		t->lost += record->lost;
		break;
	case GD_PERF_EXEC:
		if (ours && t->exec_ns == 0)
			t->exec_ns = record->time_ns;
		break;
	case GD_PERF_THROTTLE:
		t->throttled++;
		break;
	case GD_PERF_SWITCH:
	case GD_PERF_WAKEUP:
	case GD_PERF_OTHER:
		break;
	}
}

/* ---- the window ------------------------------------------------------------------------------ */

static void was_away(void *arg, uint32_t tid, uint32_t stack, enum gd_switch_state state,
                     uint64_t weight, int64_t since_ns, int64_t ns)
{
	struct taking *s = arg;
	(void)tid;
	if (stack == 0)
		return;
	/* One switch, of which two states may tell. */
	gd_samples_profile_count(s->t->away, stack, state, state == GD_SWITCH_RUNNABLE ? 0 : weight,
	                         (int64_t)weight * ns);
	gd_samples_timeline_away(s->t->timeline, since_ns, stack, state, weight, ns);
}

/* Neither we nor the target are to be busy with switches. */
static void keep_pace(struct taking *s, int64_t now_ns)
{
	struct gd_samples_taken *t = s->t;
	int64_t took_ns = now_ns - s->second_ns;
	bool many = s->switches_in_it > GD_SAMPLES_SWITCHES_PER_S;
	bool records = s->records_in_it > GD_SAMPLES_SWITCH_RECORDS_PER_S;
	if (records && t->given_up_ns == 0) {
		t->every = 0;
		t->given_up_ns = now_ns;
		gd_perf_sampler_thin_out(s->t->sampler, 0);
	} else if (many && t->every > 0 && t->every < EVERY_MAX) {
		/* As far as it takes at this rate. */
		uint64_t rate = s->switches_in_it * (uint64_t)SECOND /
		                (uint64_t)(took_ns > 0 ? took_ns : 1);
		while (rate > GD_SAMPLES_SWITCHES_PER_S && t->every < EVERY_MAX) {
			t->every *= 2;
			rate /= 2;
		}
		gd_perf_sampler_thin_out(s->t->sampler, t->every);
	}
	if (took_ns < SECOND && !many && !records)
		return;
	s->second_ns = now_ns;
	s->switches_in_it = s->records_in_it = 0;
	gd_known_clear(s->label_sets);
}

/* A library has been loaded since: it is unwound from here on. */
static void follow_maps(struct taking *s, int64_t now_ns)
{
	if (s->native == NULL || now_ns - s->mapped_ns < SECOND ||
	    gd_native_unwind_unmapped(s->native) == 0)
		return;
	s->mapped_ns = now_ns;
	if (gd_target_refresh_maps(s->c->target, NULL) == 0)
		gd_native_unwind_forget(s->native);
}

static void drain(struct taking *s)
{
	int64_t now_ns = gd_clock_monotonic_ns();
	s->left = false;
	follow_maps(s, now_ns);
	s->t->senseless += gd_perf_sampler_drain(s->t->sampler, take_record, s);
	/* Whatever was written before we began to read has been read. */
	if (s->switches != NULL)
		gd_samples_switches_settle(s->switches, now_ns, was_away, s);
	keep_pace(s, now_ns);
}

static bool is_over(const struct taking *s)
{
	const struct gd_collect_window *w = &s->c->window;
	if (gd_collect_cancelled(s->c))
		return true;
	if (w->over != NULL)
		return *w->over != 0;
	return gd_clock_monotonic_ns() - s->t->started.monotonic_ns >= w->duration_ns;
}

/* The end of the window is looked for when it is due. */
static int until_next_look(const struct taking *s)
{
	const int look_ms = s->left ? LOOK_SOON_MS : LOOK_MS;
	int64_t left_ns = s->c->window.duration_ns -
	                  (gd_clock_monotonic_ns() - s->t->started.monotonic_ns);
	return left_ns > 0 && left_ns < look_ms * INT64_C(1000000) ? (int)(left_ns / 1000000) + 1
	                                                           : look_ms;
}

/* The kernel tells of losses with the next record; of the last ones there is none. */
static void count_lost(struct gd_samples_taken *t)
{
	uint64_t lost = gd_perf_sampler_lost(t->sampler, false);
	uint64_t switches_lost = gd_perf_sampler_lost(t->sampler, true);
	if (lost > t->lost)
		t->lost = lost;
	if (switches_lost > t->switches_lost)
		t->switches_lost = switches_lost;
}

static void run(struct taking *s)
{
	struct gd_samples_taken *t = s->t;
	if (s->c->window.begun != NULL)
		s->c->window.begun(s->c->window.begun_arg);
	while (!is_over(s)) {
		gd_perf_sampler_wait(t->sampler, until_next_look(s));
		drain(s);
	}
	gd_perf_sampler_stop(t->sampler);
	t->ended = gd_clock_now();
	drain(s);
	count_lost(t);
	if (s->switches != NULL)
		gd_samples_switches_end(s->switches,
		                        t->given_up_ns != 0 ? t->given_up_ns
		                                            : t->ended.monotonic_ns,
		                        was_away, s);
	t->cpu_ns = gd_clock_cpu_ns() - s->cpu_ns;
	t->rows = s->native != NULL ? gd_native_unwind_rows(s->native) : 0;
}

static int start(struct taking *s, struct gd_error *err)
{
	struct gd_samples_taken *t = s->t;
	s->cpu_ns = gd_clock_cpu_ns();
	t->started = gd_clock_now();
	t->every = 1;
	s->second_ns = t->started.monotonic_ns;
	s->mapped_ns = t->started.monotonic_ns;
	gd_perf_sampler_start(t->sampler);
	if (gd_perf_sampler_about(t->sampler)->no_switches.code != 0)
		return 0;
	int r = gd_samples_profile_create(&t->away, err);
	return r < 0 ? r : gd_samples_switches_create(&s->switches, err);
}

static int open_native(struct taking *s, struct gd_error *err)
{
	struct gd_target *target = s->c->target;
	char exe[4096];
	int r = gd_native_unwind_create(target->memory, &target->maps, &s->native, err);
	if (r < 0 || target->fds.exe_fd < 0 ||
	    gd_target_read_link(target, "exe", exe, sizeof(exe), NULL) <= 0)
		return r;
	return gd_native_unwind_set_program(s->native, target->fds.exe_fd, exe, err);
}

int gd_samples_take(struct gd_collect *c, struct gd_samples_taken *ret, struct gd_error *err)
{
	const struct gd_perf_sampler_options options = {
		.frequency_hz = c->window.frequency_hz,
		.stack_bytes = GD_SAMPLES_STACK_BYTES,
		.switch_stack_bytes = c->go != NULL ? GD_SAMPLES_SWITCH_STACK_BYTES
		                                    : GD_SAMPLES_SWITCH_STACK_NATIVE_BYTES,
		.syscalls = c->window.syscalls,
	};
	*ret = (struct gd_samples_taken){ .samples = 0 };
	GD_FREE struct taking *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "samples");
	s->c = c;
	s->t = ret;
	s->labels = GD_LABELS_INIT;
	int r = gd_perf_sampler_open(c->target, &options, &ret->sampler, err);
	if (r == 0)
		r = gd_samples_profile_create(&ret->cpu, err);
	if (r == 0)
		r = gd_samples_timeline_create(&ret->timeline, err);
	if (r == 0)
		r = gd_known_create(LABELS_KNOWN_MAX, LABELS_KNOWN_MAX * 16, &s->label_sets, err);
	if (r == 0 && c->go != NULL)
		r = gd_samples_goroutines_create(c->go, c->target, &s->goroutines, err);
	if (r == 0 && c->go != NULL)
		r = gd_samples_cgo_create(c->go, &s->cgo, err);
	if (r == 0 && c->target->memory != NULL)
		r = open_native(s, err);
	if (r == 0)
		r = start(s, err);
	if (r == 0)
		run(s);
	gd_native_unwind_destroy(s->native);
	gd_samples_cgo_destroy(s->cgo);
	gd_samples_goroutines_destroy(s->goroutines);
	gd_samples_switches_destroy(s->switches);
	gd_known_destroy(s->label_sets);
	gd_labels_deinit(&s->labels);
	return r;
}

void gd_samples_taken_deinit(struct gd_samples_taken *taken)
{
	gd_perf_sampler_close(taken->sampler);
	gd_samples_profile_destroy(taken->cpu);
	gd_samples_profile_destroy(taken->away);
	gd_samples_timeline_destroy(taken->timeline);
}
