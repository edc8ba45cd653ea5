#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

static void forget_environment(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
		                             "LISTEN_FDS", "LISTEN_PID" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)unsetenv(names[i]);
}

/* A manager's socket; the name as it stands in $NOTIFY_SOCKET. */
static int manager(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	assert_true(len < sizeof(address.sun_path));
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
	(void)setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void hears(int fd, const char *text)
{
	char got[256] = "";
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
	assert_int_equal(n, strlen(text));
	assert_string_equal(got, text);
}

static void a_manager_hears_on_a_path(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	GD_CLOSE int fd = manager(test_path("notify"));
	assert_int_equal(gd_notify_send("READY=1\nSTATUS=listening", &err), 1);
	hears(fd, "READY=1\nSTATUS=listening");
	forget_environment();
}

static void a_manager_hears_on_an_abstract_name(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char name[64];
	(void)snprintf(name, sizeof(name), "@godiag-test-%d", (int)getpid());
	GD_CLOSE int fd = manager(name);
	assert_int_equal(gd_notify_send("WATCHDOG=1", &err), 1);
	hears(fd, "WATCHDOG=1");
	GD_CLOSE int kept = gd_notify_open(&err);
	assert_ok(kept, &err);
	assert_int_equal(gd_notify_send_to(kept, "STOPPING=1", &err), 1);
	hears(fd, "STOPPING=1");
	forget_environment();
}

static void without_a_manager_nothing_happens(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	forget_environment();
	assert_int_equal(gd_notify_send("READY=1", &err), 0);
	assert_fails(gd_notify_open(&err), -ENOENT, &err);
	assert_int_equal(gd_notify_watchdog_ns(), 0);
	assert_int_equal(gd_notify_listen_fds(), 0);
}

static void a_manager_that_is_gone_is_an_error(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	(void)setenv("NOTIFY_SOCKET", test_path("nobody"), 1);
	assert_fails(gd_notify_send("READY=1", &err), -ENOENT, &err);
	(void)setenv("NOTIFY_SOCKET", "relative", 1);
	assert_fails(gd_notify_send("READY=1", &err), -EINVAL, &err);
	forget_environment();
}

static void the_watchdog_is_fed_twice_as_often_as_it_must(void **state)
{
	(void)state;
	char pid[24];
	forget_environment();
	(void)setenv("WATCHDOG_USEC", "20000000", 1);
	assert_true(gd_notify_watchdog_ns() == UINT64_C(10000000000));
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	(void)setenv("WATCHDOG_PID", pid, 1);
	assert_true(gd_notify_watchdog_ns() == UINT64_C(10000000000));
	(void)setenv("WATCHDOG_PID", "1", 1); /* our parent's, inherited */
	assert_true(gd_notify_watchdog_ns() == 0);
	(void)unsetenv("WATCHDOG_PID");
	(void)setenv("WATCHDOG_USEC", "soon", 1);
	assert_true(gd_notify_watchdog_ns() == 0);
	(void)setenv("WATCHDOG_USEC", "18446744073709551615", 1);
	assert_true(gd_notify_watchdog_ns() == 0);
	forget_environment();
}

static void sockets_of_another_process_are_not_ours(void **state)
{
	(void)state;
	char pid[24];
	forget_environment();
	(void)setenv("LISTEN_FDS", "2", 1);
	assert_int_equal(gd_notify_listen_fds(), 0);
	(void)setenv("LISTEN_PID", "1", 1);
	assert_int_equal(gd_notify_listen_fds(), 0);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	(void)setenv("LISTEN_PID", pid, 1);
	assert_int_equal(gd_notify_listen_fds(), 2);
	(void)setenv("LISTEN_FDS", "9999", 1);
	assert_int_equal(gd_notify_listen_fds(), 0);
	forget_environment();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_manager_hears_on_a_path),
		test_case(a_manager_hears_on_an_abstract_name),
		test_case(without_a_manager_nothing_happens),
		test_case(a_manager_that_is_gone_is_an_error),
		test_case(the_watchdog_is_fed_twice_as_often_as_it_must),
		test_case(sockets_of_another_process_are_not_ours),
	};
	return test_run(tests);
}
