#pragma once
/*
 * GET requests over connections that somebody else has made, several at once: libcurl, which opens and
 * connects nothing here.  No redirect is followed, no proxy, no cookie, no password, no encoding asked for.
 * What comes back is foreign bytes, bounded in number and in time.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"

struct gd_debug_http_get {
	/* set by the caller */
	int fd;             /* connected, non-blocking; taken over */
	char url[192];      /* "": this one is not asked */
	int64_t timeout_ns;
	struct gd_buf body; /* its ceiling bounds the answer; the caller's */

	/* how it went */
	struct gd_clock begun, ended;
	long status;        /* 0: what came is no HTTP, or nothing came */
	/* Code 0: the answer is whole, whatever its status.  -E2BIG: cut off at the ceiling; -ETIMEDOUT;
	 * -EPROTO: no HTTP; -ECONNRESET: it ended before its end; -ECANCELED; -EIO: anything else. */
	struct gd_error why;

	/* private */
	CURL *easy;
	bool too_long, no_http;
	char text[CURL_ERROR_SIZE];
};

/*
 * Runs all n of them at the same time, each once.  As soon as stop_fd (-1: none) is readable or hangs up
 * those that have not ended are ended.  Fails only when libcurl does not work at all.
 */
int gd_debug_http_run(struct gd_debug_http_get *gets, size_t n, int stop_fd, struct gd_error *err);

/* Did the other end begin as TLS does when it is spoken to in the clear? */
bool gd_debug_http_is_tls(const struct gd_debug_http_get *get);
