#pragma once
/*
 * One capture from trigger to sealed archive: the way of a capture, as a declared state machine.
 * The command line and the daemon run the same one.  It owns target, runtime and archive while it
 * runs; its caller gets an outcome, a path and a digest.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "archive/archive.h"
#include "archive/snapshot.h"
#include "base/error.h"
#include "collectors/collector.h"

struct gd_capture_options {
	pid_t pid;
	enum gd_profile profile;
	const char *only;  /* comma-separated collector names, NULL: by profile */
	const char *skip;
	const char *output_dir;
	const char *trigger; /* "manual" */
	const char *reason;  /* NULL or free text */
	const struct gd_label *labels;
	size_t n_labels;
	const volatile sig_atomic_t *cancelled;
	/* Called when a collector begins (row NULL) and for each artifact it finished. */
	void (*progress)(void *arg, const char *collector, const struct gd_step *ended,
	                 uint64_t bytes);
	void *progress_arg;
};

struct gd_capture_result {
	struct gd_snapshot snapshot; /* deinit by the caller */
	struct gd_sealed sealed;
};

/*
 * Exit codes of the design, which the result maps to (see gd_capture_exit_code):
 * 0 complete, 2 target gone, 3 no permission, 4 partial, 5 no space, 130 interrupted.
 * A negative return means that nothing was sealed; a positive or zero one that something was.
 */
int gd_capture_run(const struct gd_capture_options *options, struct gd_capture_result *ret,
                   struct gd_error *err);

/* -EINVAL names the unknown collector. */
int gd_capture_check_names(const char *only, const char *skip, struct gd_error *err);

/* The process's exit code for what gd_capture_run returned. */
int gd_capture_exit_code(int r, const struct gd_capture_result *result);
