/*
 * Has the process said that its memory is nobody's business (PR_SET_DUMPABLE 0, or the kernel for
 * it after setuid)?  prctl tells this only to the process itself; from outside it shows in two
 * ways.
 *
 * Owner: the kernel gives the files of an undumpable process to root, but its directory stays that
 * of its effective uid (task_dump_owner of fs/proc/base.c; since 3.x).  Of a process that is
 * root's already, uid and gid, this says nothing.
 *
 * Permission: whoever has the very credentials of a process may look at it unless it is
 * undumpable. Root without CAP_SYS_PTRACE is that for root's processes, so we ask with that
 * capability laid down for one call, kcmp(2), which changes nothing.  It needs its uids, its gids,
 * all its capabilities and its user namespace: the daemon with its few capabilities cannot know it
 * of root's processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "freeze/facts.h"

enum answer { NO, YES, UNKNOWN };

/* The outer id of the target's inner 0; 0 when it cannot be read, which is the careful answer. */
static uint64_t outer_root(struct gd_target *target, const char *map)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(16384);
	if (gd_target_read_file(target, map, &text, NULL) < 0)
		return 0;
	for (const char *line = gd_buf_str(&text); *line != '\0';) {
		uint64_t inner;
		uint64_t outer;
		const char *at = line + strspn(line, " ");
		if (gd_text_u64(at, &at, 10, &inner) && inner == 0 &&
		    gd_text_u64(at + strspn(at, " "), NULL, 10, &outer))
			return outer;
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return 0;
}

static enum answer by_owner(struct gd_target *target)
{
	struct stat directory;
	struct stat file;
	char path[sizeof(target->via) + 8];
	(void)snprintf(path, sizeof(path), "%sstat", target->via);
	if (target->fds.proc_fd < 0 || fstat(target->fds.proc_fd, &directory) < 0 ||
	    fstatat(target->fds.proc_fd, path, &file, AT_SYMLINK_NOFOLLOW) < 0)
		return UNKNOWN;
	if (directory.st_uid != file.st_uid || directory.st_gid != file.st_gid)
		return NO;
	/* Root is root of the namespace it began in: 0, or what that maps to. */
	bool is_root = (file.st_uid == 0 || file.st_uid == outer_root(target, "uid_map")) &&
	               (file.st_gid == 0 || file.st_gid == outer_root(target, "gid_map"));
	return is_root ? UNKNOWN : YES;
}

/* All four numbers of the line are `id`. */
static bool all_are(const char *line, uint64_t id)
{
	for (int i = 0; i < 4; i++) {
		uint64_t number;
		if (line == NULL || !gd_text_u64(line, &line, 10, &number) || number != id)
			return false;
		line += strspn(line, " \t");
	}
	return true;
}

static bool same_namespace(struct gd_target *target)
{
	char theirs[64];
	char ours[64];
	ssize_t n = readlink("/proc/self/ns/user", ours, sizeof(ours) - 1);
	if (n <= 0 || gd_target_read_link(target, "ns/user", theirs, sizeof(theirs), NULL) < 0)
		return false;
	ours[n] = '\0';
	return strcmp(ours, theirs) == 0;
}

/* The lower and the upper 32 of a set, as the kernel passes it. */
struct capabilities {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static bool have_all(const struct capabilities *ours, uint64_t theirs)
{
	uint64_t have = ours->data[0].permitted | (uint64_t)ours->data[1].permitted << 32;
	return (theirs & ~have) == 0;
}

static enum answer by_permission(struct gd_target *target, const char *status)
{
	struct capabilities ours = { .head = { .version = _LINUX_CAPABILITY_VERSION_3 } };
	if (!all_are(gd_freeze_facts_field(status, "Uid"), getuid()) ||
	    !all_are(gd_freeze_facts_field(status, "Gid"), getgid()) ||
	    syscall(SYS_capget, &ours.head, ours.data) < 0 ||
	    !have_all(&ours, gd_freeze_facts_number(status, "CapPrm", 16)) ||
	    !same_namespace(target))
		return UNKNOWN;
	struct capabilities less = ours;
	less.data[0].effective &= ~(1u << CAP_SYS_PTRACE);
	if (syscall(SYS_capset, &less.head, less.data) < 0)
		return UNKNOWN;
	long r = syscall(SYS_kcmp, getpid(), target->pid, KCMP_VM, 0, 0);
	int code = r < 0 ? errno : 0;
	/* Back to what is permitted anyway: this cannot be refused. */
	(void)syscall(SYS_capset, &ours.head, ours.data);
	return code == 0 ? YES : code == EPERM ? NO : UNKNOWN;
}

void gd_freeze_facts_dumpable(struct gd_target *target, const char *status,
                              struct gd_freeze_facts *facts)
{
	enum answer answer = by_owner(target);
	if (answer == UNKNOWN)
		answer = by_permission(target, status);
	facts->dumpable = answer == YES;
	facts->dumpable_unknown = answer == UNKNOWN;
}
