#include "policies/admission_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "admission.journal"
#define LINES_MAX (12U << 20) /* everything there can be is less */
#define COMPACT_MIN (UINT64_C(256) << 10)
#define KEEP_NS (UINT64_C(7) * 86400 * 1000000000)

/* ---- rules by name ---- */

static bool find_rule(const struct gd_admission *admission, const char *name, size_t *ret)
{
	for (size_t i = 0; i < admission->n_rules; i++) {
		if (strcmp(admission->counts[i].rule, name) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* Where a name stands that the policy does not have any more, else the last. */
static size_t find_unused(const struct gd_admission *admission)
{
	size_t i = 0;
	while (i + 1 < admission->n_rules &&
	       (admission->counts[i].rule[0] == '\0' || admission->policy == NULL ||
	        gd_policy_rule(admission->policy, admission->counts[i].rule) != NULL))
		i++;
	return i;
}

static int grow(struct gd_admission *admission, struct gd_error *err)
{
	if (admission->n_rules < admission->room)
		return 0;
	size_t room = admission->room == 0 ? 16 : admission->room * 2;
	void *counts = realloc(admission->counts, room * sizeof(admission->counts[0]));
	if (counts != NULL)
		admission->counts = counts;
	void *rules = realloc(admission->rules, room * sizeof(admission->rules[0]));
	if (rules != NULL)
		admission->rules = rules;
	if (counts == NULL || rules == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu rules", room);
	admission->room = room;
	return 0;
}

int gd_admission_state_rule(struct gd_admission *admission, const char *name, size_t *ret,
                            struct gd_error *err)
{
	size_t i;
	if (find_rule(admission, name, ret))
		return 0;
	if (admission->n_rules >= GD_ADMISSION_RULES_MAX) {
		i = find_unused(admission);
	} else {
		int r = grow(admission, err);
		if (r < 0)
			return r;
		i = admission->n_rules++;
	}
	admission->counts[i] = (struct gd_admission_count){ 0 };
	admission->rules[i] = (struct gd_admission_rule){ 0 };
	(void)snprintf(admission->counts[i].rule, sizeof(admission->counts[i].rule), "%s", name);
	*ret = i;
	return 0;
}

void gd_admission_state_count(struct gd_admission *admission, size_t rule, enum gd_verdict verdict)
{
	admission->counts[rule].verdicts[verdict]++;
	admission->rules[rule].dirty = true;
	admission->dirty = true;
}

/* ---- time ---- */

static int64_t within(int64_t value, int64_t max)
{
	if (value < 0)
		return 0;
	return value < max ? value : max;
}

void gd_admission_state_see(struct gd_admission *admission, const struct gd_clock *now)
{
	int64_t now_ns = within(now->boottime_ns, GD_ADMISSION_BOOTTIME_MAX);
	if (now_ns > admission->now_ns)
		admission->now_ns = now_ns;
	admission->realtime_ns = within(now->realtime_ns, GD_ADMISSION_REALTIME_MAX);
}

/* ---- reading ---- */

static int read_admitted(struct gd_admission *admission, const struct gd_admission_capture *capture)
{
	if (gd_admission_history_find(&admission->history, capture->id) != NULL)
		return 0;
	int r = gd_admission_history_reserve(&admission->history, NULL);
	if (r < 0)
		return r;
	const struct gd_admission_history *history = &admission->history;
	int64_t before_ns = history->n > 0 ? history->list[history->n - 1].at_ns : INT64_MIN;
	struct gd_admission_capture *added =
		gd_admission_history_add(&admission->history, capture);
	if (added->at_ns < before_ns)
		added->at_ns = before_ns;
	return 0;
}

/* What is told of a capture that has been forgotten meanwhile is of no interest. */
static void read_later(struct gd_admission *admission, const struct gd_admission_record *record)
{
	struct gd_admission_capture *capture =
		gd_admission_history_find(&admission->history, record->capture.id);
	if (capture == NULL)
		return;
	if (record->kind == GD_ADMISSION_IS_AGAIN) {
		capture->again = record->capture.again;
		return;
	}
	capture->outcome = record->capture.outcome;
	capture->bytes = record->capture.bytes;
	capture->pause_ns = record->capture.pause_ns;
}

static int read_rule(struct gd_admission *admission, const struct gd_admission_record *record)
{
	size_t i;
	int r = gd_admission_state_rule(admission, record->count.rule, &i, NULL);
	if (r < 0)
		return r;
	struct gd_admission_count *count = &admission->counts[i];
	if (record->kind == GD_ADMISSION_IS_COUNT) {
		memcpy(count->verdicts, record->count.verdicts, sizeof(count->verdicts));
	} else if (record->kind == GD_ADMISSION_IS_FAILURES) {
		admission->rules[i].failures = record->n;
	} else {
		memcpy(count->disabled_why, record->count.disabled_why, sizeof(count->disabled_why));
		count->disabled = count->disabled_why[0] != '\0';
	}
	return 0;
}

static void enter_boot(struct gd_admission *admission, const char *boot, int64_t now_ns,
                       int64_t realtime_ns)
{
	bool same = boot[0] != '\0' && strcmp(boot, admission->boot) == 0;
	if (!same)
		gd_admission_history_reboot(&admission->history, admission->now_ns, now_ns,
		                            realtime_ns);
	if (!same || now_ns > admission->now_ns)
		admission->now_ns = now_ns;
	(void)snprintf(admission->boot, sizeof(admission->boot), "%s", boot);
}

static void see(struct gd_admission *admission, int64_t boottime_ns)
{
	if (boottime_ns > admission->now_ns)
		admission->now_ns = boottime_ns;
}

static int read_record(void *arg, char *text)
{
	struct gd_admission *admission = arg;
	struct gd_admission_record record;
	int r = gd_admission_record_parse(text, &record, NULL);
	if (r < 0)
		return r;
	switch (record.kind) {
	case GD_ADMISSION_IS_BOOT:
		enter_boot(admission, record.boot, record.boottime_ns, record.realtime_ns);
		break;
	case GD_ADMISSION_IS_ADMITTED:
		see(admission, record.capture.at_ns);
		r = read_admitted(admission, &record.capture);
		break;
	case GD_ADMISSION_IS_ENDED:
		see(admission, record.boottime_ns);
		read_later(admission, &record);
		break;
	case GD_ADMISSION_IS_AGAIN:
		read_later(admission, &record);
		break;
	case GD_ADMISSION_IS_COUNT:
	case GD_ADMISSION_IS_FAILURES:
	case GD_ADMISSION_IS_DISABLED:
		r = read_rule(admission, &record);
		break;
	case GD_ADMISSION_IS_VERSION:
	case GD_ADMISSION_KINDS:
		break;
	}
	if (r < 0)
		admission->failed = r;
	return 0;
}

/* ---- writing ---- */

static uint64_t longest_rate(const struct gd_budget *budget, uint64_t so_far_ns)
{
	const struct gd_rate *rates[] = { &budget->captures, &budget->bytes, &budget->pause };
	for (size_t i = 0; i < 3; i++)
		if (rates[i]->n > 0 && rates[i]->window_ns > so_far_ns)
			so_far_ns = rates[i]->window_ns;
	return so_far_ns;
}

/* How far back the policy looks. */
static uint64_t keep_ns(const struct gd_policy *policy)
{
	uint64_t keep = longest_rate(&policy->budget, KEEP_NS);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		keep = longest_rate(&rule->budget, keep);
		keep = rule->limit.window_ns > keep ? rule->limit.window_ns : keep;
		keep = rule->dedup_ns > keep ? rule->dedup_ns : keep;
		keep = rule->cooldown_ns > keep ? rule->cooldown_ns : keep;
	}
	return keep < INT64_MAX ? keep : INT64_MAX;
}

static void put_capture(const struct gd_admission *admission,
                        const struct gd_admission_capture *capture, struct gd_buf *lines)
{
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_ADMITTED,
		                              .boottime_ns = admission->now_ns,
		                              .capture = *capture };
	gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_ENDED;
	if (capture->outcome != GD_ADMISSION_OPEN)
		gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_AGAIN;
	if (capture->again > 0)
		gd_admission_record_put(&record, lines);
}

static void put_rule(const struct gd_admission *admission, size_t i, struct gd_buf *lines)
{
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_COUNT,
		                              .n = admission->rules[i].failures,
		                              .count = admission->counts[i] };
	gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_FAILURES;
	if (record.n > 0)
		gd_admission_record_put(&record, lines);
	record.kind = GD_ADMISSION_IS_DISABLED;
	if (record.count.disabled)
		gd_admission_record_put(&record, lines);
}

static void put_boot(const struct gd_admission *admission, struct gd_buf *lines)
{
	struct gd_admission_record record = { .kind = GD_ADMISSION_IS_BOOT,
		                              .boottime_ns = admission->now_ns,
		                              .realtime_ns = admission->realtime_ns };
	(void)snprintf(record.boot, sizeof(record.boot), "%s", admission->boot);
	gd_admission_record_put(&record, lines);
}

static void put_everything(struct gd_admission *admission, struct gd_buf *lines)
{
	const struct gd_admission_record version = { .kind = GD_ADMISSION_IS_VERSION,
		                                     .n = GD_ADMISSION_VERSION };
	if (admission->policy != NULL)
		gd_admission_history_trim(&admission->history, admission->now_ns,
		                          keep_ns(admission->policy));
	gd_admission_record_put(&version, lines);
	put_boot(admission, lines);
	for (size_t i = 0; i < admission->history.n; i++)
		put_capture(admission, &admission->history.list[i], lines);
	for (size_t i = 0; i < admission->n_rules; i++)
		put_rule(admission, i, lines);
}

static void all_clean(struct gd_admission *admission)
{
	for (size_t i = 0; i < admission->history.n; i++)
		admission->history.list[i].dirty = false;
	for (size_t i = 0; i < admission->n_rules; i++)
		admission->rules[i].dirty = false;
	admission->dirty = false;
}

static int rewrite(struct gd_admission *admission, const struct gd_buf *more, struct gd_error *err)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(LINES_MAX);
	put_everything(admission, &lines);
	gd_buf_append(&lines, more->data, more->len);
	int r = gd_journal_replace(&admission->journal, &lines, err);
	if (r < 0)
		return r;
	uint64_t twice = 2 * admission->journal.bytes;
	admission->compact_bytes = twice > COMPACT_MIN ? twice : COMPACT_MIN;
	admission->stale = false;
	all_clean(admission);
	return 0;
}

int gd_admission_state_write(struct gd_admission *admission, const struct gd_buf *lines, bool sync,
                             struct gd_error *err)
{
	int r = gd_buf_check(lines, NAME, err);
	if (r < 0 || admission->journal.fd < 0)
		return r;
	if (admission->stale || admission->journal.broken)
		return rewrite(admission, lines, err);
	/* Compaction may wait for a disk with more room; appending may still do. */
	uint64_t bytes = admission->journal.bytes;
	if (bytes + lines->len > admission->compact_bytes) {
		if (rewrite(admission, lines, NULL) == 0)
			return 0;
		admission->compact_bytes = bytes + COMPACT_MIN;
	}
	return gd_journal_append(&admission->journal, lines, sync, err);
}

void gd_admission_state_flush(struct gd_admission *admission)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(LINES_MAX);
	put_boot(admission, &lines);
	for (size_t i = 0; i < admission->n_rules; i++) {
		struct gd_admission_record record = { .kind = GD_ADMISSION_IS_COUNT,
			                              .count = admission->counts[i] };
		if (admission->rules[i].dirty)
			gd_admission_record_put(&record, &lines);
	}
	for (size_t i = 0; i < admission->history.n; i++) {
		struct gd_admission_record record = { .kind = GD_ADMISSION_IS_AGAIN,
			                              .capture = admission->history.list[i] };
		if (record.capture.dirty)
			gd_admission_record_put(&record, &lines);
	}
	admission->flushed_ns = admission->now_ns;
	if (gd_admission_state_write(admission, &lines, false, NULL) == 0)
		all_clean(admission);
}

/* ---- opening ---- */

static bool lose_open_captures(struct gd_admission *admission)
{
	bool any = false;
	for (size_t i = 0; i < admission->history.n; i++) {
		if (admission->history.list[i].outcome != GD_ADMISSION_OPEN)
			continue;
		admission->history.list[i].outcome = GD_ADMISSION_LOST;
		any = true;
	}
	return any;
}

static int open_journal(struct gd_admission *admission, const char *dir,
                        struct gd_journal_found *found, struct gd_error *err)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return gd_fail_errno(err, -errno, "make the directory");
	admission->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (admission->dir_fd < 0)
		return gd_fail_errno(err, -errno, "open the directory");
	int r = gd_journal_open(admission->dir_fd, NAME, read_record, admission,
	                        &admission->journal, found, err);
	if (r == 0 && admission->failed < 0)
		r = gd_fail_errno(err, admission->failed, NAME);
	if (r == 0 && found->damaged > 0)
		r = gd_journal_keep(&admission->journal, admission->dir_fd, NAME ".bad", err);
	return r;
}

int gd_admission_state_open(struct gd_admission *admission, const char *dir, const char *boot,
                            const struct gd_clock *now, struct gd_journal_found *ret_found,
                            struct gd_error *err)
{
	struct gd_journal_found found = { 0 };
	admission->dir_fd = -1;
	admission->journal = GD_JOURNAL_INIT;
	int r = dir != NULL ? open_journal(admission, dir, &found, err) : 0;
	if (r < 0)
		return gd_error_wrap(err, r, "%s", dir);
	bool another = strcmp(boot, admission->boot) != 0 || boot[0] == '\0';
	enter_boot(admission, boot, within(now->boottime_ns, GD_ADMISSION_BOOTTIME_MAX),
	           within(now->realtime_ns, GD_ADMISSION_REALTIME_MAX));
	gd_admission_state_see(admission, now);
	admission->flushed_ns = admission->now_ns - GD_ADMISSION_FLUSH_NS;
	admission->compact_bytes = COMPACT_MIN;
	admission->stale = lose_open_captures(admission) || another || found.damaged > 0;
	*ret_found = found;
	return 0;
}

void gd_admission_state_deinit(struct gd_admission *admission)
{
	gd_journal_close(&admission->journal);
	if (admission->dir_fd >= 0)
		(void)close(admission->dir_fd);
	gd_admission_history_deinit(&admission->history);
	free(admission->counts);
	free(admission->rules);
}
