/*
 * Posted bodies: the first byte chooses the shape.  What is accepted must fit the record that goes to
 * the broker: a fingerprint in hex, a time, printable text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hook_alerts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct gd_hook_alert *a, enum gd_hook_shape shape)
{
	size_t n = strnlen(a->fingerprint, sizeof(a->fingerprint));
	if (n >= sizeof(a->fingerprint) || strspn(a->fingerprint, "0123456789abcdef") != n ||
	    (n == 0) != (shape == GD_HOOK_CAPTURE))
		abort();
	n = strnlen(a->starts_at, sizeof(a->starts_at));
	if (n >= sizeof(a->starts_at) || strspn(a->starts_at, "0123456789TZtz:.+-") != n)
		abort();
	n = strnlen(a->reason, sizeof(a->reason));
	if (n >= sizeof(a->reason))
		abort();
	for (size_t i = 0; i < n; i++)
		if (a->reason[i] < 0x20 || a->reason[i] > 0x7e)
			abort();
	if (a->alertname == NULL || (a->alertname[0] == '\0' && a->rule == NULL))
		abort();
	for (size_t i = 1; i < a->n_labels; i++)
		if (strcmp(a->labels[i - 1].key, a->labels[i].key) >= 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_hook_alerts alerts = { .n = 0 };
	if (size == 0)
		return 0;
	enum gd_hook_shape shape = data[0] == 'a' ? GD_HOOK_ALERTMANAGER :
	                           data[0] == 'c' ? GD_HOOK_CAPTURE : GD_HOOK_GENERIC;
	if (gd_hook_alerts_parse(shape, (const char *)data + 1, size - 1, &alerts, NULL) < 0)
		return 0;
	if (alerts.n > GD_HOOK_ALERTS_MAX)
		abort();
	for (size_t i = 0; i < alerts.n; i++)
		check(&alerts.list[i], shape);
	gd_hook_alerts_deinit(&alerts);
	return 0;
}
