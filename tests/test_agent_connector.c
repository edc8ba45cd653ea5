/*
 * The connector: connections that it makes, and those that nobody takes.
 */
#include "agent/connector.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

static struct sockaddr_storage loopback(uint16_t port)
{
	struct sockaddr_storage to = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(&to, &in, sizeof(in));
	return to;
}

static int listen_somewhere(uint16_t *ret_port)
{
	struct sockaddr_storage at = loopback(0);
	struct sockaddr_in in = { 0 };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(in)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

static int own_namespace(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void it_connects_and_hands_the_connection_over(void **state)
{
	(void)state;
	struct gd_connector c = GD_CONNECTOR_INIT;
	struct gd_error err = { 0 };
	uint16_t port;
	GD_CLOSE int listener = listen_somewhere(&port);
	GD_CLOSE int namespace_fd = own_namespace();
	assert_ok(gd_connector_start(&c, &err), &err);
	for (int i = 0; i < 3; i++) {
		struct sockaddr_storage to = loopback(port);
		GD_CLOSE int fd = -1;
		char byte = 0;
		assert_ok(gd_connector_connect(&c, namespace_fd, &to, &fd, &err), &err);
		GD_CLOSE int theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_true(theirs >= 0);
		assert_int_equal(write(theirs, "x", 1), 1);
		struct pollfd at = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&at, 1, 5000), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		assert_int_equal(byte, 'x');
		assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	}
	gd_connector_stop(&c);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
	(void)state;
	struct gd_connector c = GD_CONNECTOR_INIT;
	struct gd_error err = { 0 };
	uint16_t port;
	int fd = -1;
	int listener = listen_somewhere(&port);
	GD_CLOSE int namespace_fd = own_namespace();
	(void)close(listener);
	assert_ok(gd_connector_start(&c, &err), &err);
	struct sockaddr_storage to = loopback(port);
	assert_fails(gd_connector_connect(&c, namespace_fd, &to, &fd, &err), -ECONNREFUSED, &err);
	/* Not of a family that it knows. */
	to.ss_family = AF_UNIX;
	assert_fails(gd_connector_connect(&c, namespace_fd, &to, &fd, &err), -EAFNOSUPPORT, &err);
	assert_int_equal(fd, -1);
	gd_connector_stop(&c);
}

/* A process in a network namespace of its own, with a listener there; 77: that may not be made here. */
static pid_t live_elsewhere(uint16_t *ret_port)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		uint16_t port = 0;
		if (unshare(CLONE_NEWNET) < 0)
			_exit(77);
		/* Loopback is down there, so nobody can be reached; to have entered is what is asked. */
		if (write(ends[1], &port, sizeof(port)) < 0)
			_exit(1);
		(void)pause();
		_exit(0);
	}
	(void)close(ends[1]);
	ssize_t n = read(ends[0], ret_port, sizeof(*ret_port));
	(void)close(ends[0]);
	if (n == sizeof(*ret_port))
		return pid;
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	test_skip("no network namespace can be made here");
}

static void it_enters_the_namespace_it_is_shown_and_comes_back(void **state)
{
	(void)state;
	struct gd_connector c = GD_CONNECTOR_INIT;
	struct gd_error err = { 0 };
	uint16_t port;
	uint16_t unused;
	char path[64];
	int fd = -1;
	pid_t pid = live_elsewhere(&unused);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	GD_CLOSE int there = open(path, O_RDONLY | O_CLOEXEC);
	GD_CLOSE int here = own_namespace();
	GD_CLOSE int listener = listen_somewhere(&port);
	struct sockaddr_storage to = loopback(port);
	assert_true(there >= 0 && listener >= 0);
	assert_ok(gd_connector_start(&c, &err), &err);
	/* The same address leads elsewhere from there. */
	assert_fails(gd_connector_connect(&c, there, &to, &fd, &err), -ENETUNREACH, &err);
	assert_ok(gd_connector_connect(&c, here, &to, &fd, &err), &err);
	(void)close(fd);
	gd_connector_stop(&c);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void what_is_no_network_namespace_is_not_entered(void **state)
{
	(void)state;
	struct gd_connector c = GD_CONNECTOR_INIT;
	struct gd_error err = { 0 };
	struct sockaddr_storage to = loopback(1);
	int fd = -1;
	GD_CLOSE int mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	assert_true(mounts >= 0);
	assert_ok(gd_connector_start(&c, &err), &err);
	int r = gd_connector_connect(&c, mounts, &to, &fd, &err);
	assert_true(r == -EINVAL || r == -EPERM);
	assert_contains(err.msg, "may not be entered");
	gd_connector_stop(&c);
}

static void one_that_has_died_is_an_error(void **state)
{
	(void)state;
	struct gd_connector c = GD_CONNECTOR_INIT;
	struct gd_error err = { 0 };
	struct sockaddr_storage to = loopback(1);
	int fd = -1;
	GD_CLOSE int namespace_fd = own_namespace();
	assert_fails(gd_connector_connect(&c, namespace_fd, &to, &fd, &err), -EPIPE, &err);
	assert_ok(gd_connector_start(&c, &err), &err);
	assert_int_equal(kill(c.pid, SIGKILL), 0);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	c.pid = 0;
	assert_fails(gd_connector_connect(&c, namespace_fd, &to, &fd, &err), -EPIPE, &err);
	gd_connector_stop(&c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(it_connects_and_hands_the_connection_over),
		test_case(a_port_where_nobody_listens_is_refused),
		test_case(it_enters_the_namespace_it_is_shown_and_comes_back),
		test_case(what_is_no_network_namespace_is_not_entered),
		test_case(one_that_has_died_is_an_error),
	};
	return test_run(tests);
}
