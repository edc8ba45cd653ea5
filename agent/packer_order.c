#include "agent/packer_order.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/packer_process.h"
#include "archive/digest.h"
#include "archive/layout.h"
#include "base/cleanup.h"
#include "base/message.h"

/* A disk that takes longer for what is in a socket's buffer is as good as full. */
#define ANSWER_MS 120000
/* Each stays open until the end; a handful is enough for what is open at once. */
#define SCRATCH_MAX 64

static union {
	struct gd_packer_order_ended ended;
	struct gd_packer_sealed sealed;
	struct gd_packer_row rows[GD_PACKER_ROWS_MAX];
	char bytes[GD_MESSAGE_MAX];
} body;

/*
 * What opens files at its first use, and may not be able to later: libcrypto its configuration,
 * gmtime the time zone.
 */
static int prepare(struct gd_error *err)
{
	GD_DIGEST struct gd_digest *digest = NULL;
	char hex[GD_DIGEST_HEX];
	char text[GD_CLOCK_TEXT];
	(void)gd_clock_text(text, 0);
	int r = gd_digest_create(&digest, err);
	if (r == 0)
		r = gd_digest_begin(digest, err);
	if (r == 0)
		r = gd_digest_update(digest, "", 0, err);
	return r < 0 ? r : gd_digest_end(digest, hex, err);
}

static int pair(int *ours, int *its, struct gd_error *err)
{
	int ends[2];
	int r = gd_message_pair(ends, err);
	if (r < 0)
		return r;
	*ours = ends[0];
	*its = ends[1];
	return 0;
}

int gd_packer_order_start(const struct gd_packer_order_options *options,
                          struct gd_packer_order *ret, struct gd_error *err)
{
	GD_CLOSE int fd = -1;
	GD_CLOSE int scratch_fd = -1;
	int r = prepare(err);
	if (r == 0)
		r = pair(&ret->fd, &fd, err);
	if (r == 0)
		r = pair(&ret->scratch_fd, &scratch_fd, err);
	if (r < 0)
		return r;
	(void)fcntl(ret->scratch_fd, F_SETFL, O_NONBLOCK);
	ret->output = options->output;
	struct gd_packer_process process = { .options = options, .fd = fd,
		                             .scratch_fd = scratch_fd };
	const int keep[] = { fd, scratch_fd, options->output->fd };
	return gd_role_fork(GD_ROLE_PACKER, keep, sizeof(keep) / sizeof(keep[0]),
	                    gd_packer_process_run, &process, &ret->pid, NULL, err);
}

void gd_packer_order_scratch(struct gd_packer_order *p)
{
	struct gd_message m = { .n_fds = 0 };
	char nothing[1];
	if (p->scratch_fd < 0 ||
	    gd_message_recv(p->scratch_fd, &m, nothing, sizeof(nothing), NULL) != 1)
		return;
	gd_message_close_fds(&m);
	GD_CLOSE int fd = -1;
	int32_t code = -EMFILE;
	if (p->n_scratch++ < SCRATCH_MAX)
		code = fd = gd_output_scratch(p->output, NULL);
	if (fd >= 0)
		code = 0;
	(void)gd_message_send(p->scratch_fd, GD_PACKER_SCRATCH, 0, &code, sizeof(code), &fd,
	                      fd >= 0 ? 1 : 0, NULL);
}

/* The packer's next message, of one of two types. */
static int await(struct gd_packer_order *p, enum gd_packer_message type,
                 enum gd_packer_message other, struct gd_message *ret, struct gd_error *err)
{
	struct pollfd at[2] = { { .fd = p->fd, .events = POLLIN },
		                { .fd = p->scratch_fd, .events = POLLIN } };
	int r;
	do {
		r = poll(at, 2, ANSWER_MS);
		if (r > 0 && at[1].revents != 0)
			gd_packer_order_scratch(p);
		if (r > 0 && (at[1].revents & (POLLHUP | POLLERR)) != 0)
			at[1].fd = -1;
	} while ((r < 0 && errno == EINTR) || (r > 0 && at[0].revents == 0));
	if (r == 0)
		return gd_fail(err, -ETIMEDOUT, "the packer has not answered for %d s",
		               ANSWER_MS / 1000);
	struct gd_message m = { .n_fds = 0 };
	r = gd_message_recv(p->fd, &m, &body, sizeof(body), err);
	if (r == 0)
		return gd_fail(err, -EPIPE, "the packer has ended before its time");
	if (r < 0)
		return r;
	gd_message_close_fds(&m);
	if (m.type != type && m.type != other)
		return gd_fail(err, -EBADMSG, "the packer answers something else");
	*ret = m;
	return 0;
}

static bool is_error(const struct gd_error *e)
{
	return e->code <= 0 && memchr(e->msg, '\0', sizeof(e->msg)) != NULL;
}

int gd_packer_order_started(struct gd_packer_order *p, struct gd_error *err)
{
	struct gd_message m;
	struct gd_error why;
	int r = await(p, GD_PACKER_STARTED, GD_PACKER_STARTED, &m, err);
	if (r == 0)
		r = gd_message_body(&m, sizeof(why), err);
	if (r < 0)
		return r;
	memcpy(&why, body.bytes, sizeof(why));
	if (!is_error(&why))
		return gd_fail(err, -EBADMSG, "the packer's answer makes no sense");
	if (why.code < 0 && err != NULL)
		*err = why;
	return why.code;
}

int gd_packer_order_begin(struct gd_packer_order *p, const char *collector, bool core, int fd,
                          struct gd_error *err)
{
	struct gd_packer_begin begin = { .core = core };
	(void)snprintf(begin.collector, sizeof(begin.collector), "%s", collector);
	return gd_message_send(p->fd, GD_PACKER_BEGIN, ++p->seq, &begin, sizeof(begin), &fd, 1,
	                       err);
}

int gd_packer_order_ended(struct gd_packer_order *p, const struct gd_error *why,
                          struct gd_packer_order_ended *ret, struct gd_error *err)
{
	struct gd_message m;
	int r = gd_message_send(p->fd, GD_PACKER_END, ++p->seq, why, sizeof(*why), NULL, 0, err);
	if (r == 0)
		r = await(p, GD_PACKER_ENDED, GD_PACKER_ENDED, &m, err);
	if (r == 0)
		r = gd_message_body(&m, sizeof(*ret), err);
	if (r == 0 && !is_error(&body.ended.fault))
		r = gd_fail(err, -EBADMSG, "the packer's answer makes no sense");
	if (r == 0)
		*ret = body.ended;
	return r;
}

#define ENDS(text) (memchr(text, '\0', sizeof(text)) != NULL)

static int take_row(struct gd_snapshot *s, const struct gd_packer_row *row, struct gd_error *err)
{
	int grade;
	memcpy(&grade, &row->outcome.grade, sizeof(grade));
	if (!ENDS(row->name) || !ENDS(row->media_type) || !ENDS(row->collector) ||
	    !ENDS(row->digest) || !is_error(&row->outcome.why) || grade < GD_GRADE_COMPLETE ||
	    grade > GD_GRADE_FAILED)
		return gd_fail(err, -EBADMSG, "the packer's rows make no sense");
	struct gd_artifact_row *to = &s->artifacts[s->n_artifacts];
	int r = gd_artifact_row_init(to, row->name, row->media_type, row->collector, err);
	if (r < 0) {
		gd_artifact_row_deinit(to);
		return r;
	}
	memcpy(to->digest, row->digest, sizeof(to->digest));
	to->outcome = row->outcome;
	to->bytes = row->bytes;
	to->stored_bytes = row->stored_bytes;
	to->started_ns = row->started_ns;
	to->ended_ns = row->ended_ns;
	s->n_artifacts++;
	return 0;
}

static int take_rows(struct gd_snapshot *s, const struct gd_message *m, struct gd_error *err)
{
	size_t n = m->len / sizeof(body.rows[0]);
	if (n * sizeof(body.rows[0]) != m->len || n > GD_PACKER_ROWS_MAX ||
	    s->n_artifacts + n > GD_LAYOUT_ARTIFACTS_MAX)
		return gd_fail(err, -EBADMSG, "the packer's rows make no sense");
	struct gd_artifact_row *all =
		reallocarray(s->artifacts, s->n_artifacts + n + 1, sizeof(*all));
	if (all == NULL)
		return gd_fail_errno(err, -ENOMEM, "artifact rows");
	s->artifacts = all;
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = take_row(s, &body.rows[i], err);
	return r;
}

static int take_sealed(struct gd_snapshot *s, const struct gd_message *m, struct gd_sealed *ret,
                       struct gd_error *err)
{
	const struct gd_packer_sealed *sealed = &body.sealed;
	int r = gd_message_body(m, sizeof(*sealed), err);
	if (r < 0)
		return r;
	if (!is_error(&sealed->failure) || !ENDS(sealed->digest))
		return gd_fail(err, -EBADMSG, "the packer's answer makes no sense");
	s->cpu_ns = sealed->cpu_ns;
	s->peak_rss_bytes = sealed->peak_rss_bytes;
	if (sealed->failure.code < 0) {
		if (err != NULL)
			*err = sealed->failure;
		return sealed->failure.code;
	}
	memcpy(ret->digest, sealed->digest, sizeof(ret->digest));
	ret->bytes = sealed->bytes;
	return 0;
}

/* The same end in our own copy, for whoever called us. */
static void fill(struct gd_snapshot *s, const struct gd_packer_order_end *end)
{
	s->ended = end->ended;
	s->outcome = end->outcome;
	s->interrupted = end->interrupted;
	s->memory_reads = end->memory_reads;
	s->memory_bytes = end->memory_bytes;
	s->memory_faults = end->memory_faults;
	s->cpu_ns = end->cpu_ns;
	s->peak_rss_bytes = end->peak_rss_bytes;
}

int gd_packer_order_seal(struct gd_packer_order *p, const struct gd_packer_order_end *end,
                         struct gd_snapshot *snapshot, struct gd_sealed *ret,
                         struct gd_error *err)
{
	struct gd_message m;
	fill(snapshot, end);
	int r = gd_message_send(p->fd, GD_PACKER_SEAL, ++p->seq, end, sizeof(*end), NULL, 0, err);
	while (r == 0) {
		r = await(p, GD_PACKER_ROWS, GD_PACKER_SEALED, &m, err);
		if (r == 0 && m.type == GD_PACKER_SEALED)
			return take_sealed(snapshot, &m, ret, err);
		if (r == 0)
			r = take_rows(snapshot, &m, err);
	}
	return r;
}

bool gd_packer_order_reap(pid_t pid)
{
	/* One that hangs in the kernel (a disk, a file server) is left to init. */
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	(void)poll(&end, 1, 2000);
	if (end.fd >= 0)
		(void)close(end.fd);
	return waitpid(pid, NULL, WNOHANG) != 0;
}

void gd_packer_order_stop(struct gd_packer_order *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	if (p->scratch_fd >= 0)
		(void)close(p->scratch_fd);
	p->scratch_fd = -1;
	if (p->pid == 0)
		return;
	(void)kill(p->pid, SIGKILL);
	(void)gd_packer_order_reap(p->pid);
	p->pid = 0;
}
