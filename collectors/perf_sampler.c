#include "collectors/perf_sampler.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/perf_ring.h"

/* Events of each thread on each CPU: more take too long to open and, above all, to close. */
#define INHERITED_MAX 2000
/* Looks for the record of a switch whose sample is there: its CPU writes both with interrupts off. */
#define PATIENCE 1000

/* One of a CPU's. */
struct ring {
	struct gd_perf_ring pages;
	uint32_t cpu;
	uint64_t wakeups_id; /* 0: it has none in it */
};

struct gd_perf_sampler {
	struct gd_target *target;
	struct gd_perf_sampler_options options;
	struct gd_perf_sampler_about about;
	uint32_t *cpus;
	size_t n_cpus;
	int *fds;
	size_t n_fds;
	size_t n_timed;    /* of these, not of switches; they come first */
	size_t n_switches; /* of these, with those of switches; then come those of wake-ups */
	int wakeups_fd;    /* while there are any: -1, or what makes them come */
	struct ring *rings; /* one per CPU, then one per CPU for switches */
	struct pollfd *polls;
	size_t n_rings, n_timed_rings;
	int syscalls_fd;            /* as above, of system calls */
	const uint64_t *slices;  /* of the kernel's, NULL: none; GD_PERF_SYSCALLS_BYTES */
	uint64_t syscalls[GD_PERF_SYSCALLS_STRIDE];
	uint8_t records[2][GD_PERF_RECORD_BYTES]; /* the one at hand, and the one before it */
};

/* ---- which CPUs ------------------------------------------------------------------------------ */

/* "0-3,6": the kernel's list. */
static int parse_cpus(struct gd_perf_sampler *s, const char *text, struct gd_error *err)
{
	s->cpus = calloc(GD_PERF_CPUS_MAX, sizeof(*s->cpus));
	if (s->cpus == NULL)
		return gd_fail_errno(err, -ENOMEM, "a list of CPUs");
	const char *at = text;
	for (;;) {
		uint64_t first, last;
		if (!gd_text_u64(at, &at, 10, &first))
			break;
		last = first;
		if (*at == '-' && !gd_text_u64(at + 1, &at, 10, &last))
			break;
		for (; first <= last && first < GD_PERF_CPUS_MAX && s->n_cpus < GD_PERF_CPUS_MAX;
		     first++)
			s->cpus[s->n_cpus++] = (uint32_t)first;
		if (*at != ',')
			break;
		at++;
	}
	return s->n_cpus > 0 ? 0 : gd_fail(err, -EBADMSG, "which CPUs are online?");
}

static int read_cpus(struct gd_perf_sampler *s, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(64 << 10);
	int r = gd_target_read_file(s->target, "/sys/devices/system/cpu/online", &text, err);
	return r < 0 ? r : parse_cpus(s, gd_buf_str(&text), err);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* All but the first ones. */
static void close_events(struct gd_perf_sampler *s, size_t n_fds, size_t n_rings)
{
	while (s->n_rings > n_rings)
		gd_perf_ring_unmap(&s->rings[--s->n_rings].pages);
	while (s->n_fds > n_fds)
		(void)close(s->fds[--s->n_fds]);
}

/* What to ask for on that CPU. */
struct question {
	uint32_t way;
	bool switches;
	uint32_t cpu;
};

/* One more event, its records into the last ring or one of its own. */
static int add_event(struct gd_perf_sampler *s, const struct question *q, pid_t tid, bool own_ring,
                     struct gd_error *err)
{
	struct gd_access *access = s->target->access;
	struct gd_perf_opened opened;
	uint32_t stack_bytes = q->switches ? s->options.switch_stack_bytes : s->options.stack_bytes;
	const struct gd_perf_wanted wanted = {
		.way = q->way,
		/* The first one decides: shares of different events cannot be added up. */
		.event = q->switches     ? GD_PERF_SWITCHES
		         : s->n_fds > 0 ? s->about.event
		                        : GD_PERF_BEST,
		.cpu = q->cpu,
		.tid = tid,
		.frequency_hz = q->switches ? 0 : s->options.frequency_hz,
		.stack_bytes = q->way == GD_PERF_EVERYBODY ? 0 : stack_bytes,
	};
	GD_CLOSE int fd = -1;
	int r = access->ops->open_sampler(access, &wanted, &opened, &fd, err);
	if (r < 0)
		return r;
	if (own_ring) {
		struct gd_perf_ring *ring = &s->rings[s->n_rings].pages;
		r = gd_perf_ring_map(fd, s->options.ring_bytes, ring, err);
		if (r < 0)
			return r;
		s->rings[s->n_rings].cpu = q->cpu;
		s->rings[s->n_rings].wakeups_id = 0;
		s->polls[s->n_rings++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		if (s->about.ring_bytes == 0 || ring->data_bytes < s->about.ring_bytes)
			s->about.ring_bytes = ring->data_bytes;
	} else if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, s->rings[s->n_rings - 1].pages.fd) < 0) {
		return gd_fail_errno(err, -errno, "two perf events into one ring");
	}
	if (s->n_fds == 0)
		s->about = (struct gd_perf_sampler_about){ .way = q->way, .event = opened.event,
			                                   .kernel = true,
			                                   .stack_bytes = wanted.stack_bytes,
			                                   .ring_bytes = s->about.ring_bytes,
			                                   .fell_back = s->about.fell_back };
	s->about.kernel = s->about.kernel && opened.kernel != 0;
	s->fds[s->n_fds++] = gd_steal_fd(&fd);
	return 0;
}

static int make_room(struct gd_perf_sampler *s, size_t more, struct gd_error *err)
{
	int *fds = reallocarray(s->fds, s->n_fds + more + 1, sizeof(*fds));
	if (fds == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu perf events", more);
	s->fds = fds;
	return 0;
}

static int open_per_cpu(struct gd_perf_sampler *s, struct question *q, struct gd_error *err)
{
	size_t before = s->n_fds;
	int r = make_room(s, s->n_cpus, err);
	for (size_t i = 0; i < s->n_cpus && r == 0; i++) {
		q->cpu = s->cpus[i];
		r = add_event(s, q, 0, true, err);
		/* A CPU that has gone offline takes none with it. */
		if (r == -ENODEV)
			r = 0;
	}
	if (r == 0 && s->n_fds == before)
		r = gd_fail(err, -ENODEV, "no CPU takes a perf event");
	return r;
}

static int open_per_thread(struct gd_perf_sampler *s, struct question *q, struct gd_error *err)
{
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	size_t before = s->n_fds;
	int r = gd_target_threads(s->target, &tids, &n, err);
	if (r < 0)
		return r;
	if (n * s->n_cpus + before > INHERITED_MAX)
		return gd_fail(err, -E2BIG, "%zu threads on %zu CPUs are too many for an event each",
		               n, s->n_cpus);
	r = make_room(s, n * s->n_cpus, err);
	for (size_t i = 0; i < s->n_cpus && r == 0; i++) {
		bool own_ring = true;
		q->cpu = s->cpus[i];
		for (size_t k = 0; k < n && r == 0; k++) {
			r = add_event(s, q, tids[k], own_ring, err);
			if (r == 0)
				own_ring = false;
			else if (r == -ESRCH)
				r = 0; /* it has ended meanwhile */
		}
	}
	if (r == 0 && s->n_fds == before)
		r = gd_fail(err, -ESRCH, "the target's threads have ended");
	return r;
}

static int open_way(struct gd_perf_sampler *s, uint32_t way, bool switches, struct gd_error *err)
{
	struct question q = { .way = way, .switches = switches };
	if (s->options.ways_off[way])
		return gd_fail(err, -EPERM, "%s: turned off", gd_perf_way_name(way));
	return way == GD_PERF_INHERITED ? open_per_thread(s, &q, err) : open_per_cpu(s, &q, err);
}

static int ask(struct gd_perf_sampler *s, uint32_t event, uint32_t cpu, struct gd_perf_opened *opened,
               int *ret_fd, struct gd_error *err)
{
	struct gd_access *access = s->target->access;
	const struct gd_perf_wanted wanted = { .way = GD_PERF_FILTERED, .event = event, .cpu = cpu };
	return access->ops->open_sampler(access, &wanted, opened, ret_fd, err);
}

/* Into the ring of switches, so that they stay in order. */
static int add_wakeups(struct gd_perf_sampler *s, struct ring *ring, struct gd_error *err)
{
	struct gd_perf_opened opened;
	GD_CLOSE int fd = -1;
	int r = ask(s, GD_PERF_WAKEUPS, ring->cpu, &opened, &fd, err);
	if (r < 0)
		return r;
	if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring->pages.fd) < 0)
		return gd_fail_errno(err, -errno, "wake-ups into the ring of switches");
	ring->wakeups_id = opened.id;
	s->fds[s->n_fds++] = gd_steal_fd(&fd);
	return 0;
}

/* Without them being blocked lasts until a thread runs. */
static void open_wakeups(struct gd_perf_sampler *s)
{
	struct gd_error *why = &s->about.no_wakeups;
	struct gd_perf_opened opened;
	int r = 0;
	if (s->about.way != GD_PERF_FILTERED)
		r = gd_fail(why, -ENOTSUP, "wake-ups need BPF; %s", s->about.fell_back.msg);
	else if (s->options.wakeups_off)
		r = gd_fail(why, -EPERM, "wake-ups: turned off");
	if (r == 0)
		r = make_room(s, s->n_cpus, why);
	for (size_t i = s->n_timed_rings; i < s->n_rings && r == 0; i++)
		r = add_wakeups(s, &s->rings[i], why);
	if (r == 0)
		r = ask(s, GD_PERF_WAKEUPS_ON, 0, &opened, &s->wakeups_fd, why);
	if (r < 0)
		close_events(s, s->n_switches, s->n_rings);
}

static void open_syscalls(struct gd_perf_sampler *s)
{
	struct gd_error *why = &s->about.no_syscalls;
	struct gd_perf_opened opened;
	GD_CLOSE int fd = -1;
	if (s->about.way != GD_PERF_FILTERED) {
		(void)gd_fail(why, -ENOTSUP, "counting system calls needs BPF; %s",
		              s->about.fell_back.msg);
		return;
	}
	if (ask(s, GD_PERF_SYSCALLS, 0, &opened, &fd, why) < 0)
		return;
	void *slices = mmap(NULL, GD_PERF_SYSCALLS_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (slices == MAP_FAILED) {
		(void)gd_fail_errno(why, -errno, "counts of system calls");
		return;
	}
	s->slices = slices;
	(void)ask(s, GD_PERF_SYSCALLS_ON, 0, &opened, &s->syscalls_fd, why);
}

/* Not to be had is no failure: what a process does on the CPU is worth having alone. */
static void open_switches(struct gd_perf_sampler *s)
{
	if (s->about.way == GD_PERF_EVERYBODY) {
		(void)gd_fail(&s->about.no_switches, -EPERM, "%s", s->about.fell_back.msg);
		return;
	}
	if (open_way(s, s->about.way, true, &s->about.no_switches) < 0) {
		close_events(s, s->n_timed, s->n_timed_rings);
		return;
	}
	s->n_switches = s->n_fds;
	open_wakeups(s);
}

static int open_best(struct gd_perf_sampler *s, struct gd_error *err)
{
	struct gd_error first = { 0 };
	for (uint32_t way = 0; way < GD_PERF_WAYS; way++) {
		struct gd_error why = { 0 };
		int r = open_way(s, way, false, &why);
		if (r == 0) {
			s->n_timed = s->n_switches = s->n_fds;
			s->n_timed_rings = s->n_rings;
			s->about.fell_back = first;
			s->about.cpus = (uint32_t)s->n_cpus;
			s->about.fds = s->n_fds;
			return 0;
		}
		close_events(s, 0, 0);
		s->about = (struct gd_perf_sampler_about){ .way = 0 };
		if (first.code == 0)
			first = why;
		if (r == -ESRCH && way == GD_PERF_INHERITED) {
			first = why;
			break;
		}
	}
	*err = first;
	return first.code;
}

int gd_perf_sampler_open(struct gd_target *target, const struct gd_perf_sampler_options *options,
                         struct gd_perf_sampler **ret, struct gd_error *err)
{
	struct gd_error why = { 0 };
	GD_PERF_SAMPLER struct gd_perf_sampler *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "a sampler");
	s->wakeups_fd = s->syscalls_fd = -1;
	s->target = target;
	s->options = *options;
	if (s->options.ring_bytes == 0)
		s->options.ring_bytes = options->frequency_hz > GD_PERF_RING_FAST_HZ ?
			GD_PERF_RING_FAST : options->switch_stack_bytes > 0 ?
			GD_PERF_RING_MAX / 2 : GD_PERF_RING_MAX;
	int r = read_cpus(s, &why);
	if (r == 0) {
		s->rings = calloc(2 * s->n_cpus, sizeof(*s->rings));
		s->polls = calloc(2 * s->n_cpus, sizeof(*s->polls));
		r = s->rings != NULL && s->polls != NULL ?
		            open_best(s, &why) : gd_fail_errno(&why, -ENOMEM, "rings");
	}
	if (r < 0) {
		if (err != NULL)
			*err = why;
		return r;
	}
	*ret = s;
	s = NULL;
	return 0;
}

static void turn_off(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void gd_perf_sampler_close(struct gd_perf_sampler *s)
{
	if (s == NULL)
		return;
	turn_off(&s->wakeups_fd);
	turn_off(&s->syscalls_fd);
	if (s->slices != NULL)
		(void)munmap((void *)(uintptr_t)s->slices, GD_PERF_SYSCALLS_BYTES);
	close_events(s, 0, 0);
	free(s->rings);
	free(s->polls);
	free(s->fds);
	free(s->cpus);
	free(s);
}

const struct gd_perf_sampler_about *gd_perf_sampler_about(const struct gd_perf_sampler *s)
{
	return &s->about;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Adds what has been counted so far, or takes it off. */
static void add_syscalls(struct gd_perf_sampler *s, bool off)
{
	for (size_t i = 0; s->slices != NULL && i < GD_PERF_SYSCALLS_BYTES / sizeof(uint64_t); i++) {
		uint64_t n = __atomic_load_n(&s->slices[i], __ATOMIC_RELAXED);
		s->syscalls[i % GD_PERF_SYSCALLS_STRIDE] += off ? -n : n;
	}
}

const uint64_t *gd_perf_sampler_syscalls(const struct gd_perf_sampler *s)
{
	return s->syscalls;
}

static void enable(const struct gd_perf_sampler *s, size_t first)
{
	for (size_t i = first; i < s->n_fds; i++)
		(void)ioctl(s->fds[i], PERF_EVENT_IOC_ENABLE, 0);
}

void gd_perf_sampler_start(struct gd_perf_sampler *s)
{
	enable(s, 0);
	if (s->options.switch_stack_bytes > 0)
		open_switches(s);
	if (s->options.syscalls)
		open_syscalls(s);
	s->about.fds = s->n_fds;
	add_syscalls(s, true);
	enable(s, s->n_timed);
}

void gd_perf_sampler_stop(struct gd_perf_sampler *s)
{
	/* First what costs others. */
	if (s->syscalls_fd >= 0)
		add_syscalls(s, false);
	turn_off(&s->syscalls_fd);
	turn_off(&s->wakeups_fd);
	for (size_t i = 0; i < s->n_fds; i++)
		(void)ioctl(s->fds[i], PERF_EVENT_IOC_DISABLE, 0);
}

uint64_t gd_perf_sampler_lost(const struct gd_perf_sampler *s, bool of_switches)
{
	uint64_t lost = 0;
	size_t until = of_switches ? s->n_fds : s->n_timed;
	for (size_t i = of_switches ? s->n_timed : 0; i < until; i++) {
		uint64_t values[2]; /* PERF_FORMAT_LOST: the count, then that */
		if (read(s->fds[i], values, sizeof(values)) == (ssize_t)sizeof(values))
			lost += values[1];
	}
	return lost;
}

void gd_perf_sampler_thin_out(struct gd_perf_sampler *s, uint64_t every)
{
	size_t until = every > 0 ? s->n_switches : s->n_fds;
	if (every == 0)
		turn_off(&s->wakeups_fd);
	for (size_t i = s->n_timed; i < until; i++)
		(void)ioctl(s->fds[i], every > 0 ? PERF_EVENT_IOC_PERIOD : PERF_EVENT_IOC_DISABLE,
		            every > 0 ? &every : NULL);
}

void gd_perf_sampler_wait(struct gd_perf_sampler *s, int timeout_ms)
{
	(void)poll(s->polls, (nfds_t)s->n_rings, timeout_ms);
	/* The event of a thread that has ended is ready for ever. */
	for (size_t i = 0; i < s->n_rings; i++)
		if ((s->polls[i].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
			s->polls[i].fd = -1;
}

/*
 * A sample of a switch is followed by the record of that switch, which knows better: since 6.3 the kernel tells
 * all software events of a CPU with the same data, so what another sampler's event has put there first, by its
 * clock and in the numbers of its pid namespace, is in our sample as well.
 */
static void tell_held(struct gd_perf_record *held, const struct gd_perf_record *next,
                      gd_perf_sampler_fn *each, void *arg)
{
	if (next->kind == GD_PERF_SWITCH && next->out) {
		held->pid = next->pid;
		held->tid = next->tid;
		held->time_ns = next->time_ns;
	}
	each(arg, held, true);
}

static uint64_t drain_ring(struct gd_perf_sampler *s, size_t which, gd_perf_sampler_fn *each, void *arg)
{
	struct ring *ring = &s->rings[which];
	bool of_switches = which >= s->n_timed_rings;
	const struct gd_perf_layout layout = {
		.stack_bytes = of_switches ? s->options.switch_stack_bytes : s->about.stack_bytes,
		.wakeups_id = ring->wakeups_id,
	};
	struct gd_perf_record record, held;
	bool holding = false;
	unsigned at = 0, patience = 0;
	uint64_t senseless = 0;
	/* As much as one ring holds: who writes faster than we read must not keep us. */
	for (size_t taken = 0; taken < 2 * ring->pages.data_bytes;) {
		int n = gd_perf_ring_next(&ring->pages, s->records[at]);
		if (n == 0 && holding && patience-- > 0)
			continue;
		if (n == 0)
			break;
		taken += n > 0 ? (size_t)n : ring->pages.data_bytes;
		if (n < 0 || gd_perf_record_parse(s->records[at], (size_t)n, &layout, &record, NULL) < 0) {
			senseless++;
			continue;
		}
		if (holding)
			tell_held(&held, &record, each, arg);
		holding = of_switches && record.kind == GD_PERF_SAMPLE;
		if (holding) {
			held = record;
			at ^= 1;
			patience = PATIENCE;
		} else {
			each(arg, &record, of_switches);
		}
	}
	if (holding)
		each(arg, &held, of_switches);
	return senseless;
}

uint64_t gd_perf_sampler_drain(struct gd_perf_sampler *s, gd_perf_sampler_fn *each, void *arg)
{
	uint64_t senseless = 0;
	for (size_t i = 0; i < s->n_rings; i++)
		senseless += drain_ring(s, i, each, arg);
	return senseless;
}
