#include "uploader/transfer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"
#include "uploader/address.h"

enum { RETRY_AFTER_MAX_S = 6 * 3600 };

int gd_transfer_init(struct gd_transfer *t, const struct gd_place *place,
                     const struct gd_transfer_options *options, struct gd_error *err)
{
	*t = (struct gd_transfer){ .curl = curl_easy_init(), .body = GD_BUF_INIT(16384), .fd = -1,
		                   .place = place, .options = options };
	return t->curl != NULL ? 0 : gd_fail_errno(err, -ENOMEM, "libcurl");
}

void gd_transfer_deinit(struct gd_transfer *t)
{
	curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	gd_buf_deinit(&t->body);
}

int gd_transfer_header(struct gd_transfer *t, const char *name, const char *value,
                       struct gd_error *err)
{
	GD_BUF struct gd_buf line = GD_BUF_INIT(16384);
	gd_buf_printf(&line, "%s:%s%s", name, *value != '\0' ? " " : "", value);
	int r = gd_buf_check(&line, name, err);
	if (r < 0)
		return r;
	struct curl_slist *longer = curl_slist_append(t->headers, gd_buf_str(&line));
	if (longer == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", name);
	t->headers = longer;
	return 0;
}

static size_t send_body(char *to, size_t size, size_t n, void *arg)
{
	struct gd_transfer *t = arg;
	uint64_t left = t->bytes - t->at;
	size_t want = size * n < left ? size * n : (size_t)left;
	ssize_t got = want > 0 ? pread(t->fd, to, want, (off_t)t->at) : 0;
	if (got < 0)
		return CURL_READFUNC_ABORT;
	t->at += (uint64_t)got;
	return (size_t)got;
}

void gd_transfer_send(struct gd_transfer *t, int fd, uint64_t bytes)
{
	t->fd = fd;
	t->bytes = bytes;
	(void)curl_easy_setopt(t->curl, CURLOPT_UPLOAD, 1L);
	(void)curl_easy_setopt(t->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)bytes);
	(void)curl_easy_setopt(t->curl, CURLOPT_READFUNCTION, send_body);
	(void)curl_easy_setopt(t->curl, CURLOPT_READDATA, t);
	(void)curl_easy_setopt(t->curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
	(void)curl_easy_setopt(t->curl, CURLOPT_MAX_SEND_SPEED_LARGE,
	                       (curl_off_t)t->options->bytes_per_s);
}

static size_t keep_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct gd_transfer *t = arg;
	size_t room = t->body.ceiling - t->body.len;
	gd_buf_append(&t->body, bytes, size * n < room ? size * n : room);
	return size * n;
}

/* Copies the value of "name: value\r\n" when it is that header. */
static void take_header(const char *line, size_t n, const char *name, char *to, size_t size)
{
	size_t len = strlen(name);
	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return;
	const char *value = line + len + 1;
	const char *end = line + n;
	while (value < end && (*value == ' ' || *value == '"'))
		value++;
	while (end > value && (isspace((unsigned char)end[-1]) || end[-1] == '"'))
		end--;
	(void)snprintf(to, size, "%.*s", (int)(end - value), value);
}

static size_t keep_header(char *line, size_t size, size_t n, void *arg)
{
	struct gd_transfer *t = arg;
	if (t->digest_header != NULL)
		take_header(line, size * n, t->digest_header, t->seen_digest,
		            sizeof(t->seen_digest));
	take_header(line, size * n, "ETag", t->seen_etag, sizeof(t->seen_etag));
	return size * n;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct gd_transfer *t = arg;
	if (purpose != CURLSOCKTYPE_IPCXN ||
	    gd_address_check(&address->addr, t->place->host, &t->refused) < 0)
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int on_progress(void *arg, curl_off_t to_load, curl_off_t loaded, curl_off_t to_send,
                       curl_off_t sent)
{
	const struct gd_transfer *t = arg;
	(void)to_load, (void)loaded, (void)to_send, (void)sent;
	return t->options->stop != NULL && t->options->stop(t->options->stop_arg);
}

static void set_rules(struct gd_transfer *t, const char *url, char *text)
{
	const struct gd_transfer_options *o = t->options;
	CURL *curl = t->curl;
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, t->place->tls ? "https" : "http");
	(void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* not even those of the environment */
	(void)curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	/* As other S3 clients call it: stores of one's own have authorities of one's own. */
	const char *authorities = getenv("AWS_CA_BUNDLE");
	if (authorities != NULL && authorities[0] != '\0')
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
	(void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
	(void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, o->stall_s > 0 ? (long)o->stall_s : 30L);
	(void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep_header);
	(void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
	(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
}

long gd_transfer_perform(struct gd_transfer *t, const char *path, const char *what,
                         struct gd_upload_trouble *trouble, struct gd_error *err)
{
	GD_BUF struct gd_buf url = GD_BUF_INIT(16384);
	gd_buf_printf(&url, "%s://%s%s", t->place->tls ? "https" : "http", t->place->host, path);
	int r = gd_buf_check(&url, "upload URL", err);
	if (r < 0)
		return r;
	char text[CURL_ERROR_SIZE] = "";
	t->refused = (struct gd_error){ 0 };
	trouble->status = 0;
	set_rules(t, gd_buf_str(&url), text);
	CURLcode code = curl_easy_perform(t->curl);
	t->cut = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
	(void)curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK) {
		(void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &trouble->status);
		return trouble->status;
	}
	if (t->refused.code < 0) {
		trouble->permanent = true;
		return gd_fail(err, t->refused.code, "%s: %s", what, t->refused.msg);
	}
	if (code == CURLE_ABORTED_BY_CALLBACK && t->fd >= 0 && t->at < t->bytes &&
	    (t->options->stop == NULL || !t->options->stop(t->options->stop_arg))) {
		trouble->archive_only = true;
		return gd_fail(err, -EIO, "%s %s: the archive could not be read", what,
		               t->place->host);
	}
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return gd_fail(err, -ECANCELED, "%s %s: interrupted", what, t->place->host);
	/* Who the other end is does not change by waiting. */
	trouble->permanent = code == CURLE_PEER_FAILED_VERIFICATION ||
	                     code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_CERTPROBLEM;
	return gd_fail(err, -EIO, "%s %s: %s", what, t->place->host,
	               text[0] != '\0' ? text : curl_easy_strerror(code));
}

/* The text between <tag> and </tag> of an XML error, escaped; "" when there is none. */
static void take_element(const char *body, const char *tag, char *to, size_t size)
{
	char open[32];
	(void)snprintf(open, sizeof(open), "<%s>", tag);
	const char *start = strstr(body, open);
	to[0] = '\0';
	if (start == NULL)
		return;
	start += strlen(open);
	gd_text_escape(to, size, start, strcspn(start, "<"));
}

/* What time alone may cure; all else waits for people. */
static bool is_transient(long status, const char *code)
{
	static const char *const codes[] = { "RequestTimeout", "SlowDown", "InternalError",
		                             "BadDigest", "IncompleteBody", "RequestTimeTooSkewed" };
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	return status == 408 || status == 409 || status == 425 || status == 429 ||
	       (status >= 500 && status != 501) || status < 300;
}

int gd_transfer_fail(struct gd_transfer *t, const char *what, long status,
                     struct gd_upload_trouble *trouble, struct gd_error *err)
{
	char code[48];
	char message[120];
	const char *body = gd_buf_str(&t->body);
	take_element(body, "Code", code, sizeof(code));
	take_element(body, "Message", message, sizeof(message));
	curl_off_t retry_after = 0;
	(void)curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &retry_after);
	trouble->permanent = !is_transient(status, code);
	trouble->status = status;
	/* Newer libcurls know no longer wait either. */
	if (retry_after > 0)
		trouble->retry_after_ns = (uint64_t)(retry_after < RETRY_AFTER_MAX_S ?
			retry_after : RETRY_AFTER_MAX_S) * 1000000000U;
	int r = status == 403 || status == 401 ? -EACCES : status == 404 ? -ENOENT : -EIO;
	return gd_fail(err, r, "%s: HTTP %ld%s%s%s%s", what, status, code[0] ? " " : "", code,
	               message[0] ? ": " : "", message);
}
