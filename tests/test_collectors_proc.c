#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "collectors/collector.h"
#include "tests/kept.h"

/* Static: a hundred artifacts are too much for a test's stack. */
static struct kept kept;

static struct gd_outcome collect_into(struct gd_target *target, struct gd_sink *sink,
                                      const volatile sig_atomic_t *cancelled)
{
	struct gd_collect c = { .target = target, .sink = sink, .cancelled = cancelled };
	return gd_collector_proc.collect(&c);
}

static struct gd_target *open_target(pid_t pid)
{
	struct gd_error err = { 0 };
	struct gd_target *target = NULL;
	assert_ok(gd_target_open(pid, &target, &err), &err);
	return target;
}

/* Collects a process into `kept`, which must come out complete. */
static void collect_whole(pid_t pid)
{
	GD_TARGET struct gd_target *t = open_target(pid);
	kept_init(&kept);
	struct gd_outcome outcome = collect_into(t, &kept.sink, NULL);
	if (outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("%s: %s", gd_grade_name(outcome.grade), outcome.why.msg);
}

static const char *text_of(const char *name)
{
	const struct kept_artifact *a = kept_find(&kept, name);
	if (a == NULL || a->bytes.data == NULL)
		fail_msg("no artifact %s", name);
	return a->bytes.data;
}

/* The first line of a list whose member `key` is `value`; borrowed from *ret_doc. */
static json_t *find_line(const char *name, const char *key, json_int_t value, json_t **ret_doc)
{
	for (const char *p = text_of(name); *p != '\0';) {
		size_t n = strcspn(p, "\n");
		json_error_t error;
		json_t *line = json_loadb(p, n, 0, &error);
		if (line == NULL)
			fail_msg("%s: %s: %.*s", name, error.text, (int)n, p);
		json_t *member = json_object_get(line, key);
		if (json_is_array(member))
			member = json_array_get(member, 0);
		if (json_is_integer(member) && json_integer_value(member) == value) {
			*ret_doc = line;
			return line;
		}
		json_decref(line);
		p += n + (p[n] == '\n');
	}
	fail_msg("%s: no line with %s %lld", name, key, (long long)value);
	return NULL;
}

static int said(const struct victim *v, const char *name)
{
	char word[64];
	(void)snprintf(word, sizeof(word), "%s ", name);
	const char *at = strstr(v->said.data, word);
	return at != NULL ? (int)strtol(at + strlen(word), NULL, 10) : -1;
}

static struct victim *start_household(void)
{
	return victim_start("household", "--name", "x", NULL);
}

static void an_ordinary_process_comes_out_complete(void **state)
{
	(void)state;
	struct victim *v = start_household();
	collect_whole(v->pid);
	static const char *const expected[] = {
		"proc/status", "proc/stat", "proc/statm", "proc/limits", "proc/maps", "proc/io",
		"proc/smaps_rollup", "proc/schedstat", "proc/wchan", "proc/oom_score",
		"proc/oom_score_adj", "proc/cgroup", "proc/mountinfo", "proc/threads.jsonl",
		"proc/kernel_stacks.txt", "proc/fds.jsonl", "proc/sockets.jsonl", "proc/cmdline.json",
		"proc/environ.jsonl", "proc/links.json", "proc/namespaces.json",
		"cgroup/groups.jsonl", "cgroup/ancestors.jsonl", "host/loadavg", "host/meminfo",
		"host/vmstat", "host/uptime", "host/version", "host/cpuinfo.json",
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct kept_artifact *a = kept_find(&kept, expected[i]);
		if (a == NULL)
			fail_msg("no artifact %s", expected[i]);
		bool may_lack = strstr(expected[i], "stack") != NULL ||
		                strstr(expected[i], "sched") != NULL;
		if (!may_lack)
			assert_int_equal(a->outcome.grade, GD_GRADE_COMPLETE);
		assert_false(a->open);
	}
	char line[32];
	(void)snprintf(line, sizeof(line), "\nPid:\t%d\n", v->pid);
	assert_contains(text_of("proc/status"), line);
	assert_contains(text_of("proc/maps"), "/household");
	/* Everything skipped says why. */
	for (size_t i = 0; i < kept.n; i++)
		if (kept.list[i].outcome.grade != GD_GRADE_COMPLETE)
			assert_true(kept.list[i].outcome.why.msg[0] != '\0');
	kept_deinit(&kept);
}

static void no_planted_secret_is_in_any_artifact(void **state)
{
	(void)state;
	static const char canary[] = "c4n4ry-Zq7";
	assert_int_equal(setenv("APP_PASSWORD", "c4n4ry-Zq7", 1), 0);
	assert_int_equal(setenv("SOMETHING", "c4n4ry-Zq7", 1), 0);
	assert_int_equal(setenv("GODEBUG", "http=u:c4n4ry-Zq7@h", 1), 0);
	assert_int_equal(setenv("GOGC", "77", 1), 0);
	struct victim *v = victim_start(
		"household", "--db-password=c4n4ry-Zq7", "--token", "c4n4ry-Zq7",
		"postgres://u:c4n4ry-Zq7@h/d", "u:c4n4ry-Zq7@tcp(h)/d", "API_KEY=c4n4ry-Zq7",
		"Authorization: Bearer c4n4ry-Zq7", "eyJhbGciOiJIUzI1NiJ9c4n4ry-Zq7.a.b",
		"-----BEGIN PRIVATE KEY-----\nc4n4ry-Zq7", "sh -c 'x --secret c4n4ry-Zq7'",
		"AKIAC4N4RYC4N4RYC4N4", "--auth", "--cookie", "c4n4ry-Zq7", "--harmless", "value", NULL);
	(void)unsetenv("APP_PASSWORD");
	(void)unsetenv("SOMETHING");
	(void)unsetenv("GODEBUG");
	(void)unsetenv("GOGC");
	collect_whole(v->pid);
	for (size_t i = 0; i < kept.n; i++) {
		const struct kept_artifact *a = &kept.list[i];
		if (a->bytes.len > 0 &&
		    (memmem(a->bytes.data, a->bytes.len, canary, strlen(canary)) != NULL ||
		     memmem(a->bytes.data, a->bytes.len, "AKIAC4", 6) != NULL))
			fail_msg("%s holds a secret", a->name);
	}
	/* And what is harmless is there, or the test would pass with nothing read. */
	assert_contains(text_of("proc/cmdline.json"), "\"--db-password=[masked]\"");
	assert_contains(text_of("proc/cmdline.json"), "\"--harmless\",\"value\"");
	assert_contains(text_of("proc/environ.jsonl"), "{\"name\":\"APP_PASSWORD\",\"value_bytes\":10}");
	assert_contains(text_of("proc/environ.jsonl"), "{\"name\":\"GOGC\",\"value\":\"77\"}");
	kept_deinit(&kept);
}

static void fd_is(const struct victim *v, const char *name, const char *type, const char *access)
{
	json_t *doc = NULL;
	json_t *line = find_line("proc/fds.jsonl", "fd", said(v, name), &doc);
	assert_string_equal(json_string_value(json_object_get(line, "type")), type);
	const char *is = json_string_value(json_object_get(line, "access"));
	if (access != NULL)
		assert_string_equal(is, access);
	else
		assert_null(is);
	json_decref(doc);
}

static void descriptors_are_listed_with_their_types(void **state)
{
	(void)state;
	struct victim *v = start_household();
	collect_whole(v->pid);
	fd_is(v, "tcp-listener", "socket", NULL);
	fd_is(v, "deleted", "file", "rw");
	fd_is(v, "append", "device", "w");
	fd_is(v, "path", "file", "path");
	fd_is(v, "memfd", "memfd", "rw");
	fd_is(v, "eventfd", "eventfd", "rw");
	fd_is(v, "pipe", "pipe", "r");
	fd_is(v, "namespace", "namespace", "r");
	/* Its fdinfo would be walked with the lock held that epoll_wait needs. */
	fd_is(v, "epoll", "epoll", NULL);

	json_t *doc = NULL;
	json_t *line = find_line("proc/fds.jsonl", "fd", said(v, "deleted"), &doc);
	assert_true(json_is_true(json_object_get(line, "deleted")));
	assert_int_equal(json_integer_value(json_object_get(line, "position")), 10);
	json_decref(doc);
	line = find_line("proc/fds.jsonl", "fd", said(v, "append"), &doc);
	assert_true(json_is_true(json_object_get(line, "append")));
	assert_true(json_is_true(json_object_get(line, "cloexec")));
	json_decref(doc);
	line = find_line("proc/fds.jsonl", "fd", said(v, "memfd"), &doc);
	assert_string_equal(json_string_value(json_object_get(line, "target")),
	                    "/memfd:a\nb (deleted)");
	json_decref(doc);
	kept_deinit(&kept);
}

static void socket_is(const struct victim *v, const char *name, const char *key, const char *value)
{
	json_t *doc = NULL;
	json_t *line = find_line("proc/sockets.jsonl", "fds", said(v, name), &doc);
	json_t *member = json_object_get(line, key);
	if (value != NULL)
		assert_string_equal(json_string_value(member), value);
	else
		assert_true(json_is_null(member));
	json_decref(doc);
}

static void sockets_are_found_again_in_the_tables(void **state)
{
	(void)state;
	struct victim *v = start_household();
	collect_whole(v->pid);
	char local[64];
	(void)snprintf(local, sizeof(local), "127.0.0.1:%d", said(v, "port"));
	socket_is(v, "tcp-listener", "local", local);
	socket_is(v, "tcp-listener", "state", "LISTEN");
	socket_is(v, "tcp-client", "remote", local);
	socket_is(v, "tcp-client", "state", "ESTABLISHED");
	socket_is(v, "udp", "protocol", "udp");
	socket_is(v, "unix-abstract", "protocol", "unix");
	socket_is(v, "unix-abstract", "state", "LISTEN");
	socket_is(v, "unix-pair", "type", "datagram");
	socket_is(v, "unix-pair", "state", "CONNECTED");
	socket_is(v, "netlink", "protocol", "netlink");
	socket_is(v, "odd", "protocol", NULL);
	if (said(v, "tcp6-listener") >= 0)
		socket_is(v, "tcp6-listener", "protocol", "tcp6");

	json_t *doc = NULL;
	json_t *line = find_line("proc/sockets.jsonl", "fds", said(v, "tcp-server"), &doc);
	assert_int_equal(json_integer_value(json_object_get(line, "rx_queue")), 3);
	json_t *fds = json_object_get(line, "fds");
	assert_int_equal(json_array_size(fds), 2);
	assert_int_equal(json_integer_value(json_array_get(fds, 1)), said(v, "tcp-duplicate"));
	json_decref(doc);
	kept_deinit(&kept);
}

static void wait_until_asleep(pid_t pid)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (int tries = 0; tries < 500; tries++) {
		struct gd_stat stat;
		struct gd_error err = { 0 };
		GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
		assert_ok(gd_io_read_file_at(AT_FDCWD, path, &text, &err), &err);
		assert_ok(gd_stat_parse(text.data, text.len, &stat, &err), &err);
		if (stat.state == 'S')
			return;
		(void)usleep(10000);
	}
	fail_msg("process %d does not fall asleep", (int)pid);
}

static void every_thread_has_its_line_and_its_stack(void **state)
{
	(void)state;
	struct victim *v = start_household();
	wait_until_asleep(v->pid); /* it may still be on its way out of saying "ready" */
	collect_whole(v->pid);
	json_t *doc = NULL;
	json_t *line = find_line("proc/threads.jsonl", "tid", v->pid, &doc);
	assert_string_equal(json_string_value(json_object_get(line, "comm")), "household");
	assert_string_equal(json_string_value(json_object_get(line, "state")), "S");
	assert_true(json_integer_value(json_object_get(line, "voluntary_switches")) > 0);
	json_decref(doc);
	size_t named = 0;
	size_t lines = 0;
	for (const char *p = text_of("proc/threads.jsonl"); *p != '\0'; p += strcspn(p, "\n") + 1) {
		json_t *one = json_loadb(p, strcspn(p, "\n"), 0, NULL);
		const char *comm = json_string_value(json_object_get(one, "comm"));
		named += comm != NULL && strcmp(comm, "a) R \"\n") == 0;
		lines++;
		json_decref(one);
	}
	assert_int_equal(lines, 11);
	assert_int_equal(named, 10);
	const struct kept_artifact *stacks = kept_find(&kept, "proc/kernel_stacks.txt");
	if (stacks->outcome.grade == GD_GRADE_COMPLETE) {
		assert_contains(stacks->bytes.data, "\"household\" S\n[<0>]");
		assert_contains(stacks->bytes.data, "\"a) R \"\\x0a\" S\n");
	} else {
		assert_true(stacks->outcome.why.msg[0] != '\0');
	}
	kept_deinit(&kept);
}

static void a_process_that_has_exited_leaves_failed_artifacts_with_the_reason(void **state)
{
	(void)state;
	struct victim *v = start_household();
	GD_TARGET struct gd_target *t = open_target(v->pid);
	victim_stop(v);
	kept_init(&kept);
	struct gd_outcome outcome = collect_into(t, &kept.sink, NULL);
	/* What is the host's is still there. */
	assert_int_equal(outcome.grade, GD_GRADE_PARTIAL);
	assert_int_equal(outcome.why.code, -ESRCH);
	for (size_t i = 0; i < kept.n; i++) {
		const struct kept_artifact *a = &kept.list[i];
		if (strncmp(a->name, "proc/", 5) == 0) {
			assert_int_equal(a->outcome.grade, GD_GRADE_FAILED);
			assert_int_equal(a->outcome.why.code, -ESRCH);
		}
	}
	kept_deinit(&kept);
}

static void an_interrupted_collection_records_what_it_did_not_do(void **state)
{
	(void)state;
	struct victim *v = start_household();
	volatile sig_atomic_t cancelled = 1;
	GD_TARGET struct gd_target *t = open_target(v->pid);
	kept_init(&kept);
	struct gd_outcome outcome = collect_into(t, &kept.sink, &cancelled);
	assert_true(outcome.grade > GD_GRADE_COMPLETE);
	assert_int_equal(outcome.why.code, -ECANCELED);
	const struct kept_artifact *maps = kept_find(&kept, "proc/maps");
	assert_non_null(maps);
	assert_int_equal(maps->outcome.why.code, -ECANCELED);
	assert_non_null(kept_find(&kept, "proc/cmdline.json"));
	assert_non_null(kept_find(&kept, "host/meminfo"));
	kept_deinit(&kept);
}

/* As nobody; the child does not assert, it answers with a number. */
static int collect_without_rights(pid_t pid)
{
	GD_TARGET struct gd_target *t = NULL;
	if (gd_target_open(pid, &t, NULL) < 0)
		return 1;
	kept_init(&kept);
	struct gd_outcome outcome = collect_into(t, &kept.sink, NULL);
	const struct kept_artifact *environ_lines = kept_find(&kept, "proc/environ.jsonl");
	const struct kept_artifact *status = kept_find(&kept, "proc/status");
	const struct kept_artifact *fds = kept_find(&kept, "proc/fds.jsonl");
	const struct kept_artifact *sockets = kept_find(&kept, "proc/sockets.jsonl");
	if (outcome.grade != GD_GRADE_PARTIAL || outcome.why.code != -EACCES)
		return 2;
	if (environ_lines == NULL || environ_lines->outcome.grade != GD_GRADE_SKIPPED ||
	    strstr(environ_lines->outcome.why.msg, "CAP_SYS_PTRACE") == NULL)
		return 3;
	if (status == NULL || status->outcome.grade != GD_GRADE_COMPLETE)
		return 4;
	if (fds == NULL || fds->outcome.grade != GD_GRADE_SKIPPED || sockets == NULL ||
	    sockets->outcome.grade != GD_GRADE_SKIPPED)
		return 5;
	const struct kept_artifact *maps = kept_find(&kept, "proc/maps");
	if (maps == NULL || maps->outcome.grade != GD_GRADE_SKIPPED)
		return 6;
	return 0;
}

static void another_users_process_is_skipped_with_what_would_be_needed(void **state)
{
	(void)state;
	if (geteuid() != 0)
		test_skip("only root can become another user");
	struct victim *v = start_household();
	pid_t child = fork();
	if (child == 0) {
		if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
			_exit(100);
		_exit(collect_without_rights(v->pid));
	}
	test_child_exits(child, 0);
}

static int refuse_open(struct gd_sink *sink, const struct gd_artifact *artifact,
                       struct gd_stream **ret, struct gd_error *err)
{
	(void)sink;
	(void)ret;
	return gd_fail(err, -ENOSPC, "%s: no space", artifact->name);
}

static int refuse_absent(struct gd_sink *sink, const struct gd_artifact *artifact,
                         const struct gd_outcome *outcome, struct gd_error *err)
{
	(void)sink;
	(void)outcome;
	return gd_fail(err, -ENOSPC, "%s: no space", artifact->name);
}

static void a_sink_that_refuses_is_a_failed_collection(void **state)
{
	(void)state;
	struct gd_sink full = { .open = refuse_open, .absent = refuse_absent };
	GD_TARGET struct gd_target *t = open_target(getpid());
	struct gd_outcome outcome = collect_into(t, &full, NULL);
	assert_int_equal(outcome.grade, GD_GRADE_FAILED);
	assert_int_equal(outcome.why.code, -ENOSPC);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_ordinary_process_comes_out_complete),
		test_case(no_planted_secret_is_in_any_artifact),
		test_case(descriptors_are_listed_with_their_types),
		test_case(sockets_are_found_again_in_the_tables),
		test_case(every_thread_has_its_line_and_its_stack),
		test_case(a_process_that_has_exited_leaves_failed_artifacts_with_the_reason),
		test_case(an_interrupted_collection_records_what_it_did_not_do),
		test_case(another_users_process_is_skipped_with_what_would_be_needed),
		test_case(a_sink_that_refuses_is_a_failed_collection),
	};
	return test_run(tests);
}
