#include "agent/packer_process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/packer.h"
#include "base/clock.h"
#include "base/message.h"

struct process {
	const struct gd_packer_order_options *options;
	struct gd_packer *packer;
	int fd;        /* the broker */
	int reader_fd; /* -1: none at the moment */
	struct gd_error fault; /* of the reader at hand */
};

static union {
	struct gd_packer_order_end end;
	struct gd_record_absent absent;
	struct gd_record_put put;
	uint64_t align;
	char bytes[GD_MESSAGE_MAX];
} body;

static int answer(struct process *p, enum gd_packer_message type, const void *bytes, size_t n)
{
	return gd_message_send(p->fd, (uint16_t)type, 0, bytes, n, NULL, 0, NULL);
}

static void forget_reader(struct process *p)
{
	if (p->reader_fd >= 0)
		(void)close(p->reader_fd);
	p->reader_fd = -1;
}

/* A reader that does not take the answer is not waited for: the socket of who may put does not block. */
static int on_put(struct process *p, const struct gd_message *m, struct gd_error *err)
{
	struct gd_record_stored stored = { .digest = "" };
	if (m->n_fds != 1 || m->len != sizeof(body.put))
		return gd_fail(err, -EBADMSG, "a record that makes no sense: what it puts");
	int r = gd_packer_put(p->packer, &body.put, m->fds[0], &stored, err);
	if (r == 0)
		r = gd_message_send(p->reader_fd, GD_RECORD_STORED, 0, &stored, sizeof(stored),
		                    NULL, 0, err);
	/* A reader that ended meanwhile shows at the next look at its socket. */
	return r == -EPIPE ? 0 : r;
}

/* One record of the reader; false when there will be no more. */
static bool take_record(struct process *p)
{
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	struct gd_error err = { 0 };
	int r = gd_message_recv(p->reader_fd, &m, &body, sizeof(body), &err);
	if (r == 1) {
		if (m.type == GD_RECORD_PUT)
			r = on_put(p, &m, &err);
		else if (m.n_fds > 0)
			r = gd_fail(&err, -EBADMSG, "descriptors in a record");
		else
			r = gd_packer_record(p->packer, m.type, &body, m.len, &err);
		if (r == 0)
			return true;
	}
	if (r < 0)
		p->fault = err;
	forget_reader(p);
	return false;
}

/* Whatever the reader has sent before it ended is in the socket's buffer. */
static void drain(struct process *p)
{
	struct pollfd at = { .events = POLLIN };
	while (p->reader_fd >= 0) {
		at.fd = p->reader_fd;
		if (poll(&at, 1, 0) <= 0 || !take_record(p))
			break;
	}
	forget_reader(p);
}

static int on_begin(struct process *p, struct gd_message *m)
{
	const struct gd_packer_begin *begin = (const void *)body.bytes;
	if (m->len != sizeof(*begin) || m->n_fds != 1 || p->reader_fd >= 0) {
		gd_message_close_fds(m);
		return -EBADMSG;
	}
	p->reader_fd = m->fds[0];
	p->fault = (struct gd_error){ 0 };
	gd_packer_begin(p->packer, begin->collector, begin->core == 1);
	return 0;
}

static int on_end(struct process *p, const struct gd_message *m)
{
	struct gd_error why;
	if (m->len != sizeof(why))
		return -EBADMSG;
	memcpy(&why, body.bytes, sizeof(why));
	drain(p);
	struct gd_packer_order_ended ended = { .bytes = gd_packer_end(p->packer, &why),
		                               .fault = p->fault };
	return answer(p, GD_PACKER_ENDED, &ended, sizeof(ended));
}

static void take_end(struct gd_snapshot *s, const struct gd_packer_order_end *end)
{
	struct rusage usage;
	s->ended = end->ended;
	s->outcome = end->outcome;
	s->interrupted = end->interrupted;
	s->frozen = end->frozen;
	s->target_pause_ns = end->target_pause_ns;
	s->memory_reads = end->memory_reads;
	s->memory_bytes = end->memory_bytes;
	s->memory_faults = end->memory_faults;
	s->cpu_ns = end->cpu_ns + gd_clock_cpu_ns();
	s->peak_rss_bytes = end->peak_rss_bytes;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		s->peak_rss_bytes += (uint64_t)usage.ru_maxrss * 1024;
	s->n_steps = end->n_steps < GD_STEPS_MAX ? end->n_steps : GD_STEPS_MAX;
	memcpy(s->steps, end->steps, sizeof(s->steps));
	if (end->go_version[0] != '\0')
		s->go_version = strdup(end->go_version);
	if (end->go_note[0] != '\0')
		s->go_note = strdup(end->go_note);
}

static void fill_row(struct gd_packer_row *to, const struct gd_artifact_row *from)
{
	(void)snprintf(to->name, sizeof(to->name), "%s", from->name);
	(void)snprintf(to->media_type, sizeof(to->media_type), "%s", from->media_type);
	(void)snprintf(to->collector, sizeof(to->collector), "%s", from->collector);
	memcpy(to->digest, from->digest, sizeof(to->digest));
	to->outcome = from->outcome;
	to->bytes = from->bytes;
	to->stored_bytes = from->stored_bytes;
	to->started_ns = from->started_ns;
	to->ended_ns = from->ended_ns;
}

static int send_rows(struct process *p, const struct gd_snapshot *s)
{
	static struct gd_packer_row rows[GD_PACKER_ROWS_MAX];
	for (size_t at = 0; at < s->n_artifacts;) {
		size_t n = 0;
		for (; n < GD_PACKER_ROWS_MAX && at < s->n_artifacts; n++, at++)
			fill_row(&rows[n], &s->artifacts[at]);
		int r = answer(p, GD_PACKER_ROWS, rows, n * sizeof(rows[0]));
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_seal(struct process *p, const struct gd_message *m)
{
	struct gd_packer_sealed answered = { .bytes = 0 };
	struct gd_sealed sealed = { .bytes = 0 };
	struct gd_snapshot *s = p->options->snapshot;
	if (m->len != sizeof(struct gd_packer_order_end) || p->reader_fd >= 0)
		return -EBADMSG;
	take_end(s, &body.end);
	int r = gd_packer_finish(p->packer, s, &sealed, &answered.failure);
	if (r == 0)
		answered.failure.code = 0;
	memcpy(answered.digest, sealed.digest, sizeof(answered.digest));
	answered.bytes = sealed.bytes;
	answered.cpu_ns = s->cpu_ns;
	answered.peak_rss_bytes = s->peak_rss_bytes;
	r = send_rows(p, s);
	return r < 0 ? r : answer(p, GD_PACKER_SEALED, &answered, sizeof(answered));
}

/* 1: go on. */
static int take_order(struct process *p)
{
	struct gd_message m = { .n_fds = 0 };
	int r = gd_message_recv(p->fd, &m, &body, sizeof(body), NULL);
	if (r <= 0)
		return -EPIPE; /* the broker is gone, and the file never had a name */
	if (m.type == GD_PACKER_BEGIN)
		r = on_begin(p, &m);
	else if (m.n_fds > 0)
		r = -EBADMSG;
	else if (m.type == GD_PACKER_END)
		r = on_end(p, &m);
	else if (m.type == GD_PACKER_SEAL)
		return on_seal(p, &m); /* 0: the last one */
	else
		r = -EBADMSG;
	return r < 0 ? r : 1;
}

/* Of the staging that needs one; waits for the broker. */
static int ask_scratch(void *arg)
{
	const int *fd = arg;
	struct gd_message m = { .n_fds = 0 };
	int32_t code;
	if (gd_message_send(*fd, GD_PACKER_SCRATCH, 0, NULL, 0, NULL, 0, NULL) < 0 ||
	    gd_message_recv(*fd, &m, &code, sizeof(code), NULL) <= 0)
		return -EPIPE;
	if (m.len == sizeof(code) && code == 0 && m.n_fds == 1)
		return m.fds[0];
	gd_message_close_fds(&m);
	return m.len == sizeof(code) && code < 0 ? code : -EPIPE;
}

static int start(struct process *p, int *scratch_fd, struct gd_error *err)
{
	const struct gd_packer_order_options *o = p->options;
	struct gd_output output = *o->output;
	output.scratch = ask_scratch;
	output.scratch_arg = scratch_fd;
	output.dir_fd = -1;
	output.temp[0] = '\0'; /* its hidden name, if it has one, is the broker's to remove */
	output.dir = strdup(o->output->dir);
	int r = gd_packer_create(&output, o->plan_json, o->plan_len, &p->packer, err);
	for (size_t i = 0; i < o->n_attachments && r == 0; i++)
		r = gd_packer_attach(p->packer, &o->attachments[i], err);
	return r;
}

int gd_packer_process_run(void *arg)
{
	struct gd_packer_process *given = arg;
	struct process p = { .options = given->options, .fd = given->fd, .reader_fd = -1 };
	struct gd_error err = { 0 };
	int r = start(&p, &given->scratch_fd, &err);
	err.code = r;
	if (answer(&p, GD_PACKER_STARTED, &err, sizeof(err)) < 0 || r < 0)
		return 1;
	do {
		struct pollfd at[2] = { { .fd = p.fd, .events = POLLIN },
			                { .fd = p.reader_fd, .events = POLLIN } };
		if (poll(at, 2, -1) < 0 && errno != EINTR)
			return 1;
		r = 1;
		if (p.reader_fd >= 0 && at[1].revents != 0)
			(void)take_record(&p);
		else if (at[0].revents != 0)
			r = take_order(&p);
	} while (r == 1);
	return r < 0 ? 1 : 0;
}
