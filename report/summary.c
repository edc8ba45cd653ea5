#include "report/summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "report/warnings.h"

const char *gd_summary_number(char to[GD_SUMMARY_NUMBER], uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, value);
	char *p = to;
	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	*p = '\0';
	return to;
}

void gd_summary_place(char *to, size_t size, const struct gd_group_frame *frame)
{
	char file[160];
	const char *slash = strrchr(frame->file, '/');
	const char *base = slash != NULL ? slash + 1 : frame->file;
	gd_text_escape(file, sizeof(file), base, strlen(base));
	if (file[0] == '\0')
		(void)snprintf(to, size, "%s", "");
	else
		(void)snprintf(to, size, "%s:%" PRId64, file, frame->line);
}

void gd_summary_deinit(struct gd_summary *s)
{
	gd_groups_deinit(&s->groups);
	gd_sites_deinit(&s->heap);
	gd_cpu_deinit(&s->cpu);
}

int gd_summary_read(const struct gd_reader *reader, struct gd_summary *ret, struct gd_error *err)
{
	*ret = (struct gd_summary){ .reader = reader };
	const struct gd_snapshot *s = &reader->snapshot;
	for (size_t i = 0; i < s->n_artifacts; i++)
		ret->by_grade[s->artifacts[i].outcome.grade]++;
	gd_facts_read(reader, &ret->facts);
	int r = gd_groups_read(reader, &ret->groups, &ret->groups_error);
	if (r >= 0)
		r = gd_heap_read(reader, &ret->heap, &ret->heap_error);
	if (r != -ENOMEM)
		r = gd_cpu_read(reader, &ret->cpu, &ret->cpu_error);
	if (r != -ENOMEM)
		r = gd_timeline_moves_read(reader, &ret->moves, &ret->moves_error);
	/* Without memory there is no point in going on; all else is shown as missing. */
	if (r == -ENOMEM) {
		gd_summary_deinit(ret);
		return gd_fail_errno(err, r, "report");
	}
	gd_warnings_find(ret);
	return 0;
}
