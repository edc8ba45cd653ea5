#pragma once
/*
 * What the command line of godiag-capture asks for.  Texts are borrowed from argv.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/capture.h"
#include "base/error.h"

#define GD_CLI_CAPTURE "godiag-capture"
#define GD_CLI_CAPTURE_LABELS_MAX 32

struct gd_cli_capture_request {
	pid_t pid;
	enum gd_profile profile;
	const char *only, *skip, *upload, *reason;
	const char *output; /* NULL: not given, the current directory */
	const char *unit, *service, *run;
	bool by_agent; /* asked for, or the only way */
	struct gd_label labels[GD_CLI_CAPTURE_LABELS_MAX];
	size_t n_labels;
	bool plan_only, json, quiet, help;
	const char *core; /* "thin", "full"; NULL: as the profile says */
	const char *base;
	struct gd_capture_freeze freeze;
	int64_t duration_ns;   /* 0: not given */
	uint32_t frequency_hz; /* the same */
	bool syscalls;
	bool debug_port, debug_trace_given;
	uint16_t debug_port_number; /* 0: any */
	int64_t debug_trace_ns;
};

/* 0, 1 when there is nothing to do any more (--help), or -EINVAL: what to write instead. */
int gd_cli_capture_parse(int argc, char **argv, struct gd_cli_capture_request *ret,
                         struct gd_error *err);

/* Which collectors that means; -EINVAL as above. */
int gd_cli_capture_make_plan(const struct gd_cli_capture_request *request, struct gd_plan *ret,
                             struct gd_error *err);
