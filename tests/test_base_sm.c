#include "base/sm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "tests/test.h"

enum { IDLE, RUNNING, SEALED, FAILED, N_STATES };

static const struct gd_sm_state states[N_STATES] = {
	[IDLE] = { "idle", GD_SM_TO(RUNNING) | GD_SM_TO(FAILED), GD_SM_INITIAL },
	[RUNNING] = { "running", GD_SM_TO(RUNNING) | GD_SM_TO(SEALED) | GD_SM_TO(FAILED), 0 },
	[SEALED] = { "sealed", 0, GD_SM_FINAL },
	[FAILED] = { "failed", 0, GD_SM_FINAL },
};

struct owner {
	struct gd_sm sm;
	int fd; /* -1 unless running */
	unsigned n_moves;
	unsigned from[8], to[8];
};

static bool fd_fits_state(const void *arg, unsigned state)
{
	const struct owner *o = arg;
	return (o->fd >= 0) == (state == RUNNING);
}

static void note_move(void *arg, unsigned from, unsigned to)
{
	struct owner *o = arg;
	assert_int_equal(o->sm.state, to);
	o->from[o->n_moves] = from;
	o->to[o->n_moves++] = to;
}

static void begin(struct owner *o)
{
	*o = (struct owner){
		.sm = { .name = "capture", .states = states, .n_states = N_STATES, .owner = o,
		        .invariant = fd_fits_state, .moved = note_move },
		.fd = -1,
	};
	gd_sm_start(&o->sm);
}

static void every_move_is_reported_in_order(void **state)
{
	(void)state;
	struct owner o;
	begin(&o);
	assert_string_equal(gd_sm_name(&o.sm), "idle");
	o.fd = 3;
	gd_sm_move(&o.sm, RUNNING);
	gd_sm_move(&o.sm, RUNNING);
	assert_false(gd_sm_is_final(&o.sm));
	o.fd = -1;
	gd_sm_move(&o.sm, SEALED);
	assert_true(gd_sm_is_final(&o.sm));

	static const unsigned from[] = { IDLE, IDLE, RUNNING, RUNNING };
	static const unsigned to[] = { IDLE, RUNNING, RUNNING, SEALED };
	assert_int_equal(o.n_moves, 4);
	assert_memory_equal(o.from, from, sizeof(from));
	assert_memory_equal(o.to, to, sizeof(to));
}

static void the_table_says_what_may_follow(void **state)
{
	(void)state;
	struct owner o;
	begin(&o);
	assert_true(gd_sm_may(&o.sm, RUNNING));
	assert_true(gd_sm_may(&o.sm, FAILED));
	assert_false(gd_sm_may(&o.sm, IDLE));
	assert_false(gd_sm_may(&o.sm, SEALED));
	assert_false(gd_sm_may(&o.sm, N_STATES));
	assert_false(gd_sm_may(&o.sm, 1000));
}

/* Runs `mistake` in a child and returns what it said on stderr; asserts that it aborted. */
static void dies_saying(void (*mistake)(struct owner *o), const char *sentence)
{
	int out[2];
	if (pipe2(out, O_CLOEXEC) != 0) {
		fail_msg("pipe: %s", strerror(errno));
		return;
	}
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct owner o;
		struct rlimit none = { 0, 0 };
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)dup2(out[1], STDERR_FILENO);
		begin(&o);
		mistake(&o);
		_exit(0);
	}
	(void)close(out[1]);
	GD_BUF struct gd_buf said = GD_BUF_INIT(4096);
	struct gd_error err = { 0 };
	int r = gd_io_read_all(out[0], &said, &err);
	(void)close(out[0]);
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_ok(r, &err);
	assert_contains(gd_buf_str(&said), sentence);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void skip_a_state(struct owner *o)
{
	gd_sm_move(&o->sm, SEALED);
}

static void go_on_after_the_end(struct owner *o)
{
	gd_sm_move(&o->sm, FAILED);
	gd_sm_move(&o->sm, RUNNING);
}

static void forget_the_descriptor(struct owner *o)
{
	gd_sm_move(&o->sm, RUNNING);
}

static void leave_the_table(struct owner *o)
{
	gd_sm_move(&o->sm, N_STATES);
}

static void a_move_outside_the_table_ends_the_process(void **state)
{
	(void)state;
	dies_saying(skip_a_state, "capture: the table does not allow this move (from idle to sealed)");
	dies_saying(go_on_after_the_end, "(from failed to running)");
	dies_saying(leave_the_table, "(from idle to ?)");
}

static void a_broken_invariant_ends_the_process(void **state)
{
	(void)state;
	dies_saying(forget_the_descriptor,
	            "the invariant of the new state does not hold (from idle to running)");
}

static void bad_tables_are_named(void **state)
{
	(void)state;
	static const struct {
		struct gd_sm_state rows[3];
		unsigned n;
		const char *complaint;
	} bad[] = {
		{ { { "a", GD_SM_TO(1), 0 }, { "b", 0, GD_SM_FINAL } }, 2, "0 initial states" },
		{ { { "a", GD_SM_TO(1), GD_SM_INITIAL }, { "b", 0, GD_SM_FINAL | GD_SM_INITIAL } }, 2,
		  "2 initial states" },
		{ { { "a", GD_SM_TO(1), GD_SM_INITIAL }, { NULL, 0, GD_SM_FINAL } }, 2,
		  "state 1 has no name" },
		{ { { "a", GD_SM_TO(1), GD_SM_INITIAL }, { "b", 0, GD_SM_FINAL }, { "c", 0, GD_SM_FINAL } },
		  3, "state c is never reached" },
		{ { { "a", GD_SM_TO(1) | GD_SM_TO(2), GD_SM_INITIAL }, { "b", GD_SM_TO(1), 0 },
		    { "c", 0, GD_SM_FINAL } }, 3, "state b has no way to a final one" },
		{ { { "a", GD_SM_TO(1), GD_SM_INITIAL }, { "b", GD_SM_TO(0), GD_SM_FINAL } }, 2,
		  "state b is final and goes on" },
		{ { { "a", GD_SM_TO(2), GD_SM_INITIAL }, { "b", 0, GD_SM_FINAL } }, 2,
		  "state a goes to one that is not in the table" },
		{ { { "a", 0, GD_SM_INITIAL } }, 0, "0 states" },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct gd_error err = { 0 };
		assert_fails(gd_sm_check(bad[i].rows, bad[i].n, &err), -EINVAL, &err);
		assert_contains(err.msg, bad[i].complaint);
	}
	assert_int_equal(gd_sm_check(states, N_STATES, NULL), 0);
	assert_int_equal(gd_sm_check(states, GD_SM_STATES_MAX + 1, NULL), -EINVAL);
}

static void a_table_may_be_full(void **state)
{
	(void)state;
	struct gd_sm_state rows[GD_SM_STATES_MAX];
	for (unsigned i = 0; i < GD_SM_STATES_MAX; i++)
		rows[i] = (struct gd_sm_state){ "x", i + 1 < GD_SM_STATES_MAX ? GD_SM_TO(i + 1) : 0,
			                        i == 0 ? GD_SM_INITIAL : 0 };
	rows[GD_SM_STATES_MAX - 1].flags = GD_SM_FINAL;
	assert_int_equal(gd_sm_check(rows, GD_SM_STATES_MAX, NULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_move_is_reported_in_order),
		test_case(the_table_says_what_may_follow),
		test_case(a_move_outside_the_table_ends_the_process),
		test_case(a_broken_invariant_ends_the_process),
		test_case(bad_tables_are_named),
		test_case(a_table_may_be_full),
	};
	return test_run(tests);
}
