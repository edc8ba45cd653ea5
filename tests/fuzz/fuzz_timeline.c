/*
 * A foreign timeline.jsonl: what moved, drawn and written.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "report/timeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gd_timeline_moves moves;
	char text[GD_TIMELINE_TEXT];
	char spark[GD_TIMELINE_SPARK];
	if (gd_timeline_moves_find((const char *)data, size, (int64_t)size * 1000000000,
	                           "cpu 95 % above 90 %", &moves, NULL) < 0)
		return 0;
	if (moves.n > GD_TIMELINE_MOVES_MAX || moves.span_ns < 0)
		abort();
	for (size_t i = 0; i < moves.n; i++) {
		const struct gd_timeline_move *m = &moves.list[i];
		if (strlen(m->name) == 0 || strlen(m->name) >= GD_TIMELINE_NAME ||
		    m->unit > GD_TIMELINE_IN_PER_SECOND || (!m->moved && !m->named) || isinf(m->now))
			abort();
		if (strlen(gd_timeline_text(text, m->unit, m->now)) >= GD_TIMELINE_TEXT ||
		    strlen(gd_timeline_text(text, m->unit, m->before)) >= GD_TIMELINE_TEXT ||
		    strlen(gd_timeline_spark(spark, m)) >= GD_TIMELINE_SPARK)
			abort();
	}
	return 0;
}
