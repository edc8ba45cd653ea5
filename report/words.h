#pragma once
/*
 * Strings kept once each, at addresses that stay: function and file names of foreign files, of
 * which a million lines repeat the same few thousand.  Born with a ceiling; beyond it there are no
 * more new words.
 */
#include <stddef.h>

#include "base/error.h"

struct gd_words;

int gd_words_create(size_t ceiling_bytes, struct gd_words **ret, struct gd_error *err);
void gd_words_destroy(struct gd_words *words); /* NULL allowed */

/* The one copy of that string, NUL-terminated, or NULL at the ceiling or without memory. */
const char *gd_words_keep(struct gd_words *words, const char *text, size_t n);
