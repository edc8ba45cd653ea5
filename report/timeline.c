/*
 * Medians, because one slow second is neither a level nor a change.  A metric moved when the newest
 * samples differ from the earlier half by more than a fifth and lie outside of its range; what moved
 * most is measured in powers, so that 12 ms -> 840 ms counts for more than 1 -> 2 GiB.
 */
#include "report/timeline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "report/scan.h"

#define SECOND_NS INT64_C(1000000000)
#define TEXT_BYTES_MAX (8U << 20)
#define NEWEST_NS (15 * SECOND_NS)
#define MOVED_LEAST 0.18 /* a fifth, as a logarithm */
#define BEYOND 0.25      /* of the range it used to have */
#define LEFT 0.25        /* it has left `before` when it went a quarter of the way */

enum { METRICS_MAX = 64, ROWS_MAX = 1200, ROWS_LEAST = 10, NEWEST = 5 };

const char *const gd_timeline_units[5] = { "count", "ratio", "bytes", "seconds", "per_second" };

struct metric {
	char name[GD_TIMELINE_NAME];
	enum gd_timeline_unit unit;
};

struct rows {
	struct metric metrics[METRICS_MAX];
	size_t n_metrics;
	size_t n;
	int64_t at_ns[ROWS_MAX]; /* ascending */
	float values[ROWS_MAX][METRICS_MAX];
	int64_t captured_ns;
	double sorted[ROWS_MAX]; /* room to work in */
};

/* --- the file --- */

static bool is_name(const struct gd_scan_text *text)
{
	for (size_t i = 0; i < text->n; i++) {
		char c = text->at[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
			return false;
	}
	return text->n > 0 && text->n < GD_TIMELINE_NAME;
}

static size_t find(const struct rows *rows, const struct gd_scan_text *name)
{
	size_t i = 0;
	while (i < rows->n_metrics && !gd_scan_is(name, rows->metrics[i].name))
		i++;
	return i;
}

static void take_unit(struct rows *rows, const struct gd_scan_text *name,
                      const struct gd_scan_text *unit)
{
	if (rows->n_metrics == METRICS_MAX || !is_name(name) ||
	    find(rows, name) < rows->n_metrics)
		return;
	for (unsigned i = 0; i < sizeof(gd_timeline_units) / sizeof(gd_timeline_units[0]); i++) {
		if (!gd_scan_is(unit, gd_timeline_units[i]))
			continue;
		struct metric *m = &rows->metrics[rows->n_metrics++];
		memcpy(m->name, name->at, name->n);
		m->name[name->n] = '\0';
		m->unit = (enum gd_timeline_unit)i;
		return;
	}
}

static void take_units(struct rows *rows, struct gd_scan *scan)
{
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		struct gd_scan_text unit = gd_scan_string(scan);
		take_unit(rows, &key, &unit);
	}
}

/* Takes the value, whatever it is. */
static bool is_endless(struct gd_scan *scan)
{
	struct gd_scan_text text = gd_scan_string(scan);
	return gd_scan_is(&text, "inf");
}

/* One line: the head, or a sample. */
static void take_line(struct rows *rows, struct gd_scan *scan)
{
	struct gd_scan_text key;
	int64_t at_ns = -1;
	/* When there are too many the last ones stay: they are what it is about. */
	size_t row = rows->n < ROWS_MAX ? rows->n : ROWS_MAX - 1;
	for (size_t i = 0; i < METRICS_MAX; i++)
		rows->values[row][i] = NAN;
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		size_t metric = find(rows, &key);
		if (gd_scan_is(&key, "units"))
			take_units(rows, scan);
		else if (gd_scan_is(&key, "monotonic_ns"))
			at_ns = gd_scan_i64(scan);
		else if (metric < rows->n_metrics && gd_scan_peek(scan) == '0')
			rows->values[row][metric] = (float)fmax(-GD_TIMELINE_ENDLESS,
			                                        fmin(gd_scan_double(scan),
			                                             GD_TIMELINE_ENDLESS));
		else if (is_endless(scan) && metric < rows->n_metrics)
			rows->values[row][metric] = (float)GD_TIMELINE_ENDLESS;
	}
	if (at_ns < 0 || scan->bad || (row > 0 && at_ns <= rows->at_ns[row - 1]))
		return;
	rows->at_ns[row] = at_ns;
	rows->n = row + 1;
}

/* --- numbers --- */

static int by_value(const void *a, const void *b)
{
	double x;
	double y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

static double median(double *values, size_t n)
{
	if (n == 0)
		return (double)NAN;
	qsort(values, n, sizeof(values[0]), by_value);
	return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* What is nothing to speak of in this unit. */
static double little(enum gd_timeline_unit unit)
{
	static const double all[] = { 5, 0.02, 1 << 20, 0.0005, 5 };
	return all[unit];
}

/* Position on a scale where equal steps are equal factors, also for what is negative. */
static double power(enum gd_timeline_unit unit, double value)
{
	double p = log1p(fabs(value) / little(unit));
	return value < 0 ? -p : p;
}

/* What the earlier half was like. */
struct level {
	double middle;    /* NaN: not enough samples */
	double low, high; /* of all but a few */
};

static struct level look_back(struct rows *rows, size_t metric, int64_t until_ns)
{
	size_t n = 0;
	for (size_t i = 0; i < rows->n && rows->at_ns[i] <= until_ns; i++)
		if (!isnan(rows->values[i][metric]))
			rows->sorted[n++] = (double)rows->values[i][metric];
	if (n < 3)
		return (struct level){ (double)NAN, (double)NAN, (double)NAN };
	double middle = median(rows->sorted, n);
	return (struct level){ middle, rows->sorted[n / 20], rows->sorted[n - 1 - n / 20] };
}

/* Also when it rises all the time: then the newest are well beyond what was earlier. */
static bool has_left(const struct level *before, double now)
{
	double beyond = now > before->high ? now - before->high : before->low - now;
	return beyond > BEYOND * (before->high - before->low);
}

static double look_now(struct rows *rows, size_t metric)
{
	size_t n = 0;
	for (size_t i = rows->n; i-- > 0 && n < NEWEST;)
		if (rows->at_ns[i] >= rows->at_ns[rows->n - 1] - NEWEST_NS &&
		    !isnan(rows->values[i][metric]))
			rows->sorted[n++] = (double)rows->values[i][metric];
	return median(rows->sorted, n);
}

/* How long before the capture it left `before` and did not come back. */
static int64_t since(const struct rows *rows, size_t metric, double before, double now)
{
	int64_t at_ns = -1;
	for (size_t i = rows->n; i-- > 0;) {
		double value = (double)rows->values[i][metric];
		if (isnan(value))
			continue;
		if ((value - before) / (now - before) < LEFT)
			break;
		at_ns = rows->at_ns[i];
	}
	return at_ns >= 0 ? rows->captured_ns - at_ns : -1;
}

static void draw(const struct rows *rows, size_t metric, double points[GD_TIMELINE_POINTS])
{
	double from = (double)rows->at_ns[0];
	double span = (double)rows->captured_ns - from;
	for (size_t i = 0; i < GD_TIMELINE_POINTS; i++)
		points[i] = (double)NAN;
	for (size_t i = 0; i < rows->n; i++) {
		double value = (double)rows->values[i][metric];
		double at = span > 0 ? ((double)rows->at_ns[i] - from) / span : 0;
		size_t point = (size_t)(at * GD_TIMELINE_POINTS);
		if (point >= GD_TIMELINE_POINTS)
			point = GD_TIMELINE_POINTS - 1;
		if (!isnan(value) && !(points[point] >= value))
			points[point] = value;
	}
}

/* --- which to show --- */

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* Does the text speak of this metric, as a whole word? */
static bool speaks_of(const char *text, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = text; p != NULL && (p = strstr(p, name)) != NULL; p += n)
		if ((p == text || !is_word(p[-1])) && !is_word(p[n]))
			return true;
	return false;
}

/* "psi_cpu" of "psi_cpu_some": what belongs to one thing is shown once. */
static size_t stem(const char *name)
{
	const char *last = strrchr(name, '_');
	return last != NULL ? (size_t)(last - name) : strlen(name);
}

static bool related(const char *a, const char *b)
{
	size_t n = stem(a);
	size_t m = stem(b);
	return (n == m && strncmp(a, b, n) == 0) || (strlen(a) == m && strncmp(a, b, m) == 0) ||
	       (strlen(b) == n && strncmp(a, b, n) == 0);
}

/* A move of `weight` finds its place among those that are listed, or not. */
static void offer(struct gd_timeline_moves *moves, double weights[GD_TIMELINE_MOVES_MAX],
                  const struct gd_timeline_move *move, double weight)
{
	size_t at = 0;
	while (at < moves->n && weights[at] >= weight)
		at++;
	for (size_t i = 0; i < at && !move->named; i++)
		if (related(moves->list[i].name, move->name))
			return;
	if (at == GD_TIMELINE_MOVES_MAX)
		return;
	/* What is related and weighs less goes, else the last when there is no room. */
	size_t gone = at;
	while (gone < moves->n && (moves->list[gone].named ||
	                           !related(moves->list[gone].name, move->name)))
		gone++;
	if (gone == GD_TIMELINE_MOVES_MAX)
		gone--;
	else if (gone == moves->n)
		moves->n++;
	for (size_t i = gone; i > at; i--) {
		moves->list[i] = moves->list[i - 1];
		weights[i] = weights[i - 1];
	}
	moves->list[at] = *move;
	weights[at] = weight;
}

static void look_at(struct rows *rows, size_t metric, const char *reason,
                    struct gd_timeline_moves *moves, double weights[GD_TIMELINE_MOVES_MAX])
{
	const struct metric *m = &rows->metrics[metric];
	struct gd_timeline_move move = { .unit = m->unit, .since_ns = -1 };
	int64_t half_ns = rows->at_ns[0] + (rows->at_ns[rows->n - 1] - rows->at_ns[0]) / 2;
	memcpy(move.name, m->name, sizeof(move.name));
	move.named = speaks_of(reason, m->name);
	struct level before = look_back(rows, metric, half_ns);
	move.before = before.middle;
	move.now = look_now(rows, metric);
	double distance = fabs(power(m->unit, move.now) - power(m->unit, move.before));
	/* That memory will last longer than it would have is nothing to tell. */
	move.moved = distance >= MOVED_LEAST && has_left(&before, move.now) &&
	             (move.now < move.before || strcmp(move.name, "time_to_limit") != 0);
	if (!move.moved && !move.named)
		return;
	if (move.moved)
		move.since_ns = since(rows, metric, move.before, move.now);
	draw(rows, metric, move.points);
	offer(moves, weights, &move, move.named ? (double)INFINITY : distance);
}

int gd_timeline_moves_find(const char *text, size_t n, int64_t captured_ns, const char *reason,
                           struct gd_timeline_moves *ret, struct gd_error *err)
{
	GD_FREE struct rows *rows = calloc(1, sizeof(*rows));
	struct gd_timeline_moves moves = { 0 };
	double weights[GD_TIMELINE_MOVES_MAX] = { 0 };
	struct gd_scan scan = gd_scan_of(text, n);
	if (rows == NULL)
		return gd_fail_errno(err, -ENOMEM, "timeline");
	while (gd_scan_peek(&scan) == '{')
		take_line(rows, &scan);
	if (rows->n_metrics == 0)
		return gd_fail(err, -EBADMSG, "timeline: it names no metrics");
	if (rows->n < ROWS_LEAST)
		return gd_fail(err, -ENODATA, "timeline: %zu samples are too few to compare", rows->n);
	rows->captured_ns = rows->at_ns[rows->n - 1];
	/* A time that is not near its end is not of its clock. */
	if (captured_ns > rows->captured_ns && captured_ns - rows->captured_ns < 3600 * SECOND_NS)
		rows->captured_ns = captured_ns;
	moves.samples = rows->n;
	moves.span_ns = rows->captured_ns - rows->at_ns[0];
	for (size_t i = 0; i < rows->n_metrics; i++)
		look_at(rows, i, reason, &moves, weights);
	*ret = moves;
	return 0;
}

int gd_timeline_moves_read(const struct gd_reader *reader, struct gd_timeline_moves *ret,
                           struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_BYTES_MAX);
	const struct gd_snapshot *s = &reader->snapshot;
	if (gd_reader_artifact(reader, "timeline.jsonl") == NULL)
		return gd_fail(err, -ENOENT, "there is no timeline.jsonl");
	int r = gd_reader_load(reader, "timeline.jsonl", &text, err);
	if (r < 0)
		return r;
	return gd_timeline_moves_find(text.data, text.len, s->started.monotonic_ns, s->reason, ret,
	                              err);
}
