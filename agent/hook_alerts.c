#include "agent/hook_alerts.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

/* The parser recurses, so the depth is measured before it sees the text. */
static bool depth_ok(const char *text, size_t n)
{
	unsigned depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else
				in_string = c != '"';
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > GD_HOOK_JSON_DEPTH)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* ---- texts ---- */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* Foreign bytes into printable ASCII. */
static void put_printable(char *to, size_t size, const char *text)
{
	gd_text_escape(to, size, text, strlen(text));
	for (char *c = to; *c != '\0'; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}

static int put_digest(char to[65], const void *bytes, size_t n, struct gd_error *err)
{
	unsigned char digest[32];
	if (EVP_Digest(bytes, n, digest, NULL, EVP_sha256(), NULL) != 1)
		return gd_fail(err, -EIO, "SHA-256");
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(to + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct gd_hook_label *x = a;
	const struct gd_hook_label *y = b;
	return strcmp(x->key, y->key);
}

/* The caller's own when it is one, else a digest: of what it sent, or of name and labels. */
static int make_fingerprint(struct gd_hook_alert *alert, const char *sent, struct gd_error *err)
{
	size_t n = sent != NULL ? strlen(sent) : 0;
	if (n > 0 && n < sizeof(alert->fingerprint) && strspn(sent, "0123456789abcdef") == n) {
		memcpy(alert->fingerprint, sent, n + 1);
		return 0;
	}
	if (n > 0)
		return put_digest(alert->fingerprint, sent, n, err);
	GD_BUF struct gd_buf all = GD_BUF_INIT(1 << 20);
	gd_buf_append(&all, alert->alertname, strlen(alert->alertname) + 1);
	for (size_t i = 0; i < alert->n_labels; i++) {
		gd_buf_append(&all, alert->labels[i].key, strlen(alert->labels[i].key) + 1);
		gd_buf_append(&all, alert->labels[i].value, strlen(alert->labels[i].value) + 1);
	}
	int r = gd_buf_check(&all, "an alert's labels", err);
	return r < 0 ? r : put_digest(alert->fingerprint, all.data, all.len, err);
}

static int take_starts_at(struct gd_hook_alert *alert, const char *text, struct gd_error *err)
{
	if (text == NULL)
		return 0;
	size_t n = strlen(text);
	if (n >= sizeof(alert->starts_at) || strspn(text, "0123456789TZtz:.+-") != n)
		return gd_fail(err, -EBADMSG, "startsAt is no time");
	memcpy(alert->starts_at, text, n + 1);
	return 0;
}

/* "HighRequestLatency instance=10.0.0.7:9100 severity=page" */
static void make_reason(struct gd_hook_alert *alert)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(64 << 10);
	gd_buf_puts(&text, alert->rule != NULL ? alert->rule : alert->alertname);
	for (size_t i = 0; i < alert->n_labels; i++)
		if (strcmp(alert->labels[i].key, "alertname") != 0)
			gd_buf_printf(&text, " %s=%s", alert->labels[i].key,
			              alert->labels[i].value);
	put_printable(alert->reason, sizeof(alert->reason), gd_buf_str(&text));
}

/* ---- one alert ---- */

static int take_labels(struct gd_hook_alert *alert, json_t *labels, bool strict,
                       struct gd_error *err)
{
	const char *key;
	json_t *value;
	json_object_foreach (labels, key, value) {
		if (!json_is_string(value)) {
			if (strict)
				return gd_fail(err, -EBADMSG, "a label is not a string");
			continue;
		}
		if (alert->n_labels == GD_HOOK_ALERT_LABELS_MAX)
			return gd_fail(err, -E2BIG, "more than %d labels",
			               GD_HOOK_ALERT_LABELS_MAX);
		alert->labels[alert->n_labels++] =
			(struct gd_hook_label){ key, json_string_value(value) };
	}
	/* The parser's own order changes from run to run. */
	if (alert->n_labels > 0)
		qsort(alert->labels, alert->n_labels, sizeof(*alert->labels), by_key);
	return 0;
}

static int take_status(struct gd_hook_alert *alert, const char *status, bool strict,
                       struct gd_error *err)
{
	bool known = status != NULL &&
	             (strcmp(status, "firing") == 0 || strcmp(status, "resolved") == 0);
	if (!known && (strict || status != NULL))
		return gd_fail(err, -EBADMSG, "status is neither firing nor resolved");
	alert->firing = status == NULL || strcmp(status, "firing") == 0;
	return 0;
}

static int take_alert(struct gd_hook_alert *alert, const json_t *json, bool strict,
                      struct gd_error *err)
{
	if (!json_is_object(json))
		return gd_fail(err, -EBADMSG, "an alert is not an object");
	json_t *labels = json_object_get(json, "labels");
	if (labels != NULL ? !json_is_object(labels) : strict)
		return gd_fail(err, -EBADMSG, "an alert without labels");
	int r = labels != NULL ? take_labels(alert, labels, strict, err) : 0;
	if (r < 0)
		return r;
	const char *name = strict ? NULL : text_of(json, "alertname");
	if (name == NULL && labels != NULL)
		name = text_of(labels, "alertname");
	alert->alertname = name != NULL ? name : "";
	alert->rule = strict ? NULL : text_of(json, "rule");
	if (alert->alertname[0] == '\0' && alert->rule == NULL)
		return gd_fail(err, -EBADMSG, "an alert without %s",
		               strict ? "alertname" : "alertname or rule");
	r = take_status(alert, text_of(json, "status"), strict, err);
	if (r == 0)
		r = take_starts_at(alert, text_of(json, "startsAt"), err);
	if (r == 0 && strict && alert->starts_at[0] == '\0')
		r = gd_fail(err, -EBADMSG, "an alert without startsAt");
	if (r == 0)
		r = make_fingerprint(alert, text_of(json, "fingerprint"), err);
	if (r == 0)
		make_reason(alert);
	return r;
}

/* ---- whole bodies ---- */

static int take_capture(struct gd_hook_alert *alert, const json_t *json, struct gd_error *err)
{
	const char *reason = text_of(json, "reason");
	alert->alertname = "";
	alert->firing = true;
	alert->rule = text_of(json, "rule");
	if (alert->rule == NULL)
		return gd_fail(err, -EBADMSG, "\"rule\" is missing");
	put_printable(alert->reason, sizeof(alert->reason), reason != NULL ? reason : "");
	return 0;
}

static int take_list(struct gd_hook_alerts *alerts, const json_t *list, bool strict,
                     struct gd_error *err)
{
	size_t n = json_array_size(list);
	if (n > GD_HOOK_ALERTS_MAX)
		return gd_fail(err, -E2BIG, "%zu alerts, more than %d (see max_alerts)", n,
		               GD_HOOK_ALERTS_MAX);
	alerts->list = calloc(n + 1, sizeof(*alerts->list));
	if (alerts->list == NULL)
		return gd_fail(err, -ENOMEM, "%zu alerts", n);
	for (size_t i = 0; i < n; i++) {
		int r = take_alert(&alerts->list[i], json_array_get(list, i), strict, err);
		if (r < 0)
			return gd_error_wrap(err, r, "alert %zu", i);
	}
	alerts->n = n;
	return 0;
}

static int take_one(struct gd_hook_alerts *alerts, enum gd_hook_shape shape, const json_t *json,
                    struct gd_error *err)
{
	alerts->list = calloc(1, sizeof(*alerts->list));
	if (alerts->list == NULL)
		return gd_fail(err, -ENOMEM, "an alert");
	alerts->n = 1;
	return shape == GD_HOOK_CAPTURE ? take_capture(alerts->list, json, err) :
	                                  take_alert(alerts->list, json, false, err);
}

static int take_body(struct gd_hook_alerts *alerts, enum gd_hook_shape shape, const json_t *json,
                     struct gd_error *err)
{
	const json_t *list = json_object_get(json, "alerts");
	if (!json_is_object(json))
		return gd_fail(err, -EBADMSG, "not a JSON object");
	if (shape == GD_HOOK_CAPTURE || (shape == GD_HOOK_GENERIC && list == NULL))
		return take_one(alerts, shape, json, err);
	if (!json_is_array(list))
		return gd_fail(err, -EBADMSG, "\"alerts\" is missing or no list");
	if (shape == GD_HOOK_GENERIC)
		return take_list(alerts, list, false, err);
	const char *version = text_of(json, "version");
	if (version == NULL || strcmp(version, "4") != 0)
		return gd_fail(err, -ENOTSUP, "only version \"4\" of Alertmanager's payload");
	json_int_t cut = json_integer_value(json_object_get(json, "truncatedAlerts"));
	alerts->n_cut = cut > 0 ? (uint64_t)cut : 0;
	return take_list(alerts, list, true, err);
}

int gd_hook_alerts_parse(enum gd_hook_shape shape, const char *text, size_t n,
                         struct gd_hook_alerts *ret, struct gd_error *err)
{
	if (!depth_ok(text, n))
		return gd_fail(err, -EBADMSG, "JSON nested deeper than %d", GD_HOOK_JSON_DEPTH);
	json_error_t why;
	struct gd_hook_alerts alerts = { .n = 0 };
	alerts.json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
	if (alerts.json == NULL)
		return gd_fail(err, -EBADMSG, "not JSON: line %d, column %d", why.line, why.column);
	int r = take_body(&alerts, shape, alerts.json, err);
	if (r < 0) {
		gd_hook_alerts_deinit(&alerts);
		return r;
	}
	*ret = alerts;
	return 0;
}

void gd_hook_alerts_deinit(struct gd_hook_alerts *alerts)
{
	free(alerts->list);
	json_decref(alerts->json);
	*alerts = (struct gd_hook_alerts){ .n = 0 };
}
