#pragma once
/*
 * What an operator wrote: services, rules, budgets and places, as read from /etc/godiag/policy.yaml
 * and the drop-ins of policy.d/.  Strict: an unknown key, a bad unit, a name used twice is an error
 * with file, line and column.  Loading either gives a whole policy or a list of what is wrong with
 * it; it never gives half of one.  Immutable once loaded; everything in it belongs to it.
 *
 * Policy files are root-owned configuration, but their bytes are treated as hostile: no anchors,
 * aliases, tags or includes, bounded sizes, depth and counts.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "policies/metric.h"

#define GD_POLICY_SERVICES_MAX 256
#define GD_POLICY_RULES_MAX 1024
#define GD_POLICY_NAME_MAX 64 /* letters, digits, '-', '_', '.' */
#define GD_POLICY_LABELS_MAX 16

/* Where something stands; for messages. */
struct gd_position {
	const char *file; /* borrowed from the policy; "" when from a default */
	unsigned line, column;
};

/* All that are given must hold (and); NULL, 0 and -1 are "not given". */
struct gd_match {
	char *unit;      /* glob over the systemd unit of its cgroup: "checkout.service" */
	char *exe;       /* glob over the path of the executable */
	char *comm;      /* glob over comm */
	char *cmdline;   /* glob over the arguments joined with single blanks */
	char *cgroup;    /* glob over the cgroup path */
	char *container; /* container id or prefix of at least 12 hex digits, or glob over pod uid */
	uint16_t listen; /* TCP port it listens on; 0: not given */
	int64_t uid;     /* real uid; -1: not given */
};

/* Whether captures of profile standard and full also take what the service's own net/http/pprof says. */
struct gd_debug_port_policy {
	bool wanted;       /* default false: it costs the service */
	uint16_t port;     /* TCP port it listens on; 0: any of them */
	uint64_t trace_ns; /* trace: default 1 s; 0: no execution trace */
};

struct gd_service {
	char name[GD_POLICY_NAME_MAX];
	struct gd_match match;
	char *scrape;           /* URL of its own metrics; NULL */
	char *scrape_histogram; /* "http_request_duration_seconds" when not given */
	struct gd_debug_port_policy debug_port;
	struct gd_position at;
};

/* One comparison. */
struct gd_condition {
	enum gd_metric metric;
	bool below;   /* else above */
	double level; /* base unit */
};

struct gd_rate { /* "5/24h" */
	uint64_t n;         /* count, bytes or nanoseconds; 0: no limit */
	uint64_t window_ns;
};

enum gd_when {
	GD_WHEN_METRIC,
	GD_WHEN_ALERT,    /* the hook's alertname */
	GD_WHEN_EVENT,
	GD_WHEN_SCHEDULE, /* baselines */
};

enum gd_event {
	GD_EVENT_GONE,        /* "gone": a watched process ended */
	GD_EVENT_RESTARTS,    /* "restarts": `count` starts within `within` */
	GD_EVENT_MEMORY_HIGH, /* "memory_high", ...: the cgroup's counters moved */
	GD_EVENT_MEMORY_MAX,
	GD_EVENT_OOM,
	GD_EVENT_OOM_KILL,
	GD_EVENTS,
};
extern const char *const gd_event_names[GD_EVENTS];

/* Names of --profile; the numbers are those of enum gd_profile in collectors/. */
enum gd_policy_profile { GD_POLICY_LIGHT, GD_POLICY_STANDARD, GD_POLICY_FULL };
extern const char *const gd_policy_profile_names[3];

/* What of a process's memory a capture keeps. */
enum gd_policy_core { GD_POLICY_CORE_NONE, GD_POLICY_CORE_THIN, GD_POLICY_CORE_FULL };
extern const char *const gd_policy_core_names[3];

struct gd_policy_label {
	char *key, *value;
};

/* Ceilings of the host, where a loaded policy has every default filled in, or of one rule when
 * written inside of it, where only the first four can be given and 0 means not given. */
struct gd_budget {
	struct gd_rate captures;      /* captures: "6/1h"; host's default 20/24h */
	struct gd_rate bytes;         /* bytes: "2GiB/24h" sealed; default none */
	struct gd_rate pause;         /* pauses: "1s/24h" of stopping targets, the default */
	uint64_t pause_ns;            /* pause: longest single stop; default 50 ms */
	uint64_t spool_bytes;         /* spool: never exceeded; default 2 GiB */
	double free_ratio;            /* free: of the spool's file system; default 0.15 */
	uint64_t upload_bytes_per_s;  /* upload: 0: no limit */
};

struct gd_rule {
	char name[GD_POLICY_NAME_MAX];
	size_t service;               /* index into services */
	enum gd_when kind;
	struct gd_condition when;     /* METRIC */
	char *alert;                  /* ALERT: exact alertname */
	struct gd_policy_label labels[GD_POLICY_LABELS_MAX]; /* ALERT: all must be equal */
	size_t n_labels;
	enum gd_event event;          /* EVENT */
	uint64_t event_count, event_within_ns; /* RESTARTS */
	uint64_t every_ns, jitter_ns; /* SCHEDULE */
	uint64_t for_ns;              /* holds on every sample for so long; METRIC, default 30 s */
	double clear;                 /* re-arm level; default: the level less 10 % */
	uint64_t clear_for_ns;        /* which holds that long */
	uint64_t cooldown_ns;         /* between captures of one rule and process; default 10 m,
	                               * SCHEDULE: 0 */
	struct gd_rate limit;         /* per rule and service; default 5/24h, SCHEDULE: what is due */
	struct gd_budget budget;      /* of this rule; zero (free_ratio -1): only the host's */
	uint64_t sample_k, sample_n;  /* k of n hosts; n 0: all */
	uint64_t dedup_ns;            /* the same again within this is "seen again"; 0: off */
	struct gd_condition unless;   /* holds: light instead of `profile` */
	bool has_unless;
	enum gd_policy_profile profile; /* default standard */
	enum gd_policy_core core;     /* default: full with profile full, else none */
	bool consistent;              /* what is read from memory is of one instant */
	bool force_core;              /* also of a process that wants no core */
	bool baseline;                /* keep the last light capture of a good time */
	struct gd_position at;
};

struct gd_core_policy { /* how cores are made, whatever the rule */
	bool zero_noscan; /* objects without pointers are kept as zeros; default false */
	bool keep_huge;   /* huge pages that were split are given back; default true */
	uint64_t workers; /* that compress; 0, the default: one per CPU */
};

struct gd_samples_policy { /* how profile standard samples the CPUs */
	uint64_t duration_ns;  /* duration: default 10 s */
	uint64_t frequency_hz; /* frequency: default 99 */
	bool syscalls;         /* syscalls: default no; slows every call on the host meanwhile */
};

struct gd_retention { /* of archives that were uploaded, or have nowhere to go */
	uint64_t age_ns;     /* 0: no limit */
	uint64_t count;
	uint64_t bytes;
};

struct gd_hook_policy {
	char *listen; /* "unix:/run/godiag-hook/hook.sock" (default), "127.0.0.1:7077", "[::1]:7077",
	               * "off"; loopback only */
	char *tokens; /* file of token hashes; NULL: $CREDENTIALS_DIRECTORY/tokens when there is one */
};

struct gd_policy {
	struct gd_service *services;
	size_t n_services;
	struct gd_rule *rules;
	size_t n_rules;
	struct gd_budget budget;
	char *upload;                /* URL as for --upload; NULL: archives stay in the spool */
	struct gd_retention retention;
	struct gd_core_policy core;
	struct gd_samples_policy samples;
	struct gd_hook_policy hook;
	uint64_t fleet_size;         /* for "sample: 3/fleet"; 0 unknown */
	char digest[72];             /* "sha256:..." over all files one after another */
	char **files;                /* NULL-terminated, in the order read */
};

enum gd_severity { GD_SEVERITY_ERROR, GD_SEVERITY_WARNING };

/* What is wrong: "policy.yaml:12:9: error: unknown key "abov"; did you mean "above"?" */
struct gd_finding {
	enum gd_severity severity;
	char file[256];
	unsigned line, column; /* from 1; 0: the file as a whole */
	char text[400];
};

#define GD_FINDINGS_MAX 100
struct gd_findings {
	struct gd_finding *list;
	size_t n;        /* at most GD_FINDINGS_MAX */
	size_t n_errors; /* counts also those beyond the maximum */
};
void gd_findings_deinit(struct gd_findings *findings);

/*
 * Reads `path`: a file, or a directory with policy.yaml and policy.d/ (its *.yaml in C-locale
 * order; services and rules add up, scalars of later files win).  All errors are found in one run.
 * -EINVAL: there are errors, see findings (filled on success too: warnings); -ENOENT, -EACCES:
 * nothing to read.  An unreadable drop-in is an error.
 */
int gd_policy_load(const char *path, struct gd_policy **ret, struct gd_findings *findings,
                   struct gd_error *err);

/* The same from one text, named `file` in messages.  For tests and fuzzers. */
int gd_policy_parse(const char *file, const char *text, size_t len, struct gd_policy **ret,
                    struct gd_findings *findings, struct gd_error *err);

void gd_policy_free(struct gd_policy *policy); /* NULL allowed */

/* NULL when there is none. */
const struct gd_rule *gd_policy_rule(const struct gd_policy *policy, const char *name);

/* Appends "FILE:LINE:COLUMN: error: TEXT\n". */
void gd_finding_put(const struct gd_finding *finding, struct gd_buf *to);
