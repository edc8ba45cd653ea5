#include "policies/replay_line.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define NS_PER_S INT64_C(1000000000)
/* From 1970 to 2115, when nobody runs this any more: so that sums of two times cannot wrap. */
#define SECONDS_MAX INT64_C(4600000000)

static void release(json_t **json)
{
	json_decref(*json);
}
#define GD_JSON_VALUE __attribute__((cleanup(release)))

/* ---- time ---- */

/* Exactly n digits and then the character `after` (unless that is 0); false, or *text moves on. */
static bool number(const char **text, int n, char after, int *ret)
{
	int value = 0;
	for (int i = 0; i < n; i++) {
		char c = (*text)[i];
		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	if (after != '\0' && (*text)[n] != after)
		return false;
	*text += n + (after != '\0');
	*ret = value;
	return true;
}

static int64_t fraction(const char **text)
{
	int64_t ns = 0;
	int64_t unit = NS_PER_S / 10;
	for ((*text)++; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
		ns += (**text - '0') * unit;
	return ns;
}

static bool offset(const char **text, int *ret_minutes)
{
	int hours;
	int minutes;
	*ret_minutes = 0;
	if (**text == 'Z') {
		(*text)++;
		return true;
	}
	int sign = **text == '-' ? -1 : 1;
	if (**text != '-' && **text != '+')
		return false;
	(*text)++;
	if (!number(text, 2, ':', &hours) || !number(text, 2, '\0', &minutes) || hours > 23 ||
	    minutes > 59)
		return false;
	*ret_minutes = sign * (hours * 60 + minutes);
	return true;
}

bool gd_replay_line_time(const char *text, int64_t *ret_realtime_ns)
{
	struct tm tm = { 0 };
	int64_t ns = 0;
	int minutes;
	if (!number(&text, 4, '-', &tm.tm_year) || !number(&text, 2, '-', &tm.tm_mon) ||
	    !number(&text, 2, 'T', &tm.tm_mday) || !number(&text, 2, ':', &tm.tm_hour) ||
	    !number(&text, 2, ':', &tm.tm_min) || !number(&text, 2, '\0', &tm.tm_sec))
		return false;
	if (tm.tm_year < 1970 || tm.tm_year > 2114 || tm.tm_mon < 1 || tm.tm_mon > 12 ||
	    tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	if (*text == '.')
		ns = fraction(&text);
	if (!offset(&text, &minutes) || *text != '\0')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int64_t seconds = (int64_t)timegm(&tm) - minutes * 60;
	if (seconds < 0)
		return false;
	*ret_realtime_ns = seconds * NS_PER_S + ns;
	return true;
}

/* ---- fields ---- */

static int wrong(struct gd_error *err, const char *key, const char *expected)
{
	return gd_fail(err, -EBADMSG, "\"%s\" is not %s", key, expected);
}

static int put_time(struct gd_replay_line *line, const char *key, const json_t *value,
                    struct gd_error *err)
{
	double seconds = json_is_number(value) ? json_number_value(value) : -1;
	if (json_is_string(value) &&
	    gd_replay_line_time(json_string_value(value), &line->realtime_ns))
		return 0;
	if (!(seconds >= 0 && seconds < (double)SECONDS_MAX))
		return wrong(err, key,
		             "a time such as \"2026-11-20T13:05:07.123Z\" or seconds since 1970");
	line->realtime_ns = (int64_t)seconds * NS_PER_S +
	                    (int64_t)((seconds - floor(seconds)) * (double)NS_PER_S);
	return 0;
}

static int put_steady(struct gd_replay_line *line, const char *key, const json_t *value,
                      struct gd_error *err)
{
	json_int_t ns = json_integer_value(value);
	if (!json_is_integer(value) || ns < 0 || ns / NS_PER_S >= SECONDS_MAX)
		return wrong(err, key, "a number of nanoseconds");
	/* Boottime, where there is both: rules count a suspend as a gap, monotonic does not. */
	if (!line->has_steady || strcmp(key, "boottime_ns") == 0)
		line->steady_ns = ns;
	line->has_steady = true;
	return 0;
}

static int put_text(const char *key, const json_t *value, char *to, size_t size,
                    struct gd_error *err)
{
	const char *text = json_string_value(value);
	if (text == NULL || strlen(text) >= size)
		return gd_fail(err, -EBADMSG, "\"%s\" is not a text of less than %zu bytes", key, size);
	memcpy(to, text, strlen(text) + 1);
	return 0;
}

static int put_id(struct gd_replay_line *line, const char *key, const json_t *value,
                  struct gd_error *err)
{
	json_int_t n = json_integer_value(value);
	if (!json_is_integer(value) || n < 0 || (key[0] == 'p' && (n < 1 || n > INT32_MAX)))
		return wrong(err, key, key[0] == 'p' ? "a pid" : "a start time in ticks");
	if (key[0] == 'p') {
		line->pid = (int32_t)n;
	} else {
		line->has_start = true;
		line->start = (uint64_t)n;
	}
	return 0;
}

static int put_event(struct gd_replay_line *line, const json_t *value, struct gd_error *err)
{
	const char *name = json_string_value(value);
	if (name == NULL)
		return wrong(err, "event", "a name");
	line->kind = GD_REPLAY_EVENT;
	for (unsigned i = 0; i < GD_EVENTS; i++) {
		if (strcmp(gd_event_names[i], name) == 0 && i != GD_EVENT_RESTARTS) {
			line->event = (enum gd_event)i;
			return 0;
		}
	}
	if (strcmp(name, "start") == 0)
		line->kind = GD_REPLAY_START;
	else if (strcmp(name, "agent_start") == 0)
		line->kind = GD_REPLAY_AGENT_START;
	else
		return wrong(err, "event",
		             "one of gone, memory_high, memory_max, oom, oom_kill, start, agent_start "
		             "(restarts are counted from starts)");
	return 0;
}

static int put_labels(struct gd_replay_line *line, json_t *value, struct gd_error *err)
{
	const char *key;
	json_t *label;
	if (!json_is_object(value) || json_object_size(value) > GD_REPLAY_LABELS_MAX)
		return gd_fail(err, -EBADMSG, "\"labels\" is not an object of at most %d texts",
		               GD_REPLAY_LABELS_MAX);
	json_object_foreach(value, key, label) {
		if (!json_is_string(label))
			return wrong(err, "labels", "an object of texts");
		struct gd_policy_label *to = &line->labels[line->n_labels++];
		to->key = strdup(key);
		to->value = strdup(json_string_value(label));
		if (to->key == NULL || to->value == NULL)
			return gd_fail_errno(err, -ENOMEM, "labels");
	}
	return 0;
}

static int put_metric(struct gd_replay_line *line, const char *key, const json_t *value,
                      struct gd_error *err)
{
	enum gd_metric metric;
	char name[64]; /* the message shows it */
	gd_text_escape(name, sizeof(name), key, strlen(key));
	int r = gd_metric_find(name, &metric, err);
	if (r < 0)
		return gd_error_wrap(err, -EBADMSG, "neither a field nor a metric");
	if (json_is_null(value))
		return 0;
	if (json_is_number(value)) {
		line->values[metric] = json_number_value(value);
		return 0;
	}
	if (!json_is_string(value))
		return wrong(err, key, "a number, a text or null");
	/* time_to_limit of something that does not grow; JSON has no number for it. */
	if (strcmp(json_string_value(value), "inf") == 0) {
		line->values[metric] = INFINITY;
		return 0;
	}
	r = gd_metric_parse_level(metric, json_string_value(value), &line->values[metric], err);
	return r < 0 ? gd_error_wrap(err, -EBADMSG, "\"%s\"", key) : 0;
}

static int put_head(struct gd_replay_line *line, const json_t *document, struct gd_error *err)
{
	const char *kind = json_string_value(json_object_get(document, "kind"));
	if (kind == NULL || strcmp(kind, "timeline") != 0)
		return wrong(err, "kind", "\"timeline\"");
	if (json_integer_value(json_object_get(document, "version")) != 1)
		return gd_fail(err, -EBADMSG, "a timeline of a version that is not 1");
	line->kind = GD_REPLAY_HEAD;
	return 0;
}

static int put_field(struct gd_replay_line *line, const char *key, json_t *value,
                     struct gd_error *err)
{
	if (strcmp(key, "t") == 0)
		return put_time(line, key, value, err);
	if (strcmp(key, "boottime_ns") == 0 || strcmp(key, "monotonic_ns") == 0)
		return put_steady(line, key, value, err);
	if (strcmp(key, "service") == 0)
		return put_text(key, value, line->service, sizeof(line->service), err);
	if (strcmp(key, "pid") == 0 || strcmp(key, "start") == 0)
		return put_id(line, key, value, err);
	if (line->kind == GD_REPLAY_HEAD)
		return 0; /* units and what else there may be of use to people */
	if (strcmp(key, "event") == 0)
		return put_event(line, value, err);
	if (strcmp(key, "alert") == 0)
		return put_text(key, value, line->alert, sizeof(line->alert), err);
	if (strcmp(key, "labels") == 0)
		return put_labels(line, value, err);
	if (strcmp(key, "fingerprint") == 0)
		return put_text(key, value, line->fingerprint, sizeof(line->fingerprint), err);
	if (strcmp(key, "starts_at") == 0)
		return put_text(key, value, line->starts_at, sizeof(line->starts_at), err);
	if (strcmp(key, "status") == 0) {
		const char *status = json_string_value(value);
		line->resolved = status != NULL && strcmp(status, "resolved") == 0;
		return 0;
	}
	return put_metric(line, key, value, err);
}

static int read_document(json_t *document, struct gd_replay_line *line, struct gd_error *err)
{
	const char *key;
	json_t *value;
	int r = 0;
	line->kind = GD_REPLAY_SAMPLE;
	if (json_object_get(document, "kind") != NULL)
		r = put_head(line, document, err);
	json_object_foreach(document, key, value) {
		if (r == 0)
			r = put_field(line, key, value, err);
	}
	if (r < 0)
		return r;
	bool is_alert = json_object_get(document, "alert") != NULL;
	if (is_alert && line->kind != GD_REPLAY_SAMPLE)
		return gd_fail(err, -EBADMSG, "\"event\" and \"alert\" in one line");
	if (is_alert)
		line->kind = GD_REPLAY_ALERT;
	if (line->kind != GD_REPLAY_HEAD && json_object_get(document, "t") == NULL)
		return gd_fail(err, -EBADMSG, "no \"t\": when was that?");
	return 0;
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0')
			return false;
	return true;
}

int gd_replay_line_parse(const char *text, size_t len, struct gd_replay_line *ret,
                         struct gd_error *err)
{
	struct gd_replay_line line = { .kind = GD_REPLAY_NOTHING };
	json_error_t problem;
	for (size_t i = 0; i < GD_METRICS; i++)
		line.values[i] = NAN;
	if (is_blank(text, len)) {
		*ret = line;
		return 0;
	}
	GD_JSON_VALUE json_t *document =
		json_loadb(text, len, JSON_REJECT_DUPLICATES, &problem);
	if (document == NULL) {
		char why[JSON_ERROR_TEXT_LENGTH];
		gd_text_escape(why, sizeof(why), problem.text, strlen(problem.text));
		return gd_fail(err, -EBADMSG, "not JSON: column %d: %s", problem.column, why);
	}
	if (!json_is_object(document))
		return gd_fail(err, -EBADMSG, "not a JSON object");
	int r = read_document(document, &line, err);
	if (r < 0) {
		gd_replay_line_deinit(&line);
		return r;
	}
	*ret = line;
	return 0;
}

void gd_replay_line_deinit(struct gd_replay_line *line)
{
	for (size_t i = 0; i < line->n_labels; i++) {
		free(line->labels[i].key);
		free(line->labels[i].value);
	}
	line->n_labels = 0;
}
