#pragma once
/*
 * Asks services for their own Prometheus metrics and makes http_p99 of them.  A child of the hook's
 * process in GD_ROLE_SCRAPER: the broker has no network, and what comes back is foreign bytes.  It
 * scrapes each service every GD_SCRAPER_INTERVAL_NS, follows no redirect, uses no proxy, gives up
 * after GD_SCRAPER_TIMEOUT_NS and after GD_SCRAPER_BODY_MAX bytes.
 *
 * gd_scraper_run is the child; gd_scraper_tell and gd_scraper_recv are the end of whoever asks, over
 * a pair of gd_message_pair.  The asking end believes nothing: what it receives is checked.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GD_SCRAPER_INTERVAL_NS INT64_C(5000000000)
#define GD_SCRAPER_TIMEOUT_NS INT64_C(2000000000)
#define GD_SCRAPER_BODY_MAX (4U << 20)
#define GD_SCRAPER_TEXT_MAX 4096 /* URL and name together */

/* ---- in the child ---- */

/* Until the other end closes: then 0.  Else an exit status. */
int gd_scraper_run(int fd);

/* The same at another interval, of which three make the window: for tests. */
int gd_scraper_run_every(int fd, int64_t interval_ns);

/* ---- the asking end ---- */

struct gd_scraper_service {
	uint32_t service; /* below GD_POLICY_SERVICES_MAX; comes back in samples */
	const char *url;
	const char *histogram; /* without "_bucket" */
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
	double p99_s;      /* over the last 10 to 15 s; NaN: no request, or see why */
	uint64_t requests; /* in that window */
	char why[160];     /* "", or why there is none; printable */
};

/* 1: there is one; 0: the other end closed; -EAGAIN; -EBADMSG: it misbehaves, end it. */
int gd_scraper_recv(int fd, struct gd_scraper_sample *ret, struct gd_error *err);
