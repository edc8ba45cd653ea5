#include "cli/extract_core.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/exit.h"
#include "archive/core_elf.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/archive.h"
#include "cli/cli.h"

static void on_problem(void *arg, const char *sentence)
{
	const char *command = arg;
	struct gd_error err;
	(void)gd_fail(&err, -EBADMSG, "%s", sentence);
	(void)gd_cli_fail(0, command, &err);
}

/* A descriptor of the archive with that digest in the directory of `file`. */
static int look_beside(const char *file, const char *digest, struct gd_error *err)
{
	GD_FREE char *copy = strdup(file);
	if (copy == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", file);
	GD_CLOSE int dir_fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return gd_fail_errno(err, -errno, "directory of %.150s", file);
	return gd_core_base_look(dir_fd, digest, err);
}

/* *ret stays NULL when the core has no base, or when that is not found: it may do without. */
static int open_base(const struct gd_cli_core *core, struct gd_core_base **ret,
                     struct gd_error *err)
{
	struct gd_core_map map;
	int r = gd_core_read_map(core->reader, &map, err);
	if (r < 0)
		return r;
	struct gd_core_head head = map.head;
	gd_core_map_deinit(&map);
	if (!head.has_base)
		return 0;
	int fd = core->base == NULL ? look_beside(core->file, head.base_digest, NULL)
	                            : open(core->base, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && core->base != NULL)
		return gd_fail_errno(err, -errno, "%.150s", core->base);
	return fd < 0 ? 0 : gd_core_base_open(fd, ret, err);
}

static int write_core(const char *command, const struct gd_cli_core *core,
                      const struct gd_core_base *base, struct gd_core_elf_result *ret,
                      struct gd_error *err)
{
	char name[128];
	(void)snprintf(name, sizeof(name), "%s", command);
	GD_CLOSE int fd = openat(core->dir_fd, core->to,
	                         O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EEXIST)
		return gd_fail(err, -EEXIST, "%.150s exists already, not overwritten", core->to);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%.150s", core->to);
	int r = gd_core_elf_write(core->reader, base, fd, on_problem, name, ret, err);
	if (r < 0)
		(void)unlinkat(core->dir_fd, core->to, 0);
	return r;
}

int gd_cli_extract_core(const char *command, const struct gd_cli_core *core)
{
	struct gd_core_base *base = NULL;
	struct gd_core_elf_result result = { 0 };
	struct gd_error err;
	if (core->dir_fd == -1) {
		(void)gd_fail(&err, -EINVAL, "a core has holes and does not go to standard output");
		return gd_cli_fail(GD_EXIT_USAGE, command, &err);
	}
	if (gd_reader_artifact(core->reader, GD_CORE_MAP_NAME) == NULL) {
		(void)gd_fail(&err, -ENOENT, "%.150s has no core", core->file);
		return gd_cli_fail(GD_EXIT_USAGE, command, &err);
	}
	int r = open_base(core, &base, &err);
	if (r == 0)
		r = write_core(command, core, base, &result, &err);
	gd_core_base_close(base);
	if (r < 0) {
		bool missing = r == -EBADMSG || r == -E2BIG || r == -ENOENT || r == -ENOTSUP;
		return gd_cli_fail(missing ? GD_EXIT_PARTIAL : gd_cli_archive_status(r), command,
		                   &err);
	}
	if (!core->quiet) {
		char size[GD_UNITS_TEXT];
		char stored[GD_UNITS_TEXT];
		char name[1000];
		gd_text_escape(name, sizeof(name), core->to, strlen(core->to));
		(void)printf("%s  %s, %s of it in use\n", name,
		             gd_units_bytes(size, result.file_bytes),
		             gd_units_bytes(stored, result.stored_bytes));
	}
	return result.problems > 0 ? GD_EXIT_PARTIAL : GD_EXIT_COMPLETE;
}
