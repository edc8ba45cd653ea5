#include "policies/admission_history.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gd_admission_history_deinit(struct gd_admission_history *history)
{
	free(history->list);
	*history = (struct gd_admission_history){ 0 };
}

static void forget(struct gd_admission_history *history, size_t from, size_t n)
{
	memmove(&history->list[from], &history->list[from + n],
	        (history->n - from - n) * sizeof(history->list[0]));
	history->n -= n;
}

int gd_admission_history_reserve(struct gd_admission_history *history, struct gd_error *err)
{
	if (history->n >= GD_ADMISSION_HISTORY_MAX) {
		size_t victim = 0;
		/* Captures by hand have no limit, so they must not push out those that have. */
		while (victim < history->n && history->list[victim].rule[0] != '\0')
			victim++;
		forget(history, victim < history->n ? victim : 0, 1);
	}
	if (history->n < history->room)
		return 0;
	size_t room = history->room == 0 ? 16 : history->room * 2;
	void *list = realloc(history->list, room * sizeof(history->list[0]));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu captures", room);
	history->list = list;
	history->room = room;
	return 0;
}

struct gd_admission_capture *gd_admission_history_add(struct gd_admission_history *history,
                                                      const struct gd_admission_capture *capture)
{
	assert(history->n < history->room);
	struct gd_admission_capture *added = &history->list[history->n++];
	*added = *capture;
	return added;
}

void gd_admission_history_trim(struct gd_admission_history *history, int64_t now_ns,
                               uint64_t keep_ns)
{
	size_t n = 0;
	while (n < history->n && now_ns - history->list[n].at_ns > (int64_t)keep_ns &&
	       history->list[n].outcome != GD_ADMISSION_OPEN)
		n++;
	if (n > 0)
		forget(history, 0, n);
}

void gd_admission_history_reboot(struct gd_admission_history *history, int64_t last_ns,
                                 int64_t now_ns, int64_t now_realtime_ns)
{
	int64_t age_before_ns = GD_ADMISSION_BOOTTIME_MAX;
	for (size_t i = 0; i < history->n; i++) {
		struct gd_admission_capture *capture = &history->list[i];
		int64_t age_ns = now_realtime_ns - capture->realtime_ns;
		if (age_ns < last_ns - capture->at_ns)
			age_ns = last_ns - capture->at_ns;
		if (age_ns < 0)
			age_ns = 0;
		if (age_ns > age_before_ns)
			age_ns = age_before_ns;
		age_before_ns = age_ns;
		capture->at_ns = now_ns - age_ns;
		if (capture->subject.pid > 0)
			capture->subject = (struct gd_subject_id){ .pid = -1 };
	}
}

struct gd_admission_capture *gd_admission_history_find(const struct gd_admission_history *history,
                                                       const char *id)
{
	for (size_t i = history->n; i-- > 0;)
		if (strcmp(history->list[i].id, id) == 0)
			return &history->list[i];
	return NULL;
}

static bool same(const char *wanted, const char *have)
{
	return wanted == NULL || strcmp(wanted, have) == 0;
}

static bool is_meant(const struct gd_admission_capture *capture,
                     const struct gd_admission_filter *filter)
{
	if (filter->subject.pid != 0 && (filter->subject.pid != capture->subject.pid ||
	                                 filter->subject.start_ticks != capture->subject.start_ticks))
		return false;
	if (filter->kept && (capture->outcome == GD_ADMISSION_FAILED ||
	                     capture->outcome == GD_ADMISSION_LOST))
		return false;
	if (filter->automatic && capture->rule[0] == '\0')
		return false;
	return same(filter->rule, capture->rule) && same(filter->service, capture->service) &&
	       same(filter->fingerprint, capture->fingerprint) &&
	       same(filter->starts_at, capture->starts_at);
}

struct gd_admission_capture *gd_admission_history_newest(const struct gd_admission_history *history,
                                                         const struct gd_admission_filter *filter,
                                                         int64_t now_ns, uint64_t within_ns)
{
	for (size_t i = history->n; i-- > 0;) {
		struct gd_admission_capture *capture = &history->list[i];
		if (now_ns - capture->at_ns >= (int64_t)within_ns)
			break; /* and so are all before it */
		if (is_meant(capture, filter))
			return capture;
	}
	return NULL;
}

static uint64_t amount_of(const struct gd_admission_capture *capture,
                          enum gd_admission_amount amount)
{
	switch (amount) {
	case GD_ADMISSION_CAPTURES:
		return 1;
	case GD_ADMISSION_BYTES:
		return capture->bytes;
	case GD_ADMISSION_PAUSE_NS:
		return capture->pause_ns;
	}
	return 0;
}

uint64_t gd_admission_history_used(const struct gd_admission_history *history,
                                   const struct gd_admission_filter *filter,
                                   enum gd_admission_amount amount, const struct gd_rate *rate,
                                   int64_t now_ns, int64_t *ret_wait_ns)
{
	uint64_t used = 0;
	*ret_wait_ns = 0;
	/* From the newest back: where the sum reaches the rate stands the one that has to leave. */
	for (size_t i = history->n; i-- > 0;) {
		const struct gd_admission_capture *capture = &history->list[i];
		int64_t age_ns = now_ns - capture->at_ns;
		if (age_ns >= (int64_t)rate->window_ns)
			break;
		if (!is_meant(capture, filter))
			continue;
		if (__builtin_add_overflow(used, amount_of(capture, amount), &used))
			used = UINT64_MAX;
		if (used >= rate->n && *ret_wait_ns == 0)
			*ret_wait_ns = (int64_t)rate->window_ns - age_ns;
	}
	return used;
}
