#pragma once
/*
 * A growable byte buffer that is born with a ceiling.  Errors stick: after the first failed append
 * every further one is a no-op, and gd_buf_check reports it once, so that code which writes a lot
 * of small pieces stays readable.  Not thread safe.  Zeroed memory is not a buffer: use GD_BUF_INIT.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct gd_buf {
	char *data; /* not NUL terminated unless gd_buf_str was called */
	size_t len;
	size_t cap;
	size_t ceiling; /* len never exceeds this */
	int failed;     /* 0, -ENOMEM, -E2BIG...; sticky until gd_buf_reset */
};

#define GD_BUF_INIT(ceiling_bytes) ((struct gd_buf){ .ceiling = (ceiling_bytes) })

void gd_buf_deinit(struct gd_buf *buf);
#define GD_BUF __attribute__((cleanup(gd_buf_deinit)))

/* Forgets content and error, keeps the memory. */
void gd_buf_reset(struct gd_buf *buf);

/* Makes room for n more bytes and returns where they go, or NULL (sticky error). */
char *gd_buf_reserve(struct gd_buf *buf, size_t n);

void gd_buf_append(struct gd_buf *buf, const void *bytes, size_t n);
void gd_buf_puts(struct gd_buf *buf, const char *text);
void gd_buf_putc(struct gd_buf *buf, char c);
void gd_buf_printf(struct gd_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* NUL-terminates (the NUL is not counted in len) and returns data; "" when the buffer failed. */
const char *gd_buf_str(struct gd_buf *buf);

/* 0, or the sticky error with a sentence naming what was being built. */
int gd_buf_check(const struct gd_buf *buf, const char *what, struct gd_error *err);
