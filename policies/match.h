#pragma once
/*
 * Which service a process belongs to: the first one whose match holds.  Facts are collected only
 * when some service asks for them (`needs`), because two of them are dear (exe, listen).
 */
#include "policies/policy.h"

enum gd_fact {
	GD_FACT_UNIT = 1,
	GD_FACT_EXE = 2,
	GD_FACT_COMM = 4,
	GD_FACT_CMDLINE = 8,
	GD_FACT_CGROUP = 16,
	GD_FACT_CONTAINER = 32,
	GD_FACT_LISTEN = 64,
	GD_FACT_UID = 128,
};

/* Raw foreign bytes, NUL-terminated; "" unknown. */
struct gd_facts {
	const char *unit, *exe, *comm, *cmdline, *cgroup, *container, *pod_uid;
	const uint16_t *ports; /* TCP ports it listens on */
	size_t n_ports;
	int64_t uid;           /* -1 unknown */
};

/* OR of enum gd_fact that at least one service of the policy looks at. */
unsigned gd_match_needs(const struct gd_policy *policy);

/* Index of the service, or -1. */
int gd_match_find(const struct gd_policy *policy, const struct gd_facts *facts);

/* The systemd unit in a cgroup path ("/system.slice/a.service/x" -> "a.service"); "" none. */
void gd_match_unit_of_cgroup(const char *cgroup, char *to, size_t size);

/*
 * Whole-text patterns over bytes: `*` any run (also of '/'), `?` any byte, `[a-z]`, `[!a-z]`, and
 * `\` takes the next byte as it is.  `pattern` has passed the check.  Time is at most the product of
 * both lengths.
 */
bool gd_match_glob(const char *pattern, const char *text);
/* -EINVAL: an open bracket or a lone backslash. */
int gd_match_glob_check(const char *pattern, struct gd_error *err);
