#include "base/sink.h"

#include <stdarg.h>
#include <stdio.h>

const char *gd_grade_name(enum gd_grade grade)
{
	static const char *const names[] = {
		[GD_GRADE_COMPLETE] = "complete",
		[GD_GRADE_PARTIAL] = "partial",
		[GD_GRADE_SKIPPED] = "skipped",
		[GD_GRADE_FAILED] = "failed",
	};
	return names[grade];
}

struct gd_outcome gd_outcome(enum gd_grade grade, int code, const char *fmt, ...)
{
	struct gd_outcome outcome = { .grade = grade, .why.code = code };
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(outcome.why.msg, sizeof(outcome.why.msg), fmt, args);
	va_end(args);
	return outcome;
}

struct gd_outcome gd_outcome_of(enum gd_grade grade, const struct gd_error *why)
{
	return (struct gd_outcome){ .grade = grade, .why = *why };
}

struct gd_outcome gd_outcome_worse(struct gd_outcome a, struct gd_outcome b)
{
	return b.grade > a.grade ? b : a;
}

int gd_sink_put(struct gd_sink *sink, const struct gd_artifact *artifact, const void *bytes,
                size_t n, const struct gd_outcome *outcome, struct gd_error *err)
{
	struct gd_stream *stream;
	if (sink->put != NULL && !artifact->compress)
		return sink->put(sink, artifact, bytes, n, outcome, err);
	int r = sink->open(sink, artifact, &stream, err);
	if (r < 0)
		return r;
	r = stream->write(stream, bytes, n, err);
	if (r < 0) {
		struct gd_outcome failed = gd_outcome(GD_GRADE_FAILED, r, "could not be written");
		(void)stream->close(stream, &failed, NULL);
		return r;
	}
	return stream->close(stream, outcome, err);
}
