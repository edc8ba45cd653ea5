#include "report/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/facts_runtime.h"
#include "report/scan.h"
#include "report/instant.h"

#define FILE_BYTES_MAX (4U << 20)

/* The artifact's text, NUL-terminated; false when there is none. */
static bool load(const struct gd_reader *reader, const char *name, struct gd_buf *text)
{
	gd_buf_reset(text);
	if (gd_reader_artifact(reader, name) == NULL ||
	    gd_reader_load(reader, name, text, NULL) < 0)
		return false;
	(void)gd_buf_str(text);
	return text->failed == 0;
}

static int64_t number(const char *s)
{
	uint64_t value;
	while (*s == ' ' || *s == '\t')
		s++;
	if (!gd_text_u64(s, NULL, 10, &value))
		return GD_FACT_UNKNOWN; /* "max" and "unlimited" among them */
	return value <= INT64_MAX ? (int64_t)value : GD_FACT_UNKNOWN;
}

/* What follows `key` at the start of a line. */
static const char *after(const char *text, const char *key)
{
	size_t n = strlen(key);
	for (const char *line = text; line != NULL;) {
		if (strncmp(line, key, n) == 0)
			return line + n;
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
	return NULL;
}

static int64_t number_after(const char *text, const char *key)
{
	const char *at = after(text, key);
	return at != NULL ? number(at) : GD_FACT_UNKNOWN;
}

static int64_t times(int64_t value, int64_t factor)
{
	int64_t product;
	if (value == GD_FACT_UNKNOWN || __builtin_mul_overflow(value, factor, &product))
		return GD_FACT_UNKNOWN;
	return product;
}

/* The first of two files that exists, as one number. */
static int64_t load_number(const struct gd_reader *reader, const char *v2, const char *v1,
                           struct gd_buf *text)
{
	if (load(reader, v2, text) || (v1 != NULL && load(reader, v1, text)))
		return number(text->data);
	return GD_FACT_UNKNOWN;
}

/* --- the process --------------------------------------------------------------------------- */

static int count_lines(void *arg, const void *bytes, size_t n)
{
	int64_t *lines = arg;
	const char *p = bytes;
	const char *end = p + n;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		++*lines;
		p++;
	}
	return 0;
}

static void read_process(const struct gd_reader *reader, struct gd_buf *text, struct gd_facts *f)
{
	if (load(reader, "proc/status", text)) {
		f->rss = times(number_after(text->data, "VmRSS:"), 1024);
		f->swap = times(number_after(text->data, "VmSwap:"), 1024);
		f->threads = number_after(text->data, "Threads:");
	}
	if (load(reader, "proc/limits", text))
		f->fd_limit = number_after(text->data, "Max open files");
	const struct gd_artifact_row *fds = gd_reader_artifact(reader, "proc/fds.jsonl");
	int64_t lines = 0;
	if (fds != NULL && gd_reader_content(reader, fds, count_lines, &lines, NULL) == 0)
		f->fds = lines;
}

/* --- pressure ------------------------------------------------------------------------------ */

static double average(const char *text, const char *kind)
{
	const char *line = after(text, kind);
	return line != NULL ? strtod(line, NULL) : -1;
}

static void read_pressure(const struct gd_reader *reader, const char *name, struct gd_buf *text,
                          struct gd_pressure *ret)
{
	if (!load(reader, name, text))
		return;
	ret->some = average(text->data, "some avg10=");
	ret->full = average(text->data, "full avg10=");
}

/* --- control group ------------------------------------------------------------------------- */

/* Version 1 says "no limit" with a number near 2^63. */
static int64_t limit_of(int64_t value)
{
	return value > 0 && value < INT64_C(1) << 60 ? value : GD_FACT_UNKNOWN;
}

static double fullness(int64_t used, int64_t limit)
{
	return used >= 0 && limit > 0 ? (double)used / (double)limit : -1;
}

struct ancestor {
	int64_t up, used, limit, pids, pids_limit;
};

static int64_t number_of(const struct gd_scan_text *text)
{
	char copy[24];
	size_t n = text->n < sizeof(copy) ? text->n : sizeof(copy) - 1;
	memcpy(copy, text->at, n);
	copy[n] = '\0';
	return number(copy);
}

static struct ancestor read_ancestor(struct gd_scan *scan)
{
	struct ancestor a = { .up = -1, .used = GD_FACT_UNKNOWN, .limit = GD_FACT_UNKNOWN,
		              .pids = GD_FACT_UNKNOWN, .pids_limit = GD_FACT_UNKNOWN };
	struct gd_scan_text key;
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		struct gd_scan_text value = { "", 0 };
		if (gd_scan_is(&key, "up"))
			a.up = gd_scan_i64(scan);
		else
			value = gd_scan_string(scan);
		if (gd_scan_is(&key, "memory.max") || gd_scan_is(&key, "memory.limit_in_bytes"))
			a.limit = limit_of(number_of(&value));
		else if (gd_scan_is(&key, "memory.current") ||
		         gd_scan_is(&key, "memory.usage_in_bytes"))
			a.used = number_of(&value);
		else if (gd_scan_is(&key, "pids.max"))
			a.pids_limit = limit_of(number_of(&value));
		else if (gd_scan_is(&key, "pids.current"))
			a.pids = number_of(&value);
	}
	return a;
}

static void read_ancestors(const struct gd_reader *reader, struct gd_buf *text,
                           struct gd_facts *f)
{
	if (!load(reader, "cgroup/ancestors.jsonl", text))
		return;
	struct gd_scan scan = gd_scan_of(text->data, text->len);
	while (gd_scan_peek(&scan) == '{') {
		struct ancestor a = read_ancestor(&scan);
		if (a.up > 0 && fullness(a.used, a.limit) >
		                        fullness(f->ancestor_used, f->ancestor_limit)) {
			f->ancestor_used = a.used;
			f->ancestor_limit = a.limit;
		}
		if (fullness(a.pids, a.pids_limit) > fullness(f->pids_used, f->pids_limit)) {
			f->pids_used = a.pids;
			f->pids_limit = a.pids_limit;
		}
	}
}

static void read_group(const struct gd_reader *reader, struct gd_buf *text, struct gd_facts *f)
{
	f->memory_used = load_number(reader, "cgroup/memory.current",
	                             "cgroup/v1/memory.usage_in_bytes", text);
	f->memory_limit = limit_of(load_number(reader, "cgroup/memory.max",
	                                       "cgroup/v1/memory.limit_in_bytes", text));
	if (load(reader, "cgroup/memory.stat", text) ||
	    load(reader, "cgroup/v1/memory.stat", text)) {
		/* Page cache that was not used lately goes before anybody is killed. */
		int64_t cache = number_after(text->data, "inactive_file ");
		if (cache >= 0 && cache <= f->memory_used)
			f->memory_used -= cache;
	}
	if (load(reader, "cgroup/memory.events", text)) {
		f->oom_kills = number_after(text->data, "oom_kill ");
		f->oom_in_group = number_after(text->data, "oom ");
	} else if (load(reader, "cgroup/v1/memory.oom_control", text)) {
		f->oom_kills = number_after(text->data, "oom_kill ");
	}
	if (load(reader, "cgroup/cpu.stat", text) || load(reader, "cgroup/v1/cpu.stat", text)) {
		f->periods = number_after(text->data, "nr_periods ");
		f->throttled_periods = number_after(text->data, "nr_throttled ");
		f->throttled_ns = times(number_after(text->data, "throttled_usec "), 1000);
		if (f->throttled_ns == GD_FACT_UNKNOWN)
			f->throttled_ns = number_after(text->data, "throttled_time ");
	}
	read_ancestors(reader, text, f);
	read_pressure(reader, "cgroup/cpu.pressure", text, &f->group_cpu);
	read_pressure(reader, "cgroup/memory.pressure", text, &f->group_memory);
	read_pressure(reader, "cgroup/io.pressure", text, &f->group_io);
}

/* --- the host ------------------------------------------------------------------------------ */

static void read_host(const struct gd_reader *reader, struct gd_buf *text, struct gd_facts *f)
{
	if (load(reader, "host/loadavg", text))
		f->load1 = strtod(text->data, NULL);
	if (load(reader, "host/meminfo", text)) {
		f->memory_total = times(number_after(text->data, "MemTotal:"), 1024);
		f->memory_available = times(number_after(text->data, "MemAvailable:"), 1024);
	}
	read_pressure(reader, "host/pressure/cpu", text, &f->host_cpu);
	read_pressure(reader, "host/pressure/memory", text, &f->host_memory);
	read_pressure(reader, "host/pressure/io", text, &f->host_io);
}

static void forget(struct gd_facts *f)
{
	static const struct gd_pressure unknown = { -1, -1 };
	*f = (struct gd_facts){ 0 };
	int64_t *numbers[] = {
		&f->gogc, &f->gomemlimit, &f->gomaxprocs, &f->gc_count, &f->gc_last_ns,
		&f->pause_p50_ns, &f->pause_p99_ns, &f->pause_max_ns, &f->heap_live, &f->heap_goal,
		&f->heap_objects, &f->heap_idle, &f->heap_released, &f->stack_inuse, &f->sys,
		&f->runq, &f->latency_p99_ns, &f->rss, &f->swap, &f->threads, &f->fds,
		&f->fd_limit, &f->memory_used, &f->memory_limit, &f->ancestor_used,
		&f->ancestor_limit, &f->pids_used, &f->pids_limit, &f->throttled_periods,
		&f->periods, &f->throttled_ns, &f->oom_kills, &f->oom_in_group, 
		&f->memory_available, &f->memory_total,
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		*numbers[i] = GD_FACT_UNKNOWN;
	f->gc_cpu_fraction = f->load1 = -1;
	f->host_cpu = f->host_memory = f->host_io = unknown;
	f->group_cpu = f->group_memory = f->group_io = unknown;
}

void gd_facts_read(const struct gd_reader *reader, struct gd_facts *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(FILE_BYTES_MAX);
	forget(ret);
	read_process(reader, &text, ret);
	read_group(reader, &text, ret);
	read_host(reader, &text, ret);
	char name[208];
	if (load(reader, gd_instant_name(reader, "runtime.json", name), &text))
		gd_facts_runtime(text.data, text.len, ret);
}
