#include "tests/freeze_victim.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

const char *const freeze_go_releases[FREEZE_GO_RELEASES] = { "1.19.13", "1.22.12", "1.27.4" };

struct gd_target *freeze_open(pid_t pid)
{
	struct gd_target *target = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_target_open(pid, &target, &err), &err);
	return target;
}

struct process {
	char state;
	int parent;
	int exit_signal; /* what its end tells the parent with */
};

static bool read_stat(pid_t pid, struct process *ret)
{
	char path[64];
	char text[1024] = "";
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	char *at = n > 0 ? strrchr(text, ')') : NULL;
	if (at == NULL || sscanf(at, ") %c %d", &ret->state, &ret->parent) != 2)
		return false;
	char *rest = NULL;
	int field = 2;
	for (at = strtok_r(at, " ", &rest); at != NULL && field < 38; field++)
		at = strtok_r(NULL, " ", &rest);
	ret->exit_signal = at != NULL ? atoi(at) : -1;
	return true;
}

char freeze_state(pid_t pid)
{
	struct process p;
	return read_stat(pid, &p) ? p.state : '-';
}

void freeze_await_state(pid_t pid, const char *any)
{
	for (int i = 0; i < 5000; i++) {
		if (strchr(any, freeze_state(pid)) != NULL)
			return;
		(void)usleep(2000);
	}
	fail_msg("pid %d is in state %c, not in one of %s", pid, freeze_state(pid), any);
}

void freeze_await_untraced(pid_t pid)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	for (int i = 0; i < 5000; i++) {
		char text[2048] = "";
		GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
		    strstr(text, "TracerPid:\t0\n") != NULL)
			return;
		(void)usleep(2000);
	}
	fail_msg("pid %d is still traced", pid);
}

bool freeze_is_named(pid_t pid, pid_t tid, const char *comm)
{
	char path[64];
	char text[32] = "";
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", pid, tid);
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, comm) == 0;
}

/* -1: what it said instead of a number is in *ret_said. */
static long beats(struct victim *v, const char **ret_said)
{
	if (write(v->in_fd, "\n", 1) != 1) {
		*ret_said = "it does not read";
		const char *last = victim_line(v);
		if (last != NULL)
			*ret_said = last;
		return -1;
	}
	const char *line = victim_line(v);
	*ret_said = line != NULL ? line : "nothing, it has ended";
	return line != NULL && strncmp(line, "beat ", 5) == 0 ? strtol(line + 5, NULL, 10) : -1;
}

const char *freeze_what_is_wrong(struct victim *v)
{
	const char *said = "";
	long first = beats(v, &said);
	for (int i = 0; first >= 0 && i < 4000; i++) {
		long now = beats(v, &said);
		if (now > first + 20)
			return NULL;
		if (now < 0)
			break;
		(void)usleep(2500);
	}
	return said;
}

void freeze_assert_well(struct victim *v)
{
	const char *wrong = freeze_what_is_wrong(v);
	if (wrong != NULL)
		fail_msg("the victim says: %s", wrong);
}

static int count_children(pid_t pid, bool only_running, pid_t *ret_zombie)
{
	GD_CLOSEDIR DIR *dir = opendir("/proc");
	const struct dirent *entry;
	int n = 0;
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		struct process p;
		pid_t child = (pid_t)atoi(entry->d_name);
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !read_stat(child, &p) || p.parent != pid || p.exit_signal != 0)
			continue;
		if (p.state == 'Z' && ret_zombie != NULL)
			*ret_zombie = child;
		n += !only_running || (p.state != 'Z' && p.state != 'X');
	}
	return n;
}

int freeze_children(pid_t pid)
{
	return count_children(pid, false, NULL);
}

int freeze_children_running(pid_t pid)
{
	return count_children(pid, true, NULL);
}

pid_t freeze_a_zombie(pid_t pid)
{
	pid_t zombie = 0;
	(void)count_children(pid, false, &zombie);
	return zombie;
}
