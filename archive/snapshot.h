#pragma once
/*
 * snapshot.json: what one capture was and how it came out.  Plain data, written by the agent when
 * an archive is sealed and read back by report/.  Everything foreign in it is escaped by the JSON
 * writer.  docs/archive-format.md describes every key.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/sink.h"

#define GD_SNAPSHOT_FORMAT 1

/* Of a compressed artifact in an archive that lost its snapshot.json. */
#define GD_ARTIFACT_BYTES_UNKNOWN UINT64_MAX

/* One artifact's row: what it is, how it came out, where it is. */
struct gd_artifact_row {
	char *name;
	char *media_type; /* as stored: "text/plain+zstd" */
	char *collector;
	char digest[72];  /* "sha256:<hex>" of the stored bytes; "" when there are none */
	struct gd_outcome outcome;
	uint64_t bytes;        /* before compression, or GD_ARTIFACT_BYTES_UNKNOWN */
	uint64_t stored_bytes; /* in the archive */
	int64_t started_ns, ended_ns; /* CLOCK_MONOTONIC */
};

/* One step of the capture on the timeline. */
struct gd_step {
	char name[32];          /* "open-target", "collect:goroutines", "seal" */
	int64_t started_ns;     /* CLOCK_MONOTONIC */
	int64_t ended_ns;
	struct gd_outcome outcome;
	uint64_t torn_reads, torn_repeated; /* collectors only */
	int64_t pause_ns;                   /* the target was stopped so long in it */
};

struct gd_label {
	char *key, *value;
};

#define GD_STEPS_MAX 64

/* How the image was made that the core and the artifacts under image/ are of. */
#define GD_FROZEN_NOTES 12
struct gd_frozen {
	char method[16];          /* "uffd", ...; "": there is none */
	int64_t instant_ns;       /* CLOCK_MONOTONIC: what it is of */
	int64_t pause_ns, predicted_pause_ns;
	uint64_t rounds, bytes_read, bytes_in_stop;
	uint64_t threads, threads_not_stopped;
	uint64_t huge_before_bytes, huge_after_bytes, grown_bytes;
	uint64_t core_plain_bytes, core_chunks, core_unchanged_chunks, core_packs;
	size_t n_notes;
	char notes[GD_FROZEN_NOTES][160];
};

struct gd_snapshot {
	char id[64];              /* capture id, sorts by time */
	struct gd_clock started, ended;
	char *trigger;            /* "manual" */
	char *reason;             /* --reason; "" */
	struct gd_label *labels;  /* --label k=v */
	size_t n_labels;

	/* the target */
	int32_t pid;
	int32_t pid_in_container; /* innermost NSpid; equal to pid outside a container */
	uint64_t start_ticks;
	int64_t start_realtime_ns; /* 0 unknown */
	char *comm, *exe, *cmdline; /* cmdline is masked already */
	char *build_id;           /* Go build id or GNU build id, "" when stripped of both */
	bool exe_deleted;
	char *go_version;         /* "" when not a Go process */
	char *go_note;            /* "layout calibrated ..."; "" */
	char *container_id, *pod_uid, *cgroup; /* "" when not in one */

	/* the host */
	char *hostname, *kernel, *machine, *boot_id;
	char *godiag_version;

	/* what it was asked to do and how it went */
	char *profile;            /* "standard" */
	struct gd_step steps[GD_STEPS_MAX];
	size_t n_steps;
	struct gd_artifact_row *artifacts; /* in the order they are stored */
	size_t n_artifacts;
	struct gd_outcome outcome; /* worst of all */
	bool interrupted;          /* Ctrl-C: what was finished is here */
	struct gd_frozen frozen;
	uint64_t target_pause_ns;  /* sum of all stops we made */
	uint64_t memory_reads, memory_bytes, memory_faults;
	int64_t cpu_ns;            /* our own CPU time until the seal */
	uint64_t peak_rss_bytes;   /* our own */

	bool repaired;             /* rebuilt from a damaged archive: "complete": false */
	char *repair_note;         /* what was lost; NULL or "" otherwise */
};

/* Copies of the three texts, nothing else; -ENOMEM (the row may be deinited all the same). */
int gd_artifact_row_init(struct gd_artifact_row *row, const char *name, const char *media_type,
                         const char *collector, struct gd_error *err);
void gd_artifact_row_deinit(struct gd_artifact_row *row);

void gd_snapshot_deinit(struct gd_snapshot *snapshot);
void gd_snapshot_write(const struct gd_snapshot *snapshot, struct gd_json *json);
/*
 * The members that are known before anything is collected (who, where, why, since when), into an
 * open object: what plan.json should hold, so that a truncated archive says whose it was.
 */
void gd_snapshot_put_start(const struct gd_snapshot *snapshot, struct gd_json *json);
/* The same object as a member of another one. */
void gd_snapshot_put(const struct gd_snapshot *snapshot, struct gd_json *json, const char *key);

/* Foreign bytes: unknown keys are ignored, missing ones are 0 or "". -EBADMSG. */
int gd_snapshot_parse(const char *text, size_t len, struct gd_snapshot *ret, struct gd_error *err);
