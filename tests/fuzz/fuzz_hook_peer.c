/*
 * Records from a hook that was taken over: type, then the body.  The broker's end calls nobody with a
 * field out of its range, and either goes on or ends the connection.
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/hook.h"
#include "agent/hook_record.h"
#include "agent/hook_table.h"
#include "base/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policy_text[] =
	"services:\n  - name: a\n    match: { comm: a }\n    scrape: http://127.0.0.1:1/\n"
	"rules:\n  - name: r\n    service: a\n    when: { alert: A, labels: { x: y } }\n";

static void printable(const char *text, size_t size)
{
	size_t n = strnlen(text, size);
	if (n >= size)
		abort();
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			abort();
}

static void on_trigger(void *arg, const struct gd_hook_trigger *t, struct gd_hook_verdict *verdict)
{
	(void)arg;
	(void)verdict;
	if (t->rule != 0)
		abort();
	printable(t->fingerprint, sizeof(t->fingerprint));
	printable(t->starts_at, sizeof(t->starts_at));
	printable(t->reason, sizeof(t->reason));
	printable(t->token, sizeof(t->token));
}

static void on_operation(void *arg, const char *id, struct gd_hook_operation *operation)
{
	(void)arg;
	(void)operation;
	printable(id, 64);
	if (strchr(id, '/') != NULL)
		abort();
}

static void on_metrics(void *arg, struct gd_buf *to)
{
	(void)arg;
	gd_buf_puts(to, "x 1\n");
}

static void on_http(void *arg, uint32_t service, double p99_s)
{
	(void)arg;
	if (service != 0 || isinf(p99_s) || p99_s < 0)
		abort();
}

static struct gd_policy *load_policy(void)
{
	struct gd_policy *policy = NULL;
	struct gd_findings findings = { .n = 0 };
	if (gd_policy_parse("p", policy_text, strlen(policy_text), &policy, &findings, NULL) < 0)
		abort();
	gd_findings_deinit(&findings);
	return policy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct gd_hook_ops ops = { on_trigger, on_operation, on_metrics, on_http };
	static struct gd_policy *policy;
	struct gd_hook_peer *peer = NULL;
	struct gd_hook_table *table = NULL;
	int fds[2];
	if (policy == NULL)
		policy = load_policy();
	/* The same bytes as a table, at the other end. */
	if (gd_hook_table_parse(data, size, 1, &table, NULL) == 0)
		gd_hook_table_destroy(table);
	if (size < 1 || size > 8192 || gd_message_pair(fds, NULL) < 0)
		return 0;
	if (gd_hook_peer_create(fds[0], policy, &ops, NULL, &peer, NULL) < 0)
		abort();
	(void)gd_message_send(fds[1], data[0], 1, data + 1, size - 1, NULL, 0, NULL);
	int r = gd_hook_peer_handle(peer, NULL);
	if (r != 0 && r != -EBADMSG)
		abort();
	gd_hook_peer_destroy(peer);
	(void)close(fds[1]);
	return 0;
}
