/*
 * admission.journal as somebody else may have left it: every record is read, what was understood is
 * written again and must read back as the same, and a history of it never breaks its own order.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policies/admission_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The record of the one line in `lines`: behind its length and checksum. */
static char *record_in(struct gd_buf *lines)
{
	char *text = strdup(gd_buf_str(lines) + 14);
	if (text == NULL || lines->failed != 0)
		abort();
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void write_and_read_again(const struct gd_admission_record *record)
{
	GD_BUF struct gd_buf once = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf twice = GD_BUF_INIT(1 << 20);
	struct gd_admission_record again;
	gd_admission_record_put(record, &once);
	char *text = record_in(&once);
	if (gd_admission_record_parse(text, &again, NULL) < 0)
		abort();
	free(text);
	gd_admission_record_put(&again, &twice);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
}

static void remember(struct gd_admission_history *history, const struct gd_admission_record *record)
{
	if (gd_admission_history_reserve(history, NULL) < 0)
		abort();
	int64_t before_ns = history->n > 0 ? history->list[history->n - 1].at_ns : INT64_MIN;
	struct gd_admission_capture *added = gd_admission_history_add(history, &record->capture);
	if (added->at_ns < before_ns)
		added->at_ns = before_ns;
}

static void check(const struct gd_admission_history *history)
{
	const struct gd_rate rate = { .n = 3, .window_ns = UINT64_C(86400) * 1000000000 };
	const struct gd_admission_filter all = { 0 };
	int64_t wait_ns;
	for (size_t i = 1; i < history->n; i++)
		if (history->list[i].at_ns < history->list[i - 1].at_ns)
			abort();
	int64_t now_ns = history->n > 0 ? history->list[history->n - 1].at_ns : 0;
	uint64_t used = gd_admission_history_used(history, &all, GD_ADMISSION_BYTES, &rate,
	                                          now_ns > 0 ? now_ns : 0, &wait_ns);
	if (wait_ns < 0 || wait_ns > (int64_t)rate.window_ns || (used >= rate.n) != (wait_ns > 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_admission_history history = { 0 };
	int64_t last_ns = 0;
	char *text = malloc(size + 1);
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	char *rest = text;
	char *line;
	while ((line = strsep(&rest, "\n")) != NULL) {
		struct gd_admission_record record;
		if (gd_admission_record_parse(line, &record, NULL) < 0)
			continue;
		write_and_read_again(&record);
		if (record.kind == GD_ADMISSION_IS_ADMITTED)
			remember(&history, &record);
		if (record.kind != GD_ADMISSION_IS_BOOT)
			continue;
		gd_admission_history_reboot(&history, last_ns, record.boottime_ns,
		                            record.realtime_ns);
		last_ns = record.boottime_ns;
		check(&history);
	}
	check(&history);
	gd_admission_history_deinit(&history);
	free(text);
	return 0;
}
