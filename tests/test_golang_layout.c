/* golang/layout.c: releases are found exactly, or said not to be. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "golang/layout.h"

static struct gd_layout layout_of(int minor, int patch)
{
	struct gd_go_version version = { .minor = minor, .patch = patch };
	struct gd_layout layout;
	struct gd_error err = { 0 };

	assert_ok(gd_layout_of(&version, &layout, &err), &err);
	return layout;
}

static void a_measured_release_is_exact(void **state)
{
	(void)state;
	struct gd_layout go1_19 = layout_of(19, 13);
	assert_int_equal(go1_19.trust, GD_LAYOUT_EXACT);
	assert_int_equal(go1_19.g_goid, 152);
	assert_int_equal(go1_19.g_parent_goid, GD_ABSENT);
	assert_int_equal(go1_19.m_alllink, 336);
	assert_int_equal(go1_19.mstats_numgc, 7704);

	struct gd_layout go1_27 = layout_of(27, 3);
	assert_int_equal(go1_27.trust, GD_LAYOUT_EXACT);
	assert_int_equal(go1_27.g_atomicstatus, 144);
	assert_int_equal(go1_27.m_procid, 64);
}

static void patch_releases_that_moved_m_have_rows_of_their_own(void **state)
{
	(void)state;
	assert_int_equal(layout_of(23, 11).m_alllink, 328);
	assert_int_equal(layout_of(23, 12).m_alllink, 352);
	assert_int_equal(layout_of(24, 5).m_alllink, 328);
	assert_int_equal(layout_of(24, 6).m_alllink, 352);
}

static void memory_records_of_1_27_hold_no_bytes(void **state)
{
	(void)state;
	assert_int_equal(layout_of(26, 0).memrec_active_alloc_bytes, 16);
	assert_int_equal(layout_of(27, 0).memrec_active_alloc_bytes, GD_ABSENT);
	assert_int_equal(layout_of(27, 0).memrec_future, 16);
}

static void an_unknown_release_starts_from_the_newest_older_one(void **state)
{
	(void)state;
	struct gd_layout patch = layout_of(23, 99);
	assert_int_equal(patch.trust, GD_LAYOUT_CALIBRATED);
	assert_int_equal(patch.m_alllink, layout_of(23, 12).m_alllink);

	struct gd_layout minor = layout_of(99, 0);
	struct gd_layout newest = layout_of(27, 3);
	assert_int_equal(minor.trust, GD_LAYOUT_CALIBRATED);
	newest.trust = GD_LAYOUT_CALIBRATED;
	assert_memory_equal(&minor, &newest, sizeof(minor));
}

static void a_development_or_experiment_build_is_never_exact(void **state)
{
	(void)state;
	struct gd_go_version devel = { .minor = 26, .patch = 0, .devel = true };
	struct gd_go_version experiment = { .minor = 26, .patch = 0, .experiment = true };
	struct gd_layout layout;
	struct gd_error err = { 0 };

	assert_ok(gd_layout_of(&devel, &layout, &err), &err);
	assert_int_equal(layout.trust, GD_LAYOUT_CALIBRATED);
	assert_ok(gd_layout_of(&experiment, &layout, &err), &err);
	assert_int_equal(layout.trust, GD_LAYOUT_CALIBRATED);
}

static void releases_before_1_18_are_refused(void **state)
{
	(void)state;
	struct gd_go_version version = { .minor = 17, .patch = 5 };
	struct gd_layout layout;
	struct gd_error err = { 0 };

	memset(&layout, 0x5a, sizeof(layout));
	assert_fails(gd_layout_of(&version, &layout, &err), -ENOTSUP, &err);
	assert_int_equal(layout.g_size, 0x5a5a5a5a);
}

/* What self-calibration relies on; a release that breaks one of these needs new code, not a row. */
static void relations_between_fields_hold_in_every_release(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		for (int patch = 0; patch < 16; patch++) {
			struct gd_layout l = layout_of(minor, patch);
			assert_int_equal(l.g_m, 48);
			assert_int_equal(l.g_sched_pc, l.g_sched_sp + 8);
			assert_int_equal(l.g_goid, l.g_atomicstatus + 8);
			assert_int_equal(l.g_waitsince, l.g_atomicstatus + 24);
			assert_int_equal(l.g_waitreason, l.g_atomicstatus + 32);
			assert_int_equal(l.g_gopc, l.g_startpc - 16);
			assert_int_equal(l.g_waiting, l.g_startpc + 16);
			assert_int_equal(l.g_labels, l.g_startpc + 48);
			if (l.g_parent_goid != GD_ABSENT)
				assert_int_equal(l.g_parent_goid, l.g_gopc - 8);
			assert_int_equal(l.m_gsignal, l.m_procid + 8);
			assert_int_equal(l.m_curg, l.m_procid + 120);
			assert_int_equal(l.mstats_pause_end, l.mstats_pause_ns + 2048);
			assert_int_equal(l.mstats_numgc, l.mstats_pause_end + 2048);
			assert_int_equal(l.bucket_nstk, 40);
		}
	}
}

/* Tests run at the top of the tree; a copied binary elsewhere has nothing to compare with. */
static void the_committed_table_is_the_generated_one(void **state)
{
	(void)state;
	if (system("test -r golang/layout_table.awk") != 0)
		test_skip("golang/layout_table.awk is not below the current directory");
	assert_int_equal(system("awk -f golang/layout_table.awk golang/layout.h golang/offsets.tsv | "
	                        "cmp - golang/layout_table.h"), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_measured_release_is_exact),
		test_case(patch_releases_that_moved_m_have_rows_of_their_own),
		test_case(memory_records_of_1_27_hold_no_bytes),
		test_case(an_unknown_release_starts_from_the_newest_older_one),
		test_case(a_development_or_experiment_build_is_never_exact),
		test_case(releases_before_1_18_are_refused),
		test_case(relations_between_fields_hold_in_every_release),
		test_case(the_committed_table_is_the_generated_one),
	};
	return test_run(tests);
}
