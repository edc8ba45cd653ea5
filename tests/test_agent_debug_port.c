/*
 * Whole captures of a process whose debug port is ours: one that answers as net/http/pprof does, and all
 * those that answer badly, late, for ever, or as something else.
 */
#include "agent/debug_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "archive/reader.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "tests/profiles.h"
#include "tests/test.h"

#define INDEX "<html><title>/debug/pprof/</title>goroutine heap profile</html>"

/* How the server behaves; which answer is meant stands in its name. */
enum manner {
	GOOD,
	CHUNKED,
	NO_INDEX,          /* an own mux: 404 for the list, the rest is there */
	NOTHING_THERE,
	EVERYTHING_IS_200, /* as single-page applications do */
	PASSWORD,
	REDIRECT,
	TLS_ALERT,
	TLS_WORDS,
	NOT_HTTP,
	SILENT,
	HANGS_UP,
	ENDLESS_HEAD,
	ENDLESS_INDEX,
	IN_USE,
	PROFILE_ENDLESS,
	PROFILE_GARBAGE,
	PROFILE_LATE,
	TRACE_ENDLESS,
	TRACE_GARBAGE,
	TRACE_CUT,
	TRACE_OF_ANOTHER_CLOCK,
	INTERRUPTS, /* us, a second after its trace, and its profile never comes */
};

/* What the server has seen; shared with it. */
struct seen {
	_Atomic unsigned connections, requests, others, redirected;
};

struct server {
	pid_t pid, test;
	uint16_t port;
	struct seen *seen;
};

/* ---- the server: one connection after the other, each in a process of its own ---------------- */

static void say(int fd, const char *text)
{
	(void)gd_io_write_all(fd, text, strlen(text), NULL);
}

static void say_bytes(int fd, const void *bytes, size_t n)
{
	char head[128];
	(void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
	say(fd, head);
	(void)gd_io_write_all(fd, bytes, n, NULL);
}

static void say_chunked(int fd, const char *bytes, size_t n)
{
	say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < n; at += 7) {
		size_t piece = n - at < 7 ? n - at : 7;
		char head[32];
		(void)snprintf(head, sizeof(head), "%zx\r\n", piece);
		say(fd, head);
		(void)gd_io_write_all(fd, bytes + at, piece, NULL);
		say(fd, "\r\n");
	}
	say(fd, "0\r\n\r\n");
}

static void say_for_ever(int fd, const char *head, const void *begin, size_t n_begin)
{
	static char noise[65536];
	memset(noise, '#', sizeof(noise));
	say(fd, head);
	(void)gd_io_write_all(fd, begin, n_begin, NULL);
	while (gd_io_write_all(fd, noise, sizeof(noise), NULL) == 0)
		;
}

static void put_uvarint(struct gd_buf *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		gd_buf_putc(to, (char)(value | 0x80));
	gd_buf_putc(to, (char)value);
}

static void put_batch(struct gd_buf *to, uint64_t ticks, const char *events, size_t n)
{
	gd_buf_putc(to, 1);
	put_uvarint(to, 1);
	put_uvarint(to, 7);
	put_uvarint(to, ticks);
	put_uvarint(to, n);
	gd_buf_append(to, events, n);
}

/* A trace of now, in the form of Go 1.22. */
static void make_trace(struct gd_buf *to, int64_t off_ns)
{
	uint64_t ticks = (uint64_t)(gd_clock_monotonic_ns() + off_ns) / 64;
	gd_buf_append(to, "go 1.22 trace\0\0\0", 16);
	put_batch(to, ticks, "", 0);
	put_batch(to, ticks + 1, "\x08\xa8\xd6\xb9\x07", 5); /* 15,625,000 in a second */
}

static void answer_profile(int fd, enum manner how)
{
	struct profile shop = profile_shop();
	GD_BUF struct gd_buf gz = profile_gzip(&shop);
	if (how == IN_USE)
		say(fd, "HTTP/1.1 500 Oh\r\nContent-Length: 62\r\n\r\n"
		        "Could not enable CPU profiling: cpu profiling already in use\n\x1b");
	else if (how == PROFILE_ENDLESS)
		say_for_ever(fd, "HTTP/1.1 200 OK\r\n\r\n", gz.data, gz.len);
	else if (how == PROFILE_GARBAGE)
		say_bytes(fd, "no profile at all", 17);
	else if (how == PROFILE_LATE || how == INTERRUPTS)
		(void)pause();
	else if (how == CHUNKED)
		say_chunked(fd, gz.data, gz.len);
	else
		say_bytes(fd, gz.data, gz.len);
}

static void answer_trace(int fd, enum manner how, pid_t test)
{
	GD_BUF struct gd_buf trace = GD_BUF_INIT(1 << 16);
	make_trace(&trace, how == TRACE_OF_ANOTHER_CLOCK ? INT64_C(-86400) * 1000000000 : 0);
	if (how == TRACE_ENDLESS)
		say_for_ever(fd, "HTTP/1.1 200 OK\r\n\r\n", trace.data, trace.len);
	else if (how == TRACE_GARBAGE)
		say_bytes(fd, "no trace at all", 15);
	else if (how == TRACE_CUT) {
		say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
		(void)gd_io_write_all(fd, trace.data, trace.len - 2, NULL);
	} else if (how == CHUNKED) {
		say_chunked(fd, trace.data, trace.len);
	} else {
		say_bytes(fd, trace.data, trace.len);
	}
	if (how == INTERRUPTS) {
		(void)sleep(1);
		(void)kill(test, SIGALRM);
	}
}

/* Before anything is understood of the request; true: that was all. */
static bool answer_as_something_else(int fd, enum manner how, uint16_t port)
{
	char text[256];
	switch ((int)how) {
	case PASSWORD:
		say(fd, "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
		return true;
	case REDIRECT:
		(void)snprintf(text, sizeof(text), "HTTP/1.1 302 There\r\nLocation: "
		               "http://127.0.0.1:%u/elsewhere\r\nContent-Length: 0\r\n\r\n", port);
		say(fd, text);
		return true;
	case TLS_ALERT:
		(void)gd_io_write_all(fd, "\x15\x03\x01\x00\x02\x02\x16", 7, NULL);
		return true;
	case TLS_WORDS:
		say(fd, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
		return true;
	case NOT_HTTP:
		say(fd, "-ERR unknown command 'GET'\r\n");
		return true;
	case SILENT:
		(void)pause();
		return true;
	case HANGS_UP:
		return true;
	case ENDLESS_HEAD:
		say_for_ever(fd, "HTTP/1.1 200 OK\r\nX-Noise: ", "", 0);
		return true;
	case ENDLESS_INDEX:
		say_for_ever(fd, "HTTP/1.1 200 OK\r\n\r\n", INDEX, strlen(INDEX));
		return true;
	case EVERYTHING_IS_200:
		say_bytes(fd, "<html>our shop</html>", 21);
		return true;
	default:
		return false;
	}
}

static bool asks(const char *request, const char *path)
{
	return strncmp(request, "GET ", 4) == 0 && strncmp(request + 4, path, strlen(path)) == 0;
}

static void answer(int fd, enum manner how, const struct server *s)
{
	char request[4096] = "";
	ssize_t n = read(fd, request, sizeof(request) - 1);
	if (n <= 0)
		return;
	s->seen->requests++;
	s->seen->redirected += asks(request, "/elsewhere");
	s->seen->others += !asks(request, "/debug/pprof/");
	if (answer_as_something_else(fd, how, s->port))
		return;
	if (how == NOTHING_THERE || (how == NO_INDEX && asks(request, "/debug/pprof/ ")))
		say(fd, "HTTP/1.1 404 No\r\nContent-Length: 9\r\n\r\nnot found");
	else if (asks(request, "/debug/pprof/ "))
		say_bytes(fd, INDEX, strlen(INDEX));
	else if (asks(request, "/debug/pprof/symbol "))
		say_bytes(fd, "num_symbols: 1\n", 15);
	else if (asks(request, "/debug/pprof/profile?seconds=1 "))
		answer_profile(fd, how);
	else if (asks(request, "/debug/pprof/trace?seconds=0.100 "))
		answer_trace(fd, how, s->test);
	else
		s->seen->others++;
}

static _Noreturn void serve(int listener, enum manner how, const struct server *s)
{
	enum { KEPT = 16 };
	int kept[KEPT] = { 0 };
	unsigned n = 0;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGCHLD, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			_exit(1);
		s->seen->connections++;
		if (fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			answer(fd, how, s);
			(void)shutdown(fd, SHUT_RDWR);
			_exit(0);
		}
		/* Who has accepted it is looked for, and must have it then. */
		if (kept[n % KEPT] > 0)
			(void)close(kept[n % KEPT]);
		kept[n++ % KEPT] = fd;
	}
}

static int listen_on_loopback(uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static struct server server_start(enum manner how)
{
	struct server s = { .test = getpid() };
	s.seen = mmap(NULL, sizeof(*s.seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s.seen != MAP_FAILED);
	int listener = listen_on_loopback(&s.port);
	s.pid = fork();
	if (s.pid == 0)
		serve(listener, how, &s);
	(void)close(listener);
	return s;
}

static void server_stop(struct server *s)
{
	assert_int_equal(kill(s->pid, SIGKILL), 0);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	assert_int_equal(munmap(s->seen, sizeof(*s->seen)), 0);
}

/* ---- captures -------------------------------------------------------------------------------- */

static enum gd_exit capture(pid_t pid, uint16_t port, const volatile sig_atomic_t *cancelled,
                            struct gd_capture_result *ret, struct gd_error *err)
{
	struct gd_plan plan;
	assert_ok(gd_plan_make(GD_PROFILE_STANDARD, "debug_port", NULL, &plan, err), err);
	plan.window.duration_ns = INT64_C(200000000);
	plan.debug_port.port = port;
	plan.debug_port.trace_ns = INT64_C(100000000);
	const struct gd_capture_options options = { .pid = pid, .plan = &plan,
		                                    .output_dir = test_dir(), .trigger = "manual",
		                                    .cancelled = cancelled };
	return gd_capture_run(&options, ret, err);
}

static const struct gd_artifact_row *row_of(const struct gd_capture_result *r, const char *name)
{
	for (size_t i = 0; i < r->snapshot.n_artifacts; i++)
		if (strcmp(r->snapshot.artifacts[i].name, name) == 0)
			return &r->snapshot.artifacts[i];
	fail_msg("no artifact %s", name);
	return NULL;
}

static json_t *facts_of(const struct gd_capture_result *r)
{
	struct gd_reader reader;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	assert_ok(gd_reader_open(r->sealed.path, &reader, &err), &err);
	assert_ok(gd_reader_load(&reader, GD_DEBUG_PORT_FACTS, &text, &err), &err);
	gd_reader_close(&reader);
	json_t *facts = json_loadb(text.data, text.len, 0, NULL);
	assert_non_null(facts);
	return facts;
}

static json_t *get(json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);
	if (value == NULL)
		print_error("no \"%s\" in the facts\n", key);
	assert_non_null(value);
	return value;
}

struct row {
	enum manner how;
	enum gd_grade cpu, trace;
	const char *cpu_why, *trace_why; /* part of it; NULL: complete */
};

static void expect_grade(const struct row *row, const struct gd_artifact_row *artifact,
                         enum gd_grade grade, const char *why)
{
	if (artifact->outcome.grade != grade)
		print_error("manner %d: %s is %s: %s\n", row->how, artifact->name,
		            gd_grade_name(artifact->outcome.grade), artifact->outcome.why.msg);
	assert_int_equal(artifact->outcome.grade, grade);
	if (why != NULL)
		assert_contains(artifact->outcome.why.msg, why);
	assert_int_equal(artifact->digest[0] != '\0', grade <= GD_GRADE_PARTIAL);
}

static void expect(const struct row *row)
{
	struct server s = server_start(row->how);
	struct gd_capture_result r;
	struct gd_error err = { 0 };
	enum gd_exit exit = capture(s.pid, 0, NULL, &r, &err);
	bool whole = row->cpu == GD_GRADE_COMPLETE && row->trace == GD_GRADE_COMPLETE;
	expect_grade(row, row_of(&r, GD_DEBUG_PORT_CPU), row->cpu, row->cpu_why);
	expect_grade(row, row_of(&r, GD_DEBUG_PORT_TRACE), row->trace, row->trace_why);
	expect_grade(row, row_of(&r, GD_DEBUG_PORT_FACTS), GD_GRADE_COMPLETE, NULL);
	assert_int_equal(exit, whole ? GD_EXIT_COMPLETE : GD_EXIT_PARTIAL);
	/* Nothing is asked but pprof's pages, and nothing is followed. */
	assert_int_equal(s.seen->others, 0);
	assert_int_equal(s.seen->redirected, 0);
	assert_true(s.seen->connections <= 4);
	gd_capture_result_deinit(&r);
	server_stop(&s);
}

static void what_offers_profiles_is_taken(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{ GOOD, GD_GRADE_COMPLETE, GD_GRADE_COMPLETE, NULL, NULL },
		{ CHUNKED, GD_GRADE_COMPLETE, GD_GRADE_COMPLETE, NULL, NULL },
		{ NO_INDEX, GD_GRADE_COMPLETE, GD_GRADE_COMPLETE, NULL, NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void what_does_not_is_skipped_with_its_reason(void **state)
{
	(void)state;
	enum gd_grade skipped = GD_GRADE_SKIPPED;
	const struct row rows[] = {
		{ NOTHING_THERE, skipped, skipped, "HTTP 404", "HTTP 404" },
		{ EVERYTHING_IS_200, skipped, skipped, "not as net/http/pprof", "not as net/http/pprof" },
		{ PASSWORD, skipped, skipped, "password (HTTP 401)", "password (HTTP 401)" },
		{ REDIRECT, skipped, skipped, "not followed", "HTTP 302" },
		{ TLS_ALERT, skipped, skipped, "TLS", "TLS" },
		{ TLS_WORDS, skipped, skipped, "TLS", "TLS" },
		{ NOT_HTTP, skipped, skipped, "does not speak HTTP", "does not speak HTTP" },
		{ SILENT, skipped, skipped, "no answer within", "no answer within" },
		{ HANGS_UP, skipped, skipped, "hung up", "hung up" },
		{ ENDLESS_HEAD, skipped, skipped, "no net/http/pprof", "no net/http/pprof" },
		{ ENDLESS_INDEX, skipped, skipped, "more than", "more than" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void a_bad_answer_costs_its_artifact(void **state)
{
	(void)state;
	enum gd_grade good = GD_GRADE_COMPLETE;
	enum gd_grade failed = GD_GRADE_FAILED;
	enum gd_grade partial = GD_GRADE_PARTIAL;
	const struct row rows[] = {
		{ IN_USE, GD_GRADE_SKIPPED, good, "HTTP 500: Could not enable CPU profiling: cpu "
		  "profiling already in use", NULL },
		{ PROFILE_ENDLESS, failed, good, "more than 16 MiB", NULL },
		{ PROFILE_GARBAGE, failed, good, "its answer", NULL },
		{ PROFILE_LATE, failed, good, "no answer within 6.0 s", NULL },
		{ TRACE_ENDLESS, good, partial, NULL, "more than 64 MiB" },
		{ TRACE_GARBAGE, good, failed, NULL, "not an execution trace" },
		{ TRACE_CUT, good, partial, NULL, "hung up" },
		{ TRACE_OF_ANOTHER_CLOCK, good, good, NULL, NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void the_facts_say_when_and_on_which_clock(void **state)
{
	(void)state;
	for (int off = 0; off < 2; off++) {
		struct server s = server_start(off ? TRACE_OF_ANOTHER_CLOCK : GOOD);
		struct gd_capture_result r;
		struct gd_error err = { 0 };
		int64_t before = gd_clock_monotonic_ns();
		assert_int_equal(capture(s.pid, s.port, NULL, &r, &err), GD_EXIT_COMPLETE);
		int64_t after = gd_clock_monotonic_ns();
		json_t *facts = facts_of(&r);
		json_t *trace = get(facts, "trace");
		json_t *clock = get(trace, "clock");
		char url[128];
		(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/debug/pprof/trace?seconds=0.100",
		               s.port);
		assert_string_equal(json_string_value(get(trace, "url")), url);
		assert_int_equal(json_integer_value(get(trace, "http_status")), 200);
		assert_string_equal(json_string_value(get(clock, "ticks")), "CLOCK_MONOTONIC / 64");
		assert_int_equal(json_integer_value(get(clock, "ticks_per_second")), 15625000);
		int64_t begun = json_integer_value(get(get(trace, "begun"), "monotonic_ns"));
		int64_t ended = json_integer_value(get(get(trace, "ended"), "monotonic_ns"));
		assert_true(before <= begun && begun <= ended && ended <= after);
		/* One whose stamps lie elsewhere is said to be on no clock of ours. */
		assert_int_equal(json_is_true(get(clock, "aligned")), off == 0);
		if (off == 0) {
			int64_t first = json_integer_value(get(clock, "first_monotonic_ns"));
			assert_true(begun <= first + 64 && first <= ended);
		} else {
			assert_null(json_object_get(clock, "points"));
		}
		json_decref(facts);
		gd_capture_result_deinit(&r);
		server_stop(&s);
	}
}

static void another_port_is_not_asked(void **state)
{
	(void)state;
	struct server s = server_start(GOOD);
	struct gd_capture_result r;
	struct gd_error err = { 0 };
	assert_int_equal(capture(s.pid, 1, NULL, &r, &err), GD_EXIT_PARTIAL);
	assert_contains(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.why.msg,
	                "does not listen on TCP port 1");
	assert_int_equal(s.seen->connections, 0);
	gd_capture_result_deinit(&r);
	server_stop(&s);
}

/* Two processes share a listening socket, as during a restart; it is the other one that accepts. */
static void what_another_process_accepts_is_not_spoken_to(void **state)
{
	(void)state;
	struct server s = { 0 };
	struct gd_capture_result r;
	struct gd_error err = { 0 };
	s.seen = mmap(NULL, sizeof(*s.seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s.seen != MAP_FAILED);
	int listener = listen_on_loopback(&s.port);
	s.pid = fork();
	if (s.pid == 0)
		serve(listener, GOOD, &s);
	pid_t idle = fork();
	if (idle == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)pause();
		_exit(0);
	}
	(void)close(listener);
	assert_int_equal(capture(idle, s.port, NULL, &r, &err), GD_EXIT_PARTIAL);
	assert_contains(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.why.msg, "another process answers");
	assert_int_equal(s.seen->requests, 0);
	gd_capture_result_deinit(&r);
	assert_int_equal(kill(idle, SIGKILL), 0);
	assert_int_equal(waitpid(idle, NULL, 0), idle);
	server_stop(&s);
}

static void what_nobody_accepts_is_skipped(void **state)
{
	(void)state;
	uint16_t port;
	struct gd_capture_result r;
	struct gd_error err = { 0 };
	int listener = listen_on_loopback(&port);
	pid_t idle = fork();
	if (idle == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)pause();
		_exit(0);
	}
	(void)close(listener);
	assert_int_equal(capture(idle, port, NULL, &r, &err), GD_EXIT_PARTIAL);
	assert_int_equal(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.grade, GD_GRADE_SKIPPED);
	assert_contains(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.why.msg, "nobody has accepted");
	gd_capture_result_deinit(&r);
	assert_int_equal(kill(idle, SIGKILL), 0);
	assert_int_equal(waitpid(idle, NULL, 0), idle);
}

static volatile sig_atomic_t interrupted;

static void on_alarm(int number)
{
	(void)number;
	interrupted = 1;
}

static void an_interrupt_ends_it_and_what_came_is_sealed(void **state)
{
	(void)state;
	struct server s;
	struct gd_capture_result r;
	struct gd_error err = { 0 };
	struct sigaction action = { .sa_handler = on_alarm };
	interrupted = 0;
	(void)sigaction(SIGALRM, &action, NULL);
	s = server_start(INTERRUPTS);
	assert_int_equal(capture(s.pid, s.port, &interrupted, &r, &err), GD_EXIT_INTERRUPTED);
	/* Its own time limit was not waited for: that would be -ETIMEDOUT. */
	assert_int_equal(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.grade, GD_GRADE_SKIPPED);
	assert_int_equal(row_of(&r, GD_DEBUG_PORT_CPU)->outcome.why.code, -ECANCELED);
	assert_int_equal(row_of(&r, GD_DEBUG_PORT_TRACE)->outcome.grade, GD_GRADE_COMPLETE);
	gd_capture_result_deinit(&r);
	server_stop(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(what_offers_profiles_is_taken),
		test_case(what_does_not_is_skipped_with_its_reason),
		test_case(a_bad_answer_costs_its_artifact),
		test_case(the_facts_say_when_and_on_which_clock),
		test_case(another_port_is_not_asked),
		test_case(what_another_process_accepts_is_not_spoken_to),
		test_case(what_nobody_accepts_is_skipped),
		test_case(an_interrupt_ends_it_and_what_came_is_sealed),
	};
	return test_run(tests);
}
