/*
 * runtime.json between two answers of the victim to "what are your MemStats and metrics": what does
 * not change is equal, what only grows lies between.
 */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/loopback.h"
#include "tests/truth.h"

enum { TEXT_MAX = 4 << 20 };

static json_t *parse(const char *text, size_t n)
{
	json_error_t error;
	json_t *j = json_loadb(text, n, 0, &error);
	if (j == NULL)
		fail_msg("no JSON at %d: %s", error.position, error.text);
	return j;
}

/* Some metrics are 2^64 - 1 where there is no limit, which jansson cannot hold. */
static json_t *ask(const struct truth *t)
{
	static const char none[] = "18446744073709551615";
	GD_BUF struct gd_buf body = GD_BUF_INIT(TEXT_MAX);
	loopback_get(t->port, "/memstats", &body);
	for (char *p = body.data; (p = strstr(p, none)) != NULL;)
		memcpy(p, "null                ", sizeof(none) - 1);
	return parse(body.data, body.len);
}

static json_t *collect(struct truth *t, const char *artifact)
{
	truth_collect(t, &gd_collector_runtime);
	const char *text = truth_text(t, artifact);
	const struct kept_artifact *kept = kept_find(&t->kept, artifact);
	if (kept->outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("go%s %s: %s", t->release, t->variant, kept->outcome.why.msg);
	return parse(text, kept->bytes.len);
}

/* The member at "a.b.c"; fails when there is none. */
static json_t *at(json_t *j, const char *path)
{
	char key[64];
	for (const char *p = path; *p != '\0' && j != NULL;) {
		size_t n = strcspn(p, ".");
		assert_true(n < sizeof(key));
		memcpy(key, p, n);
		key[n] = '\0';
		j = json_object_get(j, key);
		p += n + (p[n] == '.');
	}
	if (j == NULL)
		fail_msg("there is no %s", path);
	return j;
}

static json_int_t number(json_t *j, const char *path)
{
	return json_integer_value(at(j, path));
}

static void check_same(json_t *said, json_t *ours, const char *theirs, const char *path)
{
	if (number(said, theirs) != number(ours, path))
		fail_msg("%s is %lld, ours %lld", theirs, (long long)number(said, theirs),
		         (long long)number(ours, path));
}

static void check_gc(json_t *said, json_t *ours)
{
	json_int_t n = number(said, "MemStats.NumGC");
	json_t *pauses = at(ours, "gc.pauses");
	check_same(said, ours, "MemStats.NumGC", "gc.count");
	check_same(said, ours, "MemStats.NumForcedGC", "gc.forced");
	check_same(said, ours, "MemStats.LastGC", "gc.last_ns");
	check_same(said, ours, "MemStats.PauseTotalNs", "gc.pause_total_ns");
	/* It collects only when told to: what MemStats says then is no goal. */
	assert_true(number(said, "MemStats.NextGC") > (json_int_t)1 << 60);
	assert_true(json_is_null(at(ours, "gc.heap_goal")));
	assert_true(json_is_null(at(ours, "memstats.NextGC")));
	assert_true(fabs(json_real_value(at(ours, "gc.cpu_fraction")) -
	                 json_number_value(at(said, "MemStats.GCCPUFraction"))) < 1e-9);
	assert_int_equal(json_array_size(pauses), n < 256 ? n : 256);
	for (size_t i = 0; i < json_array_size(pauses); i++) {
		json_t *pause = json_array_get(pauses, i);
		size_t slot = (size_t)((n - (json_int_t)json_array_size(pauses) + (json_int_t)i) %
		                       256);
		assert_int_equal(number(pause, "pause_ns"),
		                 json_integer_value(json_array_get(at(said, "MemStats.PauseNs"),
		                                                   slot)));
		assert_int_equal(number(pause, "end_ns"),
		                 json_integer_value(json_array_get(at(said, "MemStats.PauseEnd"),
		                                                   slot)));
	}
	assert_string_equal(json_string_value(at(ours, "gc.phase")), "off");
	assert_false(json_is_true(at(ours, "gc.torn")));
}

/* Answering allocates, so what is counted from the start grows from one answer to the next. */
static void check_between(json_t *before, json_t *ours, json_t *after)
{
	static const char *const growing[] = { "TotalAlloc", "Mallocs", "Frees", "BuckHashSys" };
	char theirs[64];
	char path[64];
	for (size_t i = 0; i < sizeof(growing) / sizeof(growing[0]); i++) {
		(void)snprintf(theirs, sizeof(theirs), "MemStats.%s", growing[i]);
		(void)snprintf(path, sizeof(path), "memstats.%s", growing[i]);
		if (number(ours, path) < number(before, theirs) ||
		    number(ours, path) > number(after, theirs))
			fail_msg("%s: %lld, ours %lld, then %lld", growing[i],
			         (long long)number(before, theirs), (long long)number(ours, path),
			         (long long)number(after, theirs));
	}
}

/* The count of a metric's bucket that begins at from_ns. */
static json_int_t count_of(json_t *metric, json_int_t from_ns)
{
	json_t *bounds = at(metric, "buckets");
	for (size_t i = 0; i < json_array_size(bounds); i++) {
		json_t *bound = json_array_get(bounds, i);
		if (json_is_number(bound) && llround(json_number_value(bound) * 1e9) == from_ns)
			return json_integer_value(json_array_get(at(metric, "counts"), i));
	}
	return -1;
}

static json_t *metric_of(json_t *said, const char *name)
{
	return json_object_get(at(said, "Metrics"), name);
}

static void check_histogram(json_t *before, json_t *ours, json_t *after, const char *metric,
                            const char *path)
{
	json_t *a = metric_of(before, metric);
	json_t *b = metric_of(after, metric);
	json_int_t total = 0;
	size_t i;
	json_t *bucket;
	if (a == NULL)
		return;
	json_array_foreach(at(at(ours, path), "buckets"), i, bucket) {
		json_int_t from = number(bucket, "from_ns");
		json_int_t count = number(bucket, "count");
		if (count < count_of(a, from) || count > count_of(b, from))
			fail_msg("%s from %lld ns: %lld, ours %lld, then %lld", path,
			         (long long)from, (long long)count_of(a, from), (long long)count,
			         (long long)count_of(b, from));
		assert_true(number(bucket, "to_ns") > from);
		total += count;
	}
	assert_int_equal(total, number(at(ours, path), "count"));
	assert_true(total > 0);
	assert_true(number(at(ours, path), "p50_ns") <= number(at(ours, path), "p99_ns"));
	assert_true(number(at(ours, path), "p99_ns") <= number(at(ours, path), "max_ns"));
}

static void check_scheduler(struct truth *t, json_t *before, json_t *ours, json_t *after)
{
	check_same(before, ours, "GOMAXPROCS", "settings.gomaxprocs");
	assert_int_equal(json_array_size(at(ours, "scheduler.ps")),
	                 number(before, "GOMAXPROCS"));
	/* The goroutines that answer are there in the answer only. */
	json_int_t off = number(before, "NumGoroutine") - number(ours, "goroutines.count");
	if (off < -2 || off > 2)
		fail_msg("%lld goroutines, ours %lld", (long long)number(before, "NumGoroutine"),
		         (long long)number(ours, "goroutines.count"));
	check_histogram(before, ours, after, "/sched/latencies:seconds",
	                "histograms.scheduling_latency");
	if (t->go->version.minor < 22) {
		check_histogram(before, ours, after, "/gc/pauses:seconds", "histograms.gc_pauses");
	} else {
		check_histogram(before, ours, after, "/sched/pauses/total/gc:seconds",
		                "histograms.stw_total_gc");
		check_histogram(before, ours, after, "/sched/pauses/stopping/gc:seconds",
		                "histograms.stw_stopping_gc");
		check_histogram(before, ours, after, "/sched/pauses/total/other:seconds",
		                "histograms.stw_total_other");
	}
	json_t *wait = metric_of(before, "/sync/mutex/wait/total:seconds");
	if (wait != NULL) {
		json_int_t sum = number(ours, "scheduler.mutex_wait_ns") +
		                 number(ours, "scheduler.runtime_lock_wait_ns");
		json_t *later = metric_of(after, "/sync/mutex/wait/total:seconds");
		assert_in_range(sum, llround(json_number_value(wait) * 1e9),
		                llround(json_number_value(later) * 1e9));
	}
}

static void check_settings(struct truth *t, json_t *said, json_t *ours)
{
	assert_string_equal(json_string_value(at(ours, "version")), t->go->build.version);
	assert_string_equal(json_string_value(at(ours, "version")),
	                    json_string_value(at(said, "Version")));
	assert_int_equal(number(ours, "settings.gogc"), -1);
	assert_true(json_is_null(at(ours, "settings.gomemlimit")));
	check_same(said, ours, "MemProfileRate", "settings.mem_profile_rate");
	assert_int_equal(number(ours, "settings.block_profile_rate"), 0);
	assert_int_equal(number(ours, "settings.mutex_profile_fraction"), 0);
	assert_string_equal(json_string_value(at(ours, "build.path")),
	                    json_string_value(at(ours, "build.main.path")));
	assert_string_equal(json_string_value(at(ours, "build.settings.GOARCH")), "amd64");
}

static void runtime_equals_what_the_process_says(void **state)
{
	struct truth *t = truth_begin(state, NULL);
	json_t *before = ask(t);
	json_t *ours = collect(t, "runtime.json");
	json_t *after = ask(t);
	check_gc(before, ours);
	check_between(before, ours, after);
	check_settings(t, before, ours);
	check_scheduler(t, before, ours, after);
	json_decref(ours);
	ours = collect(t, "buildinfo.json");
	assert_true(json_is_array(at(ours, "build.dependencies")));
	assert_string_equal(json_string_value(at(ours, "version")), t->go->build.version);
	json_decref(before);
	json_decref(ours);
	json_decref(after);
}

int main(void)
{
	return truth_run(__FILE__, "states", runtime_equals_what_the_process_says);
}
