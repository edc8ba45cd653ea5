#pragma once
/*
 * Who a target is: whether a pidfd and a /proc/PID directory mean the same process, whether that
 * process has ended, and whether it has become another program.  No state of its own.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "target/target.h"

/*
 * Opens a pidfd and /proc/PID such that both are certain to be the same process, even when the pid
 * is reused in between.  -ESRCH; -EINVAL for a thread that is not the leader of its process.
 */
int gd_identity_open(pid_t pid, int *ret_pid_fd, int *ret_proc_fd, struct gd_error *err);

/* All threads are gone (a zombie counts as ended). */
bool gd_identity_ended(int pid_fd);

/* A number that changes when the process calls execve; 0 when we may not know.  `via` as in
 * struct gd_target. */
uint64_t gd_identity_exec_mark(int proc_fd, const char *via);

/*
 * 0, -ESRCH or -ESTALE as gd_target_check says.  fds->mem_fd may be -1, exec_mark may be 0; the more of
 * them there is, the surer is the answer about execve.
 */
int gd_identity_check(const struct gd_target_fds *fds, const char *via, uint64_t exec_mark,
                      struct gd_error *err);
