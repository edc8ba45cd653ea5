#include "report/facts_runtime.h"

#include "report/scan.h"

/* Numbers of one object by their keys; what is null stays unknown. */
struct wanted {
	const char *key;
	int64_t *to;
};

static void take(struct gd_scan *scan, const struct gd_scan_text *key,
                 const struct wanted *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (gd_scan_is(key, wanted[i].key) && gd_scan_peek(scan) == '0') {
			*wanted[i].to = gd_scan_i64(scan);
			return;
		}
	}
	gd_scan_skip(scan);
}

static void take_object(struct gd_scan *scan, const struct wanted *wanted, size_t n)
{
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key))
		take(scan, &key, wanted, n);
}

#define TAKE_OBJECT(scan, wanted) take_object(scan, wanted, sizeof(wanted) / sizeof((wanted)[0]))

static void take_gc(struct gd_scan *scan, struct gd_facts *f)
{
	const struct wanted wanted[] = {
		{ "count", &f->gc_count },           { "last_ns", &f->gc_last_ns },
		{ "heap_live", &f->heap_live },      { "heap_goal", &f->heap_goal },
		{ "pause_p50_ns", &f->pause_p50_ns }, { "pause_p99_ns", &f->pause_p99_ns },
		{ "pause_max_ns", &f->pause_max_ns },
	};
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "cpu_fraction") && gd_scan_peek(scan) == '0')
			f->gc_cpu_fraction = gd_scan_double(scan);
		else
			take(scan, &key, wanted, sizeof(wanted) / sizeof(wanted[0]));
	}
}

static void take_scheduler(struct gd_scan *scan, struct gd_facts *f)
{
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "runq"))
			f->runq = gd_scan_i64(scan);
		else if (gd_scan_is(&key, "stopping_the_world"))
			f->stopping_the_world = gd_scan_bool(scan);
		else
			gd_scan_skip(scan);
	}
}

static void take_histograms(struct gd_scan *scan, struct gd_facts *f)
{
	const struct wanted wanted[] = { { "p99_ns", &f->latency_p99_ns } };
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "scheduling_latency"))
			TAKE_OBJECT(scan, wanted);
		else
			gd_scan_skip(scan);
	}
}

void gd_facts_runtime(const char *json, size_t n, struct gd_facts *f)
{
	const struct wanted settings[] = {
		{ "gogc", &f->gogc }, { "gomemlimit", &f->gomemlimit },
		{ "gomaxprocs", &f->gomaxprocs },
	};
	const struct wanted memstats[] = {
		{ "HeapObjects", &f->heap_objects }, { "HeapIdle", &f->heap_idle },
		{ "HeapReleased", &f->heap_released }, { "StackInuse", &f->stack_inuse },
		{ "Sys", &f->sys },
	};
	struct gd_scan scan = gd_scan_of(json, n);
	struct gd_scan_text key;
	(void)gd_scan_object(&scan);
	while (gd_scan_key(&scan, &key)) {
		if (gd_scan_is(&key, "settings"))
			TAKE_OBJECT(&scan, settings);
		else if (gd_scan_is(&key, "gc"))
			take_gc(&scan, f);
		else if (gd_scan_is(&key, "memstats"))
			TAKE_OBJECT(&scan, memstats);
		else if (gd_scan_is(&key, "scheduler"))
			take_scheduler(&scan, f);
		else if (gd_scan_is(&key, "histograms"))
			take_histograms(&scan, f);
		else
			gd_scan_skip(&scan);
	}
	f->has_runtime = !scan.bad;
}
