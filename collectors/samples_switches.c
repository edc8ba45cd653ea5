#include "collectors/samples_switches.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collectors/known.h"

enum kind { SAMPLED, OUT, OUT_PREEMPTED, WOKEN, IN };

struct event {
	int64_t time_ns;
	uint64_t order; /* of arrival: the kernel's order where the times are equal */
	uint64_t weight;
	uint32_t tid, stack;
	enum kind kind;
};

struct thread {
	int64_t since_ns;
	int64_t woken_ns; /* 0: not yet, or nobody says */
	uint64_t weight; /* 0: it is on a CPU, or nobody knows since when it is not */
	uint32_t tid, stack;
	enum gd_switch_state state;
};

struct gd_samples_switches {
	struct event *events;
	size_t n_events, events_cap;
	uint64_t order, dropped;
	struct gd_known *tids; /* index + 1 of a thread */
	struct thread *threads;
	size_t n_threads, threads_cap;
};

const char *gd_switch_state_name(uint32_t state)
{
	static const char *const names[GD_SWITCH_STATES] = {
		[GD_SWITCH_BLOCKED] = "blocked",
		[GD_SWITCH_PREEMPTED] = "preempted",
		[GD_SWITCH_RUNNABLE] = "runnable",
	};
	return state < GD_SWITCH_STATES ? names[state] : "?";
}

int gd_samples_switches_create(struct gd_samples_switches **ret, struct gd_error *err)
{
	struct gd_samples_switches *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "switches");
	int r = gd_known_create(GD_SWITCHES_THREADS_MAX,
	                        GD_SWITCHES_THREADS_MAX * sizeof(uint32_t), &s->tids, err);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void gd_samples_switches_destroy(struct gd_samples_switches *s)
{
	if (s == NULL)
		return;
	gd_known_destroy(s->tids);
	free(s->events);
	free(s->threads);
	free(s);
}

/* ---- as they come ---------------------------------------------------------------------------- */

static void add(struct gd_samples_switches *s, const struct event *event)
{
	if (s->n_events == s->events_cap) {
		size_t cap = s->events_cap > 0 ? 2 * s->events_cap : 1024;
		struct event *events = cap <= GD_SWITCHES_MAX ?
			reallocarray(s->events, cap, sizeof(*events)) : NULL;
		if (events == NULL) {
			s->dropped++;
			return;
		}
		s->events = events;
		s->events_cap = cap;
	}
	s->events[s->n_events] = *event;
	s->events[s->n_events++].order = s->order++;
}

void gd_samples_switches_sampled(struct gd_samples_switches *s, uint32_t tid, int64_t time_ns,
                                 uint32_t stack, uint64_t weight)
{
	const struct event event = { .time_ns = time_ns, .tid = tid, .stack = stack,
		                     .weight = weight, .kind = SAMPLED };
	add(s, &event);
}

void gd_samples_switches_switched(struct gd_samples_switches *s, uint32_t tid, int64_t time_ns,
                                  bool out, bool preempted)
{
	const struct event event = { .time_ns = time_ns, .tid = tid,
		                     .kind = !out ? IN : preempted ? OUT_PREEMPTED : OUT };
	add(s, &event);
}

void gd_samples_switches_woken(struct gd_samples_switches *s, uint32_t tid, int64_t time_ns)
{
	const struct event event = { .time_ns = time_ns, .tid = tid, .kind = WOKEN };
	add(s, &event);
}

/* ---- in order -------------------------------------------------------------------------------- */

static struct thread *thread_of(struct gd_samples_switches *s, uint32_t tid, bool make)
{
	uint64_t *known = gd_known_find(s->tids, &tid, sizeof(tid));
	if (known != NULL)
		return &s->threads[*known - 1];
	if (!make)
		return NULL;
	if (s->n_threads == s->threads_cap) {
		size_t cap = s->threads_cap > 0 ? 2 * s->threads_cap : 256;
		struct thread *threads = cap <= GD_SWITCHES_THREADS_MAX ?
			reallocarray(s->threads, cap, sizeof(*threads)) : NULL;
		if (threads == NULL)
			return NULL;
		s->threads = threads;
		s->threads_cap = cap;
	}
	known = gd_known_slot(s->tids, &tid, sizeof(tid));
	if (known == NULL)
		return NULL;
	s->threads[s->n_threads] = (struct thread){ .tid = tid };
	*known = ++s->n_threads;
	return &s->threads[s->n_threads - 1];
}

static void came_back(struct thread *t, int64_t time_ns, gd_samples_switches_fn *each, void *arg)
{
	bool woken = t->state == GD_SWITCH_BLOCKED && t->woken_ns != 0 && t->woken_ns < time_ns;
	int64_t until_ns = woken ? t->woken_ns : time_ns;
	if (t->weight > 0 && (until_ns > t->since_ns || woken))
		each(arg, t->tid, t->stack, t->state, t->weight, t->since_ns, until_ns - t->since_ns);
	if (t->weight > 0 && woken)
		each(arg, t->tid, t->stack, GD_SWITCH_RUNNABLE, t->weight, t->woken_ns,
		     time_ns - t->woken_ns);
	t->weight = 0;
}

static void tell(struct gd_samples_switches *s, const struct event *e, gd_samples_switches_fn *each,
                 void *arg)
{
	struct thread *t = thread_of(s, e->tid, e->kind == SAMPLED);
	if (t == NULL) {
		s->dropped += e->kind == SAMPLED;
		return;
	}
	switch (e->kind) {
	case SAMPLED:
		/* Its coming back was lost, when it is away already: then nobody knows how long. */
		t->since_ns = e->time_ns;
		t->stack = e->stack;
		t->weight = e->weight;
		t->woken_ns = 0;
		t->state = GD_SWITCH_BLOCKED;
		break;
	case OUT_PREEMPTED:
		t->state = GD_SWITCH_PREEMPTED;
		break;
	case OUT:
		break;
	case WOKEN:
		/* Once is enough: who is runnable may be told so again. */
		if (t->weight > 0 && t->woken_ns == 0 && e->time_ns >= t->since_ns)
			t->woken_ns = e->time_ns;
		break;
	case IN:
		came_back(t, e->time_ns, each, arg);
		break;
	}
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a;
	const struct event *y = b;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

void gd_samples_switches_settle(struct gd_samples_switches *s, int64_t until_ns,
                                gd_samples_switches_fn *each, void *arg)
{
	size_t n = 0;
	if (s->n_events == 0)
		return;
	qsort(s->events, s->n_events, sizeof(s->events[0]), by_time);
	for (; n < s->n_events && s->events[n].time_ns < until_ns; n++)
		tell(s, &s->events[n], each, arg);
	memmove(s->events, s->events + n, (s->n_events - n) * sizeof(s->events[0]));
	s->n_events -= n;
}

void gd_samples_switches_end(struct gd_samples_switches *s, int64_t end_ns,
                             gd_samples_switches_fn *each, void *arg)
{
	gd_samples_switches_settle(s, INT64_MAX, each, arg);
	for (size_t i = 0; i < s->n_threads; i++)
		came_back(&s->threads[i], end_ns, each, arg);
}

uint64_t gd_samples_switches_dropped(const struct gd_samples_switches *s)
{
	return s->dropped;
}
