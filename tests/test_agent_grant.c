/*
 * What a broker gives of perf events to whoever asks, over a socket.
 */
#include "agent/grant.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/message.h"
#include "tests/test.h"

struct asked {
	struct gd_answer_head head;
	int fd;
};

static struct gd_target *target;
static int ends[2];

static void begin(struct gd_grant *grant, bool syscalls)
{
	struct gd_error err = { 0 };
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	*grant = (struct gd_grant){ .target = target, .asker = GD_ASKER_COLLECTOR, .fd = ends[0],
		                    .syscalls = syscalls };
}

static void end(struct gd_grant *grant)
{
	gd_grant_deinit(grant);
	gd_target_close(target);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* -EBADMSG: it had no answer, and whoever asked would be ended. */
static int ask(struct gd_grant *grant, uint32_t event, struct asked *ret)
{
	static char bytes[GD_MESSAGE_MAX];
	const struct gd_perf_wanted wanted = { .way = GD_PERF_FILTERED, .event = event };
	struct gd_message m = { .n_fds = 0 };
	struct gd_error err = { 0 };
	int r = gd_grant_answer(grant, GD_REQUEST_SAMPLER, 1, &wanted, &err);
	if (r < 0)
		return r;
	assert_int_equal(gd_message_recv(ends[1], &m, bytes, sizeof(bytes), &err), 1);
	memcpy(&ret->head, bytes, sizeof(ret->head));
	ret->fd = m.n_fds > 0 ? m.fds[0] : -1;
	return 0;
}

static void system_calls_are_counted_only_when_they_were_to_be(void **state)
{
	(void)state;
	struct gd_grant grant;
	struct asked counts = { .fd = -1 }, trace = { .fd = -1 }, again = { .fd = -1 };
	begin(&grant, false);
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS, &counts), -EBADMSG);
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS_ON, &trace), -EBADMSG);
	end(&grant);
	begin(&grant, true);
	/* Without a map there is nothing to count in. */
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS_ON, &trace), 0);
	assert_int_equal(trace.head.code, -EINVAL);
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS, &counts), 0);
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS_ON, &trace), 0);
	assert_int_equal(ask(&grant, GD_PERF_SYSCALLS_ON, &again), 0);
	int fds[] = { counts.fd, trace.fd };
	end(&grant);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	if (counts.head.code == -EPERM || trace.head.code == -ENOENT)
		test_skip("not to be had here: %s%s", counts.head.why, trace.head.why);
	assert_int_equal(counts.head.code, 0);
	assert_int_equal(trace.head.code, 0);
	assert_true(fds[0] >= 0 && fds[1] >= 0);
	/* One after the other until nothing else runs: no. */
	assert_int_equal(again.head.code, -EALREADY);
	assert_int_equal(again.fd, -1);
}

static void wakeups_go_to_events_that_were_asked_for_before(void **state)
{
	(void)state;
	struct gd_grant grant;
	struct asked event = { .fd = -1 }, first = { .fd = -1 }, trace = { .fd = -1 }, again = { .fd = -1 };
	begin(&grant, false);
	assert_int_equal(ask(&grant, GD_PERF_WAKEUPS_ON, &first), 0);
	assert_int_equal(ask(&grant, GD_PERF_WAKEUPS, &event), 0);
	assert_int_equal(ask(&grant, GD_PERF_WAKEUPS_ON, &trace), 0);
	assert_int_equal(ask(&grant, GD_PERF_WAKEUPS_ON, &again), 0);
	int fds[] = { event.fd, trace.fd };
	end(&grant);
	for (size_t i = 0; i < 2; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	assert_int_equal(first.head.code, -EINVAL);
	if (event.head.code < 0 || trace.head.code == -ENOENT || trace.head.code == -ENOTSUP)
		test_skip("not to be had here: %s%s", event.head.why, trace.head.why);
	assert_int_equal(trace.head.code, 0);
	assert_int_equal(again.head.code, -EALREADY);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(system_calls_are_counted_only_when_they_were_to_be),
		test_case(wakeups_go_to_events_that_were_asked_for_before),
	};
	return test_run(tests);
}
