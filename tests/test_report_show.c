#include "tests/archives.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/report.h"

#define MADE_MAX 32
static struct made made[MADE_MAX];
static size_t n_made;

static void with(const char *name, const char *text)
{
	assert_true(n_made < MADE_MAX);
	made[n_made++] = (struct made){ name, "text/plain", strncmp(name, "proc", 4) == 0
	                                ? "proc" : "other", text, strlen(text), true };
}

/* What show prints of an archive of what was given to with(). */
static char *show(bool color, unsigned width)
{
	static char *text;
	size_t n = 0;
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	struct gd_sealed sealed = archive_make("a.tar", made, n_made);
	n_made = 0;
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	free(text);
	text = NULL;
	FILE *out = open_memstream(&text, &n);
	assert_non_null(out);
	assert_ok(gd_report_show(&reader, out, color, width, &err), &err);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(remove(sealed.path), 0);
	return text;
}

/* `count` goroutines in `reason` with one stack that begins at main.<function>. */
static void put_goroutines(struct gd_buf *to, int stack, const char *function, const char *reason,
                           int count, int64_t wait_ns)
{
	gd_buf_printf(to, "{\"stack\":%d,\"frames\":[{\"function\":\"runtime.gopark\",\"file\":\"/p.go\","
	              "\"line\":1},{\"function\":\"main.%s\",\"file\":\"/src/main.go\",\"line\":%d}]}\n",
	              stack, function, stack);
	for (int i = 0; i < count; i++)
		gd_buf_printf(to, "{\"goid\":%d,\"state\":\"waiting\",\"reason\":\"%s\",\"wait_ns\":%"
		              PRId64 ",\"stack\":%d}\n", i, reason, wait_ns, stack);
}

static void an_empty_snapshot_shows_what_there_is(void **state)
{
	(void)state;
	const char *text = show(false, 0);
	assert_contains(text, "checkout  pid 4711\n");
	assert_contains(text, "trigger manual");
	assert_contains(text, "ARTIFACTS  1 complete, 0 partial, 0 skipped, 0 failed");
	assert_null(strstr(text, "LOOKS WRONG"));
	assert_null(strstr(text, "GOROUTINES"));
	assert_null(strstr(text, "\033"));
}

static void trouble_with_goroutines_is_named(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 22);
	put_goroutines(&lines, 1, "leak", "chan receive", 1500, INT64_C(3600) * 1000000000);
	put_goroutines(&lines, 2, "(*Store).Get", "sync.Mutex.Lock", 12, 2000000);
	put_goroutines(&lines, 3, "never", "chan send (nil chan)", 1, 0);
	put_goroutines(&lines, 4, "serve", "IO wait", 5000, 0);
	put_goroutines(&lines, 5, "tick", "sleep", 3000, 0);
	put_goroutines(&lines, 6, "poll", "select", 15, INT64_C(1200) * 1000000000);
	with("goroutines.jsonl", gd_buf_str(&lines));
	const char *text = show(false, 0);
	assert_contains(text, "! 1,500 goroutines are blocked (chan receive) in main.leak (main.go:1), "
	                      "the longest for 1 h 00 m");
	assert_contains(text, "! 12 goroutines wait for a lock (sync.Mutex.Lock) in main.(*Store).Get "
	                      "(main.go:2)");
	assert_contains(text, "! 1 goroutine can never go on (chan send (nil chan)) in main.never");
	assert_contains(text, "! 15 goroutines wait at one place (select) in main.poll");
	assert_null(strstr(text, "blocked (IO wait)"));
	assert_null(strstr(text, "blocked (sleep)"));
	assert_contains(text, "GOROUTINES  9,528:  5,000 IO wait  3,000 sleep  1,500 chan receive");
	assert_contains(text, "      5,000  IO wait                (goroutine 0)\n"
	                      "             main.serve  main.go:4\n");
}

static void a_calm_service_gets_no_warning(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 22);
	put_goroutines(&lines, 1, "serve", "IO wait", 20000, INT64_C(86400) * 1000000000);
	put_goroutines(&lines, 2, "work", "select", 50, 1000);
	put_goroutines(&lines, 3, "Get", "sync.Mutex.Lock", 3, 1000);
	with("goroutines.jsonl", gd_buf_str(&lines));
	with("runtime.json", "{\"gc\":{\"count\":5,\"cpu_fraction\":0.01,\"pause_p99_ns\":100000,"
	     "\"pause_max_ns\":300000},\"settings\":{\"gogc\":100,\"gomemlimit\":null}}");
	with("proc/status", "Name:\tx\nVmRSS:\t  20480 kB\nThreads:\t9\nVmSwap:\t0 kB\n");
	with("proc/limits", "Limit                     Soft Limit           Hard Limit\n"
	     "Max open files            1024                 4096                 files\n");
	with("proc/fds.jsonl", "{\"fd\":0}\n{\"fd\":1}\n");
	with("cgroup/memory.max", "max\n");
	with("cgroup/memory.current", "99999999\n");
	with("host/pressure/memory", "some avg10=0.00 avg60=0 avg300=0 total=0\n"
	     "full avg10=0.00 avg60=0 avg300=0 total=0\n");
	const char *text = show(false, 0);
	assert_null(strstr(text, "LOOKS WRONG"));
	assert_contains(text, "rss 20.0 MiB  threads 9  fds 2  of 1,024");
	assert_contains(text, "gc cycles 5  cpu 1.0 %");
	assert_contains(text, "GOGC 100");
}

static void limits_and_pressure_are_warned_about(void **state)
{
	(void)state;
	GD_BUF struct gd_buf fds = GD_BUF_INIT(1 << 20);
	for (int i = 0; i < 900; i++)
		gd_buf_printf(&fds, "{\"fd\":%d}\n", i);
	with("runtime.json", "{\"gc\":{\"cpu_fraction\":0.31,\"pause_p99_ns\":25000000,\"pause_max_ns\":"
	     "90000000},\"settings\":{\"gomaxprocs\":2,\"gomemlimit\":1000000000},\"scheduler\":{\"runq\":"
	     "500,\"stopping_the_world\":true},\"memstats\":{\"Sys\":990000000,\"HeapReleased\":1000000},"
	     "\"histograms\":{\"scheduling_latency\":{\"p99_ns\":50000000,\"buckets\":[{}]}}}");
	with("proc/limits", "Max open files            1024                 4096                 files\n");
	with("proc/fds.jsonl", gd_buf_str(&fds));
	with("proc/status", "VmRSS:\t  20480 kB\nVmSwap:\t  20480 kB\n");
	with("cgroup/memory.max", "1000000\n");
	with("cgroup/memory.current", "990000\n");
	with("cgroup/memory.stat", "anon 1\ninactive_file 10000\n");
	with("cgroup/memory.events", "low 0\nhigh 0\nmax 5\noom 3\noom_kill 2\n");
	with("cgroup/cpu.stat", "usage_usec 5\nnr_periods 100\nnr_throttled 40\nthrottled_usec 9\n");
	with("cgroup/ancestors.jsonl", "{\"version\":2,\"path\":\"/a/b\",\"up\":0,\"pids.max\":\"100\","
	     "\"pids.current\":\"99\"}\n{\"up\":1,\"memory.max\":\"max\"}\n");
	with("cgroup/memory.pressure", "some avg10=40.00 avg60=0\nfull avg10=22.50 avg60=0\n");
	with("host/pressure/io", "some avg10=40.00 avg60=0\nfull avg10=35.00 avg60=0\n");
	with("host/meminfo", "MemTotal:       1000000 kB\nMemAvailable:     10000 kB\n");
	const char *text = show(false, 0);
	static const char *const found[] = {
		"! the garbage collector takes 31 % of the CPU",
		"! garbage collection pauses: 99th percentile 25 ms, longest 90 ms",
		"! runnable goroutines wait 50 ms for a CPU",
		"! 500 goroutines queue for 2 processors",
		"! the world was being stopped",
		"! the runtime holds 943 MiB of GOMEMLIMIT 954 MiB",
		"! 900 of 1,024 file descriptors are open (88 %)",
		"! 20.0 MiB of the process are swapped out",
		"! memory: 957 KiB of the control group's limit 977 KiB (98 %)",
		"! the OOM killer struck 2 times",
		"! the CPU quota ran out in 40 % of all periods",
		"! 99 of 100 processes and threads",
		"! pressure: tasks of its control group waited for memory 22 % of the last 10 s",
		"! pressure: tasks of the host waited for I/O 35 % of the last 10 s",
		"! the host has 9.8 MiB of 977 MiB memory left",
	};
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		assert_contains(text, found[i]);
}

static void a_group_above_can_be_the_full_one(void **state)
{
	(void)state;
	with("cgroup/v1/memory.limit_in_bytes", "9223372036854771712\n");
	with("cgroup/v1/memory.usage_in_bytes", "5000\n");
	with("cgroup/ancestors.jsonl", "{\"up\":0,\"memory.limit_in_bytes\":\"9223372036854771712\","
	     "\"memory.usage_in_bytes\":\"5000\"}\n{\"up\":1,\"memory.limit_in_bytes\":\"10000\","
	     "\"memory.usage_in_bytes\":\"9900\"}\n{\"up\":2,\"memory.limit_in_bytes\":\"100000\","
	     "\"memory.usage_in_bytes\":\"99\"}\n");
	assert_contains(show(false, 0), "! memory: 9.7 KiB of the limit 9.8 KiB of a group above (99 %");
}

static void foreign_text_cannot_move_the_cursor(void **state)
{
	(void)state;
	with("goroutines.jsonl",
	     "{\"stack\":1,\"frames\":[{\"function\":\"main.\\u001b[2J\\u009b\",\"file\":\"/x\\n.go\","
	     "\"line\":1}]}\n{\"goid\":1,\"state\":\"a\\u001b[31m\x1b]0;x\x07\",\"stack\":1,"
	     "\"created_by\":\"\x1b[H\"}\n");
	const char *text = show(true, 0);
	for (const char *p = text; *p != '\0'; p++)
		if (*p == '\033') /* only colours of our own */
			assert_true(p[1] == '[' && (p[2] == '0' || p[2] == '1' || p[2] == '2' ||
			                            p[2] == '3'));
	assert_null(strstr(text, "\033[2J"));
	assert_null(strstr(text, "\033[31m\033]"));
	assert_null(strstr(text, "\033]0"));
	assert_null(strstr(text, "\xc2\x9b"));
	assert_contains(text, "main.\\x1b[2J");
}

static void lines_fit_the_terminal(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 20);
	put_goroutines(&lines, 1, "aVeryLongNameThatDoesNotFitIntoFortyColumnsByFar\xc3\xa9\xc3\xa9",
	               "select", 1, 0);
	with("goroutines.jsonl", gd_buf_str(&lines));
	char *text = show(false, 40);
	unsigned cut = 0;
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (line[0] == ' ') /* not a heading */
			assert_true(strlen(line) <= 41);
		cut += line[strlen(line) - 1] == '~';
	}
	assert_true(cut > 0);
}

static void warnings_are_never_cut(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 20);
	put_goroutines(&lines, 1, "leak", "chan receive", 1500, INT64_C(3600) * 1000000000);
	with("goroutines.jsonl", gd_buf_str(&lines));
	assert_contains(show(false, 40), "(main.go:1), the longest for 1 h 00 m\n");
}

static void json_says_the_same(void **state)
{
	(void)state;
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 22);
	put_goroutines(&lines, 1, "leak", "chan receive", 1500, 7);
	with("goroutines.jsonl", gd_buf_str(&lines));
	struct gd_sealed sealed = archive_make("a.tar", made, n_made);
	n_made = 0;
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	GD_FREE char *text = NULL;
	size_t n = 0;
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	FILE *out = open_memstream(&text, &n);
	assert_ok(gd_report_show_json(&reader, out, &err), &err);
	assert_int_equal(fclose(out), 0);
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	const char *digest = NULL;
	const char *kind = NULL;
	const char *comm = NULL;
	int total = 0;
	int count = 0;
	assert_int_equal(json_unpack(json, "{s:s, s:{s:{s:s}}, s:[{s:s}], s:{s:i,s:[{s:i}]}}",
	                             "digest", &digest, "snapshot", "target", "comm", &comm,
	                             "warnings", "kind", &kind, "goroutines", "total", &total,
	                             "groups", "count", &count), 0);
	assert_string_equal(digest, sealed.digest);
	assert_string_equal(kind, "goroutines-blocked");
	assert_string_equal(comm, "checkout");
	assert_int_equal(total, 1500);
	assert_int_equal(count, 1500);
	json_decref(json);
}

static void a_cut_off_archive_shows_what_is_left(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	const char *cut = test_file("cut.tar", file.data, file.len - 300000);
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	GD_FREE char *text = NULL;
	size_t n = 0;
	assert_ok(gd_reader_open(cut, &reader, &err), &err);
	FILE *out = open_memstream(&text, &n);
	assert_ok(gd_report_show(&reader, out, false, 0, &err), &err);
	assert_int_equal(fclose(out), 0);
	assert_contains(text, "pid 4711");
	assert_contains(text, "! this archive is cut off: the file ends too early");
	assert_contains(text, "5 found, their grades are lost");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_empty_snapshot_shows_what_there_is),
		test_case(trouble_with_goroutines_is_named),
		test_case(a_calm_service_gets_no_warning),
		test_case(limits_and_pressure_are_warned_about),
		test_case(a_group_above_can_be_the_full_one),
		test_case(foreign_text_cannot_move_the_cursor),
		test_case(lines_fit_the_terminal),
		test_case(warnings_are_never_cut),
		test_case(json_says_the_same),
		test_case(a_cut_off_archive_shows_what_is_left),
	};
	return test_run(tests);
}
