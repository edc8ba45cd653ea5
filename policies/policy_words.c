#include "policies/policy_words.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"

#define NS_PER_S UINT64_C(1000000000)

void gd_policy_words_duration(uint64_t ns, struct gd_buf *to)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "d", 86400 * NS_PER_S }, { "h", 3600 * NS_PER_S }, { "m", 60 * NS_PER_S },
		{ "s", NS_PER_S },         { "ms", 1000000 },        { "us", 1000 },
		{ "ns", 1 },
	};
	if (ns == 0)
		gd_buf_puts(to, "0");
	/* 24h is what people write for a day, 36h for more than one */
	for (size_t i = ns % units[0].ns == 0 && ns > units[0].ns ? 0 : 1; ns > 0; i++) {
		if (ns / units[i].ns > 0)
			gd_buf_printf(to, "%" PRIu64 "%s", ns / units[i].ns, units[i].name);
		ns %= units[i].ns;
	}
}

static void put_foreign(struct gd_buf *to, const char *text)
{
	gd_text_put_escaped(to, text, strlen(text));
}

static void put_bytes(struct gd_buf *to, uint64_t bytes)
{
	char text[GD_UNITS_TEXT];
	gd_buf_puts(to, gd_units_bytes(text, bytes));
}

static void new_line(struct gd_buf *to, unsigned indent)
{
	gd_buf_printf(to, "\n%*s", (int)indent, "");
}

static void put_pattern(struct gd_buf *to, const char *what, const char *pattern, bool *first)
{
	if (pattern == NULL)
		return;
	gd_buf_printf(to, "%s%s ", *first ? "" : " and ", what);
	put_foreign(to, pattern);
	*first = false;
}

void gd_policy_words_service(const struct gd_service *service, unsigned indent, struct gd_buf *to)
{
	const struct gd_match *m = &service->match;
	bool first = true;
	gd_buf_puts(to, "processes with ");
	put_pattern(to, "unit", m->unit, &first);
	put_pattern(to, "exe", m->exe, &first);
	put_pattern(to, "comm", m->comm, &first);
	put_pattern(to, "cmdline", m->cmdline, &first);
	put_pattern(to, "cgroup", m->cgroup, &first);
	put_pattern(to, "container", m->container, &first);
	if (m->listen != 0)
		gd_buf_printf(to, "%sTCP port %u open", first ? "" : " and ", m->listen);
	first &= m->listen == 0;
	if (m->uid >= 0)
		gd_buf_printf(to, "%suid %" PRId64, first ? "" : " and ", m->uid);
	if (service->scrape != NULL) {
		new_line(to, indent);
		gd_buf_puts(to, "http_p99 from ");
		put_foreign(to, service->scrape_histogram);
		gd_buf_puts(to, " at ");
		put_foreign(to, service->scrape);
	}
	const struct gd_debug_port_policy *own = &service->debug_port;
	if (own->wanted) {
		new_line(to, indent);
		gd_buf_puts(to, "its own CPU profile");
		if (own->trace_ns > 0) {
			gd_buf_puts(to, " and an execution trace of ");
			gd_policy_words_duration(own->trace_ns, to);
		}
		if (own->port != 0)
			gd_buf_printf(to, " from TCP port %u", own->port);
		else
			gd_buf_puts(to, " from any TCP port");
		gd_buf_puts(to, ", with profile standard and full");
	}
	gd_buf_putc(to, '\n');
}

static void put_condition(struct gd_buf *to, const struct gd_condition *c)
{
	char level[GD_METRIC_TEXT];
	gd_buf_printf(to, "%s is %s %s", gd_metrics[c->metric].name, c->below ? "below" : "above",
	              gd_metric_text(level, c->metric, c->level));
}

static void put_event(struct gd_buf *to, const struct gd_rule *rule)
{
	static const char *const words[GD_EVENTS] = {
		[GD_EVENT_GONE] = "a process has ended",
		[GD_EVENT_RESTARTS] = "",
		[GD_EVENT_MEMORY_HIGH] = "its cgroup went over memory.high",
		[GD_EVENT_MEMORY_MAX] = "its cgroup ran into memory.max",
		[GD_EVENT_OOM] = "its cgroup is out of memory",
		[GD_EVENT_OOM_KILL] = "a process of its cgroup was killed for memory",
	};
	if (rule->event != GD_EVENT_RESTARTS) {
		gd_buf_puts(to, words[rule->event]);
		return;
	}
	gd_buf_printf(to, "it has started %" PRIu64 " times within ", rule->event_count);
	gd_policy_words_duration(rule->event_within_ns, to);
}

static void put_when(struct gd_buf *to, const struct gd_rule *rule)
{
	switch (rule->kind) {
	case GD_WHEN_METRIC:
		gd_buf_puts(to, "when ");
		put_condition(to, &rule->when);
		gd_buf_puts(to, rule->for_ns > 0 ? " for " : ", at once");
		if (rule->for_ns > 0)
			gd_policy_words_duration(rule->for_ns, to);
		break;
	case GD_WHEN_ALERT:
		gd_buf_puts(to, "when alert ");
		put_foreign(to, rule->alert);
		gd_buf_puts(to, " fires");
		for (size_t i = 0; i < rule->n_labels; i++) {
			gd_buf_puts(to, i == 0 ? " with " : ", ");
			put_foreign(to, rule->labels[i].key);
			gd_buf_putc(to, '=');
			put_foreign(to, rule->labels[i].value);
		}
		break;
	case GD_WHEN_EVENT:
		gd_buf_puts(to, "when ");
		put_event(to, rule);
		break;
	case GD_WHEN_SCHEDULE:
		gd_buf_puts(to, "every ");
		gd_policy_words_duration(rule->every_ns, to);
		if (rule->jitter_ns > 0) {
			gd_buf_puts(to, " and up to ");
			gd_policy_words_duration(rule->jitter_ns, to);
			gd_buf_puts(to, " later");
		}
		break;
	}
}

/* "3 captures in 24h" with n taken as what it counts. */
static void put_rate(struct gd_buf *to, const struct gd_rate *rate, const char *what)
{
	gd_buf_printf(to, "%s in ", what);
	gd_policy_words_duration(rate->window_ns, to);
}

static void put_budget(struct gd_buf *to, const struct gd_budget *b, const char *between)
{
	const char *next = "";
	if (b->captures.n > 0) {
		gd_buf_printf(to, "%" PRIu64, b->captures.n);
		put_rate(to, &b->captures, b->captures.n == 1 ? " capture" : " captures");
		next = between;
	}
	if (b->bytes.n > 0) {
		gd_buf_puts(to, next);
		put_bytes(to, b->bytes.n);
		put_rate(to, &b->bytes, "");
		next = between;
	}
	if (b->pause.n > 0) {
		gd_buf_puts(to, next);
		gd_buf_puts(to, "stops of ");
		gd_policy_words_duration(b->pause.n, to);
		put_rate(to, &b->pause, "");
		next = between;
	}
	if (b->pause_ns > 0) {
		gd_buf_puts(to, next);
		gd_policy_words_duration(b->pause_ns, to);
		gd_buf_puts(to, " for one stop");
	}
}

static void put_limits(struct gd_buf *to, const struct gd_rule *rule)
{
	if (rule->limit.n > 0) {
		gd_buf_printf(to, "at most %" PRIu64, rule->limit.n);
		put_rate(to, &rule->limit, "");
	} else {
		gd_buf_puts(to, "without a limit");
	}
	if (rule->cooldown_ns > 0) {
		gd_buf_puts(to, ", ");
		gd_policy_words_duration(rule->cooldown_ns, to);
		gd_buf_puts(to, " apart");
	}
	if (rule->sample_n > 0)
		gd_buf_printf(to, ", on %" PRIu64 " of %" PRIu64 " hosts", rule->sample_k,
		              rule->sample_n);
	if (rule->dedup_ns > 0) {
		gd_buf_puts(to, "; the same again within ");
		gd_policy_words_duration(rule->dedup_ns, to);
		gd_buf_puts(to, " is only counted");
	}
}

void gd_policy_words_rule(const struct gd_policy *policy, const struct gd_rule *rule,
                          unsigned indent, struct gd_buf *to)
{
	char level[GD_METRIC_TEXT];
	put_when(to, rule);
	gd_buf_printf(to, ": a %s capture of %s", gd_policy_profile_names[rule->profile],
	              policy->services[rule->service].name);
	if (rule->core != GD_POLICY_CORE_NONE)
		gd_buf_printf(to, " with a %s core%s", gd_policy_core_names[rule->core],
		              rule->force_core ? ", also if it wants none" : "");
	if (rule->consistent)
		gd_buf_puts(to, rule->core != GD_POLICY_CORE_NONE ? "" : ", of one instant");
	new_line(to, indent);
	put_limits(to, rule);
	const struct gd_budget *b = &rule->budget;
	if (b->captures.n > 0 || b->bytes.n > 0 || b->pause.n > 0 || b->pause_ns > 0) {
		new_line(to, indent);
		gd_buf_puts(to, "of its own at most ");
		put_budget(to, b, ", ");
	}
	if (rule->kind == GD_WHEN_METRIC) {
		new_line(to, indent);
		gd_buf_printf(to, "armed again at %s or %s",
		              gd_metric_text(level, rule->when.metric, rule->clear),
		              rule->when.below ? "more" : "less");
		if (rule->clear_for_ns > 0) {
			gd_buf_puts(to, " for ");
			gd_policy_words_duration(rule->clear_for_ns, to);
		}
	}
	if (rule->has_unless) {
		new_line(to, indent);
		gd_buf_puts(to, "only light while ");
		put_condition(to, &rule->unless);
	}
	if (rule->baseline) {
		new_line(to, indent);
		gd_buf_puts(to, "compared with a light capture of a good time, taken once a day");
	}
	gd_buf_putc(to, '\n');
}

static void put_kept(struct gd_buf *to, const struct gd_retention *kept)
{
	bool first = true;
	if (kept->age_ns > 0) {
		gd_buf_puts(to, "for ");
		gd_policy_words_duration(kept->age_ns, to);
		first = false;
	}
	if (kept->count > 0) {
		gd_buf_printf(to, "%sthe last %" PRIu64, first ? "" : ", ", kept->count);
		first = false;
	}
	if (kept->bytes > 0) {
		gd_buf_puts(to, first ? "" : ", ");
		put_bytes(to, kept->bytes);
		first = false;
	}
	if (first)
		gd_buf_puts(to, "while there is room");
}

void gd_policy_words_host(const struct gd_policy *policy, unsigned indent, struct gd_buf *to)
{
	char level[GD_METRIC_TEXT];
	gd_buf_puts(to, "at most ");
	put_budget(to, &policy->budget, ", ");
	new_line(to, indent);
	gd_buf_puts(to, "spool of ");
	put_bytes(to, policy->budget.spool_bytes);
	gd_buf_printf(to, ", %s of its file system stays free",
	              gd_metric_text(level, GD_METRIC_CPU, policy->budget.free_ratio));
	new_line(to, indent);
	if (policy->upload != NULL) {
		gd_buf_puts(to, "uploads to ");
		put_foreign(to, policy->upload);
		if (policy->budget.upload_bytes_per_s > 0) {
			gd_buf_puts(to, " at up to ");
			put_bytes(to, policy->budget.upload_bytes_per_s);
			gd_buf_puts(to, "/s");
		}
	} else {
		gd_buf_puts(to, "uploads nothing");
	}
	gd_buf_puts(to, policy->upload != NULL ? "; keeps what was uploaded " : "; keeps archives ");
	put_kept(to, &policy->retention);
	new_line(to, indent);
	gd_buf_puts(to, "hook at ");
	put_foreign(to, policy->hook.listen);
	if (policy->fleet_size > 0)
		gd_buf_printf(to, "; one of %" PRIu64 " hosts", policy->fleet_size);
	gd_buf_putc(to, '\n');
}
