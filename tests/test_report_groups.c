#include "tests/test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "report/groups.h"
#include "report/places.h"

#define FRAME(function, file, line)                                                                \
	"{\"function\":\"" function "\",\"file\":\"" file "\",\"line\":" #line ",\"pc\":\"0x1\"}"

static const char lines[] =
	"{\"stack\":1,\"frames\":[" FRAME("runtime.gopark", "/go/src/runtime/proc.go", 4) ","
		FRAME("sync.(*Mutex).Lock", "/go/src/sync/mutex.go", 46) ","
		FRAME("main.(*Store).Get", "/src/store.go", 23) ","
		FRAME("main.main.gowrap1", "/src/main.go", 9) ","
		FRAME("main.main", "/src/main.go", 9) "]}\n"
	"{\"goid\":7,\"state\":\"waiting\",\"reason\":\"sync.Mutex.Lock\",\"wait_ns\":50,\"stack\":1,"
		"\"created_by\":\"main.main\",\"created_file\":\"/x\",\"labels\":{\"a\":\"b\"}}\n"
	"{\"goid\":8,\"state\":\"waiting\",\"reason\":\"sync.Mutex.Lock\",\"wait_ns\":70,\"stack\":1}\n"
	"{\"goid\":9,\"state\":\"waiting\",\"reason\":\"select\",\"stack\":1}\n"
	"{\"stack\":2,\"frames\":[" FRAME("runtime.bgsweep", "/go/src/runtime/mgcsweep.go", 1) "]}\n"
	"{\"goid\":2,\"state\":\"waiting\",\"reason\":\"GC sweep wait\",\"stack\":2,\"system\":true}\n"
	"{\"goid\":10,\"state\":\"running\",\"stack\":3,\"frames\":\"torn\"}\n"
	"this is no JSON\n"
	"{\"neither\":1}\n"
	"\n"
	"{\"goid\":11,\"state\":\"running\"}";

/* Fed in pieces of `step` bytes. */
static struct gd_groups group(const char *text, size_t n, size_t step)
{
	struct gd_groups groups;
	struct gd_error err = { 0 };
	assert_ok(gd_groups_begin(&groups, &err), &err);
	for (size_t at = 0; at < n; at += step)
		assert_ok(gd_groups_feed(&groups, text + at, n - at < step ? n - at : step, &err),
		          &err);
	assert_ok(gd_groups_end(&groups, &err), &err);
	return groups;
}

static void equal_stacks_in_equal_states_are_one_group(void **state)
{
	(void)state;
	static const size_t steps[] = { 1, 2, 7, 100, 1 << 20 };
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct gd_groups g = group(lines, strlen(lines), steps[i]);
		assert_int_equal(g.total, 5);
		assert_int_equal(g.system, 1);
		assert_int_equal(g.torn, 1);
		assert_int_equal(g.unreadable, 2);
		assert_int_equal(g.ungrouped, 2);
		assert_int_equal(g.n, 3);
		assert_int_equal(g.list[0].count, 2);
		assert_string_equal(g.list[0].state, g.list[0].n_frames > 0 ? "sync.Mutex.Lock"
		                                                            : "running");
		gd_groups_deinit(&g);
	}
}

static void a_group_shows_the_programs_own_frames(void **state)
{
	(void)state;
	struct gd_groups g = group(lines, strlen(lines), 1 << 20);
	const struct gd_group *lock = &g.list[0];
	if (lock->n_frames == 0)
		lock = &g.list[1];
	assert_int_equal(lock->n_frames, 2); /* without the compiler's wrapper */
	assert_string_equal(lock->frames[0].function, "main.(*Store).Get");
	assert_string_equal(lock->frames[0].file, "/src/store.go");
	assert_int_equal(lock->frames[0].line, 23);
	assert_string_equal(lock->frames[1].function, "main.main");
	assert_string_equal(lock->via, "sync.(*Mutex).Lock");
	assert_string_equal(lock->created_by, "main.main");
	assert_int_equal(lock->longest_ns, 70);
	assert_int_equal(lock->goid, 7);
	assert_int_equal(lock->depth, 5);
	assert_true(lock->own && lock->waiting);
	gd_groups_deinit(&g);
}

static void without_own_frames_the_library_is_shown(void **state)
{
	(void)state;
	static const char text[] =
		"{\"stack\":1,\"frames\":[" FRAME("runtime.gopark", "/p.go", 1) ","
			FRAME("internal/poll.runtime_pollWait", "/n.go", 2) ","
			FRAME("net/http.(*persistConn).writeLoop", "/t.go", 3) "]}\n"
		"{\"goid\":1,\"state\":\"waiting\",\"reason\":\"select\",\"stack\":1}\n"
		"{\"stack\":2,\"frames\":[" FRAME("runtime.gopark", "/p.go", 1) "]}\n"
		"{\"goid\":2,\"state\":\"waiting\",\"reason\":\"select\",\"stack\":2}\n";
	struct gd_groups g = group(text, strlen(text), 1 << 20);
	assert_int_equal(g.n, 2);
	assert_string_equal(g.list[0].frames[0].function, "net/http.(*persistConn).writeLoop");
	assert_int_equal(g.list[0].n_frames, 1);
	assert_false(g.list[0].own);
	assert_string_equal(g.list[1].frames[0].function, "runtime.gopark");
	gd_groups_deinit(&g);
}

/* The writer forgets stacks when its table is full and gives them a second number. */
static void a_stack_with_two_numbers_is_one_group(void **state)
{
	(void)state;
	static const char text[] =
		"{\"stack\":1,\"frames\":[" FRAME("main.f", "/f.go", 1) "]}\n"
		"{\"goid\":1,\"state\":\"running\",\"stack\":1}\n"
		"{\"stack\":2,\"frames\":[" FRAME("main.f", "/f.go", 1) "]}\n"
		"{\"goid\":2,\"state\":\"running\",\"stack\":2}\n"
		"{\"stack\":1,\"frames\":[" FRAME("main.g", "/g.go", 1) "]}\n"
		"{\"goid\":3,\"state\":\"running\",\"stack\":1}\n";
	struct gd_groups g = group(text, strlen(text), 50);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.list[0].count, 2);
	assert_string_equal(g.list[0].frames[0].function, "main.f");
	assert_string_equal(g.list[1].frames[0].function, "main.g");
	gd_groups_deinit(&g);
}

static void places_add_up_what_different_callers_wait_for(void **state)
{
	(void)state;
	static const char text[] =
		"{\"stack\":1,\"frames\":[" FRAME("main.Get", "/f.go", 5) "," FRAME("main.a", "/f.go", 1) "]}\n"
		"{\"stack\":2,\"frames\":[" FRAME("main.Get", "/f.go", 5) "," FRAME("main.b", "/f.go", 2) "]}\n"
		"{\"goid\":1,\"state\":\"waiting\",\"reason\":\"select\",\"stack\":1,\"wait_ns\":5}\n"
		"{\"goid\":2,\"state\":\"waiting\",\"reason\":\"select\",\"stack\":2,\"wait_ns\":9}\n"
		"{\"goid\":3,\"state\":\"running\",\"stack\":2}\n";
	struct gd_groups g = group(text, strlen(text), 1 << 20);
	struct gd_places places;
	assert_int_equal(g.n, 3);
	assert_int_equal(gd_places_make(&g, &places), 0);
	assert_int_equal(places.n, 2);
	assert_int_equal(places.list[0].count, 2);
	assert_int_equal(places.list[0].longest_ns, 9);
	gd_places_deinit(&places);
	gd_groups_deinit(&g);
}

static void limits_cost_detail_and_never_goroutines(void **state)
{
	(void)state;
	/* More stacks and states than there is room for, and a number beyond all tables. */
	enum { STACKS = 70000 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(64U << 20);
	for (int i = 1; i <= STACKS; i++)
		gd_buf_printf(&text, "{\"stack\":%d,\"frames\":[{\"function\":\"main.f\",\"line\":%d}]}\n"
		              "{\"goid\":%d,\"state\":\"waiting\",\"reason\":\"r%d\",\"stack\":%d}\n",
		              i, i, i, i % 100, i);
	gd_buf_puts(&text, "{\"stack\":99999999999,\"frames\":[{\"function\":\"main.g\"}]}\n"
	                   "{\"goid\":1,\"state\":\"running\",\"stack\":99999999999}\n"
	                   "{\"goid\":1,\"state\":\"running\",\"stack\":-1}\n");
	struct gd_groups g = group(text.data, text.len, 65536);
	uint64_t sum = 0;
	for (size_t i = 0; i < g.n; i++)
		sum += g.list[i].count;
	assert_int_equal(g.total, STACKS + 2);
	assert_true(sum <= g.total && sum + g.ungrouped >= g.total);
	assert_int_equal(g.n_states, GD_GROUP_STATES);
	gd_groups_deinit(&g);
}

static void a_line_without_end_is_passed_over(void **state)
{
	(void)state;
	struct gd_groups groups;
	struct gd_error err = { 0 };
	char *piece = calloc(1, 1 << 20);
	assert_non_null(piece);
	memset(piece, 'x', 1 << 20);
	assert_ok(gd_groups_begin(&groups, &err), &err);
	for (int i = 0; i < 20; i++)
		assert_ok(gd_groups_feed(&groups, piece, 1 << 20, &err), &err);
	static const char rest[] = "\n{\"goid\":1,\"state\":\"running\"}\n";
	assert_ok(gd_groups_feed(&groups, rest, strlen(rest), &err), &err);
	assert_ok(gd_groups_end(&groups, &err), &err);
	assert_int_equal(groups.total, 1);
	assert_int_equal(groups.unreadable, 1);
	gd_groups_deinit(&groups);
	free(piece);
}

static void the_standard_library_is_known(void **state)
{
	(void)state;
	static const char *const standard[] = {
		"runtime.gopark", "sync.(*Mutex).Lock", "net/http.(*conn).serve", "internal/poll.Read",
		"vendor/golang.org/x/net/http2.f", "slices.SortFunc[go.shape.[]main.T]", "time.Sleep",
	};
	static const char *const own[] = {
		"main.main", "main.F[github.com/x/y.T]", "github.com/acme/runtime.f", "go.uber.org/zap.f",
		"golang.org/x/net/http2.f", "acme/sync.f", "gopkg.in/yaml%2ev3.f", "netutil.f", "",
		"example.com/net.(*T).f", "command-line-arguments.f",
	};
	for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++)
		if (!gd_groups_is_standard(standard[i]))
			fail_msg("%s", standard[i]);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (gd_groups_is_standard(own[i]))
			fail_msg("%s", own[i]);
}

static void a_million_goroutines_are_grouped_in_a_second_or_two(void **state)
{
	(void)state;
	struct gd_groups g;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(64U << 20);
	for (int i = 1; i <= 100; i++) {
		gd_buf_printf(&text, "{\"stack\":%d,\"frames\":[", i);
		for (int k = 0; k < 20; k++)
			gd_buf_printf(&text, "%s{\"function\":\"main.f%d\",\"file\":\"/f.go\",\"line\":%d,"
			              "\"pc\":\"0x48e1a5\"}", k > 0 ? "," : "", k, i);
		gd_buf_puts(&text, "]}\n");
	}
	for (int i = 0; i < 100000; i++)
		gd_buf_printf(&text, "{\"goid\":%d,\"state\":\"waiting\",\"reason\":\"chan receive\","
		              "\"wait_ns\":%d,\"stack\":%d,\"created_by\":\"main.main\","
		              "\"created_file\":\"/src/main.go\",\"created_line\":41,\"parent\":1}\n",
		              i, i, 1 + i % 100);
	int64_t before = gd_clock_cpu_ns();
	assert_ok(gd_groups_begin(&g, &err), &err);
	for (int round = 0; round < 10; round++)
		assert_ok(gd_groups_feed(&g, text.data, text.len, &err), &err);
	assert_ok(gd_groups_end(&g, &err), &err);
	int64_t took = gd_clock_cpu_ns() - before;
	print_message("1,000,000 goroutines in %.2f s of CPU\n", (double)took / 1e9);
	assert_int_equal(g.total, 1000000);
	assert_int_equal(g.n, 100);
#ifndef __SANITIZE_ADDRESS__
	assert_true(took < INT64_C(2000000000));
#endif
	gd_groups_deinit(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(equal_stacks_in_equal_states_are_one_group),
		test_case(a_group_shows_the_programs_own_frames),
		test_case(without_own_frames_the_library_is_shown),
		test_case(a_stack_with_two_numbers_is_one_group),
		test_case(places_add_up_what_different_callers_wait_for),
		test_case(limits_cost_detail_and_never_goroutines),
		test_case(a_line_without_end_is_passed_over),
		test_case(the_standard_library_is_known),
		test_case(a_million_goroutines_are_grouped_in_a_second_or_two),
	};
	return test_run(tests);
}
