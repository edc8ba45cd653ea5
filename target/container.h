#pragma once
/*
 * Which container and pod a target lives in, as far as /proc tells from outside: by the shapes that
 * docker, containerd, cri-o and podman give their cgroups.  Ids are checked to be hex, so they are
 * safe in file names and labels; no runtime is asked and no namespace entered.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "target/target.h"

struct gd_container {
	char id[65];           /* 64 lower-case hex; "" outside of a container */
	char runtime[16];      /* "docker", "containerd", "cri-o", "podman", "" unknown */
	char pod_uid[37];      /* Kubernetes pod, dashed (static pods: 32 hex); "" */
	char cgroup[1024];     /* path as the kernel names it, escaped; cut with "..." */
	int32_t innermost_pid; /* its pid in its own pid namespace; 0 unknown */
};

/* Reads /proc/PID/cgroup and status. */
int gd_container_read(struct gd_target *target, struct gd_container *ret, struct gd_error *err);

/* The text of a cgroup file; foreign.  Fills id, runtime, pod_uid and cgroup. */
void gd_container_parse_cgroup(const char *text, size_t len, struct gd_container *ret);

/* The last number of the NSpid line of a status file; 0 when there is none. */
int32_t gd_container_parse_nspid(const char *status, size_t len);
