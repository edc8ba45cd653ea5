#pragma once
/*
 * The only code that stops a target: makes an image (target/image.h) of one instant under a pause
 * budget, by the first method of a ladder that fits.  docs/freeze.md explains each method and each
 * guard.
 *
 * House rules, for every file here: never PTRACE_ATTACH, SIGSTOP, a freezer, or EXITKILL on the target;
 * one thread; no allocation, no file and no unbounded wait between seize and resume; whoever of us dies at
 * whatever instruction, the target runs on.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/range.h"
#include "base/sink.h"
#include "target/image.h"
#include "target/target.h"

/* In order of preference. */
enum gd_freeze_method {
	GD_FREEZE_SOFT_DIRTY, /* pre-copy, dirty pages by /proc/PID/clear_refs and pagemap bit 55 */
	GD_FREEZE_UFFD,       /* pre-copy, dirty pages by userfaultfd write-protect and PAGEMAP_SCAN */
	GD_FREEZE_FORK,       /* a stopped child of the target holds still what the target goes on changing */
	GD_FREEZE_COPY,       /* stop and copy what fits the budget */
	GD_FREEZE_TORN,       /* read while it runs: no stop, not of one instant */
	GD_FREEZE_METHODS,
};
const char *gd_freeze_method_name(enum gd_freeze_method method); /* "uffd", ... as in snapshot.json */

enum gd_freeze_scope {
	GD_FREEZE_ALL,  /* every page that has content of its own */
	GD_FREEZE_THIN, /* without the pages of `skip` */
};

struct gd_freeze_options {
	int64_t max_pause_ns; /* 50 ms by default; 0: never stop it */
	enum gd_freeze_scope scope;
	/* THIN: sorted, disjoint; pages in them are left out unless they are a stack of a thread. */
	const struct gd_range *skip; /* page aligned */
	size_t n_skip;
	bool secret;        /* also what is undumpable, or has RLIMIT_CORE hard 0 or MADV_DONTDUMP */
	bool keep_huge;     /* give huge pages back that the method split (MADV_COLLAPSE) */
	bool methods_off[GD_FREEZE_METHODS]; /* for tests and policy */
	const volatile sig_atomic_t *cancelled; /* NULL allowed */
	void (*progress)(void *arg, uint64_t bytes, uint64_t of_bytes); /* NULL allowed */
	void *progress_arg;
};

/* ---- the plan: touches nothing ----------------------------------------------------------------- */

/* What was read about the target before anything is decided; all from /proc and its cgroups. */
struct gd_freeze_facts {
	uint64_t threads, maps;
	uint64_t rss_bytes, anon_bytes, shmem_bytes, huge_bytes, thin_bytes;
	uint64_t hugetlb_bytes;
	uint64_t dontdump_bytes; /* of a target up to 128 MiB; else 0: too long a look for a plan */
	int tracer_pid;
	int seccomp;           /* 0, 1 strict, 2 filter */
	char state;            /* of the main thread */
	bool dumpable, core_limit_zero, shadow_stack, throttled, frozen, vm_pinned, io_uring, go_signal;
	bool dumpable_unknown; /* then dumpable is false: caution (docs/freeze.md, G10) */
	bool userfaultfd;      /* it has one of its own: no second one can watch the same pages */
	struct gd_error no_injection; /* code 0, or why no system call can be injected */
	bool namespace_init;   /* PID 1 of its pid namespace */
	bool native_32bit;
	uint64_t uninterruptible; /* threads in D state */
	uint64_t memory_headroom_bytes, pids_headroom; /* UINT64_MAX: no limit */
	uint64_t space_bytes;  /* free where the image goes; UINT64_MAX: not asked */
	bool kernel_soft_dirty, kernel_uffd_wp, kernel_pagemap_scan;
	struct gd_error unreadable; /* code 0, or the first fact that could not be had */
};

/* Guards of docs/freeze.md that forbid something; G2, G3, G13, G14, G16 and G18 are built in. */
struct gd_freeze_estimate {
	enum gd_freeze_method method;
	bool possible;
	unsigned guard;       /* its number when not possible; 0: the kernel, the room, or a request */
	char why[160];        /* why not, or warnings; "" */
	int64_t pause_ns;     /* predicted */
	int64_t total_ns;     /* predicted, until the image is whole */
	uint64_t extra_bytes; /* memory the target may grow by meanwhile */
};

struct gd_freeze_plan {
	struct gd_freeze_facts facts;
	struct gd_freeze_estimate methods[GD_FREEZE_METHODS]; /* in ladder order */
	enum gd_freeze_method chosen;
	bool refused;   /* no image at all: `why` (secret, zombie, ...) */
	char why[160];
};

/*
 * `space_fd`: a directory or file where the image would go, -1: not asked.  Fails only when the target
 * is gone (-ESRCH); what cannot be read is a fact of its own and decides for caution.
 */
int gd_freeze_plan(struct gd_target *target, const struct gd_freeze_options *options, int space_fd,
                   struct gd_freeze_plan *ret, struct gd_error *err);
/* As the member "freeze" of an open object. */
void gd_freeze_plan_put(const struct gd_freeze_plan *plan, struct gd_json *json);

/* ---- doing it ---------------------------------------------------------------------------------- */

#define GD_FREEZE_NOTES 12

struct gd_freeze_result {
	enum gd_freeze_method method;
	bool stopped;               /* it was stopped at all */
	int64_t pause_ns;           /* first interrupt to last resume, by our clock */
	int64_t predicted_pause_ns;
	int64_t instant_ns;         /* CLOCK_MONOTONIC in the middle of the stop: what the image is of */
	int64_t started_ns, ended_ns;
	uint64_t rounds, bytes_read, bytes_in_stop; /* bytes_in_stop were read while it stood still */
	uint64_t threads, threads_not_stopped;
	uint64_t huge_before_bytes, huge_after_bytes;
	uint64_t grown_bytes; /* fork: what its child held alone when it had been read, with page tables */
	struct gd_outcome outcome;  /* complete; partial: torn, threads missing, truncated, maps left out */
	size_t n_notes;
	char notes[GD_FREEZE_NOTES][160]; /* each a sentence for the snapshot: methods that were tried, ... */
};

/*
 * Makes the image in `file_fd` (empty, unlinked; taken over, also on failure).  Room for it is reserved
 * before the target is touched (-ENOSPC).  Runs its own children (tracer, guard) and leaves none, of
 * ours or in the target.  `plan` is the one that was made a moment ago.  -ESRCH: the target is gone;
 * -EPERM, -ECANCELED; with -ENOSPC nothing was stopped.  Single-threaded callers only; SIGCHLD not
 * ignored.
 */
int gd_freeze_run(struct gd_target *target, const struct gd_freeze_plan *plan,
                  const struct gd_freeze_options *options, int file_fd, struct gd_image **ret,
                  struct gd_freeze_result *result, struct gd_error *err);

/*
 * Undoes in the target what a run whose processes were all killed has left there (zombie children,
 * a userfaultfd nobody else holds).  Returns how much it found, 0 mostly.
 */
int gd_freeze_tidy(struct gd_target *target, struct gd_error *err);
