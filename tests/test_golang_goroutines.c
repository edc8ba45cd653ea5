/*
 * The walk over victims whose goroutines are known, at rest and in motion.  That every frame and
 * argument is right is the business of truth_goroutines.c.
 */
#include "golang/goroutines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>

#include "base/clock.h"
#include "golang/traceback.h"
#include "tests/go_target.h"

enum { GOIDS_MAX = 100000 };

static struct gd_go *open_go(struct go_target *target)
{
	struct gd_error err = { 0 };
	struct gd_go *go = NULL;
	pid_t *tids = NULL;
	size_t n = 0;
	go_assert_ok(target, gd_target_threads(target->target, &tids, &n, &err), &err);
	go_assert_ok(target, gd_go_open(target->target->memory, &target->target->maps, tids, n, &go,
	                                &err), &err);
	free(tids);
	return go;
}

/* What one walk saw. */
struct seen {
	struct go_target *target;
	uint64_t goids[GOIDS_MAX];
	size_t n;
	size_t on_channel, on_lock, system, rooted, labeled;
	int fail_at; /* the callback fails there; 0 never */
};

static struct seen seen;

static bool has_frame(const struct gd_goroutine *g, const char *function)
{
	for (size_t i = 0; i < g->n_frames; i++)
		for (unsigned k = 0; k < g->frames[i].site->n_lines; k++)
			if (strcmp(g->frames[i].site->lines[k].function, function) == 0)
				return true;
	return false;
}

static int look(void *arg, const struct gd_goroutine *g)
{
	struct seen *s = arg;
	assert_true(s->n < GOIDS_MAX);
	s->goids[s->n++] = g->goid;
	if (s->fail_at > 0 && s->n == (size_t)s->fail_at)
		return -ENOSPC;
	s->system += g->system;
	s->on_channel += has_frame(g, "main.waitOnChannel");
	s->on_lock += has_frame(g, "main.waitOnLock");
	s->labeled += g->labels != NULL && g->labels->n > 0;
	if (g->frames_are == GD_FRAMES_EXACT) {
		assert_true(gd_unwind_complete(g->end));
		assert_true(g->n_frames > 0);
		s->rooted += has_frame(g, "runtime.goexit");
		if (g->end == GD_UNWIND_ROOT && g->frames[g->n_frames - 1].site->flag == 0)
			go_target_fail(s->target, "goroutine %lu ends in %s",
			               (unsigned long)g->goid,
			               g->frames[g->n_frames - 1].site->lines[0].function);
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static size_t duplicates(void)
{
	size_t n = 0;
	qsort(seen.goids, seen.n, sizeof(seen.goids[0]), by_number);
	for (size_t i = 1; i < seen.n; i++)
		n += seen.goids[i] == seen.goids[i - 1];
	return n;
}

static int walk(struct go_target *target, struct gd_go *go, const struct gd_walk_options *options,
                struct gd_walk_stats *stats, struct gd_error *err)
{
	int fail_at = seen.fail_at;
	memset(&seen, 0, sizeof(seen));
	seen.target = target;
	seen.fail_at = fail_at;
	return gd_goroutines_walk(go, options, look, &seen, stats, err);
}

static void check_quiet(struct go_target *target)
{
	struct gd_error err = { 0 };
	struct gd_walk_stats stats;
	struct gd_walk_options options = { .now_ns = gd_clock_monotonic_ns() };
	GD_GO struct gd_go *go = open_go(target);
	/* On a busy machine one of the runtime's own may still be on its way to rest. */
	for (int tries = 0; tries == 0 || (seen.rooted != seen.n && tries < 100); tries++) {
		(void)usleep(tries > 0 ? 20000 : 0);
		go_assert_ok(target, walk(target, go, &options, &stats, &err), &err);
	}
	assert_int_equal(seen.on_channel, 5);
	assert_int_equal(seen.on_lock, 5);
	assert_true(seen.system >= 3);
	assert_int_equal(seen.rooted, seen.n);
	assert_int_equal(duplicates(), 0);
	assert_int_equal(stats.seen, seen.n);
	assert_int_equal(stats.listed, stats.seen + stats.dead);
	assert_int_equal(stats.torn, 0);
	assert_int_equal(stats.incomplete + stats.unreadable + stats.unavailable, 0);
}

static void every_goroutine_at_rest_is_seen_once_down_to_its_root(void **state)
{
	(void)state;
	go_target_each("quiet", check_quiet);
}

/*
 * Who runs changes all the time, stacks move, goroutines are born and die: each must come out whole,
 * or say that it did not.
 */
static void check_churn(struct go_target *target)
{
	struct gd_error err = { 0 };
	struct gd_walk_stats stats = { 0 };
	size_t total = 0, bad = 0;
	GD_GO struct gd_go *go = open_go(target);
	for (int i = 0; i < 10; i++) {
		struct gd_walk_options options = { .now_ns = gd_clock_monotonic_ns() };
		go_assert_ok(target, walk(target, go, &options, &stats, &err), &err);
		if (seen.n < 200)
			go_target_fail(target, "%zu goroutines, there are at least 200", seen.n);
		if (seen.labeled < 150)
			go_target_fail(target, "%zu goroutines with labels, there are 200",
			               seen.labeled);
		assert_int_equal(duplicates(), 0);
		total += seen.n;
		bad += stats.incomplete + stats.unreadable;
	}
	if (bad * 50 > total)
		go_target_fail(target, "%zu of %zu goroutines were not read whole", bad, total);
}

static void goroutines_in_motion_are_read_again_until_whole(void **state)
{
	(void)state;
	go_target_each("churn", check_churn);
}

static void check_refusals(struct go_target *target)
{
	struct gd_error err = { 0 };
	struct gd_walk_stats stats;
	struct gd_walk_options options = { 0 };
	GD_GO struct gd_go *go = open_go(target);
	seen.fail_at = 3;
	assert_int_equal(walk(target, go, &options, &stats, &err), -ENOSPC);
	assert_int_equal(seen.n, 3);
	seen.fail_at = 0;

	volatile sig_atomic_t cancelled = 1;
	options.cancelled = &cancelled;
	go_assert_ok(target, walk(target, go, &options, &stats, &err), &err);
	assert_true(stats.cancelled);
	assert_int_equal(seen.n, 0);
	options.cancelled = NULL;

	uint64_t allgs = go->globals.allgs;
	go->globals.allgs = 0;
	assert_fails(walk(target, go, &options, &stats, &err), -ENOTSUP, &err);
	go->globals.allgs = 8;
	assert_fails(walk(target, go, &options, &stats, &err), -EFAULT, &err);
	go->globals.allgs = allgs - 8; /* {?, array, length}: no length */
	assert_fails(walk(target, go, &options, &stats, &err), -EBADMSG, &err);
	go->globals.allgs = allgs;

	victim_stop(target->victim);
	target->victim = NULL;
	assert_true(walk(target, go, &options, &stats, &err) < 0);
	assert_true(err.code < 0);
}

static void errors_and_ctrl_c_end_the_walk(void **state)
{
	(void)state;
	go_target_each("quiet", check_refusals);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_goroutine_at_rest_is_seen_once_down_to_its_root),
		test_case(goroutines_in_motion_are_read_again_until_whole),
		test_case(errors_and_ctrl_c_end_the_walk),
	};
	return test_run(tests);
}
