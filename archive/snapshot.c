#include "archive/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int gd_artifact_row_init(struct gd_artifact_row *row, const char *name, const char *media_type,
                         const char *collector, struct gd_error *err)
{
	*row = (struct gd_artifact_row){ .name = strdup(name), .media_type = strdup(media_type),
		                         .collector = strdup(collector) };
	if (row->name == NULL || row->media_type == NULL || row->collector == NULL)
		return gd_fail_errno(err, -ENOMEM, "artifact %s", name);
	return 0;
}

void gd_artifact_row_deinit(struct gd_artifact_row *row)
{
	free(row->name);
	free(row->media_type);
	free(row->collector);
	*row = (struct gd_artifact_row){ 0 };
}

void gd_snapshot_deinit(struct gd_snapshot *s)
{
	char *texts[] = { s->trigger, s->reason, s->comm, s->exe, s->cmdline, s->build_id,
		          s->go_version, s->go_note, s->container_id, s->pod_uid, s->cgroup,
		          s->hostname, s->kernel, s->machine, s->boot_id, s->godiag_version,
		          s->profile, s->repair_note };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	for (size_t i = 0; i < s->n_labels; i++) {
		free(s->labels[i].key);
		free(s->labels[i].value);
	}
	free(s->labels);
	for (size_t i = 0; i < s->n_artifacts; i++)
		gd_artifact_row_deinit(&s->artifacts[i]);
	free(s->artifacts);
	*s = (struct gd_snapshot){ 0 };
}

static void put_outcome(struct gd_json *j, const struct gd_outcome *outcome)
{
	gd_json_string(j, "grade", gd_grade_name(outcome->grade));
	if (outcome->why.code != 0 || outcome->why.msg[0] != '\0') {
		gd_json_string(j, "why", outcome->why.msg);
		gd_json_i64(j, "code", outcome->why.code);
	}
}

static void put_clock(struct gd_json *j, const char *key, const struct gd_clock *clock)
{
	char text[GD_CLOCK_TEXT];
	gd_json_object(j, key);
	gd_json_string(j, "time", gd_clock_text(text, clock->realtime_ns));
	gd_json_i64(j, "realtime_ns", clock->realtime_ns);
	gd_json_i64(j, "monotonic_ns", clock->monotonic_ns);
	gd_json_i64(j, "boottime_ns", clock->boottime_ns);
	gd_json_object_end(j);
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

static void put_target(struct gd_json *j, const struct gd_snapshot *s)
{
	gd_json_object(j, "target");
	gd_json_i64(j, "pid", s->pid);
	gd_json_i64(j, "pid_in_container", s->pid_in_container);
	gd_json_u64(j, "start_ticks", s->start_ticks);
	gd_json_i64(j, "start_realtime_ns", s->start_realtime_ns);
	gd_json_string(j, "comm", or_empty(s->comm));
	gd_json_string(j, "exe", or_empty(s->exe));
	gd_json_bool(j, "exe_deleted", s->exe_deleted);
	gd_json_string(j, "cmdline", or_empty(s->cmdline));
	gd_json_string(j, "build_id", or_empty(s->build_id));
	gd_json_string(j, "go_version", or_empty(s->go_version));
	gd_json_string(j, "go_note", or_empty(s->go_note));
	gd_json_string(j, "container_id", or_empty(s->container_id));
	gd_json_string(j, "pod_uid", or_empty(s->pod_uid));
	gd_json_string(j, "cgroup", or_empty(s->cgroup));
	gd_json_object_end(j);
}

static void put_host(struct gd_json *j, const struct gd_snapshot *s)
{
	gd_json_object(j, "host");
	gd_json_string(j, "hostname", or_empty(s->hostname));
	gd_json_string(j, "kernel", or_empty(s->kernel));
	gd_json_string(j, "machine", or_empty(s->machine));
	gd_json_string(j, "boot_id", or_empty(s->boot_id));
	gd_json_object_end(j);
}

static void put_steps(struct gd_json *j, const struct gd_snapshot *s)
{
	gd_json_array(j, "steps");
	for (size_t i = 0; i < s->n_steps; i++) {
		const struct gd_step *step = &s->steps[i];
		gd_json_object(j, NULL);
		gd_json_string(j, "name", step->name);
		gd_json_i64(j, "started_ns", step->started_ns);
		gd_json_i64(j, "ended_ns", step->ended_ns);
		put_outcome(j, &step->outcome);
		gd_json_u64(j, "torn_reads", step->torn_reads);
		gd_json_u64(j, "torn_repeated", step->torn_repeated);
		if (step->pause_ns != 0)
			gd_json_i64(j, "pause_ns", step->pause_ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
}

static void put_artifacts(struct gd_json *j, const struct gd_snapshot *s)
{
	gd_json_array(j, "artifacts");
	for (size_t i = 0; i < s->n_artifacts; i++) {
		const struct gd_artifact_row *row = &s->artifacts[i];
		gd_json_object(j, NULL);
		gd_json_string(j, "name", row->name);
		gd_json_string(j, "media_type", row->media_type);
		gd_json_string(j, "collector", row->collector);
		put_outcome(j, &row->outcome);
		gd_json_string(j, "digest", row->digest);
		if (row->bytes == GD_ARTIFACT_BYTES_UNKNOWN)
			gd_json_null(j, "bytes");
		else
			gd_json_u64(j, "bytes", row->bytes);
		gd_json_u64(j, "stored_bytes", row->stored_bytes);
		gd_json_i64(j, "started_ns", row->started_ns);
		gd_json_i64(j, "ended_ns", row->ended_ns);
		gd_json_object_end(j);
	}
	gd_json_array_end(j);
}

static void put_frozen(struct gd_json *j, const struct gd_frozen *f)
{
	if (f->method[0] == '\0')
		return;
	gd_json_object(j, "freeze");
	gd_json_string(j, "method", f->method);
	gd_json_i64(j, "instant_ns", f->instant_ns);
	gd_json_i64(j, "pause_ns", f->pause_ns);
	gd_json_i64(j, "predicted_pause_ns", f->predicted_pause_ns);
	gd_json_u64(j, "rounds", f->rounds);
	gd_json_u64(j, "bytes_read", f->bytes_read);
	gd_json_u64(j, "bytes_in_stop", f->bytes_in_stop);
	gd_json_u64(j, "threads", f->threads);
	gd_json_u64(j, "threads_not_stopped", f->threads_not_stopped);
	gd_json_u64(j, "huge_before_bytes", f->huge_before_bytes);
	gd_json_u64(j, "huge_after_bytes", f->huge_after_bytes);
	gd_json_u64(j, "grown_bytes", f->grown_bytes);
	gd_json_u64(j, "core_plain_bytes", f->core_plain_bytes);
	gd_json_u64(j, "core_chunks", f->core_chunks);
	gd_json_u64(j, "core_unchanged_chunks", f->core_unchanged_chunks);
	gd_json_u64(j, "core_packs", f->core_packs);
	gd_json_array(j, "notes");
	for (size_t i = 0; i < f->n_notes && i < GD_FROZEN_NOTES; i++)
		gd_json_string(j, NULL, f->notes[i]);
	gd_json_array_end(j);
	gd_json_object_end(j);
}

static void put_cost(struct gd_json *j, const struct gd_snapshot *s)
{
	gd_json_object(j, "cost");
	gd_json_u64(j, "target_pause_ns", s->target_pause_ns);
	gd_json_u64(j, "memory_reads", s->memory_reads);
	gd_json_u64(j, "memory_bytes", s->memory_bytes);
	gd_json_u64(j, "memory_faults", s->memory_faults);
	gd_json_i64(j, "cpu_ns", s->cpu_ns);
	gd_json_u64(j, "peak_rss_bytes", s->peak_rss_bytes);
	gd_json_object_end(j);
}

void gd_snapshot_write(const struct gd_snapshot *s, struct gd_json *j)
{
	gd_snapshot_put(s, j, NULL);
}

void gd_snapshot_put(const struct gd_snapshot *s, struct gd_json *j, const char *key)
{
	gd_json_object(j, key);
	gd_snapshot_put_start(s, j);
	gd_json_bool(j, "complete", !s->repaired);
	if (s->repaired)
		gd_json_string(j, "repair_note", or_empty(s->repair_note));
	gd_json_bool(j, "interrupted", s->interrupted);
	gd_json_object(j, "outcome");
	put_outcome(j, &s->outcome);
	gd_json_object_end(j);
	put_steps(j, s);
	put_artifacts(j, s);
	put_frozen(j, &s->frozen);
	put_cost(j, s);
	gd_json_object_end(j);
}

void gd_snapshot_put_start(const struct gd_snapshot *s, struct gd_json *j)
{
	gd_json_u64(j, "format", GD_SNAPSHOT_FORMAT);
	gd_json_string(j, "id", s->id);
	gd_json_string(j, "godiag_version", or_empty(s->godiag_version));
	gd_json_string(j, "trigger", or_empty(s->trigger));
	gd_json_string(j, "reason", or_empty(s->reason));
	gd_json_string(j, "profile", or_empty(s->profile));
	gd_json_object(j, "labels");
	for (size_t i = 0; i < s->n_labels; i++)
		gd_json_string(j, s->labels[i].key, or_empty(s->labels[i].value));
	gd_json_object_end(j);
	gd_json_object(j, "clock");
	put_clock(j, "started", &s->started);
	if (s->ended.realtime_ns != 0)
		put_clock(j, "ended", &s->ended);
	gd_json_object_end(j);
	put_target(j, s);
	put_host(j, s);
}
