#include "base/sm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Our own mistake: say which, and stop before it does harm. */
static void __attribute__((noreturn, cold)) broken(const struct gd_sm *sm, const char *what,
                                                   unsigned to)
{
	(void)fprintf(stderr, "godiag: bug: %s: %s (from %s to %s)\n", sm->name, what,
	              sm->state < sm->n_states ? sm->states[sm->state].name : "?",
	              to < sm->n_states ? sm->states[to].name : "?");
	abort();
}

static void enter(struct gd_sm *sm, unsigned to)
{
	unsigned from = sm->state;
	if (sm->invariant != NULL && !sm->invariant(sm->owner, to))
		broken(sm, "the invariant of the new state does not hold", to);
	sm->state = to;
	if (sm->moved != NULL)
		sm->moved(sm->owner, from, to);
}

void gd_sm_start(struct gd_sm *sm)
{
	struct gd_error err;
	sm->state = 0;
	if (gd_sm_check(sm->states, sm->n_states, &err) < 0)
		broken(sm, err.msg, 0);
	while ((sm->states[sm->state].flags & GD_SM_INITIAL) == 0)
		sm->state++;
	enter(sm, sm->state);
}

bool gd_sm_may(const struct gd_sm *sm, unsigned to)
{
	return to < sm->n_states && (sm->states[sm->state].next & GD_SM_TO(to)) != 0;
}

void gd_sm_move(struct gd_sm *sm, unsigned to)
{
	if (!gd_sm_may(sm, to))
		broken(sm, "the table does not allow this move", to);
	enter(sm, to);
}

bool gd_sm_is_final(const struct gd_sm *sm)
{
	return (sm->states[sm->state].flags & GD_SM_FINAL) != 0;
}

const char *gd_sm_name(const struct gd_sm *sm)
{
	return sm->states[sm->state].name;
}

/* The states one comes to from those in `set`, or (backwards) from which one comes to them. */
static uint32_t closure(const struct gd_sm_state *states, unsigned n, uint32_t set, bool backwards)
{
	uint32_t before;
	do {
		before = set;
		for (unsigned i = 0; i < n; i++) {
			if (backwards && (states[i].next & set) != 0)
				set |= GD_SM_TO(i);
			else if (!backwards && (set & GD_SM_TO(i)) != 0)
				set |= states[i].next;
		}
	} while (set != before);
	return set;
}

static int check_row(const struct gd_sm_state *states, unsigned n, unsigned i,
                     struct gd_error *err)
{
	const struct gd_sm_state *row = &states[i];
	if (row->name == NULL)
		return gd_fail(err, -EINVAL, "state %u has no name", i);
	if (n < GD_SM_STATES_MAX && row->next >> n != 0)
		return gd_fail(err, -EINVAL, "state %s goes to one that is not in the table",
		               row->name);
	if ((row->flags & GD_SM_FINAL) != 0 && row->next != 0)
		return gd_fail(err, -EINVAL, "state %s is final and goes on", row->name);
	return 0;
}

int gd_sm_check(const struct gd_sm_state *states, unsigned n, struct gd_error *err)
{
	uint32_t initial = 0;
	uint32_t final = 0;
	if (n == 0 || n > GD_SM_STATES_MAX)
		return gd_fail(err, -EINVAL, "%u states, 1 to %d are possible", n, GD_SM_STATES_MAX);
	for (unsigned i = 0; i < n; i++) {
		int r = check_row(states, n, i, err);
		if (r < 0)
			return r;
		if ((states[i].flags & GD_SM_INITIAL) != 0)
			initial |= GD_SM_TO(i);
		if ((states[i].flags & GD_SM_FINAL) != 0)
			final |= GD_SM_TO(i);
	}
	if (__builtin_popcount(initial) != 1)
		return gd_fail(err, -EINVAL, "%d initial states, there must be one",
		               __builtin_popcount(initial));
	uint32_t reached = closure(states, n, initial, false);
	uint32_t ending = closure(states, n, final, true);
	for (unsigned i = 0; i < n; i++) {
		if ((reached & GD_SM_TO(i)) == 0)
			return gd_fail(err, -EINVAL, "state %s is never reached", states[i].name);
		if ((ending & GD_SM_TO(i)) == 0)
			return gd_fail(err, -EINVAL, "state %s has no way to a final one",
			               states[i].name);
	}
	return 0;
}
