/*
 * The scraper in its jail against a server of ours that answers well, badly, late and for ever.
 */
#include "agent/scraper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "agent/scraper_list.h"
#include "base/clock.h"
#include "base/io.h"

#include "tests/test.h"

enum { INTERVAL_MS = 100, FAST_MS = 10, SLUGGISH_MS = 3 };

/* What the server has counted: shared with it. */
struct counts {
	_Atomic unsigned fast, slow; /* up to 0.1 s, up to 1 s */
	_Atomic unsigned asked, redirected, connected, at_once, most_at_once;
};

struct server {
	pid_t pid;
	unsigned port;
	struct counts *counts;
};

/* --- the server: one connection after the other, but the late ones are forked off --- */

static void answer_metrics(int fd, const struct counts *c)
{
	char text[2048];
	unsigned fast = c->fast;
	unsigned slow = c->slow;
	int n = snprintf(text, sizeof(text),
	                 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
	                 "# TYPE http_request_duration_seconds histogram\n"
	                 "http_request_duration_seconds_bucket{code=\"200\",le=\"0.1\"} %u\n"
	                 "http_request_duration_seconds_bucket{code=\"200\",le=\"1\"} %u\n"
	                 "http_request_duration_seconds_bucket{code=\"200\",le=\"+Inf\"} %u\n"
	                 "http_request_duration_seconds_count{code=\"200\"} %u\n",
	                 fast, fast + slow, fast + slow, fast + slow);
	(void)gd_io_write_all(fd, text, (size_t)n, NULL);
}

/* As net/http does: this connection answers until its other end closes it. */
static void answer_on_and_on(int fd, struct counts *c)
{
	char body[512];
	char text[1024];
	char request[4096];
	c->connected++;
	do {
		unsigned fast = c->fast;
		int n = snprintf(body, sizeof(body),
		                 "http_request_duration_seconds_bucket{le=\"0.1\"} %u\n"
		                 "http_request_duration_seconds_bucket{le=\"+Inf\"} %u\n", fast, fast);
		n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
		             n, body);
		(void)gd_io_write_all(fd, text, (size_t)n, NULL);
	} while (read(fd, request, sizeof(request)) > 0 && ++c->asked > 0);
}

static void answer_for_ever(int fd)
{
	static char noise[65536];
	static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
	memset(noise, '#', sizeof(noise));
	(void)gd_io_write_all(fd, head, sizeof(head) - 1, NULL);
	while (gd_io_write_all(fd, noise, sizeof(noise), NULL) == 0)
		;
}

static void answer(int fd, struct counts *c, unsigned port)
{
	char request[4096] = "";
	char text[256];
	ssize_t n = read(fd, request, sizeof(request) - 1);
	request[n > 0 ? n : 0] = '\0';
	c->asked++;
	if (strncmp(request, "GET /metrics ", 13) == 0) {
		answer_metrics(fd, c);
	} else if (strncmp(request, "GET /redirect ", 14) == 0) {
		(void)snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\nLocation: "
		               "http://127.0.0.1:%u/target\r\nContent-Length: 0\r\n\r\n", port);
		(void)gd_io_write_all(fd, text, strlen(text), NULL);
	} else if (strncmp(request, "GET /target ", 12) == 0) {
		c->redirected++;
	} else if (strncmp(request, "GET /ever ", 10) == 0) {
		answer_for_ever(fd);
	} else if (strncmp(request, "GET /kept ", 10) == 0) {
		answer_on_and_on(fd, c);
	} else if (strncmp(request, "GET /sluggish ", 14) == 0) {
		if (++c->at_once > c->most_at_once)
			c->most_at_once = c->at_once;
		(void)poll(NULL, 0, SLUGGISH_MS);
		answer_metrics(fd, c);
		c->at_once--;
	} else if (strncmp(request, "GET /late ", 10) == 0) {
		(void)pause();
	} else {
		static const char gone[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
		(void)gd_io_write_all(fd, gone, sizeof(gone) - 1, NULL);
	}
}

static void serve(int listener, struct counts *c, unsigned port)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGCHLD, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			_exit(1);
		if (fork() == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			answer(fd, c, port);
			_exit(0);
		}
		(void)close(fd);
	}
}

static struct server server_start(void)
{
	struct server s = { 0 };
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	s.counts = mmap(NULL, sizeof(*s.counts), PROT_READ | PROT_WRITE,
	                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s.counts != MAP_FAILED);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	s.port = ntohs(at.sin_port);
	s.pid = fork();
	assert_true(s.pid >= 0);
	if (s.pid == 0)
		serve(fd, s.counts, s.port);
	(void)close(fd);
	return s;
}

static void server_stop(struct server *s)
{
	(void)kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	(void)munmap(s->counts, sizeof(*s->counts));
}

/* --- the scraper --- */

struct scraper {
	pid_t pid;
	int fd, child_fd;
};

static int run(void *arg)
{
	const struct scraper *s = arg;
	return gd_scraper_run_every(s->child_fd, INTERVAL_MS * INT64_C(1000000),
	                            FAST_MS * INT64_C(1000000));
}

static struct scraper scraper_start(void)
{
	struct gd_error err = { 0 };
	struct scraper s;
	int fds[2];
	assert_ok(gd_message_pair(fds, &err), &err);
	s.fd = fds[0];
	s.child_fd = fds[1];
	assert_ok(gd_role_fork(GD_ROLE_SCRAPER, &s.child_fd, 1, run, &s, &s.pid, NULL, &err), &err);
	(void)close(s.child_fd);
	return s;
}

static void scraper_end(struct scraper *s)
{
	(void)close(s->fd);
	test_child_exits(s->pid, 0);
}

/* The next sample of that service. */
static struct gd_scraper_sample next(const struct scraper *s, uint32_t service)
{
	struct gd_error err = { 0 };
	struct gd_scraper_sample sample;
	for (unsigned i = 0; i < 1000; i++) {
		struct pollfd wait = { .fd = s->fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, 20000), 1);
		assert_ok(gd_scraper_recv(s->fd, &sample, &err), &err);
		if (sample.service == service)
			return sample;
	}
	fail_msg("service %u is not heard of", service);
	return sample;
}

static void tell_all(const struct scraper *s, const struct server *server, uint32_t generation,
                     const char *const *paths, size_t n, bool fast)
{
	struct gd_error err = { 0 };
	struct gd_scraper_service services[8];
	char urls[8][64];
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%u%s", server->port,
		               paths[i]);
		services[i] = (struct gd_scraper_service){ (uint32_t)i, urls[i],
			                                   "http_request_duration_seconds", fast };
	}
	assert_ok(gd_scraper_tell(s->fd, generation, services, n, &err), &err);
}

static void tell(const struct scraper *s, const struct server *server, uint32_t generation,
                 const char *const *paths, size_t n)
{
	tell_all(s, server, generation, paths, n, false);
}

/* Times that the server is asked while so much passes. */
static unsigned asked_within(const struct scraper *s, const struct server *server, int ms)
{
	unsigned before = server->counts->asked;
	for (int64_t end_ns = gd_clock_monotonic_ns() + ms * INT64_C(1000000);
	     gd_clock_monotonic_ns() < end_ns;)
		(void)next(s, 0); /* or its socket would be full */
	return server->counts->asked - before;
}

static void what_a_rule_waits_for_is_read_often_over_the_same_window(void **state)
{
	static const char *const paths[] = { "/kept" }; /* no fork for each answer */
	struct gd_scraper_sample sample;
	int64_t window_ms;
	(void)state;
	struct server server = server_start();
	struct scraper s = scraper_start();
	tell_all(&s, &server, 1, paths, 1, true);
	(void)next(&s, 0);
	/* 200 are meant, and the machine may be busy; slowly it would be 20. */
	assert_in_range(asked_within(&s, &server, 20 * INTERVAL_MS), 25, 201);
	server.counts->fast += 1000;
	do {
		sample = next(&s, 0);
	} while (sample.requests == 0);
	/* Remembered for two to three intervals, though it was read many times since. */
	int64_t since_ns = gd_clock_monotonic_ns();
	do {
		sample = next(&s, 0);
		window_ms = (gd_clock_monotonic_ns() - since_ns) / 1000000;
	} while (sample.requests != 0);
	assert_true(window_ms >= 2 * INTERVAL_MS - 2 * FAST_MS && window_ms <= 6 * INTERVAL_MS);
	scraper_end(&s);
	server_stop(&server);
}

static void who_answers_slowly_or_badly_is_asked_less_often(void **state)
{
	static const char *const sluggish[] = { "/sluggish" };
	static const char *const nothing[] = { "/nothing" };
	(void)state;
	struct server server = server_start();
	struct scraper s = scraper_start();
	tell_all(&s, &server, 1, sluggish, 1, true);
	(void)next(&s, 0);
	/* 3 ms of 60: at most 17 times a second instead of 100. */
	assert_in_range(asked_within(&s, &server, 1000), 2, 18);
	assert_int_equal(server.counts->most_at_once, 1);
	tell_all(&s, &server, 2, nothing, 1, true);
	while (next(&s, 0).generation != 2)
		;
	assert_in_range(asked_within(&s, &server, 1000), 2, 11);
	scraper_end(&s);
	server_stop(&server);
}

static void a_connection_that_is_kept_open_is_used_again(void **state)
{
	static const char *const paths[] = { "/kept" };
	(void)state;
	struct server server = server_start();
	struct scraper s = scraper_start();
	tell_all(&s, &server, 1, paths, 1, true);
	for (unsigned i = 0; i < 20; i++)
		assert_string_equal(next(&s, 0).why, "");
	assert_true(server.counts->asked >= 20);
	assert_int_equal(server.counts->connected, 1);
	scraper_end(&s);
	server_stop(&server);
}

static void p99_follows_the_requests_of_the_window(void **state)
{
	static const char *const paths[] = { "/metrics" };
	(void)state;
	struct server server = server_start();
	server.counts->slow = 5000; /* before we looked */
	struct scraper s = scraper_start();
	tell(&s, &server, 7, paths, 1);
	struct gd_scraper_sample sample = next(&s, 0);
	assert_int_equal(sample.generation, 7);
	assert_true(isnan(sample.p99_s));
	assert_string_equal(sample.why, "");

	server.counts->fast += 1000;
	do {
		sample = next(&s, 0);
	} while (sample.requests == 0);
	assert_int_equal(sample.requests, 1000);
	assert_true(sample.p99_s > 0.09 && sample.p99_s <= 0.1);
	server.counts->slow += 100;
	do {
		sample = next(&s, 0);
	} while (!(sample.p99_s > 0.1));
	assert_true(sample.p99_s > 0.8 && sample.p99_s <= 1);
	/* Nothing more comes: three intervals later it is forgotten. */
	for (unsigned i = 0; i < 6; i++)
		sample = next(&s, 0);
	assert_true(isnan(sample.p99_s) && sample.requests == 0);
	assert_string_equal(sample.why, "");
	/* It starts anew. */
	server.counts->fast = 3;
	server.counts->slow = 0;
	for (unsigned i = 0; i < 6; i++) {
		sample = next(&s, 0);
		assert_true(isnan(sample.p99_s));
	}
	scraper_end(&s);
	server_stop(&server);
}

static void each_failure_is_told_and_harms_nobody_else(void **state)
{
	static const char *const paths[] = { "/metrics", "/nothing", "/redirect", "/late", "/ever" };
	struct gd_error err = { 0 };
	(void)state;
	struct server server = server_start();
	struct scraper s = scraper_start();
	tell(&s, &server, 1, paths, 5);
	assert_contains(next(&s, 1).why, "HTTP 404");
	assert_contains(next(&s, 2).why, "HTTP 302");
	assert_contains(next(&s, 4).why, "longer than 4 MiB");
	assert_contains(next(&s, 3).why, "tim");
	assert_true(isnan(next(&s, 3).p99_s));
	for (unsigned i = 0; i < 5; i++)
		assert_string_equal(next(&s, 0).why, "");
	assert_int_equal(server.counts->redirected, 0);

	/* Nobody there, and no histogram of that name. */
	char url[64];
	char named[64];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/metrics", server.port);
	(void)snprintf(named, sizeof(named), "http://localhost:%u/metrics", server.port);
	const struct gd_scraper_service others[] = { { 5, "http://127.0.0.1:1/metrics", "d", false },
		                                     { 6, url, "grpc_seconds", false },
		                                     { 7, "file:///etc/hosts", "d", false },
		                                     { 8, url, "", false },
		                                     { 9, named,
		                                       "http_request_duration_seconds",
		                                       true } };
	assert_ok(gd_scraper_tell(s.fd, 2, others, 5, &err), &err);
	assert_true(next(&s, 5).why[0] != '\0');
	assert_contains(next(&s, 6).why, "grpc_seconds_bucket");
	assert_contains(next(&s, 7).why, "rotocol"); /* libcurl 7 and 8 say different things */
	assert_contains(next(&s, 8).why, "no name");
	/* A name is looked up from within the jail. */
	assert_string_equal(next(&s, 9).why, "");
	scraper_end(&s);
	server_stop(&server);
}

static void a_new_list_replaces_the_old_and_keeps_what_was_read(void **state)
{
	static const char *const before[] = { "/nothing", "/metrics" };
	static const char *const after[] = { "/metrics" };
	struct gd_scraper_sample sample;
	(void)state;
	struct server server = server_start();
	struct scraper s = scraper_start();
	tell(&s, &server, 1, before, 2);
	(void)next(&s, 1);
	server.counts->fast += 10;
	tell(&s, &server, 2, after, 1);
	do {
		sample = next(&s, 0);
	} while (sample.generation != 2);
	/* Its first reading has one to compare with. */
	assert_int_equal(sample.requests, 10);
	tell(&s, &server, 3, after, 0);
	/* Nothing is asked any more. */
	unsigned asked;
	do {
		asked = server.counts->asked;
		(void)poll(NULL, 0, 3 * INTERVAL_MS);
	} while (asked != server.counts->asked);
	scraper_end(&s);
	server_stop(&server);
}

static void many_services_fit_into_several_messages(void **state)
{
	struct gd_error err = { 0 };
	struct gd_scraper_service services[256];
	static char url[4001];
	int fds[2];
	(void)state;
	memset(url, 'u', sizeof(url) - 1);
	for (uint32_t i = 0; i < 256; i++)
		services[i] = (struct gd_scraper_service){ i, url, "d", i % 2 == 1 };
	assert_ok(gd_message_pair(fds, &err), &err);
	pid_t pid = fork();
	if (pid == 0)
		_exit(gd_scraper_tell(fds[1], 9, services, 256, NULL) == 0 ? 0 : 1);
	struct gd_scraper_list *list = NULL;
	int r;
	do {
		static char body[GD_MESSAGE_MAX];
		struct gd_message message;
		assert_int_equal(gd_message_recv(fds[0], &message, body, sizeof(body), &err), 1);
		r = gd_scraper_list_take(&list, &message, body, &err);
		assert_ok(r, &err);
	} while (r == 0);
	assert_int_equal(list->n, 256);
	assert_int_equal(list->generation, 9);
	assert_int_equal(list->entries[255].service, 255);
	assert_true(list->entries[255].fast && !list->entries[254].fast);
	assert_string_equal(list->entries[255].url, url);
	assert_string_equal(list->entries[255].histogram, "d");
	gd_scraper_list_free(list);
	test_child_exits(pid, 0);
	(void)close(fds[0]);
	(void)close(fds[1]);
	static char longer[5000];
	memset(longer, 'u', sizeof(longer) - 1);
	services[0].url = longer;
	assert_fails(gd_scraper_tell(-1, 9, services, 1, &err), -E2BIG, &err);
}

static void a_list_that_makes_no_sense_is_refused(void **state)
{
	static const struct gd_scraper_list_head heads[] = {
		{ 1, 257, 0, 0 }, { 1, 2, 1, 1 }, { 1, 2, 0, 3 }, { 1, 1, 0, 1 },
		{ 1, UINT32_MAX, 0, UINT32_MAX }, { 1, 2, UINT32_MAX, 2 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct gd_error err = { 0 };
		struct gd_scraper_list *list = NULL;
		char body[64];
		struct gd_message message = { .type = GD_SCRAPER_LIST, .len = sizeof(body) };
		memset(body, 0xff, sizeof(body));
		memcpy(body, &heads[i], sizeof(heads[i]));
		assert_fails(gd_scraper_list_take(&list, &message, body, &err), -EBADMSG, &err);
		message.len = 5;
		assert_fails(gd_scraper_list_take(&list, &message, body, &err), -EBADMSG, &err);
		gd_scraper_list_free(list);
	}
}

static void samples_are_not_believed(void **state)
{
	struct gd_error err = { 0 };
	struct gd_scraper_sample sample;
	int fds[2];
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct gd_scraper_sample bad = { .service = 3, .p99_s = 0.5 };
		size_t len = sizeof(bad);
		uint16_t type = GD_SCRAPER_SAMPLE;
		switch (i) {
		case 0: bad.service = 256; break;
		case 1: bad.p99_s = -1; break;
		case 2: bad.p99_s = INFINITY; break;
		case 3: memset(bad.why, 'x', sizeof(bad.why)); break;
		case 4: len--; break;
		default: type = GD_SCRAPER_LIST; break;
		}
		assert_ok(gd_message_pair(fds, &err), &err);
		assert_ok(gd_message_send(fds[0], type, 0, &bad, len, NULL, 0, &err), &err);
		assert_fails(gd_scraper_recv(fds[1], &sample, &err), -EBADMSG, &err);
		(void)close(fds[0]);
		assert_int_equal(gd_scraper_recv(fds[1], &sample, &err), 0);
		(void)close(fds[1]);
	}
	struct gd_scraper_sample odd = { .service = 3, .p99_s = 0.5, .why = "a\x1b[2Jb" };
	assert_ok(gd_message_pair(fds, &err), &err);
	assert_ok(gd_message_send(fds[0], GD_SCRAPER_SAMPLE, 0, &odd, sizeof(odd), NULL, 0, &err),
	          &err);
	assert_int_equal(gd_scraper_recv(fds[1], &sample, &err), 1);
	assert_string_equal(sample.why, "a?[2Jb");
	(void)close(fds[0]);
	(void)close(fds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(p99_follows_the_requests_of_the_window),
		test_case(what_a_rule_waits_for_is_read_often_over_the_same_window),
		test_case(who_answers_slowly_or_badly_is_asked_less_often),
		test_case(a_connection_that_is_kept_open_is_used_again),
		test_case(each_failure_is_told_and_harms_nobody_else),
		test_case(a_new_list_replaces_the_old_and_keeps_what_was_read),
		test_case(many_services_fit_into_several_messages),
		test_case(a_list_that_makes_no_sense_is_refused),
		test_case(samples_are_not_believed),
	};
	return test_run(tests);
}
