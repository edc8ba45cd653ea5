#include "agent/debug_http.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TICK_MS 200

/* ---- what libcurl calls --------------------------------------------------------------------- */

static curl_socket_t give_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct gd_debug_http_get *get = arg;
	(void)purpose;
	(void)address;
	/* A second one, to try again: there is none. */
	return get->fd >= 0 ? gd_steal_fd(&get->fd) : CURL_SOCKET_BAD;
}

static int is_connected(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)arg;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

static size_t take_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct gd_debug_http_get *get = arg;
	size_t room = get->body.ceiling - get->body.len;
	(void)size;
	(void)curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &get->status);
	get->no_http = get->status == 0;
	get->too_long = n > room;
	gd_buf_append(&get->body, bytes, n < room ? n : room);
	/* What is no HTTP has told enough. */
	return get->no_http || get->too_long || get->body.failed != 0 ? CURL_WRITEFUNC_ERROR : n;
}

/* ---- one request ---------------------------------------------------------------------------- */

static void set_up(struct gd_debug_http_get *get, CURL *easy)
{
	(void)curl_easy_setopt(easy, CURLOPT_URL, get->url);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 1L); /* to see what it is instead */
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, give_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, get);
	(void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, is_connected);
	(void)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(get->timeout_ns / 1000000));
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "godiag/" GD_VERSION);
	(void)curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, get->text);
}

static void forget(CURLM *multi, struct gd_debug_http_get *get)
{
	get->ended = gd_clock_now();
	(void)curl_multi_remove_handle(multi, get->easy);
	curl_easy_cleanup(get->easy);
	get->easy = NULL;
	if (get->fd >= 0)
		(void)close(get->fd);
	get->fd = -1;
}

static void explain(struct gd_debug_http_get *get, CURLcode code)
{
	const char *text = get->text[0] != '\0' ? get->text : curl_easy_strerror(code);
	if (code == CURLE_OK && get->status != 0)
		return;
	if (get->no_http || code == CURLE_OK)
		(void)gd_fail(&get->why, -EPROTO, "it does not speak HTTP");
	else if (get->too_long)
		(void)gd_fail(&get->why, -E2BIG, "more than %zu MiB", get->body.ceiling >> 20);
	else if (get->body.failed != 0)
		(void)gd_fail_errno(&get->why, get->body.failed, "its answer");
	else if (code == CURLE_OPERATION_TIMEDOUT)
		(void)gd_fail(&get->why, -ETIMEDOUT, "no %sanswer within %.1f s",
		              get->status != 0 ? "whole " : "", (double)get->timeout_ns / 1e9);
	else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
	         code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE)
		(void)gd_fail(&get->why, -ECONNRESET, "it hung up before the end of its answer");
	else
		(void)gd_fail(&get->why, -EIO, "%.150s", text);
}

static int start(CURLM *multi, struct gd_debug_http_get *get, struct gd_error *err)
{
	get->begun = gd_clock_now();
	get->easy = curl_easy_init();
	if (get->easy == NULL)
		return gd_fail_errno(err, -ENOMEM, "libcurl");
	set_up(get, get->easy);
	if (curl_multi_add_handle(multi, get->easy) == CURLM_OK)
		return 0;
	return gd_fail(err, -EIO, "libcurl refuses to ask");
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void take_ends(CURLM *multi)
{
	int left;
	for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;) {
		char *private = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
		struct gd_debug_http_get *get = (struct gd_debug_http_get *)(void *)private;
		(void)curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &get->status);
		explain(get, code);
		forget(multi, get);
	}
}

static int run(CURLM *multi, int stop_fd, struct gd_error *err)
{
	struct curl_waitfd stop = { .fd = stop_fd, .events = CURL_WAIT_POLLIN };
	int running = 1;
	while (running > 0) {
		struct pollfd at = { .fd = stop_fd, .events = POLLIN };
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return gd_fail(err, -EIO, "libcurl does not go on");
		take_ends(multi);
		if (running > 0 && curl_multi_poll(multi, &stop, stop_fd >= 0 ? 1 : 0, TICK_MS,
		                                   NULL) != CURLM_OK)
			return gd_fail(err, -EIO, "libcurl cannot wait");
		if (stop_fd >= 0 && poll(&at, 1, 0) > 0)
			break;
	}
	return 0;
}

int gd_debug_http_run(struct gd_debug_http_get *gets, size_t n, int stop_fd, struct gd_error *err)
{
	CURLM *multi = curl_multi_init();
	int r = multi == NULL ? gd_fail_errno(err, -ENOMEM, "libcurl") : 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (gets[i].url[0] != '\0')
			r = start(multi, &gets[i], err);
	if (r == 0)
		r = run(multi, stop_fd, err);
	for (size_t i = 0; i < n; i++) {
		if (gets[i].easy != NULL) {
			(void)gd_fail(&gets[i].why, -ECANCELED, "interrupted");
			forget(multi, &gets[i]);
		} else if (gets[i].fd >= 0) {
			(void)close(gets[i].fd);
			gets[i].fd = -1;
		}
	}
	if (multi != NULL)
		(void)curl_multi_cleanup(multi);
	return r;
}

bool gd_debug_http_is_tls(const struct gd_debug_http_get *get)
{
	static const char words[] = "HTTP request to an HTTPS server"; /* what net/http says */
	/* Else an alert of any version (RFC 8446, 5.1 and 6). */
	if (get->status == 0)
		return get->body.len >= 2 && get->body.data[0] == 0x15 && get->body.data[1] == 0x03;
	return get->status == 400 && get->body.len > 0 &&
	       memmem(get->body.data, get->body.len, words, sizeof(words) - 1) != NULL;
}
