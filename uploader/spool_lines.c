/* The journal's lines into memory: what each says of a capture (see spool.h). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "uploader/spool_state.h"

struct reading {
	struct gd_spool *spool;
	struct gd_spool_names *dropped;
	int trouble; /* -ENOMEM, -E2BIG: nobody to tell before the end */
};

/* The next word; false when there is none or it is too long. */
static bool take_word(const char **p, char *to, size_t size)
{
	size_t n = strcspn(*p, " ");
	if (n == 0 || n >= size)
		return false;
	memcpy(to, *p, n);
	to[n] = '\0';
	*p += n;
	*p += **p == ' ';
	return true;
}

static bool take_u64(const char **p, uint64_t *ret)
{
	char word[24];
	const char *end;
	return take_word(p, word, sizeof(word)) && gd_text_u64(word, &end, 10, ret) && *end == '\0';
}

static bool take_time(const char **p, int64_t *ret)
{
	uint64_t value;
	if (!take_u64(p, &value) || value > INT64_MAX)
		return false;
	*ret = (int64_t)value;
	return true;
}

static bool take_class(const char **p, enum gd_spool_class *ret)
{
	char word[16];
	if (!take_word(p, word, sizeof(word)))
		return false;
	for (unsigned i = 0; i < GD_SPOOL_CLASSES; i++)
		if (strcmp(word, gd_spool_class_names[i]) == 0) {
			*ret = (enum gd_spool_class)i;
			return true;
		}
	return false;
}

static void on_begin(struct reading *reading, const char *id, const char *rest)
{
	enum gd_spool_class class;
	if (!take_class(&rest, &class) || gd_spool_find(reading->spool, id) != NULL ||
	    gd_spool_find_begun(reading->spool, id) != NULL)
		return;
	(void)gd_spool_add_begun(reading->spool, id, class, NULL);
}

static void on_commit(struct reading *reading, const char *id, const char *rest)
{
	struct gd_spool_item item = { .attempts = 0 };
	(void)snprintf(item.id, sizeof(item.id), "%s", id);
	if (!take_class(&rest, &item.class) || !take_time(&rest, &item.sealed_realtime_ns) ||
	    !take_u64(&rest, &item.bytes) || !take_word(&rest, item.digest, sizeof(item.digest)) ||
	    !gd_spool_is_name(rest))
		return;
	if (strcmp(item.digest, "-") == 0)
		item.digest[0] = '\0';
	(void)snprintf(item.name, sizeof(item.name), "%s", rest);
	gd_spool_remove_begun(reading->spool, id);
	int r = gd_spool_insert(reading->spool, &item, NULL);
	if (r < 0 && r != -EEXIST) /* again: the line was written twice around a compaction */
		reading->trouble = r;
}

static void on_uploaded(struct reading *reading, const char *id, const char *rest)
{
	struct gd_spool_item *item = gd_spool_find(reading->spool, id);
	int64_t when;
	if (!take_time(&rest, &when))
		return;
	reading->spool->uploaded_total++;
	if (item == NULL)
		return;
	item->uploaded = true;
	item->last_error[0] = '\0';
	if (gd_spool_set_location(item, rest) < 0)
		reading->trouble = -ENOMEM;
}

static void on_failed(struct reading *reading, const char *id, const char *rest)
{
	struct gd_spool_item *item = gd_spool_find(reading->spool, id);
	uint64_t attempts;
	int64_t when;
	if (!take_u64(&rest, &attempts) || !take_time(&rest, &when))
		return;
	reading->spool->failed_total++;
	if (item == NULL)
		return;
	item->attempts = attempts < UINT32_MAX ? (unsigned)attempts : UINT32_MAX;
	(void)snprintf(item->last_error, sizeof(item->last_error), "%.199s", rest);
}

static void on_dropped(struct reading *reading, const char *id)
{
	struct gd_spool_item *item = gd_spool_find(reading->spool, id);
	if (item == NULL)
		return;
	int r = gd_spool_names_add(reading->dropped, item->name);
	if (r < 0)
		reading->trouble = r;
	gd_spool_remove(reading->spool, item);
}

/* What makes no sense is passed over: a later version may have written it. */
static int on_line(void *arg, char *text)
{
	struct reading *reading = arg;
	char id[64];
	if (text[1] != ' ')
		return 0;
	const char *p = text + 2;
	if (text[0] == 'T') {
		uint64_t uploaded;
		uint64_t failed;
		if (take_u64(&p, &uploaded) && take_u64(&p, &failed)) {
			reading->spool->uploaded_total = uploaded;
			reading->spool->failed_total = failed;
		}
		return 0;
	}
	if (!take_word(&p, id, sizeof(id)) || !gd_spool_is_id(id))
		return 0;
	switch (text[0]) {
	case 'B':
		on_begin(reading, id, p);
		break;
	case 'C':
		on_commit(reading, id, p);
		break;
	case 'U':
		on_uploaded(reading, id, p);
		break;
	case 'F':
		on_failed(reading, id, p);
		break;
	case 'A':
		gd_spool_remove_begun(reading->spool, id);
		break;
	case 'D':
		on_dropped(reading, id);
		break;
	default: /* of a later version */
		break;
	}
	return 0;
}

int gd_spool_read_lines(struct gd_spool *spool, struct gd_spool_names *dropped,
                        struct gd_journal_found *ret, struct gd_error *err)
{
	struct reading reading = { .spool = spool, .dropped = dropped };
	int r = gd_journal_open(spool->dir_fd, "journal", on_line, &reading, &spool->journal, ret,
	                        err);
	if (r == 0 && reading.trouble < 0)
		r = gd_fail_errno(err, reading.trouble, "journal");
	return r;
}
