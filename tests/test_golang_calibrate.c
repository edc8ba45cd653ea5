/*
 * The truth is the table: a victim's own row must be confirmed, and from the row of another release
 * calibration must arrive at it.
 */
#include "golang/calibrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/go_target.h"

struct prepared {
	struct gd_layout row;
	struct gd_globals globals;
	pid_t *tids;
	size_t n_tids;
	struct gd_calibrate_input input;
};

static void prepare(struct go_target *go, const struct gd_layout *layout, struct prepared *ret)
{
	struct gd_error err = { 0 };

	memset(ret, 0, sizeof(*ret));
	go_assert_ok(go, gd_layout_of(&go->version, &ret->row, &err), &err);
	gd_globals_by_operands(&go->modules, go->target->memory, layout != NULL ? layout : &ret->row,
	                       &ret->globals);
	go_assert_ok(go, gd_target_threads(go->target, &ret->tids, &ret->n_tids, &err), &err);
	ret->input = (struct gd_calibrate_input){
		.memory = go->target->memory,
		.modules = &go->modules,
		.globals = &ret->globals,
		.tids = ret->tids,
		.n_tids = ret->n_tids,
	};
}

static struct gd_calibration calibrate(struct go_target *go, const struct prepared *prepared,
                                       struct gd_layout *layout)
{
	struct gd_calibration result;
	struct gd_error err = { 0 };

	go_assert_ok(go, gd_calibrate(&prepared->input, layout, &result, &err), &err);
	return result;
}

static void check_confirmed(struct go_target *go, unsigned rounds, unsigned proven)
{
	unsigned most = 0;

	for (unsigned i = 0; i < rounds; i++) {
		struct prepared prepared;
		prepare(go, NULL, &prepared);
		struct gd_layout layout = prepared.row;
		struct gd_calibration result = calibrate(go, &prepared, &layout);
		free(prepared.tids);
		if (result.moved != 0)
			go_target_fail(go, "round %u: its own row is said to be wrong: %s", i,
			               result.what);
		assert_memory_equal(&layout, &prepared.row, sizeof(layout));
		assert_true(result.goroutines > 5);
		assert_true(result.threads > 1);
		if (result.proven < proven)
			go_target_fail(go, "only %u fields proved themselves", result.proven);
		most = result.proven > most ? result.proven : most;
	}
	print_message("#   %u fields proved themselves\n", most);
}

/* status, stktopsp, startpc, alllink, procid, id */
static void check_states(struct go_target *go)
{
	check_confirmed(go, 3, 6);
}

static void the_row_of_its_own_release_is_confirmed(void **state)
{
	(void)state;
	go_target_each("states", check_states);
}

/* Threads come and go: at times the list is too torn for ids and p. */
static void check_churn(struct go_target *go)
{
	check_confirmed(go, 60, 4);
}

static void a_program_that_never_rests_does_not_move_its_row(void **state)
{
	(void)state;
	go_target_each("churn", check_churn);
}

/*
 * Field by field, but sizes, which nothing reads, what the row did not have, and what `skip` names.
 * Of m only up to the list of threads: behind it nothing proves itself.
 */
static void check_fields(const struct go_target *go, const struct gd_layout *from,
                         const struct gd_layout *is, const struct gd_layout *want,
                         const char *type, const char *skip)
{
#define CHECK(member, struct_name, path)                                                           \
	if (strcmp(struct_name, type) == 0 && path[0] != '\0' &&                                   \
	    from->member != GD_ABSENT && strstr(skip, " " #member " ") == NULL &&                  \
	    (strcmp(type, "m") != 0 || want->member <= want->m_alllink) &&                         \
	    is->member != want->member)                                                            \
		go_target_fail(go, #member " is at %d, calibrated from %d to %d", want->member,    \
		               from->member, is->member);
	GD_LAYOUT_FIELDS(CHECK)
#undef CHECK
}

/*
 * As if the release had no row and the newest known were `from`.  From 1.23 on all of g comes out
 * right; before it syscalls noted one word less.
 */
static void check_from(struct go_target *go, int minor, int patch)
{
	struct gd_go_version version = { .minor = minor, .patch = patch };
	struct gd_layout from, layout;
	struct prepared prepared;
	struct gd_error err = { 0 };

	go_assert_ok(go, gd_layout_of(&version, &from, &err), &err);
	layout = from;
	prepare(go, &from, &prepared);
	(void)calibrate(go, &prepared, &layout);
	free(prepared.tids);
	check_fields(go, &from, &layout, &prepared.row, "g", minor >= 23 ? " " :
	             " g_sched_bp g_syscallsp g_syscallpc g_lockedm g_parent_goid g_tracking_seq ");
	check_fields(go, &from, &layout, &prepared.row, "m", " ");
}

static void check_unknown(struct go_target *go)
{
	static const struct { int minor, patch; } known[] = {
		{ 18, 0 },  { 19, 13 }, { 20, 14 }, { 21, 13 }, { 22, 12 }, { 23, 0 },
		{ 23, 12 }, { 24, 5 },  { 24, 13 }, { 25, 14 }, { 26, 11 }, { 27, 4 },
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].minor <= go->version.minor)
			check_from(go, known[i].minor, known[i].patch);
}

static void a_release_without_a_row_is_calibrated_from_an_older_one(void **state)
{
	(void)state;
	go_target_each("states", check_unknown);
}

/* The ring of pauses is the one thing that proves itself among the memory statistics. */
static void check_ring(struct go_target *go)
{
	struct prepared prepared;
	prepare(go, NULL, &prepared);
	struct gd_layout layout = prepared.row;
#define LATE(member, struct_name, path)                                                            \
	if (strcmp(struct_name, "mstats") == 0 && layout.member >= prepared.row.mstats_last_gc_unix) \
		layout.member += 24;
	GD_LAYOUT_FIELDS(LATE)
#undef LATE
	struct gd_calibration result = calibrate(go, &prepared, &layout);
	free(prepared.tids);
	assert_int_equal(result.moved, 1);
	assert_int_equal(layout.mstats_last_gc_unix, prepared.row.mstats_last_gc_unix);
	assert_int_equal(layout.mstats_pause_end, prepared.row.mstats_pause_end);
	assert_int_equal(layout.mstats_numgc, prepared.row.mstats_numgc);
	assert_int_equal(layout.mstats_gc_cpu_fraction, prepared.row.mstats_gc_cpu_fraction);
	assert_non_null(strstr(result.what, "mstats.last_gc_unix"));
}

static void the_ring_of_pauses_is_found_where_it_is(void **state)
{
	(void)state;
	go_target_each("quiet", check_ring);
}

/* In a container the runtime knows its threads by other numbers than we do. */
static void check_namespace(struct go_target *go)
{
	static const pid_t others[] = { 1, 3, 7, 4000001 };
	struct prepared prepared;

	prepare(go, NULL, &prepared);
	prepared.input.tids = others;
	prepared.input.n_tids = sizeof(others) / sizeof(others[0]);
	struct gd_layout layout = prepared.row;
	struct gd_calibration result = calibrate(go, &prepared, &layout);
	assert_int_equal(result.moved, 0);
	assert_memory_equal(&layout, &prepared.row, sizeof(layout));

	prepared.input.n_tids = 0;
	result = calibrate(go, &prepared, &layout);
	assert_int_equal(result.moved, 0);
	assert_memory_equal(&layout, &prepared.row, sizeof(layout));
	free(prepared.tids);
}

static void thread_ids_of_another_namespace_move_nothing(void **state)
{
	(void)state;
	go_target_each("quiet", check_namespace);
}

static void check_nonsense(struct go_target *go)
{
	struct prepared prepared;
	struct gd_error err = { 0 };

	prepare(go, NULL, &prepared);
	prepared.globals.allgs = prepared.globals.allp;
	struct gd_layout layout = prepared.row;
	struct gd_calibration result = { .proven = 77 };
	assert_fails(gd_calibrate(&prepared.input, &layout, &result, &err), -EBADMSG, &err);
	assert_int_equal(result.proven, 77);
	assert_memory_equal(&layout, &prepared.row, sizeof(layout));
	free(prepared.tids);
}

static void a_list_that_holds_no_goroutines_is_refused(void **state)
{
	(void)state;
	go_target_each("quiet", check_nonsense);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_row_of_its_own_release_is_confirmed),
		test_case(a_program_that_never_rests_does_not_move_its_row),
		test_case(a_release_without_a_row_is_calibrated_from_an_older_one),
		test_case(the_ring_of_pauses_is_found_where_it_is),
		test_case(thread_ids_of_another_namespace_move_nothing),
		test_case(a_list_that_holds_no_goroutines_is_refused),
	};
	return test_run(tests);
}
