#include "report/cpu.h"

#include <errno.h>
#include <string.h>

#include "tests/archives.h"
#include "tests/profiles.h"

#define MS INT64_C(1000000)

static void put_away(struct profile *p, uint64_t location, const char *state, int64_t ms)
{
	const struct profile_label labels[] = { { "state", state, 0 }, { "tid", NULL, 7 } };
	profile_sample(p, &location, 1, 1, ms * MS, labels, 2);
}

static struct gd_buf away_profile(void)
{
	static const char *const types[] = { "switches", "count", "offcpu", "nanoseconds" };
	struct profile p = profile_begin(types, 4);
	uint64_t futex = profile_location(
		&p, 0, 0x401000, &(struct profile_line){ "runtime.futex", "/go/f.s", 5 }, 1);
	uint64_t parking = profile_location(
		&p, 0, 0, &(struct profile_line){ "[runtime parking]", NULL, 0 }, 1);
	put_away(&p, futex, "blocked", 30);
	put_away(&p, futex, "preempted", 900);
	put_away(&p, futex, "preempted", 100);
	put_away(&p, parking, "blocked", 5000);
	put_away(&p, parking, "runnable", 70);
	return profile_gzip(&p);
}

static void open_archive(const char *name, const struct made *made, size_t n, struct gd_reader *reader)
{
	struct gd_error err = { 0 };
	struct gd_sealed sealed = archive_make(name, made, n);
	assert_ok(gd_reader_open(sealed.path, reader, &err), &err);
}

static const struct gd_site *site_named(const struct gd_cpu *cpu, const char *name)
{
	for (size_t i = 0; i < cpu->sites.n; i++)
		if (strcmp(cpu->sites.list[i].frame.function, name) == 0)
			return &cpu->sites.list[i];
	static const struct gd_site none;
	fail_msg("no site %s", name);
	return &none;
}

static const char uncounted[] = "{\"samples\":7,\"syscalls\":{\"why_not\":\"not asked for\"}}";

static struct gd_syscalls syscalls_of(const char *name, const char *json)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const struct made made[] = { { "samples.json", "application/json", "samples", json,
		                       strlen(json), false } };
	struct gd_syscalls ret;
	open_archive(name, made, 1, &reader);
	gd_syscalls_read(&reader, &ret);
	return ret;
}

static void system_calls_are_those_made_most(void **state)
{
	(void)state;
	struct gd_syscalls s = syscalls_of("some.tar",
		"{\"offcpu\":{\"all\":1},\"syscalls\":{\"why_not\":null,\"all\":130,\"other\":1,\"compat\":2,"
		"\"counts\":[{\"number\":0,\"name\":\"read\",\"n\":100},{\"number\":471,\"name\":null,\"n\":20},"
		"{\"number\":1,\"name\":\"a name that is longer than any system call has it\",\"n\":7}]}}");
	assert_int_equal(s.all, 130);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.list[0].name, "read");
	assert_int_equal(s.list[0].n, 100);
	assert_string_equal(s.list[1].name, "#471");
	assert_int_equal(strlen(s.list[2].name), sizeof(s.list[2].name) - 1);
	/* More than there is place for; nothing of what makes no sense. */
	GD_BUF struct gd_buf many = GD_BUF_INIT(1 << 16);
	gd_buf_puts(&many, "{\"syscalls\":{\"all\":50,\"counts\":[");
	for (int i = 0; i < 50; i++)
		gd_buf_printf(&many, "%s{\"number\":%d,\"name\":\"x\",\"n\":1}", i > 0 ? "," : "", i);
	gd_buf_puts(&many, "]}}");
	s = syscalls_of("many.tar", gd_buf_str(&many));
	assert_int_equal(s.n, GD_SYSCALLS_MAX);
	s = syscalls_of("bad.tar", "{\"syscalls\":{\"all\":50,\"counts\":[{\"number\":0,\"n\":1}");
	assert_int_equal(s.all, 0);
	assert_int_equal(s.n, 0);
	s = syscalls_of("none.tar", "{\"samples\":7}");
	assert_int_equal(s.all, 0);
}

static void time_is_added_up_by_class_and_site(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	GD_BUF struct gd_buf on = profile_gzip(&shop);
	GD_BUF struct gd_buf off = away_profile();
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const struct made made[] = {
		{ "cpu.pb.gz", "application/x", "samples", on.data, on.len, false },
		{ "offcpu.pb.gz", "application/x", "samples", off.data, off.len, false },
		{ "samples.json", "application/json", "samples", uncounted, strlen(uncounted), false },
	};
	struct gd_error err = { 0 };
	struct gd_cpu cpu;
	open_archive("a.tar", made, 3, &reader);
	assert_ok(gd_cpu_read(&reader, &cpu, &err), &err);
	assert_int_equal(cpu.window_ns, 10000 * MS);
	assert_int_equal(cpu.sites.value, 1000 * MS);
	assert_int_equal(cpu.sites.count, 100);
	assert_int_equal(cpu.classes.n, 4);
	assert_string_equal(cpu.classes.list[0].name, "user");
	assert_int_equal(cpu.classes.list[0].ns, 540 * MS);
	assert_string_equal(cpu.classes.list[3].name, "gc background");
	assert_int_equal(cpu.classes.ns, 1000 * MS); /* what was lost has no class */
	/* main.parse is inlined into main.serve, which mallocs; what writes is main.run in the kernel. */
	assert_true(site_named(&cpu, "main.parse")->own);
	assert_int_equal(site_named(&cpu, "main.parse")->value, 500 * MS);
	assert_int_equal(site_named(&cpu, "main.serve")->value, 200 * MS);
	assert_int_equal(site_named(&cpu, "main.run")->value, 120 * MS);
	assert_false(site_named(&cpu, "runtime.gcBgMarkWorker")->own);
	assert_false(site_named(&cpu, "[lost]")->own);
	/* Idle threads of the runtime wait for nothing, unless they have been woken. */
	assert_int_equal(cpu.away.n, 3);
	assert_string_equal(cpu.away.list[0].name, "preempted");
	assert_int_equal(cpu.away.list[0].ns, 1000 * MS);
	assert_string_equal(cpu.away.list[1].name, "runnable");
	assert_int_equal(cpu.away.list[1].ns, 70 * MS);
	assert_int_equal(cpu.away.list[2].ns, 30 * MS);
	assert_int_equal(cpu.syscalls.all, 0);
	gd_cpu_deinit(&cpu);
}

static void without_what_it_waited_for_there_is_still_the_cpu(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	GD_BUF struct gd_buf on = profile_gzip(&shop);
	static const char nonsense[] = "no profile";
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const struct made made[] = {
		{ "cpu.pb.gz", "application/x", "samples", on.data, on.len, false },
		{ "offcpu.pb.gz", "application/x", "samples", nonsense, strlen(nonsense), false },
	};
	struct gd_error err = { 0 };
	struct gd_cpu cpu;
	open_archive("a.tar", made, 2, &reader);
	assert_ok(gd_cpu_read(&reader, &cpu, &err), &err);
	assert_int_equal(cpu.sites.count, 100);
	assert_int_equal(cpu.away.n, 0);
	gd_cpu_deinit(&cpu);
}

static void without_a_profile_there_is_none(void **state)
{
	(void)state;
	static const char text[] = "x";
	GD_READER struct gd_reader none = GD_READER_INIT;
	GD_READER struct gd_reader other = GD_READER_INIT;
	const struct made absent[] = { { "proc/status", "text/plain", "proc", text, 1, false } };
	const struct made bad[] = { { "cpu.pb.gz", "application/x", "samples", text, 1, false } };
	struct gd_error err = { 0 };
	struct gd_cpu cpu;
	open_archive("none.tar", absent, 1, &none);
	assert_fails(gd_cpu_read(&none, &cpu, &err), -ENOENT, &err);
	open_archive("bad.tar", bad, 1, &other);
	assert_true(gd_cpu_read(&other, &cpu, &err) < 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(system_calls_are_those_made_most),
		test_case(time_is_added_up_by_class_and_site),
		test_case(without_what_it_waited_for_there_is_still_the_cpu),
		test_case(without_a_profile_there_is_none),
	};
	return test_run(tests);
}
