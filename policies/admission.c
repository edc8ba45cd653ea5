#include "policies/admission.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "policies/admission_checks.h"
#include "policies/admission_state.h"

#define LINES_MAX 16384 /* of one decision */
#define HOUR_NS (UINT64_C(3600) * 1000000000)

const char *const gd_verdict_names[GD_VERDICTS] = {
	[GD_VERDICT_ADMITTED] = "admitted", [GD_VERDICT_DUPLICATE] = "duplicate",
	[GD_VERDICT_COOLDOWN] = "cooldown", [GD_VERDICT_LIMIT] = "limit",
	[GD_VERDICT_BUDGET] = "budget",     [GD_VERDICT_SPACE] = "space",
	[GD_VERDICT_SAMPLED] = "sampled",   [GD_VERDICT_DISABLED] = "disabled",
	[GD_VERDICT_BUSY] = "busy",         [GD_VERDICT_NO_TARGET] = "no_target",
};

const struct gd_rule gd_admission_unit_rule = {
	.name = "@unit",
	.kind = GD_WHEN_EVENT,
	.limit = { .n = 5, .window_ns = 24 * HOUR_NS },
	.dedup_ns = HOUR_NS / 6,
};

/* ---- opening ---- */

/* "" when the kernel does not say: every opening then counts as another boot. */
static void read_boot_id(char to[GD_ADMISSION_BOOT])
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	to[0] = '\0';
	if (gd_io_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text, NULL) < 0)
		return;
	const char *id = gd_buf_str(&text);
	(void)snprintf(to, GD_ADMISSION_BOOT, "%.*s", (int)strcspn(id, "\n"), id);
}

static void write_note(char note[248], const struct gd_journal_found *found)
{
	note[0] = '\0';
	if (found->damaged > 0)
		(void)snprintf(note, 248,
		               "admission.journal: %u lines were damaged; limits may know less than "
		               "happened, admission.journal.bad is what was found",
		               found->damaged);
	else if (found->torn_tail)
		(void)snprintf(note, 248, "admission.journal: the last line was torn and is cut off");
}

int gd_admission_open_with(const struct gd_admission_options *options, struct gd_admission **ret,
                           char ret_note[248], struct gd_error *err)
{
	struct gd_journal_found found;
	char boot[GD_ADMISSION_BOOT];
	struct gd_clock now = options->now != NULL ? *options->now : gd_clock_now();
	struct gd_admission *admission = calloc(1, sizeof(*admission));
	if (admission == NULL)
		return gd_fail_errno(err, -ENOMEM, "admission");
	(void)snprintf(admission->host, sizeof(admission->host), "%s", options->host);
	if (options->boot_id != NULL)
		(void)snprintf(boot, sizeof(boot), "%s", options->boot_id);
	else
		read_boot_id(boot);
	int r = gd_admission_state_open(admission, options->dir, boot, &now, &found, err);
	if (r < 0) {
		gd_admission_state_deinit(admission);
		free(admission);
		return r;
	}
	/* A full disk is no reason not to start: until there is room every decision says so. */
	if (admission->stale) {
		GD_BUF struct gd_buf nothing = GD_BUF_INIT(0);
		(void)gd_admission_state_write(admission, &nothing, true, NULL);
	}
	write_note(ret_note, &found);
	*ret = admission;
	return 0;
}

int gd_admission_open(const char *dir, const char *host, struct gd_admission **ret,
                      char ret_note[248], struct gd_error *err)
{
	const struct gd_admission_options options = { .dir = dir, .host = host };
	return gd_admission_open_with(&options, ret, ret_note, err);
}

void gd_admission_close(struct gd_admission *admission)
{
	if (admission == NULL)
		return;
	gd_admission_state_flush(admission);
	gd_admission_state_deinit(admission);
	free(admission);
}

void gd_admission_policy(struct gd_admission *admission, const struct gd_policy *policy)
{
	bool reload = admission->policy != NULL;
	admission->policy = policy;
	if (reload)
		(void)gd_admission_enable(admission, NULL, NULL);
}

/* ---- deciding ---- */

static bool copy(char *to, size_t size, const char *from)
{
	size_t n = from != NULL ? strlen(from) : 0;
	if (n >= size)
		return false;
	if (n > 0)
		memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

/* What will be remembered of it; -EINVAL: the caller did not keep to lengths. */
static int describe(const struct gd_admission *admission, const struct gd_trigger *trigger,
                    struct gd_admission_capture *ret, struct gd_error *err)
{
	struct gd_admission_capture capture = {
		.subject = trigger->subject,
		.at_ns = admission->now_ns,
		.realtime_ns = admission->realtime_ns,
	};
	if (!copy(capture.id, sizeof(capture.id), trigger->capture_id) || capture.id[0] == '\0' ||
	    !copy(capture.service, sizeof(capture.service), trigger->service) ||
	    !copy(capture.fingerprint, sizeof(capture.fingerprint), trigger->fingerprint) ||
	    !copy(capture.starts_at, sizeof(capture.starts_at), trigger->starts_at))
		return gd_fail(err, -EINVAL, "a capture's id, service, fingerprint or time is too long");
	(void)copy(capture.rule, sizeof(capture.rule),
	           trigger->rule != NULL ? trigger->rule->name : NULL);
	if (gd_admission_history_find(&admission->history, capture.id) != NULL)
		return gd_fail(err, -EEXIST, "capture %s was admitted before", capture.id);
	*ret = capture;
	return 0;
}

/* Its record and its counter in one write: they are there both or not at all. */
static int record_admitted(struct gd_admission *admission,
                           const struct gd_admission_capture *capture, size_t rule,
                           struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(LINES_MAX);
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_ADMITTED,
		                              .capture = *capture };
	int r = gd_admission_history_reserve(&admission->history, err);
	if (r < 0)
		return r;
	gd_admission_record_put(&record, &lines);
	record.kind = GD_ADMISSION_IS_COUNT;
	record.count = admission->counts[rule];
	record.count.verdicts[GD_VERDICT_ADMITTED]++;
	gd_admission_record_put(&record, &lines);
	r = gd_admission_state_write(admission, &lines, true, err);
	if (r < 0)
		return r;
	(void)gd_admission_history_add(&admission->history, capture);
	admission->counts[rule].verdicts[GD_VERDICT_ADMITTED]++;
	admission->rules[rule].dirty = false;
	return 0;
}

int gd_admission_decide(struct gd_admission *admission, const struct gd_trigger *trigger,
                        const struct gd_load *load, struct gd_decision *ret,
                        struct gd_error *err)
{
	struct gd_admission_capture capture;
	struct gd_admission_capture *first;
	struct gd_decision decision;
	struct gd_error why = { 0 };
	size_t rule;
	gd_admission_state_see(admission, &trigger->now);
	int r = describe(admission, trigger, &capture, err);
	if (r == 0)
		r = gd_admission_state_rule(admission, capture.rule, &rule, err);
	if (r < 0)
		return r;
	gd_admission_checks(admission, trigger, rule, load, &decision, &first);
	if (decision.verdict == GD_VERDICT_ADMITTED &&
	    record_admitted(admission, &capture, rule, &why) < 0) {
		decision.verdict = GD_VERDICT_SPACE;
		(void)snprintf(decision.why, sizeof(decision.why), "%s", why.msg);
	}
	if (first != NULL) {
		first->again++;
		first->dirty = true;
	}
	if (decision.verdict != GD_VERDICT_ADMITTED)
		gd_admission_state_count(admission, rule, decision.verdict);
	gd_admission_flush(admission, &trigger->now);
	*ret = decision;
	return 0;
}

void gd_admission_flush(struct gd_admission *admission, const struct gd_clock *now)
{
	gd_admission_state_see(admission, now);
	int64_t since_ns = admission->now_ns - admission->flushed_ns;
	if (since_ns >= (admission->dirty ? GD_ADMISSION_FLUSH_NS : GD_ADMISSION_ALIVE_NS))
		gd_admission_state_flush(admission);
}

/* ---- afterwards ---- */

/* A rule of three failures in a row is of no use to anybody but those who fill disks. */
static void learn(struct gd_admission *admission, size_t rule, bool failed, const char *id,
                  struct gd_buf *lines)
{
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_FAILURES };
	struct gd_admission_rule *state = &admission->rules[rule];
	struct gd_admission_count *count = &admission->counts[rule];
	if (!failed && state->failures == 0)
		return;
	state->failures = failed ? state->failures + 1 : 0;
	if (failed && state->failures >= GD_ADMISSION_FAILURES_MAX && !count->disabled) {
		count->disabled = true;
		(void)snprintf(count->disabled_why, sizeof(count->disabled_why),
		               "%" PRIu64 " captures in a row failed, the last was %s; it waits for a "
		               "reload",
		               state->failures, id);
	}
	record.n = state->failures;
	record.count = *count;
	gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_DISABLED;
	if (count->disabled)
		gd_admission_record_put(&record, lines);
}

int gd_admission_ended(struct gd_admission *admission, const char *capture_id, bool failed,
                       uint64_t bytes, uint64_t pause_ns, const struct gd_clock *now,
                       struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(LINES_MAX);
	struct gd_admission_capture *capture =
		gd_admission_history_find(&admission->history, capture_id);
	size_t rule;
	gd_admission_state_see(admission, now);
	if (capture == NULL)
		return gd_fail(err, -ENOENT, "no capture %s was admitted", capture_id);
	if (capture->outcome == GD_ADMISSION_SEALED || capture->outcome == GD_ADMISSION_FAILED)
		return 0;
	capture->outcome = failed ? GD_ADMISSION_FAILED : GD_ADMISSION_SEALED;
	capture->bytes = bytes;
	capture->pause_ns = pause_ns;
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_ENDED,
		                              .boottime_ns = admission->now_ns,
		                              .capture = *capture };
	gd_admission_record_put(&record, &lines);
	int r = 0;
	if (capture->rule[0] != '\0')
		r = gd_admission_state_rule(admission, capture->rule, &rule, err);
	if (capture->rule[0] != '\0' && r == 0)
		learn(admission, rule, failed, capture_id, &lines);
	if (r == 0)
		r = gd_admission_state_write(admission, &lines, true, err);
	if (r < 0)
		admission->stale = true;
	return r;
}

static void enable(struct gd_admission *admission, size_t rule, struct gd_buf *lines)
{
	struct gd_admission_count *count = &admission->counts[rule];
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_FAILURES };
	count->disabled = false;
	count->disabled_why[0] = '\0';
	admission->rules[rule].failures = 0;
	record.count = *count;
	gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_DISABLED;
	gd_admission_record_put(&record, lines);
}

int gd_admission_enable(struct gd_admission *admission, const char *rule, struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(GD_ADMISSION_RULES_MAX * 256);
	bool known = rule == NULL;
	for (size_t i = 0; i < admission->n_rules; i++) {
		if (rule != NULL && strcmp(admission->counts[i].rule, rule) != 0)
			continue;
		known = true;
		if (admission->counts[i].disabled || admission->rules[i].failures > 0)
			enable(admission, i, &lines);
	}
	if (!known)
		return gd_fail(err, -ENOENT, "nothing is known of a rule %s", rule);
	if (lines.len == 0)
		return 0;
	int r = gd_admission_state_write(admission, &lines, true, err);
	if (r < 0)
		admission->stale = true;
	return r;
}

size_t gd_admission_counts(const struct gd_admission *admission,
                           const struct gd_admission_count **ret)
{
	*ret = admission->counts;
	return admission->n_rules;
}
