/* The spool in memory, and its journal written from there. */
#include "uploader/spool_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

bool gd_spool_is_id(const char *id)
{
	size_t n = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-");
	return n > 0 && id[n] == '\0' && n < 64 && id[0] != '.';
}

bool gd_spool_is_name(const char *name)
{
	size_t n = 0;
	for (; name[n] != '\0'; n++)
		if ((unsigned char)name[n] < 0x20 || name[n] == 0x7f || name[n] == '/')
			return false;
	return n > 0 && n < 256 && name[0] != '.';
}

int gd_spool_names_add(struct gd_spool_names *names, const char *name)
{
	if (names->n >= GD_SPOOL_ITEMS_MAX)
		return -E2BIG;
	char **longer = realloc(names->list, (names->n + 1) * sizeof(*longer));
	if (longer == NULL)
		return -ENOMEM;
	names->list = longer;
	longer[names->n] = strdup(name);
	if (longer[names->n] == NULL)
		return -ENOMEM;
	names->n++;
	return 0;
}

void gd_spool_names_deinit(struct gd_spool_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct gd_spool_names){ .n = 0 };
}

struct gd_spool_item *gd_spool_find(const struct gd_spool *spool, const char *id)
{
	for (size_t i = 0; i < spool->n_items; i++)
		if (strcmp(spool->items[i].id, id) == 0)
			return &spool->items[i];
	return NULL;
}

static bool is_older(const struct gd_spool_item *a, const struct gd_spool_item *b)
{
	if (a->sealed_realtime_ns != b->sealed_realtime_ns)
		return a->sealed_realtime_ns < b->sealed_realtime_ns;
	return strcmp(a->id, b->id) < 0;
}

int gd_spool_insert(struct gd_spool *spool, const struct gd_spool_item *item, struct gd_error *err)
{
	if (gd_spool_find(spool, item->id) != NULL)
		return gd_fail(err, -EEXIST, "capture %s is in the spool already", item->id);
	if (spool->n_items == spool->items_cap) {
		size_t cap = spool->items_cap > 0 ? 2 * spool->items_cap : 32;
		if (cap > GD_SPOOL_ITEMS_MAX)
			return gd_fail(err, -E2BIG, "more than %u archives in the spool",
			               GD_SPOOL_ITEMS_MAX);
		struct gd_spool_item *items = realloc(spool->items, cap * sizeof(*items));
		if (items == NULL)
			return gd_fail_errno(err, -ENOMEM, "spool");
		spool->items = items;
		spool->items_cap = cap;
	}
	size_t at = spool->n_items;
	while (at > 0 && is_older(item, &spool->items[at - 1]))
		at--;
	memmove(spool->items + at + 1, spool->items + at,
	        (spool->n_items - at) * sizeof(*spool->items));
	spool->items[at] = *item;
	spool->n_items++;
	return 0;
}

void gd_spool_remove(struct gd_spool *spool, struct gd_spool_item *item)
{
	size_t at = (size_t)(item - spool->items);
	free((void *)(uintptr_t)item->location);
	spool->n_items--;
	memmove(item, item + 1, (spool->n_items - at) * sizeof(*item));
}

void gd_spool_set_error(struct gd_spool_item *item, const char *why)
{
	gd_text_escape(item->last_error, sizeof(item->last_error), why, strlen(why));
}

int gd_spool_set_location(struct gd_spool_item *item, const char *location)
{
	char *copy = strdup(location);
	if (copy == NULL)
		return -ENOMEM;
	free((void *)(uintptr_t)item->location);
	item->location = copy;
	return 0;
}

const struct gd_spool_begun *gd_spool_find_begun(const struct gd_spool *spool, const char *id)
{
	for (size_t i = 0; i < spool->n_begun; i++)
		if (strcmp(spool->begun[i].id, id) == 0)
			return &spool->begun[i];
	return NULL;
}

int gd_spool_add_begun(struct gd_spool *spool, const char *id, enum gd_spool_class class,
                       struct gd_error *err)
{
	if (spool->n_begun == GD_SPOOL_BEGUN_MAX)
		return gd_fail(err, -E2BIG, "more than %u captures begun", GD_SPOOL_BEGUN_MAX);
	struct gd_spool_begun *begun = &spool->begun[spool->n_begun++];
	begun->class = class;
	(void)snprintf(begun->id, sizeof(begun->id), "%s", id);
	return 0;
}

void gd_spool_remove_begun(struct gd_spool *spool, const char *id)
{
	for (size_t i = 0; i < spool->n_begun; i++)
		if (strcmp(spool->begun[i].id, id) == 0) {
			spool->begun[i] = spool->begun[--spool->n_begun];
			return;
		}
}

/* --- the journal --------------------------------------------------------------------------- */

/* One line's text; free text at its end is made printable and short enough. */
__attribute__((format(printf, 2, 0)))
static void format(char text[GD_JOURNAL_TEXT_MAX + 1], const char *fmt, va_list args)
{
	char raw[GD_JOURNAL_TEXT_MAX + 1];
	(void)vsnprintf(raw, sizeof(raw), fmt, args);
	for (char *p = raw; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	memcpy(text, raw, sizeof(raw));
}

static void put(struct gd_buf *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct gd_buf *to, const char *fmt, ...)
{
	char text[GD_JOURNAL_TEXT_MAX + 1];
	va_list args;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	gd_journal_put(to, text);
}

#define COMMIT_FORMAT "C %s %s %" PRId64 " %" PRIu64 " %s %s"
#define COMMIT_ARGS(item)                                                                          \
	(item)->id, gd_spool_class_names[(item)->class], (item)->sealed_realtime_ns,               \
		(item)->bytes, (item)->digest[0] != '\0' ? (item)->digest : "-", (item)->name

int gd_spool_rewrite(struct gd_spool *spool, struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(GD_JOURNAL_BYTES_MAX);
	for (size_t i = 0; i < spool->n_begun; i++)
		put(&lines, "B %s %s", spool->begun[i].id,
		    gd_spool_class_names[spool->begun[i].class]);
	for (size_t i = 0; i < spool->n_items; i++) {
		const struct gd_spool_item *item = &spool->items[i];
		put(&lines, COMMIT_FORMAT, COMMIT_ARGS(item));
		if (item->attempts > 0)
			put(&lines, "F %s %u %" PRId64 " %s", item->id, item->attempts,
			    item->sealed_realtime_ns, item->last_error);
		if (item->uploaded)
			put(&lines, "U %s %" PRId64 " %s", item->id, item->sealed_realtime_ns,
			    item->location != NULL ? item->location : "-");
	}
	/* Last: it overrides what counting the lines before gives. */
	put(&lines, "T %" PRIu64 " %" PRIu64, spool->uploaded_total, spool->failed_total);
	return gd_journal_replace(&spool->journal, &lines, err);
}

/* Three lines are the most that an item needs; a few hundred lines are nobody's concern. */
static bool is_mostly_past(const struct gd_spool *spool)
{
	return spool->journal.lines > 512 &&
	       spool->journal.lines / 6 > spool->n_items + spool->n_begun;
}

static int record(struct gd_spool *spool, const char *text, struct gd_error *err)
{
	GD_BUF struct gd_buf line = GD_BUF_INIT(GD_JOURNAL_TEXT_MAX + 32);
	/* Written anew it contains what just happened in memory; the line as well does no harm. */
	if (spool->journal.broken || is_mostly_past(spool)) {
		int r = gd_spool_rewrite(spool, err);
		if (r < 0 && spool->journal.broken)
			return r;
	}
	gd_journal_put(&line, text);
	return gd_journal_append(&spool->journal, &line, true, err);
}

int gd_spool_record(struct gd_spool *spool, struct gd_error *err, const char *fmt, ...)
{
	char text[GD_JOURNAL_TEXT_MAX + 1];
	va_list args;
	va_start(args, fmt);
	format(text, fmt, args);
	va_end(args);
	return record(spool, text, err);
}

int gd_spool_record_commit(struct gd_spool *spool, const struct gd_spool_item *item,
                           struct gd_error *err)
{
	return gd_spool_record(spool, err, COMMIT_FORMAT, COMMIT_ARGS(item));
}
