/*
 * What posted bodies mean.  The first is as a real Alertmanager 0.25 sends it, the second as Grafana
 * documents its own.
 */
#include "agent/hook_alerts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "tests/test.h"

static const char alertmanager[] =
	"{\"receiver\":\"godiag\",\"status\":\"firing\",\"alerts\":[{\"status\":\"firing\",\"labels\":"
	"{\"alertname\":\"HighRequestLatency\",\"instance\":\"127.0.0.1:9100\",\"severity\":\"page\"},"
	"\"annotations\":{\"summary\":\"p99 > 1 s\"},\"startsAt\":\"2026-11-20T13:05:07.123456789Z\","
	"\"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\"http://prometheus/graph\","
	"\"fingerprint\":\"3ed6bb6f5d4f4b8c\"},{\"status\":\"resolved\",\"labels\":{\"alertname\":"
	"\"Other\"},\"annotations\":{},\"startsAt\":\"2026-11-20T12:00:00+01:00\",\"endsAt\":"
	"\"2026-11-20T13:00:00Z\",\"generatorURL\":\"\",\"fingerprint\":\"00aa\"}],\"groupLabels\":{},"
	"\"commonLabels\":{},\"commonAnnotations\":{},\"externalURL\":\"http://am\",\"version\":\"4\","
	"\"groupKey\":\"{}:{alertname=\\\"HighRequestLatency\\\"}\",\"truncatedAlerts\":3}";

static const char grafana[] =
	"{\"receiver\":\"hook\",\"status\":\"firing\",\"orgId\":1,\"alerts\":[{\"status\":\"firing\","
	"\"labels\":{\"alertname\":\"High memory\",\"team\":\"blue\"},\"annotations\":{},"
	"\"startsAt\":\"2026-11-20T13:05:07Z\",\"endsAt\":\"0001-01-01T00:00:00Z\",\"values\":"
	"{\"B\":44.2},\"fingerprint\":\"6ddb3d2d0c1b9a11\",\"silenceURL\":\"\"}],\"version\":\"1\","
	"\"title\":\"[FIRING:1]\",\"state\":\"alerting\"}";

static void an_alertmanager_payload_is_understood(void **state)
{
	(void)state;
	struct gd_hook_alerts alerts = { .n = 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_hook_alerts_parse(GD_HOOK_ALERTMANAGER, alertmanager, strlen(alertmanager),
	                               &alerts, &err), &err);
	assert_int_equal(alerts.n, 2);
	assert_int_equal(alerts.n_cut, 3);
	const struct gd_hook_alert *a = &alerts.list[0];
	assert_true(a->firing);
	assert_string_equal(a->alertname, "HighRequestLatency");
	assert_null(a->rule);
	assert_string_equal(a->fingerprint, "3ed6bb6f5d4f4b8c");
	assert_string_equal(a->starts_at, "2026-11-20T13:05:07.123456789Z");
	assert_string_equal(a->reason, "HighRequestLatency instance=127.0.0.1:9100 severity=page");
	assert_int_equal(a->n_labels, 3);
	assert_string_equal(a->labels[1].key, "instance");
	assert_false(alerts.list[1].firing);
	gd_hook_alerts_deinit(&alerts);
}

static void grafana_and_plain_json_are_understood(void **state)
{
	(void)state;
	struct gd_hook_alerts alerts = { .n = 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_hook_alerts_parse(GD_HOOK_GENERIC, grafana, strlen(grafana), &alerts, &err),
	          &err);
	assert_int_equal(alerts.n, 1);
	assert_string_equal(alerts.list[0].alertname, "High memory");
	gd_hook_alerts_deinit(&alerts);
	static const char plain[] = "{\"rule\":\"gc-pause\",\"labels\":{\"n\":1,\"a\":\"b\"}}";
	assert_ok(gd_hook_alerts_parse(GD_HOOK_GENERIC, plain, strlen(plain), &alerts, &err), &err);
	assert_true(alerts.list[0].firing);
	assert_string_equal(alerts.list[0].rule, "gc-pause");
	assert_int_equal(alerts.list[0].n_labels, 1); /* the number is no label */
	gd_hook_alerts_deinit(&alerts);
}

static void fingerprint_of(const char *text, char to[65])
{
	struct gd_hook_alerts alerts = { .n = 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_hook_alerts_parse(GD_HOOK_GENERIC, text, strlen(text), &alerts, &err), &err);
	memcpy(to, alerts.list[0].fingerprint, 65);
	gd_hook_alerts_deinit(&alerts);
}

static void an_alert_without_fingerprint_gets_one_of_its_labels(void **state)
{
	(void)state;
	char one[65];
	char other[65];
	fingerprint_of("{\"alertname\":\"A\",\"labels\":{\"x\":\"1\",\"y\":\"2\"}}", one);
	fingerprint_of("{\"labels\":{\"y\":\"2\",\"x\":\"1\"},\"alertname\":\"A\"}", other);
	assert_int_equal(strlen(one), 64);
	assert_string_equal(one, other);
	fingerprint_of("{\"alertname\":\"A\",\"labels\":{\"x\":\"12\",\"y\":\"\"}}", other);
	assert_string_not_equal(one, other);
	fingerprint_of("{\"alertname\":\"A\",\"fingerprint\":\"ABC not hex\"}", one);
	assert_int_equal(strlen(one), 64);
	assert_int_equal(strspn(one, "0123456789abcdef"), 64);
}

static void foreign_bytes_do_not_reach_the_reason(void **state)
{
	(void)state;
	struct gd_hook_alerts alerts = { .n = 0 };
	struct gd_error err = { 0 };
	static const char text[] = "{\"rule\":\"r\",\"reason\":\"a\\n\\u001b[31m\\u00fc\xe2\x82\xac b\"}";
	assert_ok(gd_hook_alerts_parse(GD_HOOK_CAPTURE, text, strlen(text), &alerts, &err), &err);
	assert_string_equal(alerts.list[0].reason, "a\\x0a\\x1b[31m????? b");
	gd_hook_alerts_deinit(&alerts);
}

static void what_is_no_payload_is_refused(void **state)
{
	(void)state;
	static const struct {
		enum gd_hook_shape shape;
		int code;
		const char *text;
	} rows[] = {
		{ GD_HOOK_ALERTMANAGER, -EBADMSG, "" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG, "[]" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG, "{\"version\":\"4\"}" },
		{ GD_HOOK_ALERTMANAGER, -ENOTSUP, "{\"version\":\"3\",\"alerts\":[]}" },
		{ GD_HOOK_ALERTMANAGER, -ENOTSUP, "{\"version\":4,\"alerts\":[]}" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG, "{\"version\":\"4\",\"alerts\":[1]}" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG, "{\"version\":\"4\",\"alerts\":[{}]}" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG,
		  "{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":\"A\"}}]}" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG,
		  "{\"version\":\"4\",\"alerts\":[{\"status\":\"on\",\"labels\":{\"alertname\":\"A\"},"
		  "\"startsAt\":\"2026-11-20T13:05:07Z\"}]}" },
		{ GD_HOOK_ALERTMANAGER, -EBADMSG,
		  "{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":1},"
		  "\"startsAt\":\"2026-11-20T13:05:07Z\"}]}" },
		{ GD_HOOK_GENERIC, -EBADMSG, "{\"labels\":{}}" },
		{ GD_HOOK_GENERIC, -EBADMSG, "{\"alertname\":\"A\",\"startsAt\":\"$(reboot)\"}" },
		{ GD_HOOK_GENERIC, -EBADMSG, "{\"alertname\":\"A\",\"labels\":[]}" },
		{ GD_HOOK_GENERIC, -EBADMSG, "{\"alertname\":\"A\",\"alertname\":\"B\"}" },
		{ GD_HOOK_GENERIC, -EBADMSG, "{\"alertname\":\"A\\u0000B\"}" },
		{ GD_HOOK_CAPTURE, -EBADMSG, "{\"reason\":\"r\"}" },
		{ GD_HOOK_CAPTURE, -EBADMSG, "{\"rule\":7}" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct gd_hook_alerts alerts = { .n = 0 };
		struct gd_error err = { 0 };
		int r = gd_hook_alerts_parse(rows[i].shape, rows[i].text, strlen(rows[i].text),
		                             &alerts, &err);
		if (r != rows[i].code)
			print_error("row %zu\n", i);
		assert_fails(r, rows[i].code, &err);
		assert_null(alerts.list);
	}
}

static void ceilings_hold(void **state)
{
	(void)state;
	struct gd_hook_alerts alerts = { .n = 0 };
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	for (int depth = 16; depth <= 17; depth++) {
		gd_buf_reset(&text);
		gd_buf_puts(&text, "{\"alertname\":\"[[[[[[[[[[[[[[[[[[[[\",\"x\":");
		for (int i = 1; i < depth; i++)
			gd_buf_putc(&text, '[');
		for (int i = 1; i < depth; i++)
			gd_buf_putc(&text, ']');
		gd_buf_putc(&text, '}');
		int r = gd_hook_alerts_parse(GD_HOOK_GENERIC, text.data, text.len, &alerts, &err);
		if (depth == 16)
			assert_ok(r, &err);
		else
			assert_fails(r, -EBADMSG, &err);
		gd_hook_alerts_deinit(&alerts);
	}
	gd_buf_reset(&text);
	gd_buf_puts(&text, "{\"alerts\":[");
	for (int i = 0; i <= GD_HOOK_ALERTS_MAX; i++)
		gd_buf_printf(&text, "%s{\"alertname\":\"A\"}", i > 0 ? "," : "");
	gd_buf_puts(&text, "]}");
	assert_fails(gd_hook_alerts_parse(GD_HOOK_GENERIC, text.data, text.len, &alerts, &err),
	             -E2BIG, &err);
	gd_buf_reset(&text);
	gd_buf_puts(&text, "{\"alertname\":\"A\",\"labels\":{");
	for (int i = 0; i <= GD_HOOK_ALERT_LABELS_MAX; i++)
		gd_buf_printf(&text, "%s\"l%d\":\"\"", i > 0 ? "," : "", i);
	gd_buf_puts(&text, "}}");
	assert_fails(gd_hook_alerts_parse(GD_HOOK_GENERIC, text.data, text.len, &alerts, &err),
	             -E2BIG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(an_alertmanager_payload_is_understood),
		test_case(grafana_and_plain_json_are_understood),
		test_case(an_alert_without_fingerprint_gets_one_of_its_labels),
		test_case(foreign_bytes_do_not_reach_the_reason),
		test_case(what_is_no_payload_is_refused),
		test_case(ceilings_hold),
	};
	return test_run(tests);
}
