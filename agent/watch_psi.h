#pragma once
/*
 * Pressure stall information of one place (a cgroup, or the host): which part of the last ten
 * seconds somebody (some) or everybody (full) waited for CPU, memory or I/O.  From the difference of
 * the kernel's totals, not from its avg10, which lags behind.
 */
#include <stdint.h>

#include "policies/metric.h"

#define GD_WATCH_PSI_WINDOW_NS 10000000000
#define GD_WATCH_PSI_READINGS 16

enum { GD_WATCH_PSI_CPU, GD_WATCH_PSI_MEMORY, GD_WATCH_PSI_IO, GD_WATCH_PSI_KINDS };

struct gd_watch_psi_reading {
	int64_t at_ns;                                  /* monotonic */
	uint64_t some_us[GD_WATCH_PSI_KINDS];           /* UINT64_MAX: not there */
	uint64_t full_us[GD_WATCH_PSI_KINDS];
};

struct gd_watch_psi {
	int fds[GD_WATCH_PSI_KINDS];                    /* -1: this kernel has none */
	struct gd_watch_psi_reading ring[GD_WATCH_PSI_READINGS];
	unsigned n, next;
};

/* Opens cpu, memory and io below dir_fd with that suffix ("" in /proc/pressure, ".pressure" in a
 * cgroup).  -ENOENT: none of them is there. */
int gd_watch_psi_open(int dir_fd, const char *suffix, struct gd_watch_psi *ret);
void gd_watch_psi_close(struct gd_watch_psi *psi);

/* Reads it.  Of readings more often than once a second only the newest is kept. */
void gd_watch_psi_read(struct gd_watch_psi *psi, int64_t monotonic_ns);

/* Fills the six metrics; they stay as they are where there is nothing to compare with. */
void gd_watch_psi_values(const struct gd_watch_psi *psi, double values[GD_METRICS]);

/* "some avg10=... total=N\nfull ... total=N\n"; UINT64_MAX for what is missing. */
void gd_watch_psi_parse(const char *text, uint64_t *some_us, uint64_t *full_us);
