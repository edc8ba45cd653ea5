#include "golang/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tests/go_target.h"

static struct gd_go *open_go(const struct go_target *go)
{
	GD_FREE pid_t *tids = NULL;
	struct gd_go *runtime = NULL;
	struct gd_error err = { 0 };
	size_t n = 0;

	go_assert_ok(go, gd_target_threads(go->target, &tids, &n, &err), &err);
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, tids, n, &runtime, &err),
	             &err);
	return runtime;
}

static bool waits_for(const struct gd_go *go, const char *reason)
{
	for (size_t i = 0; i < GD_WAIT_REASONS_MAX && go->wait_reasons[i] != NULL; i++)
		if (strcmp(go->wait_reasons[i], reason) == 0)
			return true;
	return false;
}

static void check_known(const struct go_target *go, const struct gd_go *runtime)
{
	char version[64];

	(void)snprintf(version, sizeof(version), "go%s", go->release);
	assert_string_equal(runtime->build.version, version);
	assert_int_equal(runtime->version.minor, go->version.minor);
	assert_int_equal(runtime->version.patch, go->version.patch);
	assert_false(runtime->build_block_missing);
	assert_int_equal(runtime->layout.trust, GD_LAYOUT_EXACT);
	assert_string_equal(runtime->note, "");
	assert_int_equal(runtime->globals.disagreements, 0);
	assert_non_null(runtime->symbols);
	assert_string_equal(runtime->wait_reasons[0], "");
	assert_true(waits_for(runtime, "chan receive"));
	assert_true(waits_for(runtime, "IO wait"));
	assert_true(waits_for(runtime, "sleep"));
	/* numbered anew in 1.20, when locks got reasons of their own */
	assert_int_equal(waits_for(runtime, "sync.Mutex.Lock"), go->version.minor >= 20);
}

static void check_service(struct go_target *go)
{
	GD_GO struct gd_go *runtime = open_go(go);
	check_known(go, runtime);
	assert_true(runtime->memory_profile_linked);
}

static void a_service_of_every_release_and_build_is_opened(void **state)
{
	(void)state;
	go_target_each("states", check_service);
}

static void check_quiet(struct go_target *go)
{
	GD_GO struct gd_go *runtime = open_go(go);
	check_known(go, runtime);
	assert_false(runtime->memory_profile_linked);
}

static void a_program_without_the_memory_profile_says_so(void **state)
{
	(void)state;
	go_target_each("quiet", check_quiet);
}

static int compare_ns(const void *a, const void *b)
{
	int64_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* Sanitizers and a loaded machine make single openings slow: the fastest counts. */
static void check_speed(struct go_target *go)
{
	enum { TRIES = 5 };
	int64_t took_ns[TRIES];

	for (int i = 0; i < TRIES; i++) {
		int64_t start_ns = gd_clock_monotonic_ns();
		gd_go_close(open_go(go));
		took_ns[i] = gd_clock_monotonic_ns() - start_ns;
	}
	qsort(took_ns, TRIES, sizeof(took_ns[0]), compare_ns);
	print_message("#   %.1f ms, at best %.1f\n", (double)took_ns[TRIES / 2] / 1e6,
	              (double)took_ns[0] / 1e6);
	if (took_ns[0] > 40 * 1000 * 1000)
		go_target_fail(go, "opening takes %.1f ms at best", (double)took_ns[0] / 1e6);
}

static void opening_takes_less_than_40_ms(void **state)
{
	(void)state;
	go_target_each("states", check_speed);
}

static void check_threadless(struct go_target *go)
{
	struct gd_go *runtime = NULL;
	struct gd_error err = { 0 };
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err),
	             &err);
	assert_int_equal(runtime->layout.trust, GD_LAYOUT_EXACT);
	gd_go_close(runtime);
}

static void a_core_without_thread_ids_is_opened(void **state)
{
	(void)state;
	go_target_each("quiet", check_threadless);
}

/* The victim's file with every "go1.22." made "go1.92.": a release nobody has seen. */
static const char *pretend_newer(const struct go_target *go)
{
	GD_BUF struct gd_buf bytes = GD_BUF_INIT(64 << 20);
	struct gd_error err = { 0 };
	char path[4096], text[64];

	go_assert_ok(go, gd_target_read_link(go->target, "exe", path, sizeof(path), &err), &err);
	go_assert_ok(go, gd_io_read_file_at(AT_FDCWD, path, &bytes, &err), &err);
	int n = snprintf(text, sizeof(text), "go%s", go->release);
	size_t changed = 0;
	const char *end = bytes.data + bytes.len;
	for (char *at = bytes.data;
	     (at = memmem(at, (size_t)(end - at), text, (size_t)n)) != NULL; at++) {
		at[4] = '9';
		changed++;
	}
	assert_true(changed >= 2);
	const char *file = test_file("newer", bytes.data, bytes.len);
	assert_int_equal(chmod(file, 0755), 0);
	return file;
}

#define SAME(member, type, path)                                                                   \
	if (strcmp(type, "g") == 0 && path[0] != '\0' && runtime->layout.member != row.member)     \
		go_target_fail(go, #member " is calibrated to %d, must be %d",                     \
		               runtime->layout.member, row.member);

static void check_newer(struct go_target *go)
{
	struct gd_target *target = NULL;
	struct gd_layout row;
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	char name[64];

	/* From the newest row one can calibrate back to 1.23 only (see test_golang_calibrate.c). */
	if (strcmp(go->variant, "plain") != 0 || go->version.minor < 23)
		return;
	struct victim *victim = victim_start(pretend_newer(go), NULL);
	go_assert_ok(go, gd_target_open(victim->pid, &target, &err), &err);
	go_assert_ok(go, gd_target_threads(target, &tids, &n, &err), &err);
	struct gd_go *runtime = NULL;
	go_assert_ok(go, gd_go_open(target->memory, &target->maps, tids, n, &runtime, &err), &err);

	(void)snprintf(name, sizeof(name), "layout calibrated: go1.9%c", go->release[3]);
	assert_contains(runtime->note, name);
	assert_contains(runtime->note, "has no row in the table; checked on ");
	assert_int_equal(runtime->layout.trust, GD_LAYOUT_CALIBRATED);
	assert_int_equal(runtime->version.minor, 90 + go->version.minor % 10);
	go_assert_ok(go, gd_layout_of(&go->version, &row, &err), &err);
	GD_LAYOUT_FIELDS(SAME)
	assert_int_equal(runtime->layout.m_procid, row.m_procid);
	assert_int_equal(runtime->layout.m_curg, row.m_curg);
	assert_int_equal(runtime->layout.m_alllink, row.m_alllink);
	if (go->version.minor == 27)
		assert_true(runtime->globals.by_operands == (1u << GD_GLOBAL_COUNT) - 1);
	print_message("#   %s\n", runtime->note);

	gd_go_close(runtime);
	gd_target_close(target);
	victim_stop(victim);
}

static void a_release_nobody_has_seen_is_read_and_the_note_says_so(void **state)
{
	(void)state;
	go_target_each("quiet", check_newer);
}

static void a_process_without_go_is_enoent(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_TARGET struct gd_target *target = NULL;
	struct gd_go *runtime = (struct gd_go *)&err;

	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	int r = gd_go_open(target->memory, &target->maps, NULL, 0, &runtime, &err);
	assert_fails(r, -ENOENT, &err);
	assert_ptr_equal(runtime, &err);
	gd_go_close(NULL);
}

static void check_gone(struct go_target *go)
{
	struct gd_go *runtime = NULL;
	struct gd_error err = { 0 };

	if (strcmp(go->variant, "plain") != 0)
		return;
	victim_stop(go->victim);
	go->victim = victim_start(victim_path("life"), NULL); /* the harness stops one, too */
	int r = gd_go_open(go->target->memory, &go->target->maps, NULL, 0, &runtime, &err);
	assert_fails(r, -ESRCH, &err);
	assert_null(runtime);
}

static void a_process_that_is_gone_is_esrch(void **state)
{
	(void)state;
	go_target_each("quiet", check_gone);
}

static void nothing_mapped_is_enoent(void **state)
{
	(void)state;
	static const struct gd_maps none;
	GD_MEMORY struct gd_memory *memory = NULL;
	struct gd_go *runtime = NULL;
	struct gd_error err = { 0 };

	assert_ok(gd_memory_bytes(4096, "", 1, &memory, &err), &err);
	assert_fails(gd_go_open(memory, &none, NULL, 0, &runtime, &err), -ENOENT, &err);
	assert_null(runtime);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_service_of_every_release_and_build_is_opened),
		test_case(a_program_without_the_memory_profile_says_so),
		test_case(opening_takes_less_than_40_ms),
		test_case(a_core_without_thread_ids_is_opened),
		test_case(a_release_nobody_has_seen_is_read_and_the_note_says_so),
		test_case(a_process_without_go_is_enoent),
		test_case(a_process_that_is_gone_is_esrch),
		test_case(nothing_mapped_is_enoent),
	};
	return test_run(tests);
}
