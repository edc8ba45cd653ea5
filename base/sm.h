#pragma once
/*
 * Declared state machines: which states there are and where one may go from each stands in a table,
 * not between the lines of the code that does the work.  A move the table does not allow, or one that
 * leaves the owner in a shape its state forbids, is a mistake of ours and ends the process with a
 * sentence, like a failed assert; it is never the way to report what the world did.
 *
 *	enum { IDLE, RUNNING, DONE };
 *	static const struct gd_sm_state states[] = {
 *		[IDLE]    = { "idle",    GD_SM_TO(RUNNING), GD_SM_INITIAL },
 *		[RUNNING] = { "running", GD_SM_TO(RUNNING) | GD_SM_TO(DONE), 0 },
 *		[DONE]    = { "done",    0, GD_SM_FINAL },
 *	};
 *
 * The table is constant and may be shared; a machine belongs to its owner and to one thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* States are small numbers; this is the bit of one in `next`. */
#define GD_SM_TO(state) (UINT32_C(1) << (state))
#define GD_SM_STATES_MAX 32

enum gd_sm_flag {
	GD_SM_INITIAL = 1, /* exactly one has it */
	GD_SM_FINAL = 2,   /* nothing follows */
};

struct gd_sm_state {
	const char *name;
	uint32_t next;  /* GD_SM_TO() of each state that may follow, possibly itself */
	unsigned flags; /* enum gd_sm_flag */
};

struct gd_sm {
	const char *name; /* of the machine, for the sentence */
	const struct gd_sm_state *states;
	unsigned n_states;
	unsigned state; /* read it freely, change it with gd_sm_move */
	void *owner;
	/* What must be true of the owner whenever it is in `state`; NULL: nothing. */
	bool (*invariant)(const void *owner, unsigned state);
	/* Called after each move, and once by gd_sm_start with from == to; may be NULL. */
	void (*moved)(void *owner, unsigned from, unsigned to);
};

/*
 * Enters the initial state.  All fields but `state` have been set; the table must pass
 * gd_sm_check.
 */
void gd_sm_start(struct gd_sm *sm);

/* Goes to `to`, checks the invariant there, tells `moved`. */
void gd_sm_move(struct gd_sm *sm, unsigned to);

/* Whether the table lets it go to `to` from where it is. */
bool gd_sm_may(const struct gd_sm *sm, unsigned to);

bool gd_sm_is_final(const struct gd_sm *sm);

/* Name of the state it is in. */
const char *gd_sm_name(const struct gd_sm *sm);

/*
 * Whether the table makes sense: one initial state, every state named, reachable, and either final
 * with nothing after it or with a way to a final one.  -EINVAL names the state at fault.
 */
int gd_sm_check(const struct gd_sm_state *states, unsigned n, struct gd_error *err);
