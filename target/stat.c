#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "target/target.h"

/* The fields of proc(5) that are kept, by their number there. */
enum {
	FIELD_STATE = 3,
	FIELD_PPID = 4,
	FIELD_PGRP = 5,
	FIELD_SESSION = 6,
	FIELD_FLAGS = 9,
	FIELD_MINFLT = 10,
	FIELD_MAJFLT = 12,
	FIELD_UTIME = 14,
	FIELD_STIME = 15,
	FIELD_NICE = 19,
	FIELD_NUM_THREADS = 20,
	FIELD_STARTTIME = 22,
	FIELD_VSIZE = 23,
	FIELD_RSS = 24,
	FIELD_PROCESSOR = 39,
	FIELD_LAST = 52,
};

/* A decimal number that fills [s, s + n), with an optional '-' (its magnitude is then negated). */
static bool parse_number(const char *s, size_t n, uint64_t *ret)
{
	bool negative = n > 0 && s[0] == '-';
	size_t i = negative ? 1 : 0;
	if (i == n)
		return false;
	uint64_t value = 0;
	for (; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(s[i] - '0'), &value))
			return false;
	}
	*ret = negative ? 0 - value : value;
	return true;
}

static void keep(struct gd_stat *stat, int field, uint64_t value)
{
	switch (field) {
	case FIELD_PPID:
		stat->ppid = (int32_t)value;
		break;
	case FIELD_PGRP:
		stat->pgrp = (int32_t)value;
		break;
	case FIELD_SESSION:
		stat->session = (int32_t)value;
		break;
	case FIELD_FLAGS:
		stat->flags = (uint32_t)value;
		break;
	case FIELD_MINFLT:
		stat->minflt = value;
		break;
	case FIELD_MAJFLT:
		stat->majflt = value;
		break;
	case FIELD_UTIME:
		stat->utime_ticks = value;
		break;
	case FIELD_STIME:
		stat->stime_ticks = value;
		break;
	case FIELD_NICE:
		stat->nice = (int32_t)value;
		break;
	case FIELD_NUM_THREADS:
		stat->num_threads = (int64_t)value;
		break;
	case FIELD_STARTTIME:
		stat->start_ticks = value;
		break;
	case FIELD_VSIZE:
		stat->vsize_bytes = value;
		break;
	case FIELD_RSS:
		stat->rss_pages = (int64_t)value;
		break;
	case FIELD_PROCESSOR:
		stat->processor = (int32_t)value;
		break;
	default:
		break;
	}
}

/* Fields from the state on, in [s, end).  Returns the number of the last one seen, 0 when bad. */
static int parse_fields(const char *s, const char *end, struct gd_stat *stat)
{
	int field = FIELD_STATE - 1;
	while (s < end && field < FIELD_LAST) {
		while (s < end && (*s == ' ' || *s == '\n'))
			s++;
		const char *word = s;
		while (s < end && *s != ' ' && *s != '\n')
			s++;
		if (s == word)
			break;
		field++;
		uint64_t value;
		if (field == FIELD_STATE) {
			if (s - word != 1)
				return 0;
			stat->state = *word;
		} else if (parse_number(word, (size_t)(s - word), &value)) {
			keep(stat, field, value);
		} else {
			return 0;
		}
	}
	return field;
}

int gd_stat_parse(const char *text, size_t len, struct gd_stat *ret, struct gd_error *err)
{
	struct gd_stat stat = { .processor = -1 };
	const char *open = len > 0 ? memchr(text, '(', len) : NULL;
	/* The last one: comm is the process's own choice and may hold ") S 1" (R5 of the notes on
	 * privileged readers: two CVEs came from taking the first). */
	const char *close = len > 0 ? memrchr(text, ')', len) : NULL;
	if (open == NULL || close == NULL || close < open)
		return gd_fail(err, -EBADMSG, "stat: no process name in parentheses");

	uint64_t pid;
	if (open == text || open[-1] != ' ' ||
	    !parse_number(text, (size_t)(open - 1 - text), &pid) || pid > INT32_MAX)
		return gd_fail(err, -EBADMSG, "stat: does not begin with a pid");
	stat.pid = (int32_t)pid;

	size_t n = (size_t)(close - open - 1);
	if (n > sizeof(stat.comm) - 1)
		n = sizeof(stat.comm) - 1;
	memcpy(stat.comm, open + 1, n);

	int last = parse_fields(close + 1, text + len, &stat);
	if (last < FIELD_RSS)
		return gd_fail(err, -EBADMSG, "stat: bad or missing field %d",
		               last == 0 ? FIELD_STATE : last + 1);
	*ret = stat;
	return 0;
}
