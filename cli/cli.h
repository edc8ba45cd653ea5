#pragma once
/*
 * The commands: one file each.  A command gets its own argv (argv[0] is its name), prints its own
 * messages and returns the process's exit status (agent/exit.h).
 */
#include "base/error.h"

/* Where the agent's sockets are unless --run says otherwise. */
#define GD_CLI_RUN_DIR "/run/godiag"
#define GD_CLI_CONFIG "/etc/godiag" /* the policy */

int gd_cli_agent(int argc, char **argv);
int gd_cli_capture(int argc, char **argv);
int gd_cli_check(int argc, char **argv);
int gd_cli_doctor(int argc, char **argv);
int gd_cli_enable(int argc, char **argv);
int gd_cli_extract(int argc, char **argv);
int gd_cli_hook(int argc, char **argv);
int gd_cli_list(int argc, char **argv);
int gd_cli_prune(int argc, char **argv);
int gd_cli_report(int argc, char **argv);
int gd_cli_show(int argc, char **argv);
int gd_cli_status(int argc, char **argv);
int gd_cli_upload(int argc, char **argv);
int gd_cli_verify(int argc, char **argv);

/* "godiag show: FILE: ..." on stderr, escaped; returns status. */
int gd_cli_fail(int status, const char *command, const struct gd_error *err);
