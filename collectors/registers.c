#include "collectors/registers.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "target/container.h"

enum {
	RING_BYTES = 32 << 10,  /* a power of two with room for one sample */
	WAIT_MS = 15,           /* for one sample: a thread may get no CPU so long */
	WAIT_TOTAL_MS = 60,     /* of one capture */
	RECORD_MAX = GD_ACCESS_STACK_BYTES + 128,
	EVENTS_MAX = 128,
	LOOKED_AT_MAX = 1024,   /* threads asked beforehand whether they run */
	AT_ONCE = 32,           /* of them */
};

struct thread_id {
	uint64_t inner; /* in the target's pid namespace */
	pid_t tid;      /* in ours */
};

/* A counter that makes one sample each time it is armed. */
struct event {
	pid_t tid;
	int fd;
	uint8_t *ring; /* a page of the kernel's, then RING_BYTES */
};

struct gd_registers {
	struct gd_target *target;
	const struct gd_image *image;
	size_t page;
	struct event events[EVENTS_MAX];
	size_t n_events;
	int refused;
	int64_t waited_ns;
	struct thread_id *threads; /* only for a target in a pid namespace of its own */
	size_t n_threads;
	bool namespaced, threads_read;
	uint8_t record[RECORD_MAX]; /* the sample, its stack copy */
};

int gd_registers_create(struct gd_target *target, const struct gd_image *image,
                        struct gd_registers **ret, struct gd_error *err)
{
	struct gd_registers *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return gd_fail_errno(err, -ENOMEM, "registers");
	r->target = target;
	r->image = image;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	GD_BUF struct gd_buf status = GD_BUF_INIT(64 << 10);
	if (gd_target_read_file(target, "status", &status, NULL) == 0) {
		int32_t inner = gd_container_parse_nspid(status.data, status.len);
		r->namespaced = inner != 0 && inner != target->pid;
	}
	*ret = r;
	return 0;
}

void gd_registers_destroy(struct gd_registers *registers)
{
	if (registers == NULL)
		return;
	for (size_t i = 0; i < registers->n_events; i++) {
		(void)munmap(registers->events[i].ring, registers->page + RING_BYTES);
		(void)close(registers->events[i].fd);
	}
	free(registers->threads);
	free(registers);
}

/* ---- which thread --------------------------------------------------------------------------- */

static int read_thread_file(struct gd_registers *r, pid_t tid, const char *name,
                            struct gd_buf *buf)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	gd_buf_reset(buf);
	return gd_target_read_file(r->target, path, buf, NULL);
}

static void read_threads(struct gd_registers *r)
{
	pid_t *tids;
	size_t n;
	r->threads_read = true;
	if (gd_target_threads(r->target, &tids, &n, NULL) < 0)
		return;
	r->threads = calloc(n > 0 ? n : 1, sizeof(*r->threads));
	GD_BUF struct gd_buf status = GD_BUF_INIT(64 << 10);
	for (size_t i = 0; i < n && r->threads != NULL; i++) {
		if (read_thread_file(r, tids[i], "status", &status) < 0)
			continue;
		int32_t inner = gd_container_parse_nspid(status.data, status.len);
		if (inner > 0)
			r->threads[r->n_threads++] = (struct thread_id){ (uint64_t)inner, tids[i] };
	}
	free(tids);
}

/* The thread in our pid namespace, 0 when there is none.  The number comes from foreign memory. */
static pid_t thread_of(struct gd_registers *r, uint64_t inner)
{
	if (inner == 0 || inner > INT32_MAX)
		return 0;
	if (!r->namespaced)
		return (pid_t)inner;
	if (!r->threads_read)
		read_threads(r);
	for (size_t i = 0; i < r->n_threads; i++)
		if (r->threads[i].inner == inner)
			return r->threads[i].tid;
	return 0;
}

/* ---- asleep: the kernel tells --------------------------------------------------------------- */

/* "running", or "NUMBER [ARGUMENT...] SP PC"; the last two count. */
static int parse_syscall(const char *text, struct gd_thread_registers *ret)
{
	uint64_t last[2] = { 0, 0 };
	size_t n = 0;
	for (const char *p = strchr(text, ' '); p != NULL; p = strchr(p, ' ')) {
		const char *end;
		p++;
		if (strncmp(p, "0x", 2) != 0 || !gd_text_u64(p + 2, &end, 16, &last[n % 2]))
			return -EAGAIN;
		n++;
	}
	if (n < 2)
		return -EAGAIN;
	*ret = (struct gd_thread_registers){ .sp = last[n % 2], .pc = last[(n + 1) % 2] };
	return 0;
}

/* 0 when it sleeps, -EAGAIN when it runs; else it is no thread of the target, or secret. */
static int read_sleeping(struct gd_registers *r, pid_t tid, struct gd_thread_registers *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	int e = read_thread_file(r, tid, "syscall", &text);
	return e < 0 ? e : parse_syscall(gd_buf_str(&text), ret);
}

/* ---- of an image ----------------------------------------------------------------------------- */

static int read_image(const struct gd_image *image, pid_t tid, struct gd_thread_registers *ret)
{
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(image, &n);
	for (size_t i = 0; i < n; i++) {
		if (threads[i].tid != tid || !threads[i].stopped)
			continue;
		/* Its stack is of the same instant, so no copy comes along. */
		*ret = (struct gd_thread_registers){ .sp = threads[i].regs.rsp,
			                             .pc = threads[i].regs.rip };
		return 0;
	}
	return -ESRCH;
}

/* ---- on a CPU: one sample ------------------------------------------------------------------- */

/* Body of a sample: u32 pid, tid; u64 abi, regs[2], size; stack; u64 size of it that is good. */
static int parse_sample(struct gd_registers *r, const uint8_t *record, size_t len, pid_t tid,
                        struct gd_thread_registers *ret)
{
	struct gd_bytes b = gd_bytes_of(record, len);
	gd_bytes_seek(&b, sizeof(struct perf_event_header));
	uint32_t pid = gd_bytes_u32(&b), from = gd_bytes_u32(&b);
	uint64_t abi = gd_bytes_u64(&b);
	if (b.bad || pid != (uint32_t)r->target->pid || from != (uint32_t)tid ||
	    abi != PERF_SAMPLE_REGS_ABI_64)
		return -EAGAIN; /* also: a thread of the kernel's own has no user registers */
	ret->sp = gd_bytes_u64(&b); /* in the order of their numbers */
	ret->pc = gd_bytes_u64(&b);
	uint64_t size = gd_bytes_u64(&b);
	ret->stack = size > 0 ? gd_bytes_take(&b, (size_t)size) : NULL;
	uint64_t good = size > 0 ? gd_bytes_u64(&b) : 0;
	ret->stack_len = (size_t)(good < size ? good : size);
	return b.bad ? -EBADMSG : 0;
}

static void copy_out(const uint8_t *data, uint64_t at, void *to, size_t n)
{
	size_t from = (size_t)at % RING_BYTES;
	size_t first = n < RING_BYTES - from ? n : RING_BYTES - from;
	memcpy(to, data + from, first);
	memcpy((uint8_t *)to + first, data, n - first);
}

/* Takes the sample out of the ring; -EAGAIN when there is none yet. */
static int take_sample(struct gd_registers *r, struct event *event,
                       struct gd_thread_registers *ret)
{
	struct perf_event_mmap_page *meta = (void *)event->ring;
	const uint8_t *data = event->ring + r->page;
	uint64_t head = __atomic_load_n(&meta->data_head, __ATOMIC_ACQUIRE);
	uint64_t at = meta->data_tail;
	int e = -EAGAIN;
	while (e == -EAGAIN && head - at >= sizeof(struct perf_event_header)) {
		struct perf_event_header header;
		copy_out(data, at, &header, sizeof(header));
		if (header.size < sizeof(header) || header.size > head - at)
			break;
		if (header.type == PERF_RECORD_SAMPLE && header.size <= sizeof(r->record)) {
			copy_out(data, at, r->record, header.size);
			e = parse_sample(r, r->record, header.size, event->tid, ret);
		}
		at += header.size;
	}
	if (head == meta->data_tail)
		return e;
	__atomic_store_n(&meta->data_tail, head, __ATOMIC_RELEASE);
	/* whoever asks again wants a newer one */
	(void)ioctl(event->fd, PERF_EVENT_IOC_REFRESH, 1);
	return e;
}

/* Opens an event for the thread and asks for a sample. */
static int add_event(struct gd_registers *r, pid_t tid)
{
	if (r->refused != 0)
		return r->refused;
	if (r->n_events == EVENTS_MAX)
		return -EAGAIN;
	int fd = -1;
	int opened = r->target->access->ops->open_perf(r->target->access, tid, &fd, NULL);
	if (opened < 0) {
		if (opened != -ESRCH)
			r->refused = opened;
		return opened;
	}
	uint8_t *ring = mmap(NULL, r->page + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		r->refused = -errno;
		(void)close(fd);
		return r->refused;
	}
	r->events[r->n_events++] = (struct event){ .tid = tid, .fd = fd, .ring = ring };
	return ioctl(fd, PERF_EVENT_IOC_REFRESH, 1) < 0 ? -errno : 0;
}

static struct event *event_of(struct gd_registers *r, pid_t tid)
{
	for (size_t i = 0; i < r->n_events; i++)
		if (r->events[i].tid == tid)
			return &r->events[i];
	return NULL;
}

static int sample(struct gd_registers *r, pid_t tid, struct gd_thread_registers *ret)
{
	struct event *event = event_of(r, tid);
	if (event == NULL) {
		int e = add_event(r, tid);
		if (e < 0)
			return e;
		event = &r->events[r->n_events - 1];
	}
	int e = take_sample(r, event, ret);
	if (e == -EAGAIN && r->waited_ns < WAIT_TOTAL_MS * INT64_C(1000000)) {
		struct pollfd poll_fd = { .fd = event->fd, .events = POLLIN };
		int64_t start = gd_clock_monotonic_ns();
		(void)poll(&poll_fd, 1, WAIT_MS);
		r->waited_ns += gd_clock_monotonic_ns() - start;
		e = take_sample(r, event, ret);
	}
	return e;
}

/* Their state, all in one question where one has to ask. */
static void announce(struct gd_registers *r, const pid_t *tids, size_t n)
{
	struct gd_access_wanted wanted[AT_ONCE];
	char paths[AT_ONCE][32];
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "task/%d/stat", tids[i]);
		wanted[i] = (struct gd_access_wanted){ .kind = GD_ACCESS_READ, .path = paths[i] };
	}
	gd_access_prepare(r->target->access, wanted, n);
}

void gd_registers_prepare(struct gd_registers *r)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	pid_t *tids;
	size_t n;
	if (r->image != NULL || gd_target_threads(r->target, &tids, &n, NULL) < 0)
		return;
	if (n > LOOKED_AT_MAX)
		n = LOOKED_AT_MAX;
	for (size_t i = 0; i < n && r->refused == 0 && r->n_events < EVENTS_MAX; i++) {
		struct gd_stat stat;
		if (i % AT_ONCE == 0)
			announce(r, tids + i, n - i < AT_ONCE ? n - i : AT_ONCE);
		if (read_thread_file(r, tids[i], "stat", &text) == 0 &&
		    gd_stat_parse(text.data, text.len, &stat, NULL) == 0 && stat.state == 'R')
			(void)add_event(r, tids[i]);
	}
	free(tids);
}

int gd_registers_read(void *registers, uint64_t tid, struct gd_thread_registers *ret)
{
	struct gd_registers *r = registers;
	struct gd_thread_registers found = { 0 };
	pid_t ours = thread_of(r, tid);
	if (ours == 0)
		return -ESRCH;
	int e = r->image != NULL ? read_image(r->image, ours, &found)
	                         : read_sleeping(r, ours, &found);
	if (r->image == NULL && e == -EAGAIN)
		e = sample(r, ours, &found);
	if (e == 0)
		*ret = found;
	return e;
}
