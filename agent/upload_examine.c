/*
 * An archive that the last broker left in the spool without a line holds what a target wrote; it is
 * unpacked and parsed by a child that can do nothing but that, and answers with one fixed record.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/role.h"
#include "agent/upload.h"
#include "archive/reader.h"
#include "base/cleanup.h"
#include "base/io.h"

#define PATIENCE_MS 120000 /* for each: the largest archives take seconds */

struct answer {
	int code;
	struct gd_error err;
	struct gd_spool_facts facts;
};

struct work {
	int fd, pipe_fd;
};

static int examine(void *arg)
{
	const struct work *work = arg;
	struct answer answer;
	memset(&answer, 0, sizeof(answer));
	answer.code = gd_spool_examine(work->fd, &answer.facts, &answer.err);
	return gd_io_write_all(work->pipe_fd, &answer, sizeof(answer), NULL) < 0;
}

static bool read_answer(int fd, struct answer *ret)
{
	size_t have = 0;
	while (have < sizeof(*ret)) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		int n = poll(&ready, 1, PATIENCE_MS);
		if (n < 0 && errno == EINTR)
			continue;
		ssize_t got = n > 0 ? read(fd, (char *)ret + have, sizeof(*ret) - have) : 0;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* The child may have become somebody else's by what it read. */
static bool makes_sense(const struct answer *a)
{
	return a->code <= 0 && is_text(a->err.msg, sizeof(a->err.msg)) &&
	       is_text(a->facts.id, sizeof(a->facts.id)) &&
	       is_text(a->facts.digest, sizeof(a->facts.digest)) &&
	       strspn(a->facts.digest, "sha256:0123456789abcdef") == strlen(a->facts.digest) &&
	       is_text(a->facts.trigger, sizeof(a->facts.trigger));
}

int gd_upload_examine(int fd, struct gd_spool_facts *ret, struct gd_error *err)
{
	GD_CLOSE int archive_fd = fd;
	int pipe_fds[2];
	gd_reader_prepare();
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return gd_fail_errno(err, -errno, "pipe");
	GD_CLOSE int from_child = pipe_fds[0];
	GD_CLOSE int to_us = pipe_fds[1];
	struct work work = { archive_fd, to_us };
	const int keep[] = { archive_fd, to_us };
	pid_t pid = -1;
	int r = gd_role_fork(GD_ROLE_PACKER, keep, 2, examine, &work, &pid, NULL, err);
	if (r < 0)
		return r;
	(void)close(gd_steal_fd(&to_us));
	struct answer answer;
	memset(&answer, 0, sizeof(answer));
	bool answered = read_answer(from_child, &answer) && makes_sense(&answer);
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!answered)
		return gd_fail(err, -EBADMSG, "the process that verified it died of it");
	if (answer.code < 0)
		return gd_fail(err, answer.code, "%s", answer.err.msg);
	*ret = answer.facts;
	return 0;
}
