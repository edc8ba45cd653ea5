#include "policies/admission_record.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/journal.h"
#include "base/text.h"

#define WORDS_MAX 16

static const char letters[GD_ADMISSION_KINDS] = {
	[GD_ADMISSION_IS_VERSION] = 'V',  [GD_ADMISSION_IS_BOOT] = 'B',
	[GD_ADMISSION_IS_ADMITTED] = 'A', [GD_ADMISSION_IS_ENDED] = 'E',
	[GD_ADMISSION_IS_AGAIN] = 'S',    [GD_ADMISSION_IS_COUNT] = 'C',
	[GD_ADMISSION_IS_FAILURES] = 'F', [GD_ADMISSION_IS_DISABLED] = 'D',
};

static const char *const outcomes[GD_ADMISSION_OUTCOMES] = {
	[GD_ADMISSION_OPEN] = "open",
	[GD_ADMISSION_SEALED] = "sealed",
	[GD_ADMISSION_FAILED] = "failed",
	[GD_ADMISSION_LOST] = "lost",
};

/* ---- writing ---- */

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.:+/@~-", c) != NULL);
}

static void put_word(struct gd_buf *to, const char *word)
{
	gd_buf_putc(to, ' ');
	if (word[0] == '\0')
		gd_buf_putc(to, '-');
	else if (strcmp(word, "-") == 0)
		gd_buf_puts(to, "%2d");
	else
		for (const char *p = word; *p != '\0'; p++) {
			if (is_plain(*p))
				gd_buf_putc(to, *p);
			else
				gd_buf_printf(to, "%%%02x", (unsigned)(unsigned char)*p);
		}
}

static void put_admitted(struct gd_buf *to, const struct gd_admission_capture *capture)
{
	gd_buf_printf(to, " %" PRId64 " %" PRId64, capture->at_ns, capture->realtime_ns);
	put_word(to, capture->id);
	put_word(to, capture->rule);
	put_word(to, capture->service);
	gd_buf_printf(to, " %" PRId32 " %" PRIu64, capture->subject.pid,
	              capture->subject.start_ticks);
	put_word(to, capture->fingerprint);
	put_word(to, capture->starts_at);
}

static void put_count(struct gd_buf *to, const struct gd_admission_count *count)
{
	put_word(to, count->rule);
	for (size_t i = 0; i < GD_VERDICTS; i++)
		if (count->verdicts[i] > 0)
			gd_buf_printf(to, " %s=%" PRIu64, gd_verdict_names[i], count->verdicts[i]);
}

static void put_body(struct gd_buf *to, const struct gd_admission_record *record)
{
	const struct gd_admission_capture *capture = &record->capture;
	switch (record->kind) {
	case GD_ADMISSION_IS_VERSION:
		gd_buf_printf(to, " %" PRIu64, record->n);
		break;
	case GD_ADMISSION_IS_BOOT:
		put_word(to, record->boot);
		gd_buf_printf(to, " %" PRId64 " %" PRId64, record->boottime_ns, record->realtime_ns);
		break;
	case GD_ADMISSION_IS_ADMITTED:
		put_admitted(to, capture);
		break;
	case GD_ADMISSION_IS_ENDED:
		gd_buf_printf(to, " %" PRId64, record->boottime_ns);
		put_word(to, capture->id);
		gd_buf_printf(to, " %s %" PRIu64 " %" PRIu64, outcomes[capture->outcome],
		              capture->bytes, capture->pause_ns);
		break;
	case GD_ADMISSION_IS_AGAIN:
		put_word(to, capture->id);
		gd_buf_printf(to, " %" PRIu64, capture->again);
		break;
	case GD_ADMISSION_IS_COUNT:
		put_count(to, &record->count);
		break;
	case GD_ADMISSION_IS_FAILURES:
		put_word(to, record->count.rule);
		gd_buf_printf(to, " %" PRIu64, record->n);
		break;
	case GD_ADMISSION_IS_DISABLED:
		put_word(to, record->count.rule);
		put_word(to, record->count.disabled_why);
		break;
	case GD_ADMISSION_KINDS:
		assert(false);
	}
}

void gd_admission_record_put(const struct gd_admission_record *record, struct gd_buf *lines)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_JOURNAL_TEXT_MAX);
	gd_buf_putc(&text, letters[record->kind]);
	put_body(&text, record);
	const char *line = gd_buf_str(&text);
	if (text.failed == 0)
		gd_journal_put(lines, line);
	else if (lines->failed == 0)
		lines->failed = text.failed;
}

/* ---- reading ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %xx back in place; false when it is not one we write. */
static bool take_word(char *word)
{
	char *to = word;
	if (strcmp(word, "-") == 0) {
		word[0] = '\0';
		return true;
	}
	for (const char *p = word; *p != '\0'; p++) {
		if (*p != '%') {
			if (!is_plain(*p))
				return false;
			*to++ = *p;
			continue;
		}
		int high = hex_digit(p[1]);
		int low = high >= 0 ? hex_digit(p[2]) : -1;
		if (low < 0 || (high == 0 && low == 0))
			return false;
		*to++ = (char)(high * 16 + low);
		p += 2;
	}
	*to = '\0';
	return word[0] != '\0';
}

static bool text_of(char *word, char *to, size_t size)
{
	size_t n = take_word(word) ? strlen(word) : size;
	if (n >= size)
		return false;
	memcpy(to, word, n + 1);
	return true;
}

static bool u64_of(const char *word, uint64_t *ret)
{
	const char *end;
	return gd_text_u64(word, &end, 10, ret) && *end == '\0';
}

static bool i64_of(const char *word, int64_t max, int64_t *ret)
{
	uint64_t value;
	bool minus = word[0] == '-';
	if (!u64_of(word + minus, &value) || value > (uint64_t)max)
		return false;
	*ret = minus ? -(int64_t)value : (int64_t)value;
	return true;
}

static bool boottime_of(const char *word, int64_t *ret)
{
	return i64_of(word, GD_ADMISSION_BOOTTIME_MAX, ret);
}

static bool realtime_of(const char *word, int64_t *ret)
{
	return i64_of(word, GD_ADMISSION_REALTIME_MAX, ret) && *ret >= 0;
}

static bool pid_of(const char *word, int32_t *ret)
{
	int64_t value;
	if (!i64_of(word, INT32_MAX, &value) || value < -1)
		return false;
	*ret = (int32_t)value;
	return true;
}

static bool outcome_of(const char *word, enum gd_admission_outcome *ret)
{
	for (unsigned i = 0; i < GD_ADMISSION_OUTCOMES; i++) {
		if (strcmp(outcomes[i], word) == 0) {
			*ret = (enum gd_admission_outcome)i;
			return true;
		}
	}
	return false;
}

static bool verdict_of(char *word, struct gd_admission_count *count)
{
	char *value = strchr(word, '=');
	if (value == NULL)
		return false;
	*value++ = '\0';
	for (size_t i = 0; i < GD_VERDICTS; i++)
		if (strcmp(gd_verdict_names[i], word) == 0)
			return u64_of(value, &count->verdicts[i]);
	return false;
}

static bool admitted_of(char **word, struct gd_admission_capture *capture)
{
	return boottime_of(word[0], &capture->at_ns) &&
	       realtime_of(word[1], &capture->realtime_ns) &&
	       text_of(word[2], capture->id, sizeof(capture->id)) && capture->id[0] != '\0' &&
	       text_of(word[3], capture->rule, sizeof(capture->rule)) &&
	       text_of(word[4], capture->service, sizeof(capture->service)) &&
	       pid_of(word[5], &capture->subject.pid) &&
	       u64_of(word[6], &capture->subject.start_ticks) &&
	       text_of(word[7], capture->fingerprint, sizeof(capture->fingerprint)) &&
	       text_of(word[8], capture->starts_at, sizeof(capture->starts_at));
}

static bool body_of(char **word, size_t n, struct gd_admission_record *record)
{
	struct gd_admission_capture *capture = &record->capture;
	struct gd_admission_count *count = &record->count;
	bool good = true;
	switch (record->kind) {
	case GD_ADMISSION_IS_VERSION:
		return n == 1 && u64_of(word[0], &record->n) && record->n == GD_ADMISSION_VERSION;
	case GD_ADMISSION_IS_BOOT:
		return n == 3 && text_of(word[0], record->boot, sizeof(record->boot)) &&
		       boottime_of(word[1], &record->boottime_ns) && record->boottime_ns >= 0 &&
		       realtime_of(word[2], &record->realtime_ns);
	case GD_ADMISSION_IS_ADMITTED:
		return n == 9 && admitted_of(word, capture);
	case GD_ADMISSION_IS_ENDED:
		return n == 5 && boottime_of(word[0], &record->boottime_ns) &&
		       text_of(word[1], capture->id, sizeof(capture->id)) &&
		       outcome_of(word[2], &capture->outcome) && u64_of(word[3], &capture->bytes) &&
		       u64_of(word[4], &capture->pause_ns);
	case GD_ADMISSION_IS_AGAIN:
		return n == 2 && text_of(word[0], capture->id, sizeof(capture->id)) &&
		       u64_of(word[1], &capture->again);
	case GD_ADMISSION_IS_COUNT:
		good = n >= 1 && text_of(word[0], count->rule, sizeof(count->rule));
		for (size_t i = 1; good && i < n; i++)
			good = verdict_of(word[i], count);
		return good;
	case GD_ADMISSION_IS_FAILURES:
		return n == 2 && text_of(word[0], count->rule, sizeof(count->rule)) &&
		       u64_of(word[1], &record->n);
	case GD_ADMISSION_IS_DISABLED:
		return n == 2 && text_of(word[0], count->rule, sizeof(count->rule)) &&
		       text_of(word[1], count->disabled_why, sizeof(count->disabled_why));
	case GD_ADMISSION_KINDS:
		break;
	}
	return false;
}

int gd_admission_record_parse(char *text, struct gd_admission_record *ret, struct gd_error *err)
{
	struct gd_admission_record record = { .kind = GD_ADMISSION_KINDS };
	char *word[WORDS_MAX];
	size_t n = 0;
	for (unsigned i = 0; i < GD_ADMISSION_KINDS; i++)
		if (text[0] == letters[i] && text[1] == ' ')
			record.kind = (enum gd_admission_kind)i;
	char *rest = record.kind < GD_ADMISSION_KINDS ? text + 2 : NULL;
	while (rest != NULL && n < WORDS_MAX)
		word[n++] = strsep(&rest, " ");
	if (rest != NULL || !body_of(word, n, &record))
		return gd_fail(err, -EBADMSG, "not a record of admission");
	*ret = record;
	return 0;
}
