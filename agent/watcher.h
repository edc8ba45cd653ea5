#pragma once
/*
 * The watcher: a process without privilege that finds the processes which services mean and samples
 * their metrics once a second.  It reads /proc and the cgroup files itself and parses all of it in
 * its jail; the memory descriptors of Go targets and links it may not read it asks the broker for.
 * This header is the broker's end: start it, poll its descriptor, get called.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "policies/engine.h"
#include "policies/policy.h"

#define GD_WATCHED_MAX 4096 /* processes; more are counted, not watched */

struct gd_watched {
	uint32_t slot;        /* its number until it is gone */
	struct gd_subject_id id;
	uint32_t service;     /* index in the policy */
	char comm[16];        /* escaped */
	bool go;              /* its runtime is being read */
	char note[120];       /* why not, or why some metric is missing; "" */
};

struct gd_watcher_ops {
	/* found; first_look: it was there when the watcher started. */
	void (*process)(void *arg, const struct gd_watched *watched, bool first_look);
	/* note or go changed */
	void (*changed)(void *arg, const struct gd_watched *watched);
	void (*gone)(void *arg, uint32_t slot, const struct gd_subject_id *id);
	void (*sample)(void *arg, uint32_t slot, const struct gd_clock *at,
	               const double values[GD_METRICS]);
	void (*event)(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at);
	/* after all samples of one second */
	void (*tick)(void *arg, const struct gd_clock *at);
};

struct gd_watcher_options {
	const struct gd_policy *policy; /* borrowed until stop */
	const char *proc;       /* "/proc"; tests give a tree of their own */
	const char *cgroup;     /* "/sys/fs/cgroup" */
	uint64_t interval_ns;   /* 1 s */
	const struct gd_watcher_ops *ops;
	void *arg;
};

struct gd_watcher;

int gd_watcher_start(const struct gd_watcher_options *options, struct gd_watcher **ret,
                     struct gd_error *err);
/*
 * The broker's end alone, on a descriptor of which it takes possession (also on failure): for tests
 * and fuzzers, which play a watcher that was taken over.
 */
int gd_watcher_adopt(const struct gd_watcher_options *options, int fd, struct gd_watcher **ret,
                     struct gd_error *err);

void gd_watcher_stop(struct gd_watcher *watcher); /* NULL allowed; kills and waits */

int gd_watcher_fd(const struct gd_watcher *watcher); /* poll for reading */
pid_t gd_watcher_pid(const struct gd_watcher *watcher);

/*
 * Handles what has arrived: calls ops, grants what was asked for.  -EPIPE: the watcher has died (the
 * caller stops it and starts another one); -EBADMSG: it misbehaved and was killed.
 */
int gd_watcher_handle(struct gd_watcher *watcher, struct gd_error *err);

/* An http_p99 sample from the scraper (NaN: none), used in that service's next samples. */
void gd_watcher_http(struct gd_watcher *watcher, uint32_t service, double p99_s);

/* Services without a process now: a bit per service; for status. */
bool gd_watcher_matched(const struct gd_watcher *watcher, uint32_t service);
/* How many matched but are not watched, beyond GD_WATCHED_MAX. */
unsigned gd_watcher_unwatched(const struct gd_watcher *watcher);

/* Seconds without a sample since it began: it was not let run, or took too long. */
unsigned gd_watcher_missed(const struct gd_watcher *watcher);

/* What the watcher cannot see as a whole ("/proc hides processes of others"); "" all is well. */
const char *gd_watcher_note(const struct gd_watcher *watcher);
