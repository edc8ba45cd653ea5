#include "agent/grant.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

/* A file that is read for somebody ends here; the longest of them, a list of groups, has 700 KiB. */
#define COPY_MAX (4u << 20)

/* One capture is one thread: what goes out is put together here. */
static union {
	struct gd_answer_head head;
	char bytes[sizeof(struct gd_answer_head) + GD_ANSWER_BYTES_MAX];
} answer;

/* Answers to many questions, until all of them are answered. */
static struct {
	bool open;
	size_t n;
	_Alignas(8) char bytes[GD_MESSAGE_MAX];
	int fds[GD_MESSAGE_FDS];
	size_t n_fds;
} many;
_Static_assert(GD_REQUEST_MANY_MAX * (sizeof(struct gd_answer_head) + GD_ANSWER_PART_MAX) <=
               GD_MESSAGE_MAX, "many answers fit into one message");

static size_t bytes_max(void)
{
	return many.open ? GD_ANSWER_PART_MAX : GD_ANSWER_BYTES_MAX;
}

/* The answer as it lies in `answer`, with a descriptor that stays the caller's. */
static int emit(const struct gd_grant *grant, uint32_t seq, int fd, struct gd_error *err)
{
	if (many.open && fd >= 0 && many.n_fds == GD_MESSAGE_FDS) {
		answer.head.code = -EAGAIN;
		answer.head.n = 0;
		fd = -1;
	}
	size_t n = sizeof(answer.head) + answer.head.n;
	answer.head.has_fd = fd >= 0;
	if (!many.open)
		return gd_message_send(grant->fd, GD_ANSWER, seq, &answer, n, &fd, fd >= 0 ? 1 : 0,
		                       err);
	if (fd >= 0) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			return gd_fail_errno(err, -errno, "a descriptor to hand out");
		many.fds[many.n_fds++] = copy;
	}
	memcpy(many.bytes + many.n, &answer, n);
	many.n += (n + 7) & ~(size_t)7;
	return 0;
}

static int reply(const struct gd_grant *grant, uint32_t seq, size_t n, int fd,
                 struct gd_error *err)
{
	answer.head.code = 0;
	answer.head.n = (uint32_t)n;
	answer.head.why[0] = '\0';
	return emit(grant, seq, fd, err);
}

static int refuse(const struct gd_grant *grant, uint32_t seq, int code, const char *why,
                  struct gd_error *err)
{
	answer.head.code = code;
	answer.head.n = 0;
	(void)snprintf(answer.head.why, sizeof(answer.head.why), "%s", why);
	return emit(grant, seq, -1, err);
}

/* Bytes in an unnamed file, positioned at its start; a descriptor or -errno. */
static int to_file(const void *bytes, size_t n, struct gd_error *err)
{
	GD_CLOSE int fd = memfd_create("godiag", MFD_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "memfd_create");
	int r = gd_io_write_all(fd, bytes, n, err);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return gd_fail_errno(err, -errno, "memfd");
	return gd_steal_fd(&fd);
}

/* Up to `max` bytes of a file, in the answer when they fit, else in an unnamed file. */
static int grant_bytes(struct gd_grant *grant, uint32_t seq, const char *path, int fd, size_t max,
                       bool as_file, struct gd_error *err)
{
	GD_BUF struct gd_buf copy = GD_BUF_INIT(max < COPY_MAX ? max : COPY_MAX);
	struct gd_error why = { 0 };
	int r = gd_io_read_all(fd, &copy, &why);
	if (r == -EACCES || r == -EPERM)
		(void)gd_access_explain(grant->target->pid, grant->target->uid, path, r, &why);
	else if (r < 0 && r != -E2BIG)
		(void)gd_error_wrap(&why, r, "%s", path);
	if (r < 0 && r != -E2BIG)
		return refuse(grant, seq, r, why.msg, err);
	if (!as_file && copy.len <= bytes_max()) {
		if (copy.len > 0)
			memcpy(answer.bytes + sizeof(answer.head), copy.data, copy.len);
		return reply(grant, seq, copy.len, -1, err);
	}
	GD_CLOSE int file = to_file(copy.data, copy.len, &why);
	return file < 0 ? refuse(grant, seq, file, why.msg, err) : reply(grant, seq, 0, file, err);
}

static int grant_file(struct gd_grant *grant, uint16_t type, uint32_t seq,
                      const struct gd_request_path *wanted, struct gd_error *err)
{
	struct gd_error why = { 0 };
	GD_CLOSE int fd = -1;
	enum gd_request_way way = gd_request_file(wanted->path);
	if (way == GD_REQUEST_NO)
		return gd_fail(err, -EBADMSG, "a file that is not on the list");
	int r = gd_target_open_file(grant->target, wanted->path, &fd, &why);
	if (r < 0)
		return refuse(grant, seq, r, why.msg, err);
	bool read = type == GD_REQUEST_READ;
	if (way == GD_REQUEST_LARGE || (way == GD_REQUEST_PLAIN && !read))
		return reply(grant, seq, 0, fd, err);
	return grant_bytes(grant, seq, wanted->path, fd, read ? wanted->max : COPY_MAX, !read, err);
}

static int grant_link(struct gd_grant *grant, uint32_t seq, const struct gd_request_path *wanted,
                      struct gd_error *err)
{
	struct gd_error why = { 0 };
	if (!gd_request_link(wanted->path))
		return gd_fail(err, -EBADMSG, "a link that is not on the list");
	ssize_t n = gd_target_read_link(grant->target, wanted->path,
	                                answer.bytes + sizeof(answer.head), bytes_max(), &why);
	return n < 0 ? refuse(grant, seq, (int)n, why.msg, err)
	             : reply(grant, seq, (size_t)n, -1, err);
}

static int grant_list(struct gd_grant *grant, uint32_t seq, const struct gd_request_path *wanted,
                      struct gd_error *err)
{
	struct gd_error why = { 0 };
	size_t max = wanted->max < 1000000 ? wanted->max : 1000000;
	GD_BUF struct gd_buf numbers = GD_BUF_INIT((max + 1) * sizeof(int32_t));
	if (!gd_request_list(wanted->path))
		return gd_fail(err, -EBADMSG, "a list that is not on the list");
	struct gd_access *access = grant->target->access;
	/* One more than wanted tells the other side that there are more. */
	int r = access->ops->list(access, wanted->path, max + 1, &numbers, &why);
	if (r < 0 && r != -E2BIG)
		return refuse(grant, seq, r, why.msg, err);
	if (numbers.len <= bytes_max()) {
		if (numbers.len > 0)
			memcpy(answer.bytes + sizeof(answer.head), numbers.data, numbers.len);
		return reply(grant, seq, numbers.len, -1, err);
	}
	GD_CLOSE int file = to_file(numbers.data, numbers.len, &why);
	return file < 0 ? refuse(grant, seq, file, why.msg, err) : reply(grant, seq, 0, file, err);
}

static bool is_group_file_system(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC);
}

static bool is_its_group(struct gd_grant *grant, const char *relative)
{
	struct gd_buf *text = &grant->memberships;
	if (text->len == 0) {
		*text = GD_BUF_INIT(64u << 10);
		if (gd_target_read_file(grant->target, "cgroup", text, NULL) < 0) {
			gd_grant_deinit(grant);
			return false;
		}
	}
	return gd_request_group_is_its(gd_buf_str(text), relative);
}

void gd_grant_deinit(struct gd_grant *grant)
{
	gd_buf_deinit(&grant->memberships);
}

static int grant_group(struct gd_grant *grant, uint32_t seq, const struct gd_request_group *wanted,
                       struct gd_error *err)
{
	struct gd_error why = { 0 };
	GD_CLOSE int fd = -1;
	if (!gd_request_group(wanted))
		/* Mounted where we do not look: no reader's fault. */
		return refuse(grant, seq, -ENOENT, "control groups of another mount than "
		              "/sys/fs/cgroup are not read for others", err);
	if (!is_its_group(grant, wanted->relative))
		return refuse(grant, seq, -ENOENT, "not a group of the target's", err);
	struct gd_access *access = grant->target->access;
	int r = access->ops->open_group(access, wanted->mount, wanted->relative,
	                                wanted->exists ? NULL : wanted->name, &fd, &why);
	if (r < 0)
		return refuse(grant, seq, r, why.msg, err);
	if (!wanted->exists && !is_group_file_system(fd))
		return refuse(grant, seq, -ENOENT, "not a file of control groups", err);
	return reply(grant, seq, 0, fd, err);
}

static int grant_perf(struct gd_grant *grant, uint32_t seq, const struct gd_request_perf *wanted,
                      struct gd_error *err)
{
	struct gd_error why = { 0 };
	GD_CLOSE int fd = -1;
	struct gd_access *access = grant->target->access;
	int r = access->ops->open_perf(access, wanted->tid, &fd, &why);
	return r < 0 ? refuse(grant, seq, r, why.msg, err) : reply(grant, seq, 0, fd, err);
}

static int grant_sampler(struct gd_grant *grant, uint32_t seq, const struct gd_perf_wanted *wanted,
                         struct gd_error *err)
{
	struct gd_error why = { 0 };
	struct gd_perf_opened opened;
	GD_CLOSE int fd = -1;
	struct gd_access *access = grant->target->access;
	if (!grant->syscalls &&
	    (wanted->event == GD_PERF_SYSCALLS || wanted->event == GD_PERF_SYSCALLS_ON))
		return gd_fail(err, -EBADMSG, "system calls, which were not to be counted");
	int r = access->ops->open_sampler(access, wanted, &opened, &fd, &why);
	if (r < 0)
		return refuse(grant, seq, r, why.msg, err);
	memcpy(answer.bytes + sizeof(answer.head), &opened, sizeof(opened));
	return reply(grant, seq, sizeof(opened), fd, err);
}

int gd_grant_answer(struct gd_grant *grant, uint16_t type, uint32_t seq, const void *body,
                    struct gd_error *err)
{
	switch ((enum gd_request)type) {
	case GD_REQUEST_OPEN:
	case GD_REQUEST_READ:
		return grant_file(grant, type, seq, body, err);
	case GD_REQUEST_LINK:
		return grant_link(grant, seq, body, err);
	case GD_REQUEST_LIST:
		return grant_list(grant, seq, body, err);
	case GD_REQUEST_GROUP:
		return grant_group(grant, seq, body, err);
	case GD_REQUEST_PERF:
		return grant_perf(grant, seq, body, err);
	case GD_REQUEST_SAMPLER:
		return grant_sampler(grant, seq, body, err);
	case GD_REQUEST_SUBJECT:
	case GD_REQUEST_RUNTIME:
	case GD_REQUEST_FORKED:
	case GD_REQUEST_BEGUN:
	case GD_REQUEST_DONE:
	case GD_REQUEST_IMAGED:
	case GD_REQUEST_MANY:
	case GD_REQUESTS:
		break;
	}
	return gd_fail(err, -EBADMSG, "not a question");
}

static int answer_parts(struct gd_grant *grant, uint32_t seq, const char *at, size_t len,
                        struct gd_error *err)
{
	uint16_t type;
	const void *body;
	size_t n;
	int r;
	for (size_t i = 0; (r = gd_request_next_part(&at, &len, i, &type, &body, &n, err)) == 1; i++) {
		r = gd_request_check(grant->asker, &grant->count, type, body, n, err);
		if (r == 0)
			r = gd_grant_answer(grant, type, seq, body, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int answer_many(struct gd_grant *grant, uint32_t seq, const char *at, size_t len,
                       struct gd_error *err)
{
	many.open = true;
	many.n = 0;
	many.n_fds = 0;
	int r = answer_parts(grant, seq, at, len, err);
	many.open = false;
	if (r == 0)
		r = gd_message_send(grant->fd, GD_ANSWER_MANY, seq, many.bytes, many.n, many.fds,
		                    many.n_fds, err);
	for (size_t i = 0; i < many.n_fds; i++)
		(void)close(many.fds[i]);
	return r;
}

int gd_grant_next(struct gd_grant *grant, struct gd_grant_told *told, struct gd_error *err)
{
	/* Aligned for the structs it is used as. */
	static union {
		struct gd_request_subject subject;
		struct gd_request_group group;
		uint64_t align;
		char bytes[GD_MESSAGE_MAX];
	} body;
	struct gd_message m = { .n_fds = 0 };
	int r = gd_message_recv(grant->fd, &m, &body, sizeof(body), err);
	if (r <= 0)
		return r;
	if (m.n_fds > 0) {
		gd_message_close_fds(&m);
		return gd_fail(err, -EBADMSG, "descriptors in a question");
	}
	bool at_once = m.type == GD_REQUEST_MANY;
	if (!at_once)
		r = gd_request_check(grant->asker, &grant->count, m.type, &body, m.len, err);
	if (r < 0)
		return r;
	told->type = 0;
	if (at_once || m.type < GD_REQUEST_SUBJECT) {
		r = at_once ? answer_many(grant, m.seq, body.bytes, m.len, err)
		            : gd_grant_answer(grant, m.type, m.seq, &body, err);
		if (r == -EAGAIN) /* it asks and asks and takes no answer */
			r = gd_fail(err, -EBADMSG, "it takes no answers");
		return r < 0 ? r : 1;
	}
	told->type = (enum gd_request)m.type;
	/* All of them begin where the largest begins. */
	if (m.len > sizeof(told->subject))
		return gd_fail(err, -EBADMSG, "too much to tell");
	memcpy(&told->subject, &body, m.len);
	return 1;
}
