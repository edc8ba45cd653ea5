#pragma once
/*
 * The server's end of the connection to the broker: asks, keeps who waits for which answer, and holds
 * the newest table of rules.  The connection comes from the launcher and may be gone at any time:
 * then everybody who waits is told so.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/hook_table.h"
#include "base/message.h"

struct gd_hook_link;

/* `message` NULL: there will be no answer (the broker is gone).  `body` is of message->len bytes. */
typedef void gd_hook_link_fn(void *arg, struct gd_message *message, const void *body);

/* A new table has arrived. */
typedef void gd_hook_link_table_fn(void *arg, const struct gd_hook_table *table);

int gd_hook_link_create(gd_hook_link_table_fn *table, void *arg, struct gd_hook_link **ret,
                        struct gd_error *err);
void gd_hook_link_destroy(struct gd_hook_link *link); /* NULL allowed */

/* Takes over a connection (closing the one before). */
int gd_hook_link_connect(struct gd_hook_link *link, int fd, struct gd_error *err);
int gd_hook_link_fd(const struct gd_hook_link *link); /* -1: none */

/* NULL until the broker has sent one; the last one stays when it goes. */
const struct gd_hook_table *gd_hook_link_table(const struct gd_hook_link *link);
bool gd_hook_link_is_up(const struct gd_hook_link *link);

/* Asks; `done` is called once, unless cancelled.  -EPIPE, -EAGAIN, -E2BIG: nobody answers. */
int gd_hook_link_ask(struct gd_hook_link *link, uint16_t type, const void *body, size_t n,
                     gd_hook_link_fn *done, void *arg, struct gd_error *err);
void gd_hook_link_cancel(struct gd_hook_link *link, void *arg);
/* Says something that has no answer. */
int gd_hook_link_tell(struct gd_hook_link *link, uint16_t type, const void *body, size_t n,
                      struct gd_error *err);

/* Reads what is there.  -EPIPE, -EBADMSG: the connection was closed. */
int gd_hook_link_handle(struct gd_hook_link *link, struct gd_error *err);
