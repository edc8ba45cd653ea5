#pragma once
/*
 * Where the CPU time of a window went and what its threads waited for: cpu.pb.gz and offcpu.pb.gz added
 * up by site and by label, and the system calls that were counted meanwhile.  Foreign bytes, bounded.
 */
#include <stdint.h>

#include "archive/reader.h"
#include "report/sites.h"
#include "report/syscalls.h"

#define GD_CPU_SHARES_MAX 16

struct gd_cpu_share {
	char name[24]; /* of a class or a state; raw */
	int64_t ns;
};

struct gd_cpu_shares {
	struct gd_cpu_share list[GD_CPU_SHARES_MAX]; /* largest first */
	size_t n;
	int64_t ns; /* of all, also of those that have no place in the list */
};

struct gd_cpu {
	int64_t window_ns;
	struct gd_sites sites;        /* value: CPU ns, count: samples */
	struct gd_cpu_shares classes; /* "gc assist", "user", ... */
	/* Off the CPU, by state; without the runtime's threads that had nothing to do.  n 0: not known. */
	struct gd_cpu_shares away;
	struct gd_syscalls syscalls;  /* all 0: not counted */
};

/* -ENOENT when the archive has no CPU profile; -EBADMSG when it is none. */
int gd_cpu_read(const struct gd_reader *reader, struct gd_cpu *ret, struct gd_error *err);
void gd_cpu_deinit(struct gd_cpu *cpu);
