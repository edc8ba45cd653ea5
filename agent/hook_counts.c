#include "agent/hook_counts.h"

#include <inttypes.h>

void gd_hook_counts_answer(struct gd_hook_counts *counts, int status)
{
	if (status >= GD_HOOK_STATUS_MIN && status <= GD_HOOK_STATUS_MAX)
		counts->answers[status - GD_HOOK_STATUS_MIN]++;
}

static void put(struct gd_buf *to, const char *name, const char *type, const char *help,
                uint64_t value)
{
	gd_buf_printf(to, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name, type,
	              name, value);
}

void gd_hook_counts_put(const struct gd_hook_counts *counts, unsigned open_connections,
                        bool broker_up, struct gd_buf *to)
{
	gd_buf_puts(to, "# HELP godiag_hook_answers_total HTTP answers by status.\n"
	                "# TYPE godiag_hook_answers_total counter\n");
	for (int s = 0; s <= GD_HOOK_STATUS_MAX - GD_HOOK_STATUS_MIN; s++)
		if (counts->answers[s] > 0)
			gd_buf_printf(to, "godiag_hook_answers_total{code=\"%d\"} %" PRIu64 "\n",
			              GD_HOOK_STATUS_MIN + s, counts->answers[s]);
	put(to, "godiag_hook_connections_total", "counter", "Connections accepted.",
	    counts->connections);
	put(to, "godiag_hook_evicted_total", "counter",
	    "Connections closed because others needed their place.", counts->evicted);
	put(to, "godiag_hook_alerts_total", "counter", "Firing alerts that a rule waits for.",
	    counts->alerts);
	put(to, "godiag_hook_connections", "gauge", "Connections open now.", open_connections);
	put(to, "godiag_hook_broker_up", "gauge", "1 when connected to the agent.", broker_up);
}
