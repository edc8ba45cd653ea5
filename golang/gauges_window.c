/*
 * Per histogram: the cumulative counts at the start of the current slot, and what each slot before it
 * counted.  The window is all of these and what came since, so it is at least as long as its slots
 * and at most one longer.
 */
#include "golang/gauges_window.h"

#include <math.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define LATENCY_SLOT_NS (2 * SECOND_NS)
#define PAUSE_SLOT_NS (10 * SECOND_NS)
#define GROWTH_POINT_NS (2 * SECOND_NS)
#define GROWTH_LEAST_NS (10 * SECOND_NS)
#define CPU_POINT_NS (10 * SECOND_NS)
#define CPU_LEAST_NS (5 * SECOND_NS)

enum { SUB_BITS = 2, SHIFT = 6, LAST = GD_GAUGES_BUCKETS - 1 };

/* --- counts by our buckets --- */

/* Our bucket for what begins at ns. */
static size_t bucket_of(uint64_t ns)
{
	uint64_t v = ns >> SHIFT;
	if (v < 1u << SUB_BITS)
		return (size_t)v;
	unsigned power = 62 - (unsigned)__builtin_clzll(v);
	size_t bucket = (power << SUB_BITS) + ((v >> (power - 1)) & ((1u << SUB_BITS) - 1));
	return bucket < LAST ? bucket : LAST;
}

static void compact(const struct gd_histogram *h, uint32_t to[GD_GAUGES_BUCKETS])
{
	bool same = h->sub_bits == SUB_BITS && h->shift == SHIFT;
	memset(to, 0, GD_GAUGES_BUCKETS * sizeof(to[0]));
	for (size_t i = 0; i < h->n; i++) {
		size_t bucket = i < LAST ? i : LAST;
		if (h->counts[i] == 0)
			continue;
		if (!same)
			bucket = bucket_of(gd_histogram_bound(h, i));
		to[bucket] += (uint32_t)h->counts[i];
	}
	to[0] += (uint32_t)h->underflow;
	to[LAST] += (uint32_t)h->overflow;
}

static void pack(const uint32_t counts[GD_GAUGES_BUCKETS], struct gd_gauges_slot *to)
{
	uint32_t most = 0;
	to->shift = 0;
	for (size_t i = 0; i < GD_GAUGES_BUCKETS; i++)
		most = counts[i] > most ? counts[i] : most;
	while (most >> to->shift > UINT16_MAX)
		to->shift++;
	for (size_t i = 0; i < GD_GAUGES_BUCKETS; i++)
		to->counts[i] = (uint16_t)(counts[i] >> to->shift);
}

/* Forgets the slots that would have ended while the current one went on for too long. */
static void expire(struct gd_gauges_counts *c, struct gd_gauges_slot *slots, unsigned n_slots,
                   int64_t elapsed)
{
	for (int64_t i = 1; i < elapsed; i++) {
		memset(&slots[c->next], 0, sizeof(slots[0]));
		c->next = (uint8_t)((c->next + 1) % n_slots);
	}
}

/* Ends the current slot. */
static void rotate(struct gd_gauges_counts *c, struct gd_gauges_slot *slots, unsigned n_slots,
                   int64_t now_ns, const uint32_t now[GD_GAUGES_BUCKETS],
                   const uint32_t since[GD_GAUGES_BUCKETS])
{
	pack(since, &slots[c->next]);
	c->next = (uint8_t)((c->next + 1) % n_slots);
	c->start_ns = now_ns;
	memcpy(c->start, now, sizeof(c->start));
}

/* What the window held at the last reading it still holds, if no event came. */
static bool stands(const struct gd_gauges_counts *c, int64_t slot_ns, int64_t now_ns)
{
	return c->stands && now_ns >= c->start_ns && now_ns - c->start_ns < slot_ns;
}

/* `histogram` NULL: as in the reading before, and not wanted. */
static double p99(struct gd_gauges_counts *c, struct gd_gauges_slot *slots, unsigned n_slots,
                  int64_t slot_ns, int64_t now_ns, const struct gd_histogram *histogram)
{
	struct gd_histogram h = { .n = GD_GAUGES_BUCKETS, .sub_bits = SUB_BITS, .shift = SHIFT };
	uint32_t now[GD_GAUGES_BUCKETS];
	uint32_t since[GD_GAUGES_BUCKETS];

	uint64_t total = histogram != NULL ? histogram->total : c->total;
	if (histogram == NULL && !c->begun)
		return (double)NAN;
	if (stands(c, slot_ns, now_ns) && total == c->total)
		return c->last_s;
	/* Nothing since start_ns: the counts are as they were then. */
	if (histogram == NULL || (c->begun && total == c->start_total))
		memcpy(now, c->start, sizeof(now));
	else
		compact(histogram, now);
	if (!c->begun || now_ns - c->start_ns > n_slots * slot_ns || now_ns < c->start_ns) {
		memset(slots, 0, n_slots * sizeof(slots[0]));
		*c = (struct gd_gauges_counts){ .start_ns = now_ns, .begun = true, .stands = true,
			                        .last_s = (double)NAN,
			                        .total = total, .start_total = total };
		memcpy(c->start, now, sizeof(c->start));
		return (double)NAN;
	}
	int64_t elapsed = (now_ns - c->start_ns) / slot_ns;
	expire(c, slots, n_slots, elapsed);
	for (size_t i = 0; i < GD_GAUGES_BUCKETS; i++) {
		since[i] = now[i] - c->start[i];
		h.counts[i] = since[i];
	}
	for (unsigned s = 0; s < n_slots; s++)
		for (size_t i = 0; i < GD_GAUGES_BUCKETS; i++)
			h.counts[i] += (uint64_t)slots[s].counts[i] << slots[s].shift;
	for (size_t i = 0; i < GD_GAUGES_BUCKETS; i++)
		h.total += h.counts[i];
	if (elapsed > 0) {
		rotate(c, slots, n_slots, now_ns, now, since);
		c->start_total = total;
	}
	/* The oldest slot was in it for the last time. */
	c->stands = elapsed == 0;
	c->total = total;
	c->last_s = h.total > 0 ? (double)gd_histogram_quantile(&h, 0.99) / 1e9 : (double)NAN;
	return c->last_s;
}

/* --- growth: the slope of the line through the points, so that one spike is not a trend --- */

static double growth(struct gd_gauges_window *w, uint64_t goroutines, int64_t now_ns)
{
	double n = 1;
	double sum_t = 0, sum_y = 0, sum_tt = 0, sum_ty = 0;
	int64_t oldest = now_ns;
	int64_t newest = INT64_MIN;
	for (size_t i = 0; i < w->n_growth; i++) {
		int64_t at = w->growth[i].at_ns;
		newest = at > newest ? at : newest;
		if (at >= now_ns || now_ns - at > 62 * SECOND_NS)
			continue;
		/* Relative to now, whose point is the origin. */
		double t = (double)(at - now_ns) / 1e9;
		double y = (double)w->growth[i].goroutines - (double)goroutines;
		n++;
		sum_t += t;
		sum_y += y;
		sum_tt += t * t;
		sum_ty += t * y;
		oldest = at < oldest ? at : oldest;
	}
	if (w->n_growth == 0 || now_ns - newest >= GROWTH_POINT_NS || now_ns < newest) {
		w->growth[w->next_growth].at_ns = now_ns;
		w->growth[w->next_growth].goroutines = goroutines;
		w->next_growth = (uint8_t)((w->next_growth + 1) % GD_GAUGES_GROWTH_POINTS);
		w->n_growth = (uint8_t)(w->n_growth + (w->n_growth < GD_GAUGES_GROWTH_POINTS));
	}
	if (now_ns - oldest < GROWTH_LEAST_NS)
		return (double)NAN;
	return (n * sum_ty - sum_t * sum_y) / (n * sum_tt - sum_t * sum_t);
}

/* --- CPU of the collector --- */

static double gc_cpu(struct gd_gauges_window *w, const struct gd_gauges *gauges, int64_t now_ns)
{
	int64_t oldest = now_ns;
	int64_t newest = INT64_MIN;
	uint64_t before = 0;
	for (size_t i = 0; i < w->n_cpu; i++) {
		int64_t at = w->cpu[i].at_ns;
		newest = at > newest ? at : newest;
		if (at >= oldest || now_ns - at > 72 * SECOND_NS)
			continue;
		oldest = at;
		before = w->cpu[i].cpu_ns;
	}
	if (w->n_cpu == 0 || now_ns - newest >= CPU_POINT_NS || now_ns < newest) {
		w->cpu[w->next_cpu].at_ns = now_ns;
		w->cpu[w->next_cpu].cpu_ns = gauges->gc_cpu_ns;
		w->next_cpu = (uint8_t)((w->next_cpu + 1) % GD_GAUGES_CPU_POINTS);
		w->n_cpu = (uint8_t)(w->n_cpu + (w->n_cpu < GD_GAUGES_CPU_POINTS));
	}
	if (now_ns - oldest < CPU_LEAST_NS || gauges->gomaxprocs <= 0)
		return (double)NAN;
	/* A long collection is counted whole when it ends, so the part can come out above 1. */
	double used = gauges->gc_cpu_ns > before ? (double)(gauges->gc_cpu_ns - before) : 0;
	double part = used / ((double)(now_ns - oldest) * gauges->gomaxprocs);
	return part < 1 ? part : 1;
}

static bool wants(const struct gd_gauges_counts *c, int64_t slot_ns, int64_t now_ns)
{
	bool none = c->begun && c->total == c->start_total;
	return !none && !stands(c, slot_ns, now_ns);
}

unsigned gd_gauges_window_wants(const struct gd_gauges_window *w, int64_t now_ns)
{
	return (wants(&w->pauses, PAUSE_SLOT_NS, now_ns) ? GD_GAUGES_PAUSES : 0) |
	       (wants(&w->latency, LATENCY_SLOT_NS, now_ns) ? GD_GAUGES_LATENCY : 0);
}

static const struct gd_histogram *read_now(const struct gd_gauges *g, unsigned bit,
                                           const struct gd_histogram *histogram)
{
	return (g->same & bit) == 0 ? histogram : NULL;
}

void gd_gauges_window_add(struct gd_gauges_window *w, const struct gd_gauges *g, int64_t now_ns,
                          struct gd_gauges_values *ret)
{
	const double nan = (double)NAN;
	struct gd_gauges_values v = { nan, nan, nan, nan, nan, nan, nan, nan };
	if ((g->has & GD_GAUGES_GOROUTINES) != 0) {
		v.goroutines = (double)g->goroutines;
		v.goroutines_growth = growth(w, g->goroutines, now_ns);
	}
	if ((g->has & GD_GAUGES_HEAP) != 0) {
		v.heap_live = (double)g->heap_live;
		/* Without a goal (GOGC=off, no limit) the runtime says the largest number. */
		if (g->heap_goal > 0 && g->heap_goal < UINT64_C(1) << 62) {
			v.heap_goal = (double)g->heap_goal;
			v.heap_of_goal = v.heap_live / v.heap_goal;
		}
	}
	if ((g->has & GD_GAUGES_PAUSES) != 0)
		v.gc_pause_p99_s = p99(&w->pauses, w->pause_slots, GD_GAUGES_PAUSE_SLOTS,
		                       PAUSE_SLOT_NS, now_ns, read_now(g, GD_GAUGES_PAUSES, &g->pauses));
	if ((g->has & GD_GAUGES_LATENCY) != 0)
		v.sched_latency_p99_s = p99(&w->latency, w->latency_slots, GD_GAUGES_LATENCY_SLOTS,
		                            LATENCY_SLOT_NS, now_ns,
		                            read_now(g, GD_GAUGES_LATENCY, &g->latency));
	if ((g->has & GD_GAUGES_GC_CPU) != 0)
		v.gc_cpu = gc_cpu(w, g, now_ns);
	*ret = v;
}
