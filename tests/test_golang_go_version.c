#include "golang/go_version.h"

#include <errno.h>

#include "tests/test.h"

static void versions_are_taken_apart(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		struct gd_go_version version;
	} good[] = {
		{ "go1.22.5", { 22, 5, false, false } },
		{ "go1.18", { 18, 0, false, false } },
		{ "go1.21.13", { 21, 13, false, false } },
		{ "go1.9999.9999", { 9999, 9999, false, false } },
		{ "go1", { 0, 0, false, false } },
		{ "go1.23rc1", { 23, 0, true, false } },
		{ "go1.18beta2", { 18, 0, true, false } },
		{ "go1.22.5 X:rangefunc", { 22, 5, false, true } },
		{ "go1.26.1-X:jsonv2,greenteagc", { 26, 1, false, true } },
		{ "go1.27-devel_5e40afc1 Mon Jan 5 10:00:00 2026 +0000-X:nodwarf5",
		  { 27, 0, true, true } },
		{ "go1.27-devel_5e40afc1 Mon Jan 5 10:00:00 2026 +0000", { 27, 0, true, false } },
		{ "devel go1.21-4d9beb2 Tue Feb 7 22:46:31 2023 +0000", { 21, 0, true, false } },
		{ "devel go1.21-4d9beb2 Tue Feb 7 2023 X:unified", { 21, 0, true, true } },
		{ "devel +a6bd7ec Tue Feb 7 22:46:31 2017 +0000", { 0, 0, true, false } },
		{ "go1.24.1-microsoft", { 24, 1, true, false } },
		{ "go1.21.4 (Red Hat 1.21.4-1.el9)", { 21, 4, true, false } },
		{ "go1.22-20240109-RC01 cl/597041403 +dcbe772469 X:loopvar",
		  { 22, 0, true, true } },
		{ "go1.20+vendor", { 20, 0, true, false } },
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct gd_error err = { 0 };
		struct gd_go_version version;
		assert_ok(gd_go_version_parse(good[i].text, &version, &err), &err);
		assert_int_equal(version.minor, good[i].version.minor);
		assert_int_equal(version.patch, good[i].version.patch);
		assert_int_equal(version.devel, good[i].version.devel);
		assert_int_equal(version.experiment, good[i].version.experiment);
	}
}

static void what_is_no_version_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "",         "go",        "go2.1",   "go1.",
		                           "go1.x",    "go1.22.",   "go1.22x", "unknown",
		                           "devel",    "devel go2", "1.22.5",  "go1.22.5\n",
		                           "go1.-1.0", "go1.99999" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct gd_error err = { 0 };
		struct gd_go_version version;
		assert_fails(gd_go_version_parse(bad[i], &version, &err), -EBADMSG, &err);
		assert_contains(err.msg, "is no Go version");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(versions_are_taken_apart),
		test_case(what_is_no_version_is_refused),
	};
	return test_run(tests);
}
