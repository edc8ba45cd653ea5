#include "tests/test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/control.h"
#include "agent/loop.h"
#include "base/cleanup.h"
#include "base/message.h"

/* The granting side, in a child: admits pid 1 to 99, refuses others, ends what it admitted at the next
 * turn. */
struct agent {
	struct gd_loop loop;
	struct gd_control *control;
	uint64_t waiter;
};

static void say_status(void *arg, struct gd_buf *to)
{
	(void)arg;
	gd_buf_puts(to, "{\"long\":\"");
	for (int i = 0; i < 300000; i++)
		gd_buf_putc(to, 'x');
	gd_buf_puts(to, "\"}");
}

static void on_capture(void *arg, const struct gd_control_capture *request, uint64_t waiter,
                       struct gd_control_verdict *verdict)
{
	struct agent *agent = arg;
	bool admitted = request->pid > 0 && request->pid < 100;
	verdict->verdict = admitted ? GD_VERDICT_ADMITTED : GD_VERDICT_COOLDOWN;
	(void)snprintf(verdict->id, sizeof(verdict->id), "id-%d", request->pid);
	(void)snprintf(verdict->why, sizeof(verdict->why), "because of \"%.100s\"", request->reason);
	if (admitted)
		agent->waiter = waiter;
}

static int on_command(void *arg, enum gd_control_type type, const char *name, char text[248])
{
	(void)arg;
	(void)snprintf(text, 248, "%d %s", (int)type, name);
	return strcmp(name, "nothing") == 0 ? -ENOENT : 0;
}

static pid_t serve(const char *path)
{
	static const struct gd_control_ops ops = { say_status, on_capture, on_command };
	struct agent agent = { .loop = GD_LOOP_INIT };
	int ready[2];
	char byte;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid != 0) {
		(void)close(ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		(void)close(ready[0]);
		return pid;
	}
	if (gd_loop_init(&agent.loop, NULL) < 0 ||
	    gd_control_create(&agent.loop, path, "no-such-group", &ops, &agent, &agent.control,
	                      NULL) < 0 ||
	    write(ready[1], "x", 1) != 1)
		_exit(1);
	for (;;) {
		if (gd_loop_turn(&agent.loop, NULL) < 0)
			_exit(1);
		struct gd_operation o = { .exit = GD_EXIT_PARTIAL, .bytes = 77 };
		(void)snprintf(o.path, sizeof(o.path), "/spool/x.tar");
		if (agent.waiter != 0)
			gd_control_ended(agent.control, agent.waiter, &o);
		agent.waiter = 0;
	}
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_long_status_arrives_whole(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct gd_error err;
	GD_CLOSE int fd = -1;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	pid_t pid = serve(path);
	assert_ok(gd_control_connect(path, &fd, &err), &err);
	assert_ok(gd_control_ask_status(fd, &text, &err), &err);
	assert_int_equal(text.len, 300000 + 11);
	end(pid);
}

static void a_capture_is_admitted_and_its_end_told(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct gd_error err;
	struct gd_control_verdict verdict;
	struct gd_control_ended ended;
	struct gd_control_capture request = { .pid = 42, .reason = "it is slow" };
	GD_CLOSE int fd = -1;
	pid_t pid = serve(path);
	assert_ok(gd_control_connect(path, &fd, &err), &err);
	assert_int_equal(gd_control_ask_capture(fd, &request, &verdict, &ended, &err), 0);
	assert_string_equal(verdict.id, "id-42");
	assert_int_equal(ended.exit, GD_EXIT_PARTIAL);
	assert_string_equal(ended.path, "/spool/x.tar");
	assert_int_equal(ended.bytes, 77);
	request.pid = 4242;
	assert_int_equal(gd_control_ask_capture(fd, &request, &verdict, &ended, &err), 1);
	assert_int_equal(verdict.verdict, GD_VERDICT_COOLDOWN);
	assert_string_equal(verdict.why, "because of \"it is slow\"");
	end(pid);
}

static void commands_say_what_became_of_them(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct gd_error err;
	char text[248];
	struct gd_control_name name = { .name = "p99" };
	GD_CLOSE int fd = -1;
	pid_t pid = serve(path);
	assert_ok(gd_control_connect(path, &fd, &err), &err);
	assert_ok(gd_control_ask(fd, GD_CONTROL_ENABLE, &name, sizeof(name), text, &err), &err);
	assert_string_equal(text, "3 p99");
	(void)snprintf(name.name, sizeof(name.name), "nothing");
	assert_fails(gd_control_ask(fd, GD_CONTROL_ENABLE, &name, sizeof(name), text, &err), -ENOENT,
	             &err);
	assert_ok(gd_control_ask(fd, GD_CONTROL_PRUNE, NULL, 0, text, &err), &err);
	end(pid);
}

static void nonsense_is_hung_up_on_and_others_are_served(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct gd_error err;
	char text[248];
	struct gd_control_capture request = { .pid = -1 };
	struct gd_control_verdict verdict;
	struct gd_control_ended ended;
	pid_t pid = serve(path);
	/* a type that is none, a body too short, a number out of range, bytes without a head */
	for (int i = 0; i < 4; i++) {
		GD_CLOSE int fd = -1;
		assert_ok(gd_control_connect(path, &fd, &err), &err);
		if (i == 0)
			assert_ok(gd_message_send(fd, 77, 1, NULL, 0, NULL, 0, &err), &err);
		else if (i == 1)
			assert_ok(gd_message_send(fd, GD_CONTROL_CAPTURE, 1, "x", 1, NULL, 0, &err),
			          &err);
		else if (i == 2)
			assert_fails(gd_control_ask_capture(fd, &request, &verdict, &ended, &err),
			             -EPIPE, &err);
		else
			assert_int_equal(send(fd, "hello", 5, 0), 5);
		char byte;
		if (i != 2)
			assert_int_equal(recv(fd, &byte, 1, 0), 0);
	}
	GD_CLOSE int fd = -1;
	assert_ok(gd_control_connect(path, &fd, &err), &err);
	assert_ok(gd_control_ask(fd, GD_CONTROL_RELOAD, NULL, 0, text, &err), &err);
	end(pid);
}

static void more_than_32_connections_wait_for_none(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct gd_error err;
	char text[248];
	int fds[40];
	pid_t pid = serve(path);
	for (int i = 0; i < 40; i++)
		assert_ok(gd_control_connect(path, &fds[i], &err), &err);
	/* Those that found no place see a hang-up, the first ones are served. */
	assert_fails(gd_control_ask(fds[39], GD_CONTROL_RELOAD, NULL, 0, text, &err), -EPIPE, &err);
	assert_ok(gd_control_ask(fds[0], GD_CONTROL_RELOAD, NULL, 0, text, &err), &err);
	for (int i = 0; i < 40; i++)
		(void)close(fds[i]);
	end(pid);
}

static void nobody_there_says_what_to_start(void **state)
{
	(void)state;
	struct gd_error err;
	int fd;
	assert_fails(gd_control_connect(test_path("control"), &fd, &err), -ENOENT, &err);
	assert_contains(err.msg, "godiagd");
}

static void the_socket_is_closed_to_others(void **state)
{
	(void)state;
	const char *path = test_path("control");
	struct stat st;
	pid_t pid = serve(path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	end(pid);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_long_status_arrives_whole),
		test_case(a_capture_is_admitted_and_its_end_told),
		test_case(commands_say_what_became_of_them),
		test_case(nonsense_is_hung_up_on_and_others_are_served),
		test_case(more_than_32_connections_wait_for_none),
		test_case(nobody_there_says_what_to_start),
		test_case(the_socket_is_closed_to_others),
	};
	return test_run(tests);
}
