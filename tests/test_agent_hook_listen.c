#include "agent/hook_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

static void only_loopback_and_only_numbers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int code;
	} rows[] = {
		{ "", -EINVAL },
		{ "7077", -EINVAL },
		{ "localhost:7077", -EINVAL },
		{ "127.0.0.1", -EINVAL },
		{ "127.0.0.1:", -EINVAL },
		{ "127.0.0.1:99999", -EINVAL },
		{ "127.0.0.1:70 77", -EINVAL },
		{ "[127.0.0.1]:7077", -EINVAL },
		{ "::1:7077", -EINVAL },
		{ "[]:7077", -EINVAL },
		{ "]:7077", -EINVAL },
		{ "[::1:7077", -EINVAL },
		{ "0.0.0.0:7077", -EPERM },
		{ "10.0.0.1:7077", -EPERM },
		{ "[::]:7077", -EPERM },
		{ "[::ffff:127.0.0.1]:7077", -EPERM },
		{ "unix:", -EINVAL },
		{ "unix:hook.sock", -EINVAL },
		{ "unix:/no/such/directory/hook.sock", -ENOENT },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct gd_error err = { 0 };
		bool tcp;
		int fd = gd_hook_listen_open(rows[i].text, &tcp, &err);
		if (fd != rows[i].code)
			print_error("row %zu: %s\n", i, rows[i].text);
		assert_fails(fd, rows[i].code, &err);
	}
	char text[300];
	struct gd_error err = { 0 };
	bool tcp;
	(void)snprintf(text, sizeof(text), "unix:/%0150d", 0);
	assert_fails(gd_hook_listen_open(text, &tcp, &err), -EINVAL, &err);
}

static void a_taken_port_is_eaddrinuse(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct sockaddr_in in = { .sin_family = AF_UNSPEC };
	socklen_t len = sizeof(in);
	char text[64];
	bool tcp = false;
	GD_CLOSE int fd = gd_hook_listen_open("127.0.0.1:0", &tcp, &err);
	assert_ok(fd, &err);
	assert_true(tcp);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	(void)snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
	assert_fails(gd_hook_listen_open(text, &tcp, &err), -EADDRINUSE, &err);
	assert_contains(err.msg, text);
}

static void a_dead_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct stat st;
	char text[300];
	bool tcp = true;
	const char *path = test_path("hook.sock");
	(void)snprintf(text, sizeof(text), "unix:%s", path);
	int fd = gd_hook_listen_open(text, &tcp, &err);
	assert_ok(fd, &err);
	assert_false(tcp);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_fails(gd_hook_listen_open(text, &tcp, &err), -EADDRINUSE, &err);
	(void)close(fd); /* as SIGKILL leaves it */
	fd = gd_hook_listen_open(text, &tcp, &err);
	assert_ok(fd, &err);
	(void)close(fd);
	gd_hook_listen_forget(text);
	assert_int_equal(stat(path, &st), -1);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	char text[300];
	bool tcp;
	(void)snprintf(text, sizeof(text), "unix:%s", test_file("precious", "x", 1));
	assert_fails(gd_hook_listen_open(text, &tcp, &err), -EEXIST, &err);
	const char *link = test_path("link");
	assert_int_equal(symlink("precious", link), 0);
	(void)snprintf(text, sizeof(text), "unix:%s", link);
	assert_fails(gd_hook_listen_open(text, &tcp, &err), -EEXIST, &err);
	assert_int_equal(access(test_path("precious"), F_OK), 0);
}

static void passed_sockets_are_checked(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	bool tcp = false;
	GD_CLOSE int good = gd_hook_listen_open("127.0.0.1:0", &tcp, &err);
	assert_ok(good, &err);
	assert_int_equal(fcntl(good, F_SETFL, 0), 0);
	tcp = false;
	assert_int_equal(gd_hook_listen_adopt(good, &tcp, &err), good);
	assert_true(tcp);
	assert_int_equal(fcntl(good, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	GD_CLOSE int bad = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_fails(gd_hook_listen_adopt(bad, &tcp, &err), -EINVAL, &err);
	assert_int_equal(bind(bad, (const struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(bad, 1), 0);
	assert_fails(gd_hook_listen_adopt(bad, &tcp, &err), -EPERM, &err);
	GD_CLOSE int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_fails(gd_hook_listen_adopt(file, &tcp, &err), -EINVAL, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(only_loopback_and_only_numbers),
		test_case(a_taken_port_is_eaddrinuse),
		test_case(a_dead_socket_is_replaced_and_a_live_one_is_not),
		test_case(what_is_no_socket_is_left_alone),
		test_case(passed_sockets_are_checked),
	};
	return test_run(tests);
}
