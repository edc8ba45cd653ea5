#include "report/timeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "report/summary.h"

const char *gd_timeline_text(char to[GD_TIMELINE_TEXT], enum gd_timeline_unit unit, double value)
{
	char text[GD_SUMMARY_NUMBER > GD_UNITS_TEXT ? GD_SUMMARY_NUMBER : GD_UNITS_TEXT];
	double size = fabs(value);
	const char *sign = value < 0 ? "-" : "";
	if (isnan(value) || size > 9e18) {
		(void)snprintf(to, GD_TIMELINE_TEXT, "%s", isnan(value) ? "-" : "endless");
		return to;
	}
	switch (unit) {
	case GD_TIMELINE_IN_RATIO:
		(void)snprintf(to, GD_TIMELINE_TEXT, size >= 10 ? "%.0f %%" : "%.3g %%",
		               value * 100);
		break;
	case GD_TIMELINE_IN_BYTES:
		(void)snprintf(to, GD_TIMELINE_TEXT, "%s%s", sign,
		               gd_units_bytes(text, (uint64_t)size));
		break;
	case GD_TIMELINE_IN_SECONDS:
		if (size > 9e9)
			(void)snprintf(to, GD_TIMELINE_TEXT, "endless");
		else
			(void)snprintf(to, GD_TIMELINE_TEXT, "%s%s", sign,
			               gd_units_duration(text, (uint64_t)(size * 1e9 + 0.5)));
		break;
	case GD_TIMELINE_IN_COUNT:
		(void)snprintf(to, GD_TIMELINE_TEXT, "%s%s", sign,
		               gd_summary_number(text, (uint64_t)(size + 0.5)));
		break;
	case GD_TIMELINE_IN_PER_SECOND:
		if (size < 100)
			(void)snprintf(to, GD_TIMELINE_TEXT, "%.3g/s", value);
		else
			(void)snprintf(to, GD_TIMELINE_TEXT, "%s%s/s", sign,
			               gd_summary_number(text, (uint64_t)(size + 0.5)));
		break;
	}
	return to;
}

const char *gd_timeline_spark(char to[GD_TIMELINE_SPARK], const struct gd_timeline_move *move)
{
	static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	double low = (double)INFINITY;
	double high = -(double)INFINITY;
	to[0] = '\0';
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++) {
		low = fmin(low, move->points[i]);
		high = fmax(high, move->points[i]);
	}
	/* What hardly varies is a line at the bottom, not noise blown up. */
	double span = high - low;
	if (!(span > fabs(high) / 10))
		span = high > 0 ? high : 1;
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++) {
		double part = (move->points[i] - low) / span;
		size_t bar = part >= 1 ? 7 : part > 0 ? (size_t)(part * 8) : 0;
		(void)strcat(to, isnan(move->points[i]) ? " " : bars[bar]);
	}
	return to;
}
