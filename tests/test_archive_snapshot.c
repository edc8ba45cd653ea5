#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/layout.h"
#include "archive/snapshot.h"

static void write_down(const struct gd_snapshot *s, struct gd_buf *to)
{
	struct gd_json json = GD_JSON_INIT(to);
	gd_snapshot_write(s, &json);
	(void)gd_buf_str(to);
}

static char *text_of(const char *name)
{
	char text[64];
	(void)snprintf(text, sizeof(text), "the %s \"\\\n\t\x01 \xc3\xa9", name);
	return strdup(text);
}

/* Every text gets its own value, so that a mix-up shows. */
static void fill(struct gd_snapshot *s)
{
	*s = (struct gd_snapshot){
		.started = { 1, 2, 3 },
		.ended = { 4, 5, 6 },
		.pid = 4711,
		.pid_in_container = 7,
		.start_ticks = 123456,
		.start_realtime_ns = 99,
		.exe_deleted = true,
		.interrupted = true,
		.target_pause_ns = 11,
		.memory_reads = 12,
		.memory_bytes = 13,
		.memory_faults = 14,
		.cpu_ns = 15,
		.peak_rss_bytes = 16,
		.repaired = true,
		.outcome = gd_outcome(GD_GRADE_PARTIAL, -EAGAIN, "torn"),
		.n_steps = 2,
	};
	s->trigger = text_of("trigger");
	s->reason = text_of("reason");
	s->comm = text_of("comm");
	s->exe = text_of("exe");
	s->cmdline = text_of("cmdline");
	s->build_id = text_of("build_id");
	s->go_version = text_of("go_version");
	s->go_note = text_of("go_note");
	s->container_id = text_of("container_id");
	s->pod_uid = text_of("pod_uid");
	s->cgroup = text_of("cgroup");
	s->hostname = text_of("hostname");
	s->kernel = text_of("kernel");
	s->machine = text_of("machine");
	s->boot_id = text_of("boot_id");
	s->godiag_version = text_of("godiag_version");
	s->profile = text_of("profile");
	s->repair_note = text_of("repair_note");
	(void)snprintf(s->id, sizeof(s->id), "the-id");
	s->steps[0] = (struct gd_step){ .name = "open-target", .started_ns = 1, .ended_ns = 2 };
	s->steps[1] = (struct gd_step){ .name = "collect:heap", .started_ns = 3, .ended_ns = 4,
		                        .torn_reads = 5, .torn_repeated = 6,
		                        .outcome = gd_outcome(GD_GRADE_FAILED, -EFAULT, "gone") };
	s->labels = calloc(2, sizeof(*s->labels));
	assert_non_null(s->labels);
	s->n_labels = 2;
	s->labels[0] = (struct gd_label){ strdup("env"), strdup("prod") };
	s->labels[1] = (struct gd_label){ strdup("a b"), strdup("") };
	s->artifacts = calloc(1, sizeof(*s->artifacts));
	assert_non_null(s->artifacts);
	s->n_artifacts = 1;
	s->artifacts[0] = (struct gd_artifact_row){
		.name = strdup("proc/status"), .media_type = strdup("text/plain"),
		.collector = strdup("proc"), .bytes = 1, .stored_bytes = 2, .started_ns = 3,
		.ended_ns = 4, .outcome = gd_outcome(GD_GRADE_SKIPPED, -EPERM, "why"),
	};
	(void)snprintf(s->artifacts[0].digest, sizeof(s->artifacts[0].digest),
	               "sha256:%064d", 7);
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	struct gd_snapshot a;
	struct gd_snapshot b;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf first = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf second = GD_BUF_INIT(1 << 20);
	fill(&a);
	write_down(&a, &first);
	assert_ok(gd_snapshot_parse(first.data, first.len, &b, &err), &err);
	write_down(&b, &second);
	assert_string_equal(second.data, first.data);
	assert_string_equal(b.cmdline, a.cmdline);
	assert_int_equal(b.steps[1].torn_repeated, 6);
	assert_int_equal(b.steps[1].outcome.why.code, -EFAULT);
	assert_string_equal(b.labels[0].key, "env");
	assert_int_equal(b.artifacts[0].outcome.grade, GD_GRADE_SKIPPED);
	assert_int_equal(b.ended.boottime_ns, 6);
	gd_snapshot_deinit(&a);
	gd_snapshot_deinit(&b);
}

static void an_empty_object_is_an_empty_snapshot(void **state)
{
	(void)state;
	struct gd_snapshot s;
	struct gd_error err = { 0 };
	assert_ok(gd_snapshot_parse("{}", 2, &s, &err), &err);
	assert_string_equal(s.comm, "");
	assert_int_equal(s.n_artifacts, 0);
	assert_false(s.repaired);
	gd_snapshot_deinit(&s);
}

static void wrong_types_count_as_missing(void **state)
{
	(void)state;
	static const char json[] =
		"{\"id\":7,\"target\":[1],\"host\":null,\"steps\":{},\"labels\":[],\"clock\":3,"
		"\"artifacts\":\"x\",\"outcome\":true,\"cost\":{\"cpu_ns\":\"1\"},\"unknown\":{}}";
	struct gd_snapshot s;
	struct gd_error err = { 0 };
	assert_ok(gd_snapshot_parse(json, strlen(json), &s, &err), &err);
	assert_string_equal(s.id, "");
	assert_int_equal(s.n_artifacts + s.n_steps + s.n_labels, 0);
	gd_snapshot_deinit(&s);
}

static void nonsense_is_refused_with_a_reason(void **state)
{
	(void)state;
	static const struct {
		const char *json;
		int code;
	} bad[] = {
		{ "", -EBADMSG },
		{ "[]", -EBADMSG },
		{ "{\"id\":", -EBADMSG },
		{ "{\"format\":2}", -ENOTSUP },
		{ "{\"artifacts\":[{}]}", -EBADMSG },
		{ "{\"artifacts\":[{\"name\":\"../x\"}]}", -EBADMSG },
		{ "{\"artifacts\":[{\"name\":\"x\",\"digest\":\"sha256:1\"}]}", -EBADMSG },
		{ "{\"artifacts\":[7]}", -EBADMSG },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_snapshot s = { .pid = 5 };
		struct gd_error err = { 0 };
		assert_fails(gd_snapshot_parse(bad[i].json, strlen(bad[i].json), &s, &err),
		             bad[i].code, &err);
		assert_contains(err.msg, "snapshot.json: ");
		assert_int_equal(s.pid, 5); /* untouched */
	}
}

static void the_plan_of_a_capture_reads_as_a_snapshot(void **state)
{
	(void)state;
	static const char plan[] = "{\"format\":1,\"id\":\"abc\",\"pid\":42,\"profile\":\"light\","
	                           "\"collectors\":[\"proc\"]}";
	struct gd_snapshot s;
	struct gd_error err = { 0 };
	assert_ok(gd_snapshot_parse(plan, strlen(plan), &s, &err), &err);
	assert_string_equal(s.id, "abc");
	assert_int_equal(s.pid, 42);
	assert_string_equal(s.profile, "light");
	gd_snapshot_deinit(&s);
}

static void names_stay_below_their_directory(void **state)
{
	(void)state;
	static const char *const good[] = { "a", "proc/net/tcp6", "goroutines.txt", "a..b", "A-1_2",
		                            "x@1:2+3=4", "a/b./c" };
	static const char *const bad[] = { "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..",
		                           "a/../b", "./a", "a/.b", ".a", "a b", "a\\b", "a\nb", "\xc3\xa9",
		                           "a\x7f", "-rf\t" };
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!gd_layout_name_ok(good[i]))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (gd_layout_name_ok(bad[i]))
			fail_msg("%s", bad[i]);
	char name[202];
	memset(name, 'a', 201);
	name[201] = '\0';
	assert_false(gd_layout_name_ok(name));
	name[200] = '\0';
	assert_true(gd_layout_name_ok(name));
}

static void an_index_names_exactly_one_manifest(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "{}", "{\"manifests\":[]}", "{\"manifests\":[{}]}", "{\"manifests\":{}}",
		"{\"manifests\":[{\"digest\":\"sha256:zz\"}]}",
		"{\"manifests\":[{\"digest\":\"md5:00\"}]}",
	};
	char digest[GD_LAYOUT_DIGEST] = "before";
	struct gd_error err = { 0 };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_fails(gd_layout_parse_index(bad[i], strlen(bad[i]), digest, &err), -EBADMSG,
		             &err);
	assert_string_equal(digest, "before");
}

static void a_tag_is_the_id_when_it_can_be_one(void **state)
{
	(void)state;
	static char good[] = "20261120T130507.000Z-14f9ae8d";
	static char bad[] = "a/../b c";
	GD_BUF struct gd_buf json = GD_BUF_INIT(4096);
	struct gd_manifest manifest = { .id = good };
	gd_layout_put_index(&manifest, "sha256:0", 1, &json);
	assert_contains(gd_buf_str(&json), "ref.name\":\"20261120T130507.000Z-14f9ae8d\"");
	gd_buf_reset(&json);
	manifest.id = bad;
	gd_layout_put_index(&manifest, "sha256:0", 1, &json);
	assert_contains(gd_buf_str(&json), "ref.name\":\"snapshot\"");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_is_written_is_read_back),
		test_case(an_empty_object_is_an_empty_snapshot),
		test_case(wrong_types_count_as_missing),
		test_case(nonsense_is_refused_with_a_reason),
		test_case(the_plan_of_a_capture_reads_as_a_snapshot),
		test_case(names_stay_below_their_directory),
		test_case(an_index_names_exactly_one_manifest),
		test_case(a_tag_is_the_id_when_it_can_be_one),
	};
	return test_run(tests);
}
