/*
 * What a parser does that was taken over by its target.  GODIAG_FAULT says where and what:
 * "goroutines:open".  Linked only with tests that are built against a parser with GD_FAULTS.
 */
#define GD_FAULTS
#include "agent/parser_faults.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/packer.h"
#include "agent/request.h"
#include "base/message.h"

static void say(int fd, uint16_t type, const void *body, size_t n)
{
	(void)gd_message_send(fd, type, 1, body, n, NULL, 0, NULL);
}

static void ask_for_a_secret(int ask_fd)
{
	struct gd_request_path path = { .max = 1000, .path = "/etc/shadow" };
	say(ask_fd, GD_REQUEST_OPEN, &path, sizeof(path));
}

static void ask_beside(int ask_fd)
{
	struct gd_request_path path = { .max = 1000, .path = "root/etc/shadow" };
	say(ask_fd, GD_REQUEST_READ, &path, sizeof(path));
}

static void write_nonsense(int sink_fd)
{
	struct gd_record_close record = { .stream = 5 };
	say(sink_fd, GD_RECORD_CLOSE, &record, sizeof(record));
}

static void write_a_path(int sink_fd)
{
	struct gd_record_open record = { .stream = 0, .name = "../../etc/cron.d/x",
		                         .media_type = "text/plain" };
	say(sink_fd, GD_RECORD_OPEN, &record, sizeof(record));
}

static void die_in_the_middle(int sink_fd)
{
	static struct {
		struct gd_record_write head;
		char text[16];
	} piece = { .head = { .stream = 0, .n = 16 }, .text = "half of a text\n" };
	struct gd_record_open record = { .stream = 0, .name = "half.txt",
		                         .media_type = "text/plain" };
	say(sink_fd, GD_RECORD_OPEN, &record, sizeof(record));
	say(sink_fd, GD_RECORD_WRITE, &piece, sizeof(piece));
	(void)raise(SIGSEGV);
	abort();
}

void gd_parser_fault(const char *where, int ask_fd, int sink_fd)
{
	const char *fault = getenv("GODIAG_FAULT");
	size_t n = strlen(where);
	char name[] = "/bin/true";
	char *argv[] = { name, NULL };
	if (fault == NULL || strncmp(fault, where, n) != 0 || fault[n] != ':')
		return;
	const char *what = fault + n + 1;
	if (strcmp(what, "open") == 0)
		(void)open("/etc/passwd", O_RDONLY);
	else if (strcmp(what, "socket") == 0)
		(void)socket(AF_INET, SOCK_STREAM, 0);
	else if (strcmp(what, "exec") == 0)
		(void)execv(name, argv);
	else if (strcmp(what, "ptrace") == 0)
		(void)ptrace(PTRACE_SEIZE, (pid_t)syscall(SYS_getppid), NULL, NULL);
	else if (strcmp(what, "kill") == 0)
		(void)kill((pid_t)syscall(SYS_getppid), SIGKILL);
	else if (strcmp(what, "fork") == 0)
		(void)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	else if (strcmp(what, "crash") == 0)
		__builtin_trap();
	else if (strcmp(what, "hang") == 0)
		(void)poll(NULL, 0, -1);
	else if (strcmp(what, "secret") == 0)
		ask_for_a_secret(ask_fd);
	else if (strcmp(what, "beside") == 0)
		ask_beside(ask_fd);
	else if (strcmp(what, "nonsense") == 0)
		write_nonsense(sink_fd);
	else if (strcmp(what, "path") == 0)
		write_a_path(sink_fd);
	else if (strcmp(what, "half") == 0)
		die_in_the_middle(sink_fd);
}
