#include "agent/watch_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watch_cgroup.h"
#include "agent/watch_discover.h"
#include "agent/watch_facts.h"
#include "agent/watch_file.h"
#include "agent/watch_go.h"
#include "agent/watch_process.h"
#include "agent/watch_wire.h"

#define REVIEW_TICKS 30
#define EARLY_NS 200000000 /* after a tick, until pressure may bring about another */
#define FINDING_MAX_NS 20000000000
#define FDS_PER_PROCESS 3
#define FDS_OTHER 512 /* places of cgroups, /proc, the broker */

struct slot {
	struct gd_watch_process process;
	struct gd_watch_group *group;
	struct gd_watch_go go;
	uint32_t service;
	bool told_go;
	char told_note[120];
};

struct loop {
	const struct gd_watcher_options *options;
	struct gd_watch_ask ask;
	int triggers[GD_WATCH_TRIGGERS_MAX]; /* -1: it has ended */
	size_t n_triggers;
	int proc_fd;
	pid_t own_pid, broker_pid;
	unsigned needs;
	bool counts_fds, first, lost;
	unsigned max, n, unwatched, missed;
	struct gd_watch_discover discover;
	struct gd_watch_cgroups *cgroups;
	struct slot *slots[GD_WATCHED_MAX];
	int finding;               /* slot whose runtime is looked for, -1 */
	uint32_t next_go;          /* slot to ask for next */
	uint32_t free_from;        /* no free slot below */
	struct gd_watch_facts facts;
	struct gd_watch_samples samples;
	char note[248];
};

/* ---- slots ---------------------------------------------------------------------------------- */

static void tell(struct loop *w, enum gd_watch_type type, const void *body, size_t len)
{
	if (!w->lost && gd_watch_tell(&w->ask, type, body, len) < 0)
		w->lost = true;
}

static void free_slot(struct loop *w, uint32_t number)
{
	struct slot *slot = w->slots[number];
	gd_watch_process_close(&slot->process);
	gd_watch_cgroups_put(w->cgroups, slot->group);
	gd_watch_go_deinit(&slot->go);
	free(slot);
	w->slots[number] = NULL;
	w->n--;
	if (w->finding == (int)number)
		w->finding = -1;
	if (number < w->free_from)
		w->free_from = number;
}

static void let_go(struct loop *w, uint32_t number)
{
	tell(w, GD_WATCH_GONE, &number, sizeof(number));
	free_slot(w, number);
}

static void on_left(void *arg, uint32_t number)
{
	let_go(arg, number);
}

/* Its group, new or as before; NULL only without memory. */
static void join_group(struct loop *w, struct slot *slot, const char *membership)
{
	if (slot->group != NULL && gd_watch_group_is(slot->group, membership))
		return;
	struct gd_watch_group *group = NULL;
	if (gd_watch_cgroups_get(w->cgroups, membership, &group) < 0)
		return;
	gd_watch_cgroups_put(w->cgroups, slot->group);
	slot->group = group;
}

/* Before Linux 6.2 somebody has to count, and it must be the broker. */
static void count_fds(struct loop *w, struct slot *slot)
{
	static uint64_t sockets[GD_WATCH_SOCKETS_MAX];
	uint64_t n;
	if (w->counts_fds)
		return;
	ssize_t r = gd_watch_ask_sockets(&w->ask, &slot->process.id, sockets,
	                                 GD_WATCH_SOCKETS_MAX, &n);
	w->lost = w->lost || r == -EPIPE;
	if (r >= 0)
		slot->process.counted = n;
}

static void review(struct loop *w, struct slot *slot)
{
	char path[32];
	char membership[GD_WATCH_MEMBERSHIP_MAX];
	gd_watch_process_review(&slot->process, w->proc_fd);
	count_fds(w, slot);
	(void)snprintf(path, sizeof(path), "%d/cgroup", slot->process.id.pid);
	if (gd_watch_file_read(w->proc_fd, path, membership, sizeof(membership)) > 0)
		join_group(w, slot, membership);
}

/* The slot of facts' process among the watched; 0 or as the broker answers, -ENOSPC, -ESRCH. */
static int take_slot(struct loop *w, uint32_t service, uint32_t *ret)
{
	const struct gd_watch_facts *f = &w->facts;
	uint32_t number = w->free_from;
	if (w->n >= w->max)
		return -ENOSPC;
	while (number < GD_WATCHED_MAX && w->slots[number] != NULL)
		number++;
	w->free_from = number;
	if (number == GD_WATCHED_MAX)
		return -ENOSPC;
	struct slot *slot = calloc(1, sizeof(*slot));
	if (slot == NULL)
		return -ENOSPC;
	int r = gd_watch_process_open(w->proc_fd, &f->id, &slot->process);
	if (r < 0) {
		free(slot);
		return r;
	}
	gd_watch_go_init(&slot->go);
	slot->service = service;
	w->slots[number] = slot;
	w->n++;
	struct gd_watch_found found = {
		.who = { f->id.start_ticks, f->id.pid, 0 },
		.slot = number,
		.service = service,
		.first_look = w->first,
	};
	memcpy(found.comm, f->comm, sizeof(f->comm));
	r = gd_watch_ask_found(&w->ask, &found);
	if (r < 0) {
		free_slot(w, number);
		return r;
	}
	gd_watch_process_review(&slot->process, w->proc_fd);
	count_fds(w, slot);
	join_group(w, slot, f->membership);
	*ret = number;
	return 0;
}

/* ---- looking at processes ------------------------------------------------------------------- */

static bool is_ours(const struct loop *w, const struct gd_watch_facts *f)
{
	return f->id.pid == w->own_pid || f->id.pid == w->broker_pid ||
	       strncmp(f->unit, "godiagd.", 8) == 0 || strncmp(f->unit, "godiag-", 7) == 0;
}

/* It matched before: the same process and service stay, else it is gone from its slot. */
static bool stays(struct loop *w, struct gd_watch_known *known, int service)
{
	const struct slot *slot = w->slots[known->slot];
	if (slot->process.id.start_ticks == w->facts.id.start_ticks &&
	    (int)slot->service == service)
		return true;
	let_go(w, known->slot);
	return false;
}

static enum gd_watch_kind judge(struct loop *w, struct gd_watch_known *known, uint32_t *number)
{
	bool watched = known->kind == GD_KNOWN_WATCHED;
	int r = gd_watch_facts_read(w->proc_fd, known->pid, w->needs, &w->ask, &w->facts);
	if (r < 0) {
		w->lost = w->lost || r == -EPIPE;
		if (watched && r == -ESRCH)
			let_go(w, known->slot);
		*number = known->slot;
		return r == -ESRCH ? GD_KNOWN_NEVER : watched ? GD_KNOWN_WATCHED : GD_KNOWN_OTHER;
	}
	int service = w->facts.kernel_thread ? -1
	              : gd_match_find(w->options->policy, &w->facts.facts);
	if (service >= 0)
		gd_watch_facts_group(w->proc_fd, &w->facts);
	if (w->facts.kernel_thread || (service >= 0 && is_ours(w, &w->facts))) {
		if (watched)
			let_go(w, known->slot);
		return GD_KNOWN_NEVER;
	}
	if (watched && stays(w, known, service)) {
		*number = known->slot;
		return GD_KNOWN_WATCHED;
	}
	if (service < 0)
		return GD_KNOWN_OTHER;
	r = take_slot(w, (uint32_t)service, number);
	w->lost = w->lost || r == -EPIPE;
	if (r == 0)
		return GD_KNOWN_WATCHED;
	if (r == -ENOSPC)
		return GD_KNOWN_BEYOND;
	return r == -ESRCH || r == -EPERM ? GD_KNOWN_NEVER : GD_KNOWN_OTHER;
}

static void discover(struct loop *w)
{
	size_t cursor = 0;
	unsigned looks = 0;
	struct gd_watch_known *known;
	int r = gd_watch_discover_scan(&w->discover, on_left, w);
	if (r < 0) {
		(void)snprintf(w->note, sizeof(w->note), "/proc cannot be listed: %s", strerror(-r));
		return;
	}
	while (!w->lost &&
	       (known = gd_watch_discover_next(&w->discover, &cursor, &looks)) != NULL) {
		uint32_t number = 0;
		enum gd_watch_kind kind = judge(w, known, &number);
		gd_watch_discover_looked(&w->discover, known, kind, number);
	}
	w->unwatched = 0;
	for (size_t i = 0; i < w->discover.n; i++)
		w->unwatched += w->discover.list[i].kind == GD_KNOWN_BEYOND;
}

/* Its program may be another one now: a look at the next tick. */
static void look_again(struct loop *w, const struct slot *slot)
{
	struct gd_watch_known *known =
		gd_watch_discover_find(&w->discover, slot->process.id.pid);
	if (known == NULL || known->kind != GD_KNOWN_WATCHED)
		return;
	known->due = w->discover.tick + 1;
	known->looks = 0;
}

/* ---- sampling ------------------------------------------------------------------------------- */

static void flush(struct loop *w)
{
	size_t len = offsetof(struct gd_watch_samples, list) + w->samples.n * sizeof(w->samples.list[0]);
	if (w->samples.n > 0)
		tell(w, GD_WATCH_SAMPLES, &w->samples, len);
	w->samples.n = 0;
}

static void tell_changes(struct loop *w, uint32_t number, struct slot *slot)
{
	bool go = slot->go.state == GD_WATCH_GO_READING;
	const char *note = slot->go.note;
	if (*note == '\0' && slot->group != NULL)
		note = gd_watch_group_note(slot->group);
	if (go == slot->told_go && strcmp(note, slot->told_note) == 0)
		return;
	slot->told_go = go;
	(void)snprintf(slot->told_note, sizeof(slot->told_note), "%s", note);
	struct gd_watch_changed changed = { .slot = number, .go = go };
	memcpy(changed.note, slot->told_note, sizeof(changed.note));
	tell(w, GD_WATCH_CHANGED, &changed, sizeof(changed));
}

static void tell_events(struct loop *w, uint32_t number, const struct slot *slot,
                        const struct gd_clock *at)
{
	unsigned bits = slot->group != NULL ? gd_watch_group_events(slot->group) : 0;
	struct gd_watch_events events = { .at = *at, .slot = number, .bits = bits };
	if (bits != 0)
		tell(w, GD_WATCH_EVENTS, &events, sizeof(events));
}

static void gone_for_good(struct loop *w, uint32_t number)
{
	struct gd_watch_known *known =
		gd_watch_discover_find(&w->discover, w->slots[number]->process.id.pid);
	/* A zombie stays in the listing: it is not looked at again. */
	if (known != NULL && known->kind == GD_KNOWN_WATCHED && known->slot == number)
		known->kind = GD_KNOWN_NEVER;
	let_go(w, number);
}

static void sample(struct loop *w, uint32_t number, const struct gd_clock *at)
{
	struct slot *slot = w->slots[number];
	struct gd_watch_sample *to = &w->samples.list[w->samples.n];
	char comm[sizeof(slot->process.stat.comm)];
	*to = (struct gd_watch_sample){ .slot = number };
	for (int i = 0; i < GD_METRICS; i++)
		to->values[i] = NAN;
	if ((w->discover.tick + number) % REVIEW_TICKS == 0)
		review(w, slot);
	memcpy(comm, slot->process.stat.comm, sizeof(comm));
	double cpus = slot->group != NULL ? gd_watch_group_cpus(slot->group) : 0;
	int r = gd_watch_process_sample(&slot->process, at->monotonic_ns, cpus, w->counts_fds,
	                                to->values);
	if (r < 0) {
		gone_for_good(w, number);
		return;
	}
	if (slot->group != NULL)
		gd_watch_group_values(slot->group, to->values);
	r = gd_watch_go_sample(&slot->go, w->discover.tick, at->monotonic_ns,
	                       slot->process.slept, to->values);
	bool renamed = memcmp(comm, slot->process.stat.comm, sizeof(comm)) != 0;
	if (renamed && slot->go.state == GD_WATCH_GO_NONE)
		gd_watch_go_init(&slot->go); /* a shell that became the service */
	if (r == -ESRCH || renamed)
		look_again(w, slot);
	if (++w->samples.n == GD_WATCH_SAMPLES_MAX)
		flush(w);
	tell_events(w, number, slot, at);
	tell_changes(w, number, slot);
}

/* One at a time: looking into a runtime takes tens of milliseconds and MiB. */
static void want_runtimes(struct loop *w)
{
	for (uint32_t i = 0; i < GD_WATCHED_MAX && w->finding < 0 && !w->lost; i++) {
		uint32_t number = (w->next_go + i) % GD_WATCHED_MAX;
		struct slot *slot = w->slots[number];
		if (slot == NULL || slot->go.state != GD_WATCH_GO_WANTED ||
		    (int32_t)(w->discover.tick - slot->go.due) < 0)
			continue;
		int r = gd_watch_go_ask(&slot->go, &w->ask, number, &slot->process.id,
		                        w->discover.tick, gd_clock_monotonic_ns());
		w->lost = w->lost || r == -EPIPE;
		w->next_go = number + 1;
		if (slot->go.state == GD_WATCH_GO_FINDING)
			w->finding = (int)number;
		else if (slot->go.state == GD_WATCH_GO_WANTED)
			return; /* the broker said later */
	}
}

static void tick(struct loop *w)
{
	discover(w);
	struct gd_clock at = gd_clock_now();
	gd_watch_cgroups_tick(w->cgroups, at.monotonic_ns);
	w->samples.at = at;
	for (uint32_t i = 0, seen = 0; seen < w->n && i < GD_WATCHED_MAX && !w->lost; i++) {
		if (w->slots[i] == NULL)
			continue;
		unsigned before = w->n;
		sample(w, i, &at);
		seen += w->n == before;
	}
	flush(w);
	w->first = false;
	struct gd_watch_tick done = { .at = at, .unwatched = w->unwatched, .missed = w->missed };
	memcpy(done.note, w->note, sizeof(done.note));
	tell(w, GD_WATCH_TICK, &done, sizeof(done));
	want_runtimes(w);
}

/* ---- the process ---------------------------------------------------------------------------- */

static void allow_descriptors(struct loop *w)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	rlim_t want = (rlim_t)GD_WATCHED_MAX * 2 * FDS_PER_PROCESS + FDS_OTHER;
	files.rlim_cur = files.rlim_max < want ? files.rlim_max : want;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	w->max = GD_WATCHED_MAX;
	if (files.rlim_cur < want)
		w->max = files.rlim_cur > FDS_OTHER
		                 ? (unsigned)(files.rlim_cur - FDS_OTHER) / (2 * FDS_PER_PROCESS)
		                 : 0;
}

static void look_around(struct loop *w)
{
	struct stat st;
	w->counts_fds = gd_watch_process_counts_fds(w->proc_fd);
	if (fstatat(w->proc_fd, "1/stat", &st, 0) < 0)
		(void)snprintf(w->note, sizeof(w->note), "%s hides processes of others (hidepid): "
		               "mount it without, or run the watcher in a group that may see them",
		               w->options->proc);
}

static bool is_pressure(enum gd_metric metric)
{
	return metric >= GD_METRIC_PSI_CPU_SOME && metric <= GD_METRIC_PSI_IO_FULL;
}

static bool wants_pressure(const struct gd_policy *policy)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		if ((rule->kind == GD_WHEN_METRIC && is_pressure(rule->when.metric)) ||
		    (rule->has_unless && is_pressure(rule->unless.metric)))
			return true;
	}
	return false;
}

static int begin(struct loop *w)
{
	struct gd_error err = { 0 };
	w->proc_fd = open(w->options->proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->proc_fd < 0)
		return -errno;
	int r = gd_watch_cgroups_create(w->options->cgroup, w->proc_fd,
	                                wants_pressure(w->options->policy), &w->cgroups, &err);
	if (r < 0)
		return r;
	allow_descriptors(w);
	gd_watch_discover_init(&w->discover, w->proc_fd);
	w->needs = gd_match_needs(w->options->policy);
	look_around(w);
	(void)malloc_trim(0); /* what building the jail has left */
	struct gd_watch_ready ready = { 0 };
	memcpy(ready.note, w->note, sizeof(ready.note));
	tell(w, GD_WATCH_READY, &ready, sizeof(ready));
	return 0;
}

/*
 * Some have too much pressure: worth a sample now.  A trigger that is no more (POLLERR) is left alone.
 */
static bool is_pressing(struct loop *w, const struct pollfd *fds)
{
	bool pressing = false;
	for (size_t i = 0; i < w->n_triggers; i++) {
		pressing = pressing || (fds[i].revents & (POLLPRI | POLLERR)) == POLLPRI;
		if ((fds[i].revents & POLLERR) != 0)
			w->triggers[i] = -1;
	}
	return pressing;
}

/* Waits until `until_ns` or until the kernel tells of pressure, meanwhile for a runtime that was
 * looked for. */
static void wait_until(struct loop *w, int64_t until_ns)
{
	int64_t quiet_until_ns = gd_clock_monotonic_ns() + EARLY_NS;
	for (;;) {
		int64_t now_ns = gd_clock_monotonic_ns();
		struct slot *slot = w->finding >= 0 ? w->slots[w->finding] : NULL;
		struct pollfd fds[2 + GD_WATCH_TRIGGERS_MAX] = {
			{ .fd = w->ask.fd, .events = POLLRDHUP },
			{ .fd = slot != NULL ? slot->go.runtime_fd : -1, .events = POLLIN },
		};
		/* Just after a tick there is nothing new to see. */
		bool listens = now_ns >= quiet_until_ns;
		for (size_t i = 0; i < w->n_triggers; i++)
			fds[2 + i] = (struct pollfd){ .fd = listens ? w->triggers[i] : -1,
				                      .events = POLLPRI };
		bool late = slot != NULL && now_ns - slot->go.asked_ns > FINDING_MAX_NS;
		if (now_ns >= until_ns && !late)
			return;
		int64_t left_ns = now_ns < until_ns ? until_ns - now_ns : 0;
		if (w->n_triggers > 0 && !listens && quiet_until_ns - now_ns < left_ns)
			left_ns = quiet_until_ns - now_ns;
		struct timespec left = { left_ns / 1000000000, left_ns % 1000000000 };
		int r = ppoll(fds, 2 + w->n_triggers, &left, NULL);
		w->lost = w->lost || (r > 0 && fds[0].revents != 0);
		if (w->lost)
			return;
		if (slot != NULL && (late || (r > 0 && fds[1].revents != 0))) {
			gd_watch_go_found(&slot->go, w->discover.tick, late);
			w->finding = -1;
			want_runtimes(w);
		}
		if (r > 0 && is_pressing(w, fds + 2))
			return;
	}
}

int gd_watch_loop_run(void *arg)
{
	const struct gd_watch_start *start = arg;
	struct loop *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return 1;
	*w = (struct loop){ .options = start->options, .ask = { .fd = start->fd },
		            .own_pid = getpid(), .broker_pid = getppid(),
		            .first = true, .finding = -1,
		            .n_triggers = start->n_triggers };
	memcpy(w->triggers, start->triggers, sizeof(w->triggers));
	if (begin(w) < 0)
		return 1;
	int64_t interval_ns = (int64_t)w->options->interval_ns;
	int64_t next_ns = gd_clock_monotonic_ns();
	while (!w->lost) {
		tick(w);
		/* What was slept through or took too long is skipped, never made up for.  A tick that
		 * pressure brought about moves no other. */
		int64_t late_ns = gd_clock_monotonic_ns() - next_ns;
		int64_t steps = late_ns < 0 ? 0 : late_ns / interval_ns + 1;
		w->missed += steps > 1 ? (unsigned)(steps - 1) : 0;
		next_ns += steps * interval_ns;
		wait_until(w, next_ns);
	}
	return 0; /* its broker has gone; all that we hold ends with us */
}
