/*
 * Order: the scheduler's own record first, then Ps, Ms and goroutines, each a list with a ceiling.
 * A list that ends early keeps what it has and leaves its reason in `why`.
 */
#include "golang/scheduler.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define RECORD_BYTES_MAX 8192
#define WINDOW_BYTES 65536

const char *gd_scheduler_p_status(uint32_t status)
{
	static const char *const names[] = { "idle", "running", "syscall", "gcstop", "dead" };
	return status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}

/* --- one record, read in one piece --- */

struct record {
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t len;
};

static uint64_t field(const struct record *r, int32_t at, size_t size)
{
	uint64_t v = 0;
	if (at >= 0 && (size_t)at + size <= r->len)
		memcpy(&v, r->bytes + at, size);
	return v;
}

static int32_t field_i32(const struct record *r, int32_t at)
{
	return (int32_t)(uint32_t)field(r, at, 4);
}

static uint32_t field_u32(const struct record *r, int32_t at)
{
	return (uint32_t)field(r, at, 4);
}

/* How far a record must be read to hold 8 bytes at each of these offsets. */
static size_t reach(const int32_t *offsets, size_t n)
{
	size_t end = 0;
	for (size_t i = 0; i < n; i++)
		if (offsets[i] >= 0 && (size_t)offsets[i] + 8 > end)
			end = (size_t)offsets[i] + 8;
	return end < RECORD_BYTES_MAX ? end : RECORD_BYTES_MAX;
}
#define REACH(...) reach((const int32_t[]){ __VA_ARGS__ }, \
                         sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

static void note(struct gd_scheduler *s, const struct gd_error *why)
{
	if (s->why.code == 0)
		s->why = *why;
}

static uint64_t read_goid(const struct gd_go *go, uint64_t g)
{
	uint64_t goid = 0;
	if (g != 0 && go->layout.g_goid >= 0)
		(void)gd_memory_read_u64(go->memory, g + (uint64_t)go->layout.g_goid, &goid, NULL);
	return goid;
}

/* Is it dead, although it belongs to a thread?  Goroutines of spare threads for cgo are. */
static bool is_spare(const struct gd_go *go, uint64_t g)
{
	uint32_t status = GD_G_IDLE;
	if (g != 0 && go->layout.g_atomicstatus >= 0)
		(void)gd_memory_read_u32(go->memory, g + (uint64_t)go->layout.g_atomicstatus,
		                         &status, NULL);
	return status == GD_G_DEAD;
}

/* --- schedt --- */

static int read_sched(struct gd_go *go, struct gd_scheduler *s, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	int32_t runqsize = l->sched_runqsize >= 0 ? l->sched_runqsize : l->sched_runq_size;
	struct record r;
	r.len = REACH(l->sched_goidgen, l->sched_lastpoll, l->sched_mnext, l->sched_nmidle,
	              l->sched_ngsys, l->sched_npidle, l->sched_nmspinning, runqsize,
	              l->sched_gcwaiting, l->sched_total_mutex_wait, l->sched_runtime_lock_wait);
	if (go->globals.sched == 0 || r.len == 0)
		return gd_fail(err, -ENOENT, "runtime.sched was not found");
	int e = gd_memory_read(go->memory, go->globals.sched, r.bytes, r.len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "runtime.sched");

	s->goid_generated = field(&r, l->sched_goidgen, 8);
	s->last_poll_ns = (int64_t)field(&r, l->sched_lastpoll, 8);
	s->m_created = (int64_t)field(&r, l->sched_mnext, 8);
	s->m_idle = field_i32(&r, l->sched_nmidle);
	s->m_spinning = field_i32(&r, l->sched_nmspinning);
	s->p_idle = field_i32(&r, l->sched_npidle);
	s->runq = field_i32(&r, runqsize);
	s->gc_waiting = field(&r, l->sched_gcwaiting, 1) != 0;
	s->system_goroutines = field_u32(&r, l->sched_ngsys);
	s->mutex_wait_ns = l->sched_total_mutex_wait < 0
	                           ? -1
	                           : (int64_t)field(&r, l->sched_total_mutex_wait, 8);
	s->runtime_lock_wait_ns = (int64_t)field(&r, l->sched_runtime_lock_wait, 8);
	if (go->globals.gomaxprocs != 0) {
		uint32_t n = 0;
		(void)gd_memory_read_u32(go->memory, go->globals.gomaxprocs, &n, NULL);
		s->gomaxprocs = (int32_t)n;
	}
	return 0;
}

static void read_histogram(struct gd_go *go, struct gd_scheduler *s, uint64_t base, int32_t at,
                           struct gd_histogram *to)
{
	struct gd_error why = { 0 };
	if (base != 0 && at >= 0 &&
	    gd_histogram_read(go->memory, &go->layout, base + (uint64_t)at, to, &why) < 0)
		note(s, &why);
}

static void read_histograms(struct gd_go *go, struct gd_scheduler *s)
{
	const struct gd_layout *l = &go->layout;
	uint64_t sched = go->globals.sched;
	read_histogram(go, s, sched, l->sched_time_to_run, &s->latency);
	read_histogram(go, s, sched, l->sched_stw_stopping_gc, &s->stw_stopping_gc);
	read_histogram(go, s, sched, l->sched_stw_stopping_other, &s->stw_stopping_other);
	read_histogram(go, s, sched, l->sched_stw_total_gc, &s->stw_total_gc);
	read_histogram(go, s, sched, l->sched_stw_total_other, &s->stw_total_other);
	read_histogram(go, s, go->globals.memstats, l->mstats_gc_pause_dist, &s->gc_pauses);
}

/* --- slices of pointers: allp, allgs --- */

static int read_pointers(struct gd_go *go, uint64_t slice, uint64_t max, const char *name,
                         uint64_t **ret, size_t *ret_n, struct gd_error *err)
{
	uint64_t head[3];
	if (slice == 0)
		return gd_fail(err, -ENOENT, "runtime.%s was not found", name);
	int r = gd_memory_read(go->memory, slice, head, sizeof(head), err);
	if (r < 0)
		return gd_error_wrap(err, r, "runtime.%s", name);
	if (head[1] > head[2] || head[1] > max)
		return gd_fail(err, -EBADMSG, "runtime.%s: length %" PRIu64 ", capacity %" PRIu64,
		               name, head[1], head[2]);
	size_t n = (size_t)head[1];
	GD_FREE uint64_t *list = calloc(n > 0 ? n : 1, sizeof(list[0]));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu of runtime.%s", n, name);
	r = n > 0 ? gd_memory_read(go->memory, head[0], list, n * sizeof(list[0]), err) : 0;
	if (r < 0)
		return gd_error_wrap(err, r, "%zu of runtime.%s", n, name);
	*ret = gd_steal_ptr(&list);
	*ret_n = n;
	return 0;
}

/* --- Ps --- */

static int read_p(struct gd_go *go, uint64_t addr, struct gd_p *p, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	struct record r;
	r.len = REACH(l->p_id, l->p_status, l->p_schedtick, l->p_syscalltick, l->p_m,
	              l->p_runqhead, l->p_runqtail, l->p_runnext);
	int e = gd_memory_read(go->memory, addr, r.bytes, r.len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "P");
	*p = (struct gd_p){
		.addr = addr,
		.id = field_i32(&r, l->p_id),
		.status = field_u32(&r, l->p_status),
		.schedtick = field_u32(&r, l->p_schedtick),
		.syscalltick = field_u32(&r, l->p_syscalltick),
		.m = field(&r, l->p_m, 8),
		.runq = field_u32(&r, l->p_runqtail) - field_u32(&r, l->p_runqhead),
	};
	/* Head and tail are two loads of ours: the ring holds at most 256. */
	if (p->runq > 256)
		p->runq = 0;
	if (field(&r, l->p_runnext, 8) != 0)
		p->runq++;
	return 0;
}

static int read_ps(struct gd_go *go, struct gd_scheduler *s, struct gd_error *err)
{
	GD_FREE uint64_t *list = NULL;
	size_t n = 0;
	int r = read_pointers(go, go->globals.allp, GD_SCHEDULER_PS_MAX, "allp", &list, &n, err);
	if (r < 0)
		return r;
	s->ps = calloc(n > 0 ? n : 1, sizeof(s->ps[0]));
	if (s->ps == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu Ps", n);
	for (size_t i = 0; i < n; i++) {
		r = read_p(go, list[i], &s->ps[s->n_ps], err);
		if (r < 0)
			return r;
		s->n_ps++;
	}
	return 0;
}

/* --- Ms --- */

static int32_t p_id_of(const struct gd_scheduler *s, uint64_t addr)
{
	for (size_t i = 0; addr != 0 && i < s->n_ps; i++)
		if (s->ps[i].addr == addr)
			return s->ps[i].id;
	return -1;
}

static int read_m(struct gd_go *go, struct gd_scheduler *s, uint64_t addr, struct gd_m *m,
                  uint64_t *ret_next, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	struct record r;
	r.len = REACH(l->m_procid, l->m_curg, l->m_p, l->m_id, l->m_incgo, l->m_ncgo, l->m_alllink,
	              l->m_lockedg, l->m_spinning, l->m_blocked, l->m_locks, l->m_lock_profile);
	int e = gd_memory_read(go->memory, addr, r.bytes, r.len, err);
	if (e < 0)
		return gd_error_wrap(err, e, "M");
	*m = (struct gd_m){
		.addr = addr,
		.id = (int64_t)field(&r, l->m_id, 8),
		.tid = field(&r, l->m_procid, 8),
		.p = p_id_of(s, field(&r, l->m_p, 8)),
		.curg = read_goid(go, field(&r, l->m_curg, 8)),
		.locked_g = read_goid(go, field(&r, l->m_lockedg, 8)),
		.ncgo = field_i32(&r, l->m_ncgo),
		.locks = field_i32(&r, l->m_locks),
		.incgo = field(&r, l->m_incgo, 1) != 0,
		.spinning = field(&r, l->m_spinning, 1) != 0,
		.blocked = field(&r, l->m_blocked, 1) != 0,
	};
	/* The scheduler keeps the sum of threads that are gone.  waitTime comes first in it. */
	s->runtime_lock_wait_ns = (int64_t)((uint64_t)s->runtime_lock_wait_ns +
	                                    field(&r, l->m_lock_profile, 8));
	if (is_spare(go, field(&r, l->m_lockedg, 8)))
		s->spares++;
	*ret_next = field(&r, l->m_alllink, 8);
	return 0;
}

/* Follows m.alllink; circles are found as Brent does it. */
static int read_ms(struct gd_go *go, struct gd_scheduler *s, struct gd_error *err)
{
	uint64_t addr = 0;
	uint64_t seen = 0;
	size_t cap = 0;
	if (go->globals.allm == 0 || go->layout.m_alllink < 0)
		return gd_fail(err, -ENOENT, "runtime.allm was not found");
	int r = gd_memory_read_u64(go->memory, go->globals.allm, &addr, err);
	if (r < 0)
		return gd_error_wrap(err, r, "runtime.allm");
	while (addr != 0) {
		if (addr == seen)
			return gd_fail(err, -EBADMSG, "runtime.allm runs in a circle");
		if (s->n_ms >= GD_SCHEDULER_MS_MAX)
			return gd_fail(err, -E2BIG, "more than %d Ms", GD_SCHEDULER_MS_MAX);
		if ((s->n_ms & (s->n_ms - 1)) == 0)
			seen = addr;
		if (s->n_ms == cap) {
			cap = cap > 0 ? 2 * cap : 64;
			struct gd_m *more = reallocarray(s->ms, cap, sizeof(s->ms[0]));
			if (more == NULL)
				return gd_fail_errno(err, -ENOMEM, "%zu Ms", cap);
			s->ms = more;
		}
		r = read_m(go, s, addr, &s->ms[s->n_ms], &addr, err);
		if (r < 0)
			return r;
		s->n_ms++;
	}
	return 0;
}

/* --- goroutines by status --- */

static int by_address(const void *a, const void *b)
{
	uint64_t x = gd_load_u64(a);
	uint64_t y = gd_load_u64(b);
	return x < y ? -1 : x > y;
}

/* Records of goroutines lie next to each other: sorted, a few reads serve thousands. */
static int count_statuses(struct gd_go *go, struct gd_scheduler *s, const uint64_t *gs, size_t n,
                          struct gd_error *err)
{
	GD_FREE uint8_t *window = malloc(WINDOW_BYTES);
	uint64_t start = 0;
	size_t len = 0;
	if (window == NULL)
		return gd_fail_errno(err, -ENOMEM, "status of goroutines");
	for (size_t i = 0; i < n; i++) {
		uint64_t at = gs[i] + (uint64_t)go->layout.g_atomicstatus;
		if (at < start || at - start >= len || len - (at - start) < 4) {
			ssize_t got = gd_memory_read_some(go->memory, at, window, WINDOW_BYTES);
			start = at;
			len = got > 0 ? (size_t)got : 0;
			if (len < 4)
				return gd_fail(err, -EFAULT, "goroutine at 0x%" PRIx64
				               ": its status cannot be read", gs[i]);
		}
		uint32_t status = gd_load_u32(window + (at - start)) & ~(uint32_t)GD_G_SCAN;
		if (status < GD_G_STATUSES)
			s->by_status[status]++;
		else
			s->unknown_status++;
	}
	return 0;
}

static int read_gs(struct gd_go *go, struct gd_scheduler *s, struct gd_error *err)
{
	GD_FREE uint64_t *list = NULL;
	size_t n = 0;
	if (go->layout.g_atomicstatus < 0)
		return gd_fail(err, -ENOTSUP, "where goroutines keep their status is not known");
	int r = read_pointers(go, go->globals.allgs, GD_SCHEDULER_GS_MAX, "allgs", &list, &n, err);
	if (r < 0 || list == NULL)
		return r;
	qsort(list, n, sizeof(list[0]), by_address);
	r = count_statuses(go, s, list, n, err);
	/* runtime.NumGoroutine: all but the free and the system's; the latter include spares. */
	uint64_t live = s->spares;
	for (uint32_t i = GD_G_RUNNABLE; i < GD_G_STATUSES; i++)
		if (i != GD_G_DEAD)
			live += s->by_status[i];
	s->goroutines = live > s->system_goroutines ? live - s->system_goroutines : 0;
	return r;
}

void gd_scheduler_deinit(struct gd_scheduler *scheduler)
{
	free(scheduler->ps);
	free(scheduler->ms);
	*scheduler = (struct gd_scheduler){ 0 };
}

int gd_scheduler_read(struct gd_go *go, struct gd_scheduler *ret, struct gd_error *err)
{
	typedef int (*part)(struct gd_go *go, struct gd_scheduler *s, struct gd_error *err);
	static const part parts[] = { read_sched, read_ps, read_ms, read_gs };
	size_t failed = 0;
	struct gd_error why = { 0 };

	GD_FREE struct gd_scheduler *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "scheduler state");
	s->mutex_wait_ns = -1;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int r = parts[i](go, s, &why);
		if (r < 0) {
			note(s, &why);
			failed++;
		}
	}
	read_histograms(go, s);
	if (failed == sizeof(parts) / sizeof(parts[0])) {
		why = s->why;
		gd_scheduler_deinit(s);
		if (err != NULL)
			*err = why;
		return why.code;
	}
	*ret = *s;
	return 0;
}
