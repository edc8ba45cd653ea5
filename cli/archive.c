#include "cli/archive.h"

#include <errno.h>

#include "agent/exit.h"
#include "cli/cli.h"

int gd_cli_archive_status(int code)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return GD_EXIT_PERMISSION;
	case -ENOSPC:
	case -EROFS:
		return GD_EXIT_SPACE;
	default:
		return GD_EXIT_USAGE;
	}
}

int gd_cli_archive_open(const char *command, const char *path, struct gd_reader *ret)
{
	struct gd_error err;
	int r = gd_reader_open(path, ret, &err);
	return r < 0 ? gd_cli_fail(gd_cli_archive_status(r), command, &err) : 0;
}
