/*
 * Which files a role may open: Landlock, by raw system calls, because glibc has no wrappers.  Bits
 * that the build machine's header does not know yet are spelled out; the kernel is asked which ones it
 * knows.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/role_jail.h"
#include "base/cleanup.h"

/* linux/landlock.h of 6.12; an older kernel takes the shorter struct. */
struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* from version 4 */
	uint64_t scoped;             /* from version 6 */
};

enum {
	FS_VERSION_1 = (1 << 13) - 1, /* EXECUTE ... MAKE_SYM */
	FS_REFER = 1 << 13,           /* version 2 */
	FS_TRUNCATE = 1 << 14,        /* version 3 */
	FS_IOCTL_DEV = 1 << 15,       /* version 5 */
	NET_BIND_CONNECT = 3,         /* version 4: TCP */
	SCOPE_ABSTRACT_UNIX_AND_SIGNAL = 3, /* version 6 */

	READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
	WRITE = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
	        LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE,
	/* What a rule about something that is no directory may name. */
	OF_A_FILE = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
	            LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
};

int gd_role_jail_landlock(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
	                       LANDLOCK_CREATE_RULESET_VERSION);
	return version < 0 ? 0 : (int)version;
}

static struct ruleset ruleset_of(const struct gd_role_info *info, int version, size_t *size)
{
	struct ruleset set = { .handled_access_fs = FS_VERSION_1 };
	*size = sizeof(set.handled_access_fs);
	if (version >= 2)
		set.handled_access_fs |= FS_REFER;
	if (version >= 3)
		set.handled_access_fs |= FS_TRUNCATE;
	if (version >= 4) {
		*size = offsetof(struct ruleset, scoped);
		set.handled_access_net = info->network ? 0 : NET_BIND_CONNECT;
	}
	if (version >= 5)
		set.handled_access_fs |= FS_IOCTL_DEV;
	if (version >= 6) {
		*size = sizeof(set);
		set.scoped = SCOPE_ABSTRACT_UNIX_AND_SIGNAL;
	}
	return set;
}

/* What is not there needs no rule; the fresh file that takes its place later stays closed. */
static int allow(int set_fd, const char *path, uint64_t access, struct gd_error *err)
{
	struct stat st;
	if (path[0] == '$')
		path = getenv(path + 1);
	if (path == NULL || path[0] == '\0')
		return 0;
	GD_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	struct landlock_path_beneath_attr rule = {
		.allowed_access = S_ISDIR(st.st_mode) ? access : access & OF_A_FILE,
		.parent_fd = fd,
	};
	if (syscall(SYS_landlock_add_rule, set_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return gd_fail_errno(err, -errno, "landlock_add_rule %s", path);
	return 0;
}

static int allow_all(int set_fd, const char *const *paths, uint64_t access, struct gd_error *err)
{
	int r = 0;
	for (; paths != NULL && *paths != NULL && r == 0; paths++)
		r = allow(set_fd, *paths, access, err);
	return r;
}

int gd_role_jail_files(const struct gd_role_info *info, const char *const *more, size_t n_more,
                       struct gd_role_gaps *gaps, struct gd_error *err)
{
	int version = gd_role_jail_landlock();
	if (version == 0) {
		(void)snprintf(gaps->text, sizeof(gaps->text),
		               "Landlock: not in this kernel (5.13), or not among its lsm=; files "
		               "are guarded by uid and system call filter alone");
		return 0;
	}
	size_t size;
	struct ruleset set = ruleset_of(info, version, &size);
	GD_CLOSE int fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "landlock_create_ruleset");
	int r = allow_all(fd, info->read_paths, READ, err);
	if (r == 0)
		r = allow_all(fd, info->write_paths, WRITE & set.handled_access_fs, err);
	for (size_t i = 0; i < n_more && r == 0; i++)
		r = allow(fd, more[i], READ, err);
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		r = gd_fail_errno(err, -errno, "landlock_restrict_self");
	return r;
}
