#pragma once
/*
 * One capture from trigger to sealed archive: the way of a capture, as a declared state machine.
 * The command line and the daemon run the same one.  It owns target, runtime and archive while it
 * runs; its caller gets an outcome, a path and a digest.  It stops the target for nothing but an
 * image, and then only as long as the pause budget says.
 *
 * gd_capture_run is the broker's half: it opens descriptors and hands them to processes it forks for
 * this one capture, jailed ones that read the target (parser.h) and one that writes the archive
 * (packer.h).  It parses nothing foreign, waits for its children, and leaves none.  Before it publishes,
 * killing any of them or all leaves nothing behind.
 *
 * A daemon calls it in a child that it forks for the capture: single-threaded, with the daemon's
 * capabilities (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_PERFMON; CAP_SETUID, CAP_SETGID, CAP_SETPCAP
 * and CAP_KILL to put its children in their places), SIGCHLD not ignored, no other children of its
 * own, and a shared page or pipe of its own to report through.  That child should have its own
 * deadline from outside: everything here is bounded but the disk.  Killing it ends all the others.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/connector.h"
#include "agent/exit.h"
#include "agent/plan.h"
#include "archive/archive.h"
#include "archive/snapshot.h"
#include "base/error.h"
#include "freeze/freeze.h"

/* Evidence that the caller already has: written first, before anything is read from the target. */
struct gd_attachment {
	struct gd_artifact artifact; /* timeline.jsonl, exit.json, ... */
	const void *bytes;
	size_t n;
};

/* An image of one instant (freeze/freeze.h), and what is made of it. */
struct gd_capture_freeze {
	bool consistent;      /* what the plan reads from memory is read from an image as well */
	bool thin;            /* stacks, data, runtime structures; without the program's objects */
	bool secret;          /* also of a process that wants no core (undumpable, RLIMIT_CORE 0) */
	bool lose_huge;       /* huge pages that were split stay so */
	bool zero_noscan;     /* objects without pointers are kept as zeros */
	int64_t max_pause_ns; /* 0: never stop it */
	unsigned workers;     /* that compress; 0: one per CPU */
	int base_fd;          /* an earlier archive of the same process, -1 none; borrowed */
	bool methods_off[GD_FREEZE_METHODS]; /* for tests */
};
#define GD_CAPTURE_FREEZE_INIT                                                                     \
	((struct gd_capture_freeze){ .max_pause_ns = INT64_C(50000000), .base_fd = -1 })

struct gd_capture_options {
	pid_t pid;                 /* 0: there is no process (any more), seal the attachments alone */
	uint64_t start_ticks;      /* the process that was meant; 0: whoever has the pid now.  Another
	                            * one there now is GD_EXIT_GONE. */
	const char *subject;       /* with pid 0: what stands for comm in the file name */
	const struct gd_attachment *attachments;
	size_t n_attachments;
	const struct gd_plan *plan;
	struct gd_capture_freeze freeze;
	const char *output_dir;
	const char *id;            /* NULL: it makes one */
	const char *trigger;       /* "manual", "rule", "alert", "event", "schedule", "signal" */
	const char *reason;        /* NULL or free text */
	const struct gd_label *labels;
	size_t n_labels;
	/* Set by a signal handler: what is finished gets sealed. */
	const volatile sig_atomic_t *cancelled;
	/* A collector begins (step NULL) or has ended, having stored so many bytes. NULL allowed. */
	void (*progress)(void *arg, const char *collector, const struct gd_step *step,
	                 uint64_t bytes);
	/* Within a step that takes long: so much of so much is done.  NULL allowed. */
	void (*progress_bytes)(void *arg, const char *name, uint64_t bytes, uint64_t of_bytes);
	/* Within the window of a collector that needs time. NULL allowed. */
	void (*progress_time)(void *arg, const char *name, int64_t ns, int64_t of_ns);
	void *progress_arg;
	const struct gd_connector *connector; /* one that runs (connector.h); NULL: started if needed */
	uint64_t silent_ns; /* a reader that does nothing for so long is ended; 0: 10 s */
};

struct gd_capture_result {
	struct gd_snapshot snapshot; /* whatever is known, also on failure */
	struct gd_sealed sealed;     /* path "" when nothing was sealed */
};

/*
 * Runs it.  `err` is filled for every exit but complete.  *ret is always valid and released with
 * gd_capture_result_deinit.
 */
enum gd_exit gd_capture_run(const struct gd_capture_options *options,
                            struct gd_capture_result *ret, struct gd_error *err);
void gd_capture_result_deinit(struct gd_capture_result *result);

/*
 * What an image of that process would cost, by a process in the freezer's role; touches nothing.  The
 * exit status says how that went.
 */
enum gd_exit gd_capture_plan(pid_t pid, const struct gd_capture_freeze *freeze,
                             const char *output_dir, struct gd_freeze_plan *ret,
                             struct gd_error *err);

/* Whether the table of states makes sense (see gd_sm_check); for the test suite. */
int gd_capture_check_states(struct gd_error *err);
