#pragma once
/* What the commands that read archives have in common. */
#include "archive/reader.h"
#include "base/error.h"

/* The exit status for a negative errno: permission, space, or usage for all the rest. */
int gd_cli_archive_status(int code);

/* Opens `path` or prints why not; 0 or the exit status. */
int gd_cli_archive_open(const char *command, const char *path, struct gd_reader *ret);
