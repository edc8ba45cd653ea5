#include "agent/hook_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/hook_listen.h"
#include "agent/hook_tokens.h"
#include "base/buf.h"
#include "base/message.h"
#include "base/notify.h"

/* ---- tokens ---- */

/* Where they are; true when somebody named the file, who then wants it to be there. */
static bool find_tokens(struct gd_hook_sockets *s)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	const char *named = s->tokens_option != NULL ? s->tokens_option : s->tokens_policy;
	if (named[0] != '\0')
		(void)snprintf(s->tokens_path, sizeof(s->tokens_path), "%s", named);
	else if (directory != NULL)
		(void)snprintf(s->tokens_path, sizeof(s->tokens_path), "%s/tokens", directory);
	else
		s->tokens_path[0] = '\0';
	return named[0] != '\0';
}

/* Checks the file before anybody uses it.  A credential that is not there or empty is none. */
static int read_tokens(struct gd_hook_sockets *s, struct gd_buf *text, struct gd_error *err)
{
	struct gd_hook_tokens *tokens = NULL;
	bool named = find_tokens(s);
	int r = s->tokens_path[0] == '\0' ? -ENOENT :
	                                    gd_hook_tokens_read(s->tokens_path, text, err);
	if (r == 0)
		r = gd_hook_tokens_parse(s->tokens_path, text->len > 0 ? text->data : "", text->len,
		                         &tokens, err);
	if (r < 0 && (r != -ENOENT || named))
		return r;
	bool empty = tokens == NULL || tokens->n == 0;
	gd_hook_tokens_destroy(tokens);
	if (empty && named)
		return gd_fail(err, -EINVAL, "%s: no tokens in it", s->tokens_path);
	if (empty)
		gd_buf_reset(text);
	return 0;
}

/* Once there were tokens, there is no way back to none without a restart. */
static int send_tokens(struct gd_hook_sockets *s, int control_fd, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_HOOK_TOKENS_FILE_MAX);
	int r = read_tokens(s, &text, err);
	if (r == 0 && s->has_tokens && text.len == 0)
		r = gd_fail(err, -ENOENT, "%s: gone", s->tokens_path);
	if (r == 0)
		r = gd_message_send(control_fd, GD_HOOK_TOKENS, 0, text.data, text.len, NULL, 0,
		                    err);
	if (r == 0)
		s->has_tokens = text.len > 0;
	if (text.len > 0)
		explicit_bzero(text.data, text.len);
	return r;
}

int gd_hook_sockets_reload(struct gd_hook_sockets *sockets, int control_fd, struct gd_error *err)
{
	return send_tokens(sockets, control_fd, err);
}

/* ---- sockets ---- */

void gd_hook_sockets_close(struct gd_hook_sockets *s)
{
	for (size_t i = 0; i < s->n; i++)
		(void)close(s->fds[i]);
	if (s->n > 0 && s->listen[0] != '\0')
		gd_hook_listen_forget(s->listen);
	s->n = 0;
	s->tcp = false;
	s->listen[0] = '\0';
}

int gd_hook_sockets_open(struct gd_hook_sockets *s, const char *text, struct gd_error *err)
{
	bool tcp;
	if (s->n > 0 && strcmp(s->listen, text) == 0)
		return 0; /* a server before this one had it */
	if (strlen(text) >= sizeof(s->listen))
		return gd_fail(err, -EINVAL, "%s: too long", text);
	gd_hook_sockets_close(s);
	int fd = gd_hook_listen_open(text, &tcp, err);
	if (fd < 0)
		return fd;
	s->fds[s->n++] = fd;
	s->tcp = tcp;
	memcpy(s->listen, text, strlen(text) + 1);
	return 0;
}

int gd_hook_sockets_adopt(struct gd_hook_sockets *s, int n, struct gd_error *err)
{
	if (n > GD_HOOK_SOCKETS_MAX)
		return gd_fail(err, -E2BIG, "%d sockets, more than %d", n, GD_HOOK_SOCKETS_MAX);
	for (int i = 0; i < n; i++) {
		bool tcp;
		int fd = gd_hook_listen_adopt(GD_NOTIFY_LISTEN_FD + i, &tcp, err);
		if (fd < 0)
			return fd;
		s->fds[s->n++] = fd;
		s->tcp |= tcp;
	}
	return 0;
}

int gd_hook_sockets_give(struct gd_hook_sockets *s, int control_fd, struct gd_error *err)
{
	int r = send_tokens(s, control_fd, err);
	if (r < 0)
		return r;
	if (s->tcp && !s->has_tokens)
		return gd_fail(err, -ENOKEY,
		               "no tokens file: without it only a unix socket is served, not TCP; "
		               "make one with godiag hook --new-token NAME");
	uint32_t n = (uint32_t)s->n;
	return gd_message_send(control_fd, GD_HOOK_LISTEN, 0, &n, sizeof(n), s->fds, s->n, err);
}
