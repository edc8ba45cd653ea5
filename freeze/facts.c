#include "freeze/facts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "freeze/kernel.h"
#include "freeze/stop.h"

#define TEXT_MAX (64u << 10)
#define THREADS_LOOKED_AT 8192 /* about 10 us each */
#define FDS_LOOKED_AT 16384    /* about 1 us each */

void gd_freeze_facts_miss(struct gd_freeze_facts *facts, const struct gd_error *err)
{
	if (facts->unreadable.code == 0)
		facts->unreadable = *err;
}

const char *gd_freeze_facts_field(const char *text, const char *name)
{
	/* A name of the target's own choice cannot begin a line: the kernel escapes newlines. */
	size_t n = strlen(name);
	for (const char *line = text; *line != '\0';) {
		if (strncmp(line, name, n) == 0 && line[n] == ':') {
			line += n + 1;
			return line + strspn(line, " \t");
		}
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return NULL;
}

uint64_t gd_freeze_facts_number(const char *text, const char *name, int base)
{
	const char *value = gd_freeze_facts_field(text, name);
	uint64_t number = 0;
	return value != NULL && gd_text_u64(value, NULL, base, &number) ? number : 0;
}

static bool line_has(const char *line, const char *word)
{
	const char *at = line != NULL ? strstr(line, word) : NULL;
	return at != NULL && at < line + strcspn(line, "\n");
}

static uint64_t kib(const char *status, const char *name)
{
	return gd_freeze_facts_number(status, name, 10) << 10;
}

/* "NSpid: 4242 17 1": the last one is its pid in the innermost namespace. */
static bool is_namespace_init(const char *status)
{
	const char *pids = gd_freeze_facts_field(status, "NSpid");
	uint64_t pid = 0;
	while (pids != NULL && gd_text_u64(pids, &pids, 10, &pid))
		pids += strspn(pids, " \t");
	return pid == 1;
}

static void from_status(const char *status, struct gd_freeze_facts *facts)
{
	facts->threads = gd_freeze_facts_number(status, "Threads", 10);
	facts->tracer_pid = (int)gd_freeze_facts_number(status, "TracerPid", 10);
	facts->seccomp = (int)gd_freeze_facts_number(status, "Seccomp", 10);
	facts->vm_pinned = kib(status, "VmPin") != 0;
	facts->go_signal =
		(gd_freeze_facts_number(status, "SigCgt", 16) >> (SIGURG - 1) & 1) != 0;
	facts->shadow_stack =
		line_has(gd_freeze_facts_field(status, "x86_Thread_features"), "shstk");
	facts->namespace_init = is_namespace_init(status);
	/* Counters the kernel keeps anyway. */
	facts->rss_bytes = kib(status, "VmRSS");
	facts->anon_bytes = kib(status, "RssAnon");
	facts->shmem_bytes = kib(status, "RssShmem");
	facts->hugetlb_bytes = kib(status, "HugetlbPages");
}

static void read_state(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_stat stat;
	struct gd_error err = { 0 };
	char path[sizeof(target->via) + 8];
	/* A main thread that has exited alone is for ever Z: another one tells. */
	(void)snprintf(path, sizeof(path), "%sstat", target->via);
	if (gd_target_read_file(target, path, &text, &err) < 0 ||
	    gd_stat_parse(text.data, text.len, &stat, &err) < 0)
		gd_freeze_facts_miss(facts, &err);
	else
		facts->state = stat.state;
}

static void count_uninterruptible(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf tids =
		GD_BUF_INIT((size_t)THREADS_LOOKED_AT * sizeof(int32_t));
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	struct gd_error err = { 0 };
	int r = target->access->ops->list(target->access, "task", THREADS_LOOKED_AT, &tids, &err);
	if (r < 0 && r != -E2BIG)
		gd_freeze_facts_miss(facts, &err);
	for (size_t i = 0; i < tids.len / sizeof(int32_t); i++) {
		char path[40];
		int32_t tid;
		struct gd_stat stat;
		memcpy(&tid, tids.data + i * sizeof(tid), sizeof(tid));
		(void)snprintf(path, sizeof(path), "task/%d/stat", tid);
		gd_buf_reset(&text);
		/* A thread that has ended meanwhile is not in anybody's way. */
		if (gd_target_read_file(target, path, &text, NULL) == 0 &&
		    gd_stat_parse(text.data, text.len, &stat, NULL) == 0 && stat.state == 'D')
			facts->uninterruptible++;
	}
}

static void look_at_fds(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf fds = GD_BUF_INIT((size_t)FDS_LOOKED_AT * sizeof(int32_t));
	struct gd_error err = { 0 };
	int r = target->access->ops->list(target->access, "fd", FDS_LOOKED_AT, &fds, &err);
	if (r < 0)
		gd_freeze_facts_miss(facts, &err);
	for (size_t i = 0; i < fds.len / sizeof(int32_t); i++) {
		char path[24];
		char link[64];
		int32_t fd;
		memcpy(&fd, fds.data + i * sizeof(fd), sizeof(fd));
		(void)snprintf(path, sizeof(path), "fd/%d", fd);
		/* Longer links are paths, and neither of the two. */
		if (gd_target_read_link(target, path, link, sizeof(link), NULL) < 0)
			continue;
		facts->io_uring |= strcmp(link, "anon_inode:[io_uring]") == 0;
		facts->userfaultfd |= strcmp(link, "anon_inode:[userfaultfd]") == 0;
	}
}

/* "Max core file size   0   unlimited   bytes" */
static void read_limits(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	struct gd_error err = { 0 };
	static const char name[] = "Max core file size";
	facts->core_limit_zero = true;
	if (gd_target_read_file(target, "limits", &text, &err) < 0) {
		gd_freeze_facts_miss(facts, &err);
		return;
	}
	const char *line = strstr(gd_buf_str(&text), name);
	if (line == NULL) {
		(void)gd_fail(&err, -EBADMSG, "limits: no line '%s'", name);
		gd_freeze_facts_miss(facts, &err);
		return;
	}
	line += sizeof(name) - 1;
	line += strspn(line, " ");
	line += strcspn(line, " \n");
	line += strspn(line, " ");
	facts->core_limit_zero = line[0] == '0' && line[1] == ' ';
}

static void read_exe(struct gd_target *target, struct gd_freeze_facts *facts)
{
	/* The magic number, then the class: 1 is ELFCLASS32. */
	unsigned char head[5] = { 0 };
	if (target->fds.exe_fd < 0)
		gd_freeze_facts_miss(facts, &target->exe_error);
	else if (pread(target->fds.exe_fd, head, sizeof(head), 0) == (ssize_t)sizeof(head))
		facts->native_32bit = memcmp(head, "\177ELF", 4) == 0 && head[4] == 1;
}

int gd_freeze_facts_gather(struct gd_target *target, struct gd_freeze_facts *ret,
                           struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	struct gd_freeze_facts facts = { .space_bytes = UINT64_MAX };
	char path[sizeof(target->via) + 8];
	(void)snprintf(path, sizeof(path), "%sstatus", target->via);
	int r = gd_target_read_file(target, path, &text, err);
	if (r < 0)
		return r;
	const char *status = gd_buf_str(&text);
	from_status(status, &facts);
	read_state(target, &facts);
	read_limits(target, &facts);
	read_exe(target, &facts);
	gd_freeze_facts_dumpable(target, status, &facts);
	gd_freeze_facts_memory(target, &facts);
	gd_freeze_facts_cgroup(target, &facts);
	look_at_fds(target, &facts);
	count_uninterruptible(target, &facts);
	(void)gd_inject_possible(target, &facts.no_injection);
	const struct gd_freeze_kernel *kernel = gd_freeze_kernel();
	facts.kernel_soft_dirty = kernel->soft_dirty;
	facts.kernel_uffd_wp = kernel->uffd_wp;
	facts.kernel_pagemap_scan = kernel->pagemap_scan;
	*ret = facts;
	return 0;
}
