#pragma once
/*
 * libmicrohttpd, kept small: it gets connections whose heads have arrived (hook_lobby.h), one request
 * each, parses them and sends what a gd_hook_request answers.  A few dozen connections at most; when
 * they are all taken, the oldest one that has proved nothing goes.  Polled through one descriptor,
 * no threads.
 */
#include "agent/hook_lobby.h"
#include "agent/hook_request.h"

#define GD_HOOK_CONNECTIONS 16
#define GD_HOOK_RESERVE 8 /* so that callers who prove who they are find a place in any case */
#define GD_HOOK_REQUEST_DEADLINE_NS (INT64_C(5) * 1000000000)
#define GD_HOOK_BROKER_DEADLINE_NS (INT64_C(4) * 1000000000)

struct gd_hook_http;

/* desk->link and desk->auth live longer than it. */
int gd_hook_http_create(struct gd_hook_desk *desk, struct gd_hook_http **ret,
                        struct gd_error *err);
void gd_hook_http_destroy(struct gd_hook_http *http); /* NULL allowed */

int gd_hook_http_fd(const struct gd_hook_http *http); /* poll for reading */

/* Takes over a connection; false: there is no place, it is still the caller's. */
bool gd_hook_http_admit(struct gd_hook_http *http, const struct gd_hook_caller *caller);

/* Does what can be done now. */
void gd_hook_http_run(struct gd_hook_http *http);

/* Deadlines: of the whole request, and of what the broker has been asked. */
void gd_hook_http_sweep(struct gd_hook_http *http, int64_t now_ns);

unsigned gd_hook_http_count(const struct gd_hook_http *http);

/* What libraries would open files for, opened before that is forbidden. */
void gd_hook_http_warm(void);
