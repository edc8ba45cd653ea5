/*
 * Who a role is and what it may by right: uid, groups, capabilities.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/role_jail.h"
#include "base/cleanup.h"

/* Whoever has none of its own: the kernel's overflow uid, which owns nothing. */
#define NOBODY 65534

#define BIT(capability) (UINT64_C(1) << (capability))

/* glibc has no wrappers for these two; libcap would be a library for two lines. */
static int get_capabilities(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capget, &head, data) < 0 ? -errno : 0;
}

static int set_capabilities(const struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/*
 * Read from the file itself: getpwnam would load modules and talk to directory services, and a user
 * of ours is always local (sysusers.d).
 */
static void find_user(const char *name, uid_t *uid, gid_t *gid)
{
	GD_FCLOSE FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *row;
	*uid = NOBODY;
	*gid = NOBODY;
	while (file != NULL && (row = fgetpwent(file)) != NULL) {
		/* A uid 0 under our name would be somebody's trap. */
		if (strcmp(row->pw_name, name) != 0 || row->pw_uid == 0)
			continue;
		*uid = row->pw_uid;
		*gid = row->pw_gid;
		return;
	}
}

static int take_user(const struct gd_role_info *info, struct gd_error *err)
{
	uid_t uid;
	gid_t gid;
	find_user(info->user, &uid, &gid);
	/* Capabilities that the role keeps survive the change only when asked to. */
	if (info->capabilities != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return gd_fail_errno(err, -errno, "PR_SET_KEEPCAPS");
	if (setgroups(0, NULL) < 0)
		return gd_fail_errno(err, -errno, "setgroups");
	if (setresgid(gid, gid, gid) < 0)
		return gd_fail_errno(err, -errno, "setresgid %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		return gd_fail_errno(err, -errno, "setresuid %u", uid);
	return 0;
}

/* What no execve can bring back; without CAP_SETPCAP no_new_privs has to do. */
static void drop_bounds(uint64_t keep)
{
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int capability = 0; capability < 64; capability++)
		if ((keep & BIT(capability)) == 0 &&
		    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return; /* beyond the last one, or not permitted */
}

int gd_role_jail_privileges(const struct gd_role_info *info, struct gd_error *err)
{
	struct __user_cap_data_struct data[2] = { 0 };
	int r = get_capabilities(data);
	if (r < 0)
		return gd_fail_errno(err, r, "capget");
	uint64_t has = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	uint64_t users = BIT(CAP_SETUID) | BIT(CAP_SETGID);
	drop_bounds(info->capabilities);
	if (info->user != NULL && (has & users) == users)
		r = take_user(info, err);
	if (r < 0)
		return r;
	uint64_t keep = has & info->capabilities;
	for (int i = 0; i < 2; i++) {
		uint32_t word = (uint32_t)(keep >> (32 * i));
		data[i] = (struct __user_cap_data_struct){ .effective = word, .permitted = word };
	}
	r = set_capabilities(data);
	return r < 0 ? gd_fail_errno(err, r, "capset") : 0;
}
