#pragma once
/*
 * godiagd, the broker: watches through its watcher, decides by policy, captures by children, keeps the
 * spool, answers hook, uploader and command line.  One thread; it parses nothing that a target, a
 * caller or the network wrote.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/baselines.h"
#include "agent/control.h"
#include "agent/hook.h"
#include "agent/loop.h"
#include "agent/operations.h"
#include "agent/run.h"
#include "agent/upload.h"
#include "agent/watched.h"
#include "policies/admission.h"
#include "policies/engine.h"
#include "policies/policy.h"
#include "uploader/spool.h"

struct gd_agent_options {
	const char *config; /* "/etc/godiag" */
	const char *state;  /* "/var/lib/godiag": spool/ and admission.journal */
	const char *run;    /* "/run/godiag": sockets */
	const char *proc;   /* "/proc" */
	const char *cgroup; /* "/sys/fs/cgroup" */
};

struct gd_agent {
	const struct gd_agent_options *options;
	struct gd_loop loop;
	struct gd_policy *policy;
	struct gd_engine *engine;
	struct gd_admission *admission;
	struct gd_spool *spool;
	struct gd_watcher *watcher;
	struct gd_watched_table watched;
	struct gd_operations operations;
	struct gd_baselines baselines;
	struct gd_control *control;
	struct gd_hook_peer *hook;
	struct gd_upload_peer *upload;
	struct gd_run run;
	struct gd_connector connector; /* when the policy wanted one as we started */

	struct gd_loop_source signals, timer, watcher_source, run_source;
	struct gd_loop_source hook_listener, hook_source, upload_listener, upload_source;

	uint64_t seed;              /* of this host */
	int64_t started_ns;         /* CLOCK_BOOTTIME */
	int64_t pruned_ns, watcher_ended_ns;
	int64_t ticked_ns;          /* CLOCK_BOOTTIME of the watcher's last tick, or of its start */
	unsigned watcher_restarts;
	uint64_t ended[GD_OPERATION_FAILED + 1]; /* captures by how they ended */
	char policy_problem[248];   /* why the last reload was refused; "" */
	char state_note[248];       /* what opening the state found; "" */
	char watcher_problem[248];  /* why there is none now; "" */
	char clock_problem[248];    /* the clock was set back lately; "" */
	int64_t clock_offset_ns;    /* CLOCK_REALTIME - CLOCK_BOOTTIME, as of the last second */
	int64_t clock_jumped_ns;    /* CLOCK_BOOTTIME of that */
	unsigned refusals_logged;   /* in this second */
	uint64_t refusals_unlogged;
	bool stopping;
	int stop_signals;
};

/* Runs until SIGTERM; returns an exit status (enum gd_exit). */
int gd_agent_main(const struct gd_agent_options *options);

/* ---- captures.c ---- */

/* Starts the next operation when none runs. */
void gd_agent_run_next(struct gd_agent *agent);
/* Kills a capture that has not even sealed what it had long after its deadline. */
void gd_agent_end_late_run(struct gd_agent *agent, int64_t now_ns);
/* Retention and the spool's ceilings, now. */
void gd_agent_prune(struct gd_agent *agent);

/* ---- watching.c ---- */

void gd_agent_start_watcher(struct gd_agent *agent);
void gd_agent_stop_watcher(struct gd_agent *agent);
/* Once a second: starts one if there is none, ends one that no longer ticks (a read in the kernel can
 * hang while a process's memory map is locked). */
void gd_agent_tend_watcher(struct gd_agent *agent, int64_t now_ns);

/* ---- peers.c ---- */

int gd_agent_open_peers(struct gd_agent *agent, struct gd_error *err);
void gd_agent_drop_hook(struct gd_agent *agent);
void gd_agent_drop_upload(struct gd_agent *agent);

/* ---- reload.c ---- */

int gd_agent_load_policy(const struct gd_agent *agent, struct gd_policy **ret,
                         struct gd_error *err);
/* Everything that knew the old policy learns the new one; machines are armed anew. */
int gd_agent_reload(struct gd_agent *agent, struct gd_error *err);

/* ---- triggers.c ---- */

struct gd_ask {
	const struct gd_rule *rule; /* NULL: by hand, by signal, a baseline */
	uint32_t service;           /* index, UINT32_MAX none */
	const char *trigger;        /* as in struct gd_operation */
	const char *reason;
	const char *fingerprint, *starts_at; /* NULL none */
	const char *exit_json;      /* NULL none */
	struct gd_subject_id subject; /* pid 0: the service's main process */
	bool gone;                  /* there is no process any more: seal what is known */
	enum gd_profile profile;
	bool degraded;              /* only light, whatever the rule says: no core either */
	enum gd_spool_class class;
	uint64_t deadline_ns;
	uint64_t waiter;
};

/* Admission, then the queue; *ret says what became of it. */
void gd_agent_ask(struct gd_agent *agent, const struct gd_ask *ask, struct gd_hook_verdict *ret);

/* What the engine, the hook, the control socket and signals call. */
void gd_agent_fired(void *agent, const struct gd_fired *fired);
void gd_agent_hook_trigger(void *agent, const struct gd_hook_trigger *trigger,
                           struct gd_hook_verdict *verdict);
void gd_agent_control_capture(void *agent, const struct gd_control_capture *request,
                              uint64_t waiter, struct gd_control_verdict *verdict);
/* All that is watched, a few at a time; the second goes on with those that are left. */
void gd_agent_capture_all(struct gd_agent *agent);
void gd_agent_capture_wanted(struct gd_agent *agent);
/* Once a second: tells how many refusals went without a log line of their own. */
void gd_agent_log_refusals(struct gd_agent *agent);
void gd_agent_baselines(struct gd_agent *agent, int64_t now_ns);

/* ---- status.c, exporter.c ---- */

void gd_agent_status(void *agent, struct gd_buf *to);  /* JSON */
void gd_agent_metrics(void *agent, struct gd_buf *to); /* Prometheus text */
