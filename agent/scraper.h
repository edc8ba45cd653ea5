#pragma once
/*
 * Asks services for their own Prometheus metrics and makes http_p99 of them.  A child of the hook's
 * process in GD_ROLE_SCRAPER: the broker has no network, and what comes back is foreign bytes.  It
 * follows no redirect, uses no proxy, gives up after GD_SCRAPER_TIMEOUT_NS and after
 * GD_SCRAPER_BODY_MAX bytes.
 *
 * A service is scraped every GD_SCRAPER_SLOW_NS, one that a rule waits for every GD_SCRAPER_FAST_NS:
 * with the second until the watcher's next sample that makes less than 2 s from the service to the
 * rule.  Making the answer must not become what the service is busy with: one request at a time, at
 * most GD_SCRAPER_SHARE of its time and GD_SCRAPER_BYTES_PER_S, and slowly what fails.
 *
 * gd_scraper_run is the child; gd_scraper_tell and gd_scraper_recv are the end of whoever asks, over
 * a pair of gd_message_pair.  The asking end believes nothing: what it receives is checked.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_SCRAPER_SLOW_NS INT64_C(5000000000)
#define GD_SCRAPER_FAST_NS INT64_C(750000000)
#define GD_SCRAPER_SHARE 20 /* one part in so many; but never seldomer than slow */
#define GD_SCRAPER_BYTES_PER_S (256 << 10)
#define GD_SCRAPER_TIMEOUT_NS INT64_C(2000000000)
#define GD_SCRAPER_BODY_MAX (4U << 20)
#define GD_SCRAPER_TEXT_MAX 4096 /* URL and name together */

/* ---- in the child ---- */

/* Until the other end closes: then 0.  Else an exit status. */
int gd_scraper_run(int fd);

/* The same at other intervals: for tests. */
int gd_scraper_run_every(int fd, int64_t slow_ns, int64_t fast_ns);

/* ---- the asking end ---- */

struct gd_scraper_service {
	uint32_t service; /* below GD_POLICY_SERVICES_MAX; comes back in samples */
	const char *url;
	const char *histogram; /* without "_bucket" */
	bool fast;             /* a rule waits for it */
};

/*
 * From now on these and no others.  Waits up to a second for room in the socket, also when it is
 * non-blocking; -EPIPE: the scraper is gone.
 */
int gd_scraper_tell(int fd, uint32_t generation, const struct gd_scraper_service *services,
                    size_t n, struct gd_error *err);

struct gd_scraper_sample {
	uint32_t generation; /* of the list it belongs to */
	uint32_t service;
	double p99_s;      /* over the last 10 to 16 s; NaN: no request, or see why */
	uint64_t requests; /* in that window */
	char why[160];     /* "", or why there is none; printable */
};

/* 1: there is one; 0: the other end closed; -EAGAIN; -EBADMSG: it misbehaves, end it. */
int gd_scraper_recv(int fd, struct gd_scraper_sample *ret, struct gd_error *err);
