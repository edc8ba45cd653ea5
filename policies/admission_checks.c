#include "policies/admission_checks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/units.h"
#include "policies/sampling.h"

struct question {
	const struct gd_admission *admission;
	const struct gd_trigger *trigger;
	const struct gd_load *load;
	const struct gd_admission_count *count;
	struct gd_decision *answer;
};

/* The answer is no; true, so that the askers read as "says no". */
__attribute__((format(printf, 4, 5))) static bool
refuse(const struct question *q, enum gd_verdict verdict, int64_t retry_ns, const char *fmt, ...)
{
	va_list args;
	q->answer->verdict = verdict;
	q->answer->retry_ns = retry_ns;
	va_start(args, fmt);
	(void)vsnprintf(q->answer->why, sizeof(q->answer->why), fmt, args);
	va_end(args);
	return true;
}

static uint64_t age_of(const struct question *q, const struct gd_admission_capture *capture)
{
	return (uint64_t)(q->admission->now_ns - capture->at_ns);
}

/* ---- duplicates ---- */

static struct gd_admission_capture *find_first(const struct question *q)
{
	const struct gd_trigger *t = q->trigger;
	const struct gd_admission_history *history = &q->admission->history;
	struct gd_admission_filter filter = {
		.rule = t->rule->name,
		.fingerprint = t->fingerprint != NULL ? t->fingerprint : "",
		.kept = true,
	};
	struct gd_admission_capture *first = NULL;
	if (filter.fingerprint[0] != '\0') {
		filter.starts_at = t->starts_at != NULL ? t->starts_at : "";
		first = gd_admission_history_newest(history, &filter, q->admission->now_ns,
		                                    INT64_MAX);
		filter.starts_at = NULL;
	}
	if (first == NULL && t->rule->dedup_ns > 0) {
		filter.service = t->service;
		first = gd_admission_history_newest(history, &filter, q->admission->now_ns,
		                                    t->rule->dedup_ns);
	}
	return first;
}

static bool is_duplicate(const struct question *q, struct gd_admission_capture **ret_first)
{
	char age[GD_UNITS_TEXT];
	struct gd_admission_capture *first = find_first(q);
	if (first == NULL)
		return false;
	*ret_first = first;
	(void)snprintf(q->answer->first, sizeof(q->answer->first), "%s", first->id);
	return refuse(q, GD_VERDICT_DUPLICATE, 0, "captured already %s ago: %s",
	              gd_units_duration(age, age_of(q, first)), first->id);
}

/* ---- the rule ---- */

static bool is_disabled(const struct question *q)
{
	return q->count->disabled &&
	       refuse(q, GD_VERDICT_DISABLED, 0, "%s", q->count->disabled_why);
}

static bool is_left_to_others(const struct question *q)
{
	const struct gd_rule *rule = q->trigger->rule;
	const char *const key[] = { rule->name, q->trigger->service, q->trigger->fingerprint };
	if (gd_sampling_chosen(q->admission->host, key, 3, rule->sample_k, rule->sample_n))
		return false;
	return refuse(q, GD_VERDICT_SAMPLED, 0,
	              "%" PRIu64 " of %" PRIu64 " hosts capture this, and this one does not",
	              rule->sample_k, rule->sample_n);
}

static bool has_no_target(const struct question *q)
{
	if (q->load->has_target)
		return false;
	return refuse(q, GD_VERDICT_NO_TARGET, 0, "no running process%s%s",
	              q->trigger->service[0] != '\0' ? " of service " : "", q->trigger->service);
}

static bool is_cooling(const struct question *q)
{
	const struct gd_rule *rule = q->trigger->rule;
	struct gd_admission_filter filter = { .rule = rule->name,
		                              .service = q->trigger->service,
		                              .subject = q->trigger->subject };
	const struct gd_admission_capture *last = gd_admission_history_newest(
		&q->admission->history, &filter, q->admission->now_ns, rule->cooldown_ns);
	char age[GD_UNITS_TEXT];
	char cooldown[GD_UNITS_TEXT];
	if (last == NULL)
		return false;
	return refuse(q, GD_VERDICT_COOLDOWN, (int64_t)(rule->cooldown_ns - age_of(q, last)),
	              "captured %s ago as %s, the cooldown is %s",
	              gd_units_duration(age, age_of(q, last)), last->id,
	              gd_units_duration(cooldown, rule->cooldown_ns));
}

/* ---- rates ---- */

/* "6 captures", "2.0 GiB", "1.3 s of stopping" */
static void amount_text(char *to, size_t size, enum gd_admission_amount amount, uint64_t value)
{
	char text[GD_UNITS_TEXT];
	if (amount == GD_ADMISSION_BYTES)
		(void)snprintf(to, size, "%s captured", gd_units_bytes(text, value));
	else if (amount == GD_ADMISSION_PAUSE_NS)
		(void)snprintf(to, size, "targets stopped for %s", gd_units_duration(text, value));
	else
		(void)snprintf(to, size, "%" PRIu64 " capture%s", value, value == 1 ? "" : "s");
}

static bool is_used_up(const struct question *q, enum gd_verdict verdict, const char *whose,
                       const struct gd_admission_filter *filter, enum gd_admission_amount amount,
                       const struct gd_rate *rate)
{
	char used_text[64];
	char window[GD_UNITS_TEXT];
	char wait[GD_UNITS_TEXT];
	int64_t wait_ns;
	if (rate->n == 0)
		return false;
	uint64_t used = gd_admission_history_used(&q->admission->history, filter, amount, rate,
	                                          q->admission->now_ns, &wait_ns);
	if (used < rate->n)
		return false;
	amount_text(used_text, sizeof(used_text), amount, used);
	return refuse(q, verdict, wait_ns, "%s%s within %s already; the next in %s", whose, used_text,
	              gd_units_duration(window, rate->window_ns),
	              gd_units_duration(wait, (uint64_t)wait_ns));
}

static bool is_over_limit(const struct question *q)
{
	struct gd_admission_filter filter = { .rule = q->trigger->rule->name,
		                              .service = q->trigger->service };
	return is_used_up(q, GD_VERDICT_LIMIT, "", &filter, GD_ADMISSION_CAPTURES,
	                  &q->trigger->rule->limit);
}

static bool is_over_budget(const struct question *q, const char *whose,
                           const struct gd_admission_filter *filter,
                           const struct gd_budget *budget)
{
	/* What people and baselines take may cost, but must not use up what incidents have. */
	struct gd_admission_filter of_rules = *filter;
	of_rules.automatic = true;
	return is_used_up(q, GD_VERDICT_BUDGET, whose, &of_rules, GD_ADMISSION_CAPTURES,
	                  &budget->captures) ||
	       is_used_up(q, GD_VERDICT_BUDGET, whose, filter, GD_ADMISSION_BYTES,
	                  &budget->bytes) ||
	       is_used_up(q, GD_VERDICT_BUDGET, whose, filter, GD_ADMISSION_PAUSE_NS,
	                  &budget->pause);
}

static bool is_over_budgets(const struct question *q)
{
	struct gd_admission_filter of_rule = { .rule = q->trigger->rule->name };
	struct gd_admission_filter all = { 0 };
	return is_over_budget(q, "the rule's budget: ", &of_rule, &q->trigger->rule->budget) ||
	       (q->admission->policy != NULL && is_over_budget(q, "the host's budget: ", &all,
	                                                       &q->admission->policy->budget));
}

/* ---- the host ---- */

static bool has_no_space(const struct question *q)
{
	const struct gd_load *load = q->load;
	const struct gd_policy *policy = q->admission->policy;
	uint64_t most = policy != NULL ? policy->budget.spool_bytes : 0;
	double floor = policy != NULL ? policy->budget.free_ratio : -1;
	char holds[GD_UNITS_TEXT];
	char of[GD_UNITS_TEXT];
	if (most == 0) {
		most = GD_ADMISSION_SPOOL_BYTES;
		double part = (double)load->fs_bytes * GD_ADMISSION_SPOOL_RATIO;
		if (load->fs_bytes > 0 && part < (double)most)
			most = (uint64_t)part;
	}
	if (floor < 0)
		floor = GD_ADMISSION_FREE_RATIO;
	if (load->spool_bytes >= most)
		return refuse(q, GD_VERDICT_SPACE, 0, "the spool holds %s of %s",
		              gd_units_bytes(holds, load->spool_bytes), gd_units_bytes(of, most));
	if (load->fs_bytes == 0 || (double)load->fs_free_bytes >= floor * (double)load->fs_bytes)
		return false;
	return refuse(q, GD_VERDICT_SPACE, 0,
	              "%.3g %% of the spool's file system is free, %.3g %% has to stay so",
	              100 * (double)load->fs_free_bytes / (double)load->fs_bytes, 100 * floor);
}

static bool is_busy(const struct question *q)
{
	const struct gd_load *load = q->load;
	if (load->running == 0 || load->queued < load->queue_max)
		return false;
	return refuse(q, GD_VERDICT_BUSY, 0, "%u running and %u waiting, there is no room for more",
	              load->running, load->queued);
}

void gd_admission_checks(const struct gd_admission *admission, const struct gd_trigger *trigger,
                         size_t rule, const struct gd_load *load, struct gd_decision *ret,
                         struct gd_admission_capture **ret_first)
{
	const struct question q = { admission, trigger, load, &admission->counts[rule], ret };
	*ret_first = NULL;
	*ret = (struct gd_decision){ .verdict = GD_VERDICT_ADMITTED };
	bool by_hand = trigger->rule == NULL;
	if (!by_hand && (is_duplicate(&q, ret_first) || is_disabled(&q) || is_left_to_others(&q)))
		return;
	if (has_no_target(&q))
		return;
	if (!by_hand && (is_cooling(&q) || is_over_limit(&q) || is_over_budgets(&q)))
		return;
	if (!has_no_space(&q))
		(void)is_busy(&q);
}
