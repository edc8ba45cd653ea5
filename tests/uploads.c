#include "tests/uploads.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/journal.h"
#include "base/log.h"

struct uploads uploads_open(const char *url)
{
	struct uploads u = { .spool = spool_open(NULL), .pid = -1 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static char kept[2048];
	static char path[200];
	(void)snprintf(path, sizeof(path), "%s", test_path("upload"));
	(void)snprintf(kept, sizeof(kept), "%s", url != NULL ? url : "");
	u.policy.upload = url != NULL ? kept : NULL;
	u.options = (struct gd_upload_options){ .agent_socket = path,
		                                .backoff_min_ns = 20000000,
		                                .backoff_max_ns = 200000000,
		                                .stall_s = 2,
		                                .jail = true };
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
	u.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(u.listener >= 0);
	assert_int_equal(bind(u.listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(u.listener, 4), 0);
	/* Started by root it takes another uid in its jail, and must still reach the broker. */
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chmod(test_dir(), 0711), 0);
	return u;
}

void uploads_start(struct uploads *u)
{
	(void)fflush(NULL);
	u->pid = fork();
	assert_true(u->pid >= 0);
	if (u->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		gd_log_set_level(GD_LOG_WARNING);
		if (u->uid != 0 && (setgid(u->uid) < 0 || setuid(u->uid) < 0))
			_exit(99);
		_exit(gd_upload_main(&u->options));
	}
}

void uploads_kill(struct uploads *u)
{
	if (u->pid <= 0)
		return;
	(void)kill(u->pid, SIGKILL);
	(void)waitpid(u->pid, NULL, 0);
	u->pid = -1;
}

int uploads_end(struct uploads *u)
{
	int status = -1;
	assert_int_equal(kill(u->pid, SIGTERM), 0);
	assert_int_equal(waitpid(u->pid, &status, 0), u->pid);
	u->pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void drop_peer(struct uploads *u)
{
	gd_upload_peer_destroy(u->peer);
	u->peer = NULL;
}

void uploads_close(struct uploads *u)
{
	uploads_kill(u);
	drop_peer(u);
	gd_spool_close(u->spool);
	u->spool = NULL;
	(void)close(u->listener);
}

static void turn(struct uploads *u)
{
	struct gd_error err = { 0 };
	struct pollfd fds[2] = { { .fd = u->listener, .events = POLLIN },
		                 { .fd = u->peer != NULL ? gd_upload_peer_fd(u->peer) : -1,
		                   .events = POLLIN } };
	if (poll(fds, 2, 20) <= 0)
		return;
	if (fds[1].revents != 0 && gd_upload_peer_handle(u->peer, &err) < 0) {
		assert_int_equal(err.code, -EPIPE); /* never misbehaved */
		drop_peer(u);
	}
	if (fds[0].revents == 0)
		return;
	int fd = accept4(u->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	drop_peer(u);
	assert_ok(gd_upload_peer_create(fd, u->spool, &u->policy, &u->peer, &err), &err);
}

static int64_t now_ms(void)
{
	return gd_clock_monotonic_ns() / 1000000;
}

bool uploads_run(struct uploads *u, int ms, bool (*done)(struct uploads *u))
{
	int64_t end = now_ms() + ms;
	do {
		if (done != NULL && done(u))
			return true;
		turn(u);
	} while (now_ms() < end);
	return done != NULL && done(u);
}

bool uploads_all_sent(struct uploads *u)
{
	struct gd_spool_stats stats;
	gd_spool_stats(u->spool, &stats);
	return stats.ready == 0;
}

static char *ids[4096];
static size_t n_ids;

static int on_line(void *arg, char *text)
{
	(void)arg;
	if (text[0] == 'U' && n_ids < 4096)
		ids[n_ids++] = strndup(text + 2, strcspn(text + 2, " "));
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *uploads_journal(void)
{
	static char text[65536];
	struct gd_journal journal = GD_JOURNAL_INIT;
	struct gd_journal_found found;
	struct gd_error err = { 0 };
	int dir = open(test_path("spool"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n_ids = 0;
	assert_ok(gd_journal_open(dir, "journal", on_line, NULL, &journal, &found, &err), &err);
	gd_journal_close(&journal);
	(void)close(dir);
	if (n_ids > 0)
		qsort(ids, n_ids, sizeof(*ids), by_name);
	size_t at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < n_ids; i++) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s ", ids[i]);
		free(ids[i]);
	}
	return text;
}
