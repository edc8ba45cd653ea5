/*
 * Without memory at the n-th place a profile is either all there or an error: never one with names or
 * samples missing.
 */
#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/flame.h"
#include "tests/fault.h"
#include "tests/profiles.h"

/* Enough different stacks that every table has to grow. */
static struct profile many(void)
{
	struct profile p = profile_shop();
	for (int i = 0; i < 300; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "main.f%d", i);
		const struct profile_line line = { name, "/src/f.go", i + 1 };
		const struct profile_label labels[] = { { "tid", NULL, i + 100 },
			                                { "goroutine", NULL, i + 100 },
			                                { "handler", name, 0 } };
		uint64_t at = profile_location(&p, 1, 0x500000 + (uint64_t)i, &line, 1);
		profile_sample(&p, &at, 1, 1, 10000000, labels, 3);
	}
	return p;
}

static void a_profile_is_all_there_or_an_error(void **state)
{
	(void)state;
	struct profile p = many();
	unsigned n = 1;
	for (;; n++) {
		struct gd_flame f = { 0 };
		struct gd_error err = { 0 };
		fault_arm(FAULT_MEMORY, n, ENOMEM);
		int r = gd_flame_parse("cpu.pb.gz", p.bytes.data, p.bytes.len, &f, &err);
		bool failed = fault_disarm();
		if (failed) {
			assert_fails(r, -ENOMEM, &err);
			continue;
		}
		assert_ok(r, &err);
		assert_int_equal(f.rows.n, 307);
		gd_flame_deinit(&f);
		break;
	}
	assert_true(n > 40); /* it did come by all those places */
	gd_buf_deinit(&p.bytes);
}

static void stacks_are_all_there_or_an_error(void **state)
{
	(void)state;
	struct profile p = many();
	GD_FLAME struct gd_flame f = { 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_flame_parse("cpu.pb.gz", p.bytes.data, p.bytes.len, &f, &err), &err);
	for (int speedscope = 0; speedscope < 2; speedscope++) {
		size_t whole = 0;
		for (unsigned n = 1;; n++) {
			char *text = NULL;
			size_t len = 0;
			FILE *out = open_memstream(&text, &len);
			assert_non_null(out);
			fault_arm(FAULT_MEMORY, n, ENOMEM);
			int r = speedscope ? gd_flame_speedscope(&f, 1, "shop", out, &err)
			                   : gd_flame_folded(&f, 1, out, &err);
			bool failed = fault_disarm();
			assert_int_equal(fclose(out), 0);
			free(text);
			if (failed) {
				assert_fails(r, -ENOMEM, &err);
				continue;
			}
			assert_ok(r, &err);
			whole = len;
			break;
		}
		assert_true(whole > 10000);
	}
	gd_buf_deinit(&p.bytes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_profile_is_all_there_or_an_error),
		test_case(stacks_are_all_there_or_an_error),
	};
	return test_run(tests);
}
