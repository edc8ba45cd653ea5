#pragma once
/*
 * What policies ask of a process to tell whose it is (policies/match.h), read from /proc as far as
 * we may and asked of the broker where we may not.  All of it is the process's own choice: bytes to
 * compare, never to trust.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/watch_ask.h"
#include "policies/match.h"

#define GD_WATCH_PORTS_MAX 64
#define GD_WATCH_MEMBERSHIP_MAX 8192

struct gd_watch_facts {
	struct gd_subject_id id;
	bool kernel_thread;
	char comm[16];
	char membership[GD_WATCH_MEMBERSHIP_MAX]; /* text of /proc/PID/cgroup; "" not asked or read */
	struct gd_facts facts; /* points into the rest */
	char unit[256], cgroup[4096], exe[4096], cmdline[4096];
	char container[65], pod_uid[37];
	uint16_t ports[GD_WATCH_PORTS_MAX];
};

/*
 * `needs` as gd_match_needs says; what was not asked or cannot be read is "" or none.  `ask` NULL:
 * nobody to ask.  -ESRCH: it has gone (also as a zombie); -EACCES, -EPERM: hidden from us; -EPIPE:
 * the broker has gone.
 */
int gd_watch_facts_read(int proc_fd, int32_t pid, unsigned needs, struct gd_watch_ask *ask,
                        struct gd_watch_facts *ret);

/* Its membership, cgroup and unit, when `needs` did not ask for them. */
void gd_watch_facts_group(int proc_fd, struct gd_watch_facts *facts);

/* Real uid of a status file's text; -1. */
int64_t gd_watch_facts_parse_uid(const char *status);

/* Arguments end with NUL each: makes it one text with single blanks. */
void gd_watch_facts_join(char *arguments, size_t n);
