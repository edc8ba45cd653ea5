#include "agent/watch_psi.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/test.h"

#define SECOND_NS INT64_C(1000000000)

static void totals_are_found_in_their_lines(void **state)
{
	uint64_t some;
	uint64_t full;
	(void)state;
	gd_watch_psi_parse("some avg10=0.12 avg60=0.34 avg300=0.56 total=7890\n"
	                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n", &some, &full);
	assert_int_equal(some, 7890);
	assert_int_equal(full, 12);
	/* Until 5.13 cpu had no second line; a line without a total borrows none from the next. */
	gd_watch_psi_parse("some avg10=0.12 total=5\n", &some, &full);
	assert_int_equal(some, 5);
	assert_true(full == UINT64_MAX);
	gd_watch_psi_parse("some avg10=0.12\nfull total=6\n", &some, &full);
	assert_true(some == UINT64_MAX);
	assert_int_equal(full, 6);
	static const char *const bad[] = { "", "\n", "some", "some total=", "some total=x",
		                           "some total=99999999999999999999", "sometotal=5",
		                           "awesome total=5" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		gd_watch_psi_parse(bad[i], &some, &full);
		assert_true(some == UINT64_MAX && full == UINT64_MAX);
	}
}

static void write_totals(uint64_t us)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "some total=%llu\nfull total=%llu\n",
	                 (unsigned long long)us, (unsigned long long)us / 2);
	int fd = open(test_path("memory.pressure"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, (size_t)n), n);
	assert_int_equal(close(fd), 0);
}

static double some_of(const struct gd_watch_psi *psi)
{
	double values[GD_METRICS];
	for (int i = 0; i < GD_METRICS; i++)
		values[i] = NAN;
	gd_watch_psi_values(psi, values);
	assert_true(isnan(values[GD_METRIC_PSI_CPU_SOME]));
	return values[GD_METRIC_PSI_MEMORY_SOME];
}

static void the_window_is_ten_seconds(void **state)
{
	struct gd_watch_psi psi;
	(void)state;
	write_totals(0);
	int dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(gd_watch_psi_open(dir_fd, ".pressure", &psi), 0);
	assert_int_equal(close(dir_fd), 0);
	int64_t now_ns = 5 * SECOND_NS;
	gd_watch_psi_read(&psi, now_ns);
	assert_true(isnan(some_of(&psi)));
	/* One second of full pressure, then none. */
	write_totals(1000000);
	gd_watch_psi_read(&psi, now_ns += SECOND_NS);
	assert_true(fabs(some_of(&psi) - 1) < 1e-9);
	for (int i = 2; i <= 10; i++) {
		gd_watch_psi_read(&psi, now_ns += SECOND_NS);
		assert_true(fabs(some_of(&psi) - 1.0 / i) < 1e-9);
	}
	gd_watch_psi_read(&psi, now_ns += SECOND_NS);
	assert_true(some_of(&psi) == 0);
	/* Ten times as often gives no shorter window. */
	for (int i = 0; i < 300; i++)
		gd_watch_psi_read(&psi, now_ns += SECOND_NS / 10);
	write_totals(2000000);
	gd_watch_psi_read(&psi, now_ns += SECOND_NS);
	assert_true(some_of(&psi) > 0.09 && some_of(&psi) < 0.12);
	/* Ticks that were skipped: what is known is older than the window, and still the truth. */
	write_totals(32000000);
	gd_watch_psi_read(&psi, now_ns += 60 * SECOND_NS);
	assert_true(fabs(some_of(&psi) - 0.5) < 1e-9);
	/* A total that sinks is of another group. */
	write_totals(0);
	gd_watch_psi_read(&psi, now_ns += SECOND_NS);
	assert_true(isnan(some_of(&psi)));
	gd_watch_psi_close(&psi);
}

static void no_pressure_files_is_enoent(void **state)
{
	struct gd_watch_psi psi;
	(void)state;
	int dir_fd = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(gd_watch_psi_open(dir_fd, "", &psi), -ENOENT);
	assert_int_equal(close(dir_fd), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(totals_are_found_in_their_lines),
		test_case(the_window_is_ten_seconds),
		test_case(no_pressure_files_is_enoent),
	};
	return test_run(tests);
}
