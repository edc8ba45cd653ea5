/*
 * One thread, one curl multi handle: a service that does not answer costs nobody else anything.
 * A window is what came between the newest reading and one that is 10 to 16 s older.  So only some of
 * the readings are kept, one for each slow interval, however often one is taken.
 */
#include "agent/scraper.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/exposition.h"
#include "agent/scraper_list.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/message.h"
#include "base/text.h"

enum { PAST = 3 };

struct reading {
	int64_t at_ns; /* 0: none */
	struct gd_exposition_buckets buckets;
};

struct source {
	struct gd_scraper_list_entry what;
	int64_t due_ns, begun_ns;
	CURL *easy;                /* NULL: not being asked */
	struct gd_exposition *now; /* while it is being asked */
	size_t body_bytes;
	bool too_long;
	char curl_text[CURL_ERROR_SIZE];
	struct reading past[PAST];
	unsigned next_past;        /* the oldest; the one before it is the newest */
};

struct scraper {
	int fd;
	int64_t slow_ns, fast_ns;
	CURLM *multi;
	uint32_t generation;
	struct gd_scraper_list *list; /* what sources were made from */
	struct gd_scraper_list *arriving;
	struct source *sources;
	size_t n_sources;
};

/* --- samples --- */

static void say(const struct scraper *s, const struct source *source, double p99_s, double requests,
                const char *why)
{
	struct gd_scraper_sample sample;
	memset(&sample, 0, sizeof(sample));
	sample.generation = s->generation;
	sample.service = source->what.service;
	sample.p99_s = p99_s;
	sample.requests = requests < 0x1p63 ? (uint64_t)requests : UINT64_MAX;
	gd_text_escape(sample.why, sizeof(sample.why), why, strlen(why));
	/* When nobody reads, the next one will do. */
	(void)gd_message_send(s->fd, GD_SCRAPER_SAMPLE, 0, &sample, sizeof(sample), NULL, 0, NULL);
}

/* The oldest reading of the window; NULL when there is none. */
static const struct reading *oldest(const struct scraper *s, const struct source *source,
                                    int64_t now_ns)
{
	/* Scrapes do not come on the dot. */
	int64_t window_ns = s->slow_ns * PAST + s->slow_ns / 2;
	const struct reading *found = NULL;
	for (unsigned i = 0; i < PAST; i++) {
		const struct reading *r = &source->past[i];
		if (r->at_ns != 0 && now_ns - r->at_ns <= window_ns &&
		    (found == NULL || r->at_ns < found->at_ns))
			found = r;
	}
	return found;
}

static void keep_reading(const struct scraper *s, struct source *source, int64_t now_ns)
{
	const struct reading *newest = &source->past[(source->next_past + PAST - 1) % PAST];
	if (newest->at_ns != 0 && now_ns - newest->at_ns < s->slow_ns - s->fast_ns / 2)
		return;
	source->past[source->next_past].at_ns = now_ns;
	source->past[source->next_past].buckets = source->now->buckets;
	source->next_past = (source->next_past + 1) % PAST;
}

static void take_reading(const struct scraper *s, struct source *source, int64_t now_ns)
{
	static struct gd_exposition_buckets window;
	const struct reading *before = oldest(s, source, now_ns);
	double p99 = (double)NAN;
	double requests = 0;
	if (before != NULL) {
		if (gd_exposition_delta(&source->now->buckets, &before->buckets, &window)) {
			p99 = gd_exposition_quantile(&window, 0.99);
			requests = window.list[window.n - 1].count;
		} else {
			/* It was restarted, or has other buckets now. */
			memset(source->past, 0, sizeof(source->past));
		}
	}
	keep_reading(s, source, now_ns);
	say(s, source, p99, requests, "");
}

static int64_t interval_of(const struct scraper *s, const struct source *source)
{
	return source->what.fast ? s->fast_ns : s->slow_ns;
}

/* From the beginning of this request to the next, so that it is no burden. */
static int64_t rest_after(const struct scraper *s, const struct source *source, int64_t took_ns)
{
	int64_t rest_ns = interval_of(s, source);
	int64_t for_time_ns = took_ns * GD_SCRAPER_SHARE;
	int64_t for_size_ns = (int64_t)source->body_bytes * 1000000000 / GD_SCRAPER_BYTES_PER_S;
	if (rest_ns < for_time_ns)
		rest_ns = for_time_ns;
	if (rest_ns < for_size_ns)
		rest_ns = for_size_ns;
	return rest_ns < s->slow_ns ? rest_ns : s->slow_ns;
}

static void take_answer(const struct scraper *s, struct source *source, CURLcode code)
{
	struct gd_error err = { 0 };
	long status = 0;
	(void)curl_easy_getinfo(source->easy, CURLINFO_RESPONSE_CODE, &status);
	/* Newer libcurls count for themselves and are first. */
	if (source->too_long || code == CURLE_FILESIZE_EXCEEDED)
		(void)gd_fail(&err, -E2BIG, "the answer is longer than %u MiB",
		              GD_SCRAPER_BODY_MAX >> 20);
	else if (code != CURLE_OK)
		(void)gd_fail(&err, -EIO, "%s", source->curl_text[0] != '\0' ?
		              source->curl_text : curl_easy_strerror(code));
	else if (status != 200)
		(void)gd_fail(&err, -EIO, "the answer is HTTP %ld", status);
	else
		(void)gd_exposition_end(source->now, &err);
	int64_t now_ns = gd_clock_monotonic_ns();
	int64_t rest_ns = err.code == 0 ? rest_after(s, source, now_ns - source->begun_ns)
	                                : s->slow_ns;
	if (source->due_ns < source->begun_ns + rest_ns)
		source->due_ns = source->begun_ns + rest_ns;
	if (err.code == 0)
		take_reading(s, source, now_ns);
	else
		say(s, source, (double)NAN, 0, err.msg);
}

/* --- asking --- */

static size_t take_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct source *source = arg;
	(void)size;
	if (n > GD_SCRAPER_BODY_MAX - source->body_bytes) {
		source->too_long = true;
		return CURL_WRITEFUNC_ERROR;
	}
	source->body_bytes += n;
	gd_exposition_feed(source->now, bytes, n);
	return n;
}

static void stop(struct scraper *s, struct source *source)
{
	if (source->easy == NULL)
		return;
	(void)curl_multi_remove_handle(s->multi, source->easy);
	curl_easy_cleanup(source->easy);
	source->easy = NULL;
	free(source->now);
	source->now = NULL;
}

static void set_up(struct source *source, CURL *easy)
{
	(void)curl_easy_setopt(easy, CURLOPT_URL, source->what.url);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, source);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(GD_SCRAPER_TIMEOUT_NS / 1000000));
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "godiag/" GD_VERSION);
	/* Also decompression could make much of little. */
	(void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, source);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, source->curl_text);
	(void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE, (long)GD_SCRAPER_BODY_MAX);
}

static int ask(struct scraper *s, struct source *source, struct gd_error *err)
{
	GD_FREE struct gd_exposition *now = malloc(sizeof(*now));
	CURL *easy = curl_easy_init();
	if (now == NULL || easy == NULL) {
		curl_easy_cleanup(easy);
		return gd_fail_errno(err, -ENOMEM, "scrape");
	}
	int r = gd_exposition_begin(now, source->what.histogram, err);
	if (r == 0) {
		set_up(source, easy);
		if (curl_multi_add_handle(s->multi, easy) != CURLM_OK)
			r = gd_fail(err, -EIO, "libcurl refuses to ask");
	}
	if (r < 0) {
		curl_easy_cleanup(easy);
		return r;
	}
	source->easy = easy;
	source->now = gd_steal_ptr(&now);
	return 0;
}

static void start(struct scraper *s, struct source *source)
{
	struct gd_error err = { 0 };
	source->begun_ns = gd_clock_monotonic_ns();
	source->body_bytes = 0;
	source->too_long = false;
	source->curl_text[0] = '\0';
	if (ask(s, source, &err) < 0)
		say(s, source, (double)NAN, 0, err.msg);
}

/* Starts what is due; returns the milliseconds until the next is. */
static int start_due(struct scraper *s)
{
	int64_t now_ns = gd_clock_monotonic_ns();
	int64_t next_ns = now_ns + s->slow_ns;
	for (size_t i = 0; i < s->n_sources; i++) {
		struct source *source = &s->sources[i];
		if (source->due_ns <= now_ns && source->easy == NULL) {
			/* After a suspend once, not once for each that was missed. */
			source->due_ns += interval_of(s, source);
			if (source->due_ns <= now_ns)
				source->due_ns = now_ns + interval_of(s, source);
			start(s, source);
		}
		if (source->easy == NULL && source->due_ns < next_ns)
			next_ns = source->due_ns;
	}
	return next_ns > now_ns ? (int)((next_ns - now_ns) / 1000000) + 1 : 1;
}

static void take_answers(struct scraper *s)
{
	int left;
	int running;
	(void)curl_multi_perform(s->multi, &running);
	for (CURLMsg *m; (m = curl_multi_info_read(s->multi, &left)) != NULL;) {
		char *private = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
		struct source *source = (struct source *)(void *)private;
		take_answer(s, source, code);
		stop(s, source);
	}
}

/* --- the list --- */

/* Who stays on the list keeps what was read of it. */
static void keep_past(const struct scraper *s, struct source *fresh)
{
	for (size_t i = 0; i < s->n_sources; i++) {
		const struct source *old = &s->sources[i];
		if (strcmp(old->what.url, fresh->what.url) != 0 ||
		    strcmp(old->what.histogram, fresh->what.histogram) != 0)
			continue;
		memcpy(fresh->past, old->past, sizeof(fresh->past));
		fresh->next_past = old->next_past;
		return;
	}
}

static int use_list(struct scraper *s, struct gd_scraper_list *list)
{
	struct source *fresh = calloc(list->n + 1, sizeof(*fresh));
	int64_t now_ns = gd_clock_monotonic_ns();
	if (fresh == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < list->n; i++) {
		fresh[i].what = list->entries[i];
		/* Spread over the interval. */
		fresh[i].due_ns = now_ns + interval_of(s, &fresh[i]) * (int64_t)i / (int64_t)list->n;
		keep_past(s, &fresh[i]);
	}
	for (size_t i = 0; i < s->n_sources; i++)
		stop(s, &s->sources[i]);
	free(s->sources);
	gd_scraper_list_free(s->list);
	s->list = list;
	/* A connection each is kept open, or every scrape would cost the service another. */
	(void)curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)list->n + 1);
	s->generation = list->generation;
	s->sources = fresh;
	s->n_sources = list->n;
	return 0;
}

/* 0 to go on, 1 at the end, or a negative errno. */
static int take_message(struct scraper *s)
{
	static char body[GD_MESSAGE_MAX];
	struct gd_error err = { 0 };
	GD_MESSAGE struct gd_message message = { 0 };
	int r = gd_message_recv(s->fd, &message, body, sizeof(body), &err);
	if (r == 0)
		return 1;
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	r = gd_scraper_list_take(&s->arriving, &message, body, &err);
	if (r <= 0)
		return r;
	r = use_list(s, s->arriving);
	if (r == 0)
		s->arriving = NULL;
	return r;
}

static int run(struct scraper *s)
{
	for (;;) {
		struct curl_waitfd wait = { .fd = s->fd, .events = CURL_WAIT_POLLIN };
		take_answers(s); /* says when the next of them are due */
		int timeout_ms = start_due(s);
		if (curl_multi_poll(s->multi, &wait, 1, timeout_ms, NULL) != CURLM_OK)
			return -EIO;
		int r = wait.revents != 0 ? take_message(s) : 0;
		if (r != 0)
			return r;
	}
}

int gd_scraper_run(int fd)
{
	return gd_scraper_run_every(fd, GD_SCRAPER_SLOW_NS, GD_SCRAPER_FAST_NS);
}

int gd_scraper_run_every(int fd, int64_t slow_ns, int64_t fast_ns)
{
	struct scraper s = { .fd = fd, .slow_ns = slow_ns, .fast_ns = fast_ns };
	int flags = fcntl(fd, F_GETFL);
	int r = -EIO;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return EXIT_FAILURE;
	s.multi = curl_multi_init();
	if (s.multi != NULL)
		r = run(&s);
	for (size_t i = 0; i < s.n_sources; i++)
		stop(&s, &s.sources[i]);
	free(s.sources);
	gd_scraper_list_free(s.list);
	gd_scraper_list_free(s.arriving);
	if (s.multi != NULL)
		(void)curl_multi_cleanup(s.multi);
	curl_global_cleanup();
	return r == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
