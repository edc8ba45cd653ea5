/*
 * snapshot.json from an archive that somebody else may have written.  Unknown keys are ignored and
 * wrong types count as missing; the file is refused only when it is no JSON object, of another
 * format, or beyond a ceiling.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "archive/layout.h"
#include "archive/snapshot.h"

static void release(json_t **json)
{
	json_decref(*json);
}
#define GD_JSON_VALUE __attribute__((cleanup(release)))

/* What could not be allocated is noticed once, at the end. */
struct parse {
	const json_t *from;
	bool no_memory;
};

static const char *peek(const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));
	return text != NULL ? text : "";
}

static char *text(struct parse *p, const char *key)
{
	char *copy = strdup(peek(p->from, key));
	if (copy == NULL)
		p->no_memory = true;
	return copy;
}

static int64_t i64(const json_t *from, const char *key)
{
	return json_integer_value(json_object_get(from, key));
}

static uint64_t u64(const json_t *from, const char *key)
{
	int64_t value = i64(from, key);
	return value > 0 ? (uint64_t)value : 0;
}

static void fixed(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);
	if (n >= size)
		n = size - 1;
	while (n > 0 && (from[n] & 0xc0) == 0x80) /* not through the middle of a character */
		n--;
	memcpy(to, from, n);
	to[n] = '\0';
}

static struct gd_outcome outcome(const json_t *from)
{
	struct gd_outcome o = { .grade = GD_GRADE_FAILED };
	const char *grade = peek(from, "grade");
	for (int g = GD_GRADE_COMPLETE; g <= GD_GRADE_FAILED; g++)
		if (strcmp(grade, gd_grade_name((enum gd_grade)g)) == 0)
			o.grade = (enum gd_grade)g;
	int64_t code = i64(from, "code");
	o.why.code = code < 0 && code > -4096 ? (int)code : 0;
	fixed(o.why.msg, sizeof(o.why.msg), peek(from, "why"));
	return o;
}

static struct gd_clock take_clock(const json_t *from)
{
	return (struct gd_clock){ .monotonic_ns = i64(from, "monotonic_ns"),
		                  .realtime_ns = i64(from, "realtime_ns"),
		                  .boottime_ns = i64(from, "boottime_ns") };
}

static void take_target(struct parse *p, struct gd_snapshot *s)
{
	s->pid = (int32_t)i64(p->from, "pid");
	s->pid_in_container = (int32_t)i64(p->from, "pid_in_container");
	s->start_ticks = u64(p->from, "start_ticks");
	s->start_realtime_ns = i64(p->from, "start_realtime_ns");
	s->comm = text(p, "comm");
	s->exe = text(p, "exe");
	s->exe_deleted = json_is_true(json_object_get(p->from, "exe_deleted"));
	s->cmdline = text(p, "cmdline");
	s->build_id = text(p, "build_id");
	s->go_version = text(p, "go_version");
	s->go_note = text(p, "go_note");
	s->container_id = text(p, "container_id");
	s->pod_uid = text(p, "pod_uid");
	s->cgroup = text(p, "cgroup");
}

static int take_labels(struct parse *p, json_t *labels, struct gd_snapshot *s,
                       struct gd_error *err)
{
	size_t n = json_object_size(labels);
	if (n > 4096)
		return gd_fail(err, -E2BIG, "snapshot.json: %zu labels", n);
	s->labels = calloc(n > 0 ? n : 1, sizeof(*s->labels));
	if (s->labels == NULL) {
		p->no_memory = true;
		return 0;
	}
	const char *key;
	json_t *value;
	json_object_foreach(labels, key, value) {
		struct gd_label *label = &s->labels[s->n_labels++];
		label->key = strdup(key);
		label->value = strdup(json_is_string(value) ? json_string_value(value) : "");
		if (label->key == NULL || label->value == NULL)
			p->no_memory = true;
	}
	return 0;
}

static void take_steps(const json_t *steps, struct gd_snapshot *s)
{
	size_t n = json_array_size(steps);
	s->n_steps = n < GD_STEPS_MAX ? n : GD_STEPS_MAX;
	for (size_t i = 0; i < s->n_steps; i++) {
		const json_t *from = json_array_get(steps, i);
		struct gd_step *step = &s->steps[i];
		fixed(step->name, sizeof(step->name), peek(from, "name"));
		step->started_ns = i64(from, "started_ns");
		step->ended_ns = i64(from, "ended_ns");
		step->outcome = outcome(from);
		step->torn_reads = u64(from, "torn_reads");
		step->torn_repeated = u64(from, "torn_repeated");
		step->pause_ns = i64(from, "pause_ns");
	}
}

static int take_artifacts(struct parse *p, const json_t *rows, struct gd_snapshot *s,
                          struct gd_error *err)
{
	size_t n = json_array_size(rows);
	if (n > GD_LAYOUT_ARTIFACTS_MAX)
		return gd_fail(err, -E2BIG, "snapshot.json: %zu artifacts", n);
	s->artifacts = calloc(n > 0 ? n : 1, sizeof(*s->artifacts));
	if (s->artifacts == NULL) {
		p->no_memory = true;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		struct gd_artifact_row *row = &s->artifacts[i];
		p->from = json_array_get(rows, i);
		if (!gd_layout_name_ok(peek(p->from, "name")))
			return gd_fail(err, -EBADMSG,
			               "snapshot.json: artifact %zu has no usable name", i);
		const char *digest = peek(p->from, "digest");
		if (digest[0] != '\0' && !gd_layout_digest_ok(digest))
			return gd_fail(err, -EBADMSG, "snapshot.json: artifact %zu: bad digest", i);
		s->n_artifacts = i + 1;
		row->name = text(p, "name");
		row->media_type = text(p, "media_type");
		row->collector = text(p, "collector");
		fixed(row->digest, sizeof(row->digest), digest);
		row->outcome = outcome(p->from);
		row->bytes = u64(p->from, "bytes");
		row->stored_bytes = u64(p->from, "stored_bytes");
		row->started_ns = i64(p->from, "started_ns");
		row->ended_ns = i64(p->from, "ended_ns");
	}
	return 0;
}

static void take_frozen(const json_t *from, struct gd_frozen *f)
{
	const json_t *notes = json_object_get(from, "notes");
	fixed(f->method, sizeof(f->method), peek(from, "method"));
	f->instant_ns = i64(from, "instant_ns");
	f->pause_ns = i64(from, "pause_ns");
	f->predicted_pause_ns = i64(from, "predicted_pause_ns");
	f->rounds = u64(from, "rounds");
	f->bytes_read = u64(from, "bytes_read");
	f->bytes_in_stop = u64(from, "bytes_in_stop");
	f->threads = u64(from, "threads");
	f->threads_not_stopped = u64(from, "threads_not_stopped");
	f->huge_before_bytes = u64(from, "huge_before_bytes");
	f->huge_after_bytes = u64(from, "huge_after_bytes");
	f->grown_bytes = u64(from, "grown_bytes");
	f->core_plain_bytes = u64(from, "core_plain_bytes");
	f->core_chunks = u64(from, "core_chunks");
	f->core_unchanged_chunks = u64(from, "core_unchanged_chunks");
	f->core_packs = u64(from, "core_packs");
	for (size_t i = 0; i < json_array_size(notes) && i < GD_FROZEN_NOTES; i++) {
		const char *note = json_string_value(json_array_get(notes, i));
		fixed(f->notes[f->n_notes++], sizeof(f->notes[0]), note != NULL ? note : "");
	}
}

static void take_cost(const json_t *from, struct gd_snapshot *s)
{
	s->target_pause_ns = u64(from, "target_pause_ns");
	s->memory_reads = u64(from, "memory_reads");
	s->memory_bytes = u64(from, "memory_bytes");
	s->memory_faults = u64(from, "memory_faults");
	s->cpu_ns = i64(from, "cpu_ns");
	s->peak_rss_bytes = u64(from, "peak_rss_bytes");
}

static int take(const json_t *root, struct gd_snapshot *s, struct gd_error *err)
{
	struct parse p = { .from = root };
	fixed(s->id, sizeof(s->id), peek(root, "id"));
	s->godiag_version = text(&p, "godiag_version");
	s->repaired = json_is_false(json_object_get(root, "complete"));
	s->repair_note = text(&p, "repair_note");
	s->interrupted = json_is_true(json_object_get(root, "interrupted"));
	s->outcome = outcome(json_object_get(root, "outcome"));
	s->trigger = text(&p, "trigger");
	s->reason = text(&p, "reason");
	s->profile = text(&p, "profile");
	const json_t *clocks = json_object_get(root, "clock");
	s->started = take_clock(json_object_get(clocks, "started"));
	s->ended = take_clock(json_object_get(clocks, "ended"));
	p.from = json_object_get(root, "target");
	take_target(&p, s);
	if (s->pid == 0) /* plan.json, which says less */
		s->pid = (int32_t)i64(root, "pid");
	p.from = json_object_get(root, "host");
	s->hostname = text(&p, "hostname");
	s->kernel = text(&p, "kernel");
	s->machine = text(&p, "machine");
	s->boot_id = text(&p, "boot_id");
	take_steps(json_object_get(root, "steps"), s);
	take_frozen(json_object_get(root, "freeze"), &s->frozen);
	take_cost(json_object_get(root, "cost"), s);
	int r = take_labels(&p, json_object_get(root, "labels"), s, err);
	if (r == 0)
		r = take_artifacts(&p, json_object_get(root, "artifacts"), s, err);
	if (r == 0 && p.no_memory)
		r = gd_fail_errno(err, -ENOMEM, "snapshot.json");
	return r;
}

int gd_snapshot_parse(const char *json, size_t len, struct gd_snapshot *ret, struct gd_error *err)
{
	json_error_t why;
	GD_JSON_VALUE json_t *root = json_loadb(json, len, 0, &why);
	if (!json_is_object(root))
		return gd_fail(err, -EBADMSG, "snapshot.json: line %d: %s",
		               root != NULL ? 1 : why.line,
		               root != NULL ? "not an object" : why.text);
	const json_t *format = json_object_get(root, "format");
	if (format != NULL && json_integer_value(format) != GD_SNAPSHOT_FORMAT)
		return gd_fail(err, -ENOTSUP, "snapshot.json: format %lld, this godiag reads %d",
		               (long long)json_integer_value(format), GD_SNAPSHOT_FORMAT);
	struct gd_snapshot s = { 0 };
	int r = take(root, &s, err);
	if (r < 0) {
		gd_snapshot_deinit(&s);
		return r;
	}
	*ret = s;
	return 0;
}
