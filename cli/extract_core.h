#pragma once
/*
 * `godiag extract FILE core`: the ELF core, and where its base capture is.
 */
#include <stdbool.h>

#include "archive/reader.h"

#define GD_CLI_CORE "core" /* the name that stands for it */

struct gd_cli_core {
	const struct gd_reader *reader;
	const char *file; /* the archive: its base is looked for beside it */
	const char *base; /* or this file; NULL */
	int dir_fd;       /* where `to` is; -1: stdout, which is refused */
	const char *to;
	bool quiet;
};

/* Says what is to be said; the exit status. */
int gd_cli_extract_core(const char *command, const struct gd_cli_core *core);
