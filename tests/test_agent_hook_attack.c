/*
 * The hook under attack: while somebody floods it in one way after the other, requests with a good
 * token are answered, and its memory stays where it was.  Prints how long the slowest one took; the
 * bound that is asserted is far above, because machines that run tests are busy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tests/hook_world.h"
#include "tests/test.h"

#define SILENT 10000
#define SLOW 400
#define GOOD 6
#define BOUND_MS 10000
#define RSS_KIB (64UL << 10)

static void pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	(void)nanosleep(&ts, NULL);
}

/* An attacker's socket: never waits for anything. */
static int knock(const struct hook_world *world)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)world->port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&in, sizeof(in)) < 0 && errno != EINPROGRESS) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool has_ended(int fd)
{
	char bytes[512];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Keeps `n` connections open; `feed` sends a little more on the i-th, `state` counts its calls. */
static void hold(const struct hook_world *world, int n, unsigned rest_ms,
                 void (*feed)(int fd, unsigned state))
{
	int *fds = calloc((size_t)n, sizeof(*fds));
	unsigned *state = calloc((size_t)n, sizeof(*state));
	if (fds == NULL || state == NULL)
		_exit(1);
	for (int i = 0; i < n; i++)
		fds[i] = -1;
	for (;;) {
		for (int i = 0; i < n; i++) {
			if (fds[i] >= 0 && has_ended(fds[i])) {
				(void)close(fds[i]);
				fds[i] = -1;
			}
			if (fds[i] < 0) {
				fds[i] = knock(world);
				state[i] = 0;
			}
			if (fds[i] >= 0 && feed != NULL)
				feed(fds[i], state[i]++);
		}
		pause_ms(rest_ms);
	}
}

static void say(int fd, const char *text, size_t n)
{
	(void)!send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#define SAY(fd, text) say(fd, text, sizeof(text) - 1)

static void one_byte(int fd, unsigned state)
{
	static const char text[] = "POST /v1/hooks/alertmanager HTTP/1.1\r\nHost: a\r\nX: ";
	say(fd, state < sizeof(text) - 1 ? &text[state] : "x", 1);
}

static void slow_body(int fd, unsigned state)
{
	char head[512];
	if (state > 0) {
		SAY(fd, "x");
		return;
	}
	/* A signature that only the whole body could prove wrong. */
	int n = snprintf(head, sizeof(head),
	                 "POST /v1/captures HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n"
	                 "X-Godiag-Timestamp: %lld\r\nX-Godiag-Nonce: 0123456789abcdef\r\n"
	                 "X-Godiag-Signature: v1=%064d\r\n\r\n",
	                 (long long)time(NULL), 0);
	say(fd, head, (size_t)n);
}

static void bad_token(int fd, unsigned state)
{
	if (state == 0)
		SAY(fd, "POST /v1/captures HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer guess\r\n"
		        "Content-Length: 2\r\n\r\n{}");
}

static void big_body(int fd, unsigned state)
{
	static char zeros[16384];
	if (state == 0)
		SAY(fd, "POST /v1/captures HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n");
	say(fd, zeros, sizeof(zeros));
}

static void line_noise(int fd, unsigned state)
{
	if (state == 0)
		SAY(fd, "GET /healthz\0 HTTP/1.1\r\nA: b\rC: d\n\n\r\n\r\n");
}

static void deep_json(int fd, unsigned state)
{
	static char body[60000];
	if (state > 0)
		return;
	memset(body, '[', sizeof(body));
	SAY(fd, "POST /v1/hooks/generic HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " HOOK_OLD_TOKEN
	        "\r\nContent-Length: 60000\r\n\r\n");
	say(fd, body, sizeof(body));
}

static void silent(const struct hook_world *world)
{
	hold(world, SILENT, 200, NULL);
}

static void slow(const struct hook_world *world)
{
	hold(world, SLOW, 50, one_byte);
}

static void slow_bodies(const struct hook_world *world)
{
	hold(world, SLOW, 50, slow_body);
}

static void bad_tokens(const struct hook_world *world)
{
	hold(world, 64, 5, bad_token);
}

static void big_bodies(const struct hook_world *world)
{
	hold(world, 64, 5, big_body);
}

static void noise(const struct hook_world *world)
{
	hold(world, 64, 5, line_noise);
}

static void depth(const struct hook_world *world)
{
	/* With a token that is good: another name's limit, so ours is not used up. */
	hold(world, 4, 200, deep_json);
}

static const struct attack {
	const char *name;
	void (*run)(const struct hook_world *world);
} attacks[] = {
	{ "10,000 silent connections", silent },
	{ "a byte now and then", slow },
	{ "bodies that trickle", slow_bodies },
	{ "bad tokens", bad_tokens },
	{ "10 MB bodies", big_bodies },
	{ "NUL and stray CR, LF", noise },
	{ "deep JSON", depth },
};

static unsigned slowest_good_ms(const struct hook_world *world, unsigned *number)
{
	static struct hook_answer answer;
	int64_t slowest_ns = 0;
	for (int i = 0; i < GOOD; i++) {
		char body[512];
		(void)snprintf(body, sizeof(body),
		               "{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":"
		               "{\"alertname\":\"LongPauses\"},\"startsAt\":\"2026-11-20T13:05:07Z\","
		               "\"fingerprint\":\"%08x\"}]}",
		               (*number)++);
		int64_t before_ns = gd_clock_monotonic_ns();
		hook_ask(world, "narrow-" HOOK_TOKEN, "/v1/hooks/alertmanager", body, &answer);
		int64_t ns = gd_clock_monotonic_ns() - before_ns;
		slowest_ns = ns > slowest_ns ? ns : slowest_ns;
		if (answer.status != 200 || strstr(answer.body, "admitted") == NULL)
			fail_msg("good request %d: %d %s", i, answer.status, answer.body);
		pause_ms(250);
	}
	return (unsigned)(slowest_ns / 1000000);
}

static void good_requests_are_answered_in_every_flood(void **state)
{
	(void)state;
	struct rlimit files;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
	struct rlimit more = { SILENT + 200, SILENT + 200 };
	if (files.rlim_max < more.rlim_max && setrlimit(RLIMIT_NOFILE, &more) < 0)
		test_skip("no right to open %d descriptors", SILENT);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	struct hook_world *world = hook_world_start("tcp", hook_tokens(), true);
	more.rlim_max = files.rlim_max > more.rlim_max ? files.rlim_max : more.rlim_max;
	unsigned long before_kib = hook_world_rss_kib(world);
	pid_t server = hook_world_server(world);
	unsigned number = 1;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++) {
		pid_t attacker = fork();
		assert_true(attacker >= 0);
		if (attacker == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			(void)setrlimit(RLIMIT_NOFILE, &more);
			attacks[i].run(world);
			_exit(0);
		}
		pause_ms(1000);
		world->seen->n_keys = 0;
		unsigned ms = slowest_good_ms(world, &number);
		(void)kill(attacker, SIGKILL);
		assert_int_equal(waitpid(attacker, NULL, 0), attacker);
		printf("# %-28s slowest good request %u ms, hook %lu KiB\n", attacks[i].name, ms,
		       hook_world_rss_kib(world));
		assert_true(ms < BOUND_MS);
	}
	static struct hook_answer answer;
	hook_ask(world, "narrow-" HOOK_TOKEN, "/metrics", NULL, &answer);
	printf("# memory before %lu KiB\n%s\n", before_kib, answer.body);
	assert_int_equal(answer.status, 200);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(hook_world_rss_kib(world) < RSS_KIB);
#endif
	/* Still the server that was there in the beginning, and each attack met its answer. */
	assert_int_equal(hook_world_server(world), server);
	assert_contains(answer.body, "answers_total{code=\"400\"}");
	assert_contains(answer.body, "answers_total{code=\"401\"}");
	assert_contains(answer.body, "answers_total{code=\"413\"}");
	hook_world_stop(world);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		hook_case(good_requests_are_answered_in_every_flood),
	};
	return test_run(tests);
}
