#include "collectors/core_notes.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include "base/cleanup.h"
#include "collectors/proc_redact.h"

#define CMDLINE_MAX (1u << 20)
#define FXSAVE_BYTES 512u /* of the legacy area, which begins every XSAVE area */
#define FXSAVE_USED 464u  /* behind it the kernel notes of an XSAVE area which parts it has */

/* What is the same in every thread's status. */
struct process {
	int32_t pid, ppid, pgrp, session;
	uint32_t uid, gid, flags;
	int32_t nice;
	char state;
	char comm[16];
	char arguments[80];
};

static void put_note(struct gd_buf *out, const char *owner, uint32_t type, const void *content,
                     size_t n)
{
	static const char zeros[4] = { 0 };
	Elf64_Nhdr head = { .n_namesz = (Elf64_Word)strlen(owner) + 1, .n_descsz = (Elf64_Word)n,
		            .n_type = type };
	gd_buf_append(out, &head, sizeof(head));
	gd_buf_append(out, owner, head.n_namesz);
	gd_buf_append(out, zeros, (4 - head.n_namesz % 4) % 4);
	gd_buf_append(out, content, n);
	gd_buf_append(out, zeros, (4 - n % 4) % 4);
}

/* --- the process --------------------------------------------------------------------------- */

static void add_argument(void *arg, const char *bytes, size_t n)
{
	struct process *p = arg;
	size_t used = strlen(p->arguments);
	size_t room = sizeof(p->arguments) - 1 - used;
	if (used > 0 && room > 0) {
		p->arguments[used++] = ' ';
		room--;
	}
	if (n > room)
		n = room;
	memcpy(p->arguments + used, bytes, n);
	p->arguments[used + n] = '\0';
}

/* The real id of a line "Uid:\t0\t0\t0\t0" of status. */
static uint32_t read_id(const char *status, const char *key, uint32_t otherwise)
{
	const char *line = strstr(status, key);
	return line != NULL ? (uint32_t)strtoul(line + strlen(key), NULL, 10) : otherwise;
}

/* What cannot be read any more stays empty: registers and memory are what a core is for. */
static void ask(struct gd_target *target, struct process *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(CMDLINE_MAX);
	struct process p = { .pid = target->pid, .uid = target->uid, .state = 'R' };
	struct gd_stat stat;
	memcpy(p.comm, target->comm, sizeof(p.comm));
	if (gd_target_read_file(target, "stat", &text, NULL) == 0 &&
	    gd_stat_parse(text.data, text.len, &stat, NULL) == 0) {
		p.ppid = stat.ppid;
		p.pgrp = stat.pgrp;
		p.session = stat.session;
		p.flags = stat.flags;
		p.nice = stat.nice;
		p.state = stat.state;
	}
	gd_buf_reset(&text);
	if (gd_target_read_file(target, "status", &text, NULL) == 0) {
		const char *status = gd_buf_str(&text);
		p.uid = read_id(status, "\nUid:\t", p.uid);
		p.gid = read_id(status, "\nGid:\t", 0);
	}
	gd_buf_reset(&text);
	if (gd_target_read_file(target, "cmdline", &text, NULL) == 0)
		(void)gd_proc_redact_cmdline(text.data, text.len, add_argument, &p, NULL);
	*ret = p;
}

static void put_process(const struct process *p, struct gd_buf *out)
{
	static const char states[] = "RSDTZW"; /* the kernel's numbers for them */
	const char *state = p->state != '\0' ? strchr(states, p->state) : NULL;
	struct elf_prpsinfo info = { 0 };
	info.pr_state = (char)(state != NULL ? state - states : 0);
	info.pr_sname = p->state;
	info.pr_zomb = (char)(p->state == 'Z');
	info.pr_nice = (char)p->nice;
	info.pr_flag = p->flags;
	info.pr_uid = p->uid;
	info.pr_gid = p->gid;
	info.pr_pid = p->pid;
	info.pr_ppid = p->ppid;
	info.pr_pgrp = p->pgrp;
	info.pr_sid = p->session;
	memcpy(info.pr_fname, p->comm, sizeof(info.pr_fname));
	memcpy(info.pr_psargs, p->arguments, sizeof(info.pr_psargs));
	put_note(out, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

/* --- mapped files -------------------------------------------------------------------------- */

static bool is_file(const char *path)
{
	return path[0] == '/';
}

/*
 * Count and page size, then start, end and offset (in pages) of each, then the names.  A deleted
 * file says so in its name, so that nobody reads what is there today instead.
 */
static int put_files(const struct gd_image *image, struct gd_buf *out, struct gd_error *err)
{
	GD_BUF struct gd_buf note = GD_BUF_INIT(out->ceiling);
	size_t n;
	const struct gd_image_map *maps = gd_image_maps(image, &n);
	uint64_t head[2] = { 0, GD_IMAGE_PAGE };
	for (size_t i = 0; i < n; i++)
		head[0] += is_file(gd_image_path(image, &maps[i]));
	gd_buf_append(&note, head, sizeof(head));
	for (size_t i = 0; i < n; i++) {
		uint64_t entry[3] = { maps[i].start, maps[i].end, maps[i].offset / GD_IMAGE_PAGE };
		if (is_file(gd_image_path(image, &maps[i])))
			gd_buf_append(&note, entry, sizeof(entry));
	}
	for (size_t i = 0; i < n; i++) {
		const char *path = gd_image_path(image, &maps[i]);
		if (!is_file(path))
			continue;
		gd_buf_puts(&note, path);
		if (maps[i].deleted)
			gd_buf_puts(&note, " (deleted)");
		gd_buf_putc(&note, '\0');
	}
	int r = gd_buf_check(&note, "NT_FILE", err);
	if (r == 0)
		put_note(out, "CORE", NT_FILE, note.data, note.len);
	return r;
}

/* --- threads ------------------------------------------------------------------------------- */

static void put_status(const struct process *p, const struct gd_image_thread *thread,
                       struct gd_buf *out)
{
	struct elf_prstatus status = { 0 };
	_Static_assert(sizeof(status.pr_reg) == sizeof(thread->regs), "both are the kernel's");
	status.pr_sigpend = thread->sigpend;
	status.pr_sighold = thread->sighold;
	status.pr_pid = thread->tid;
	status.pr_ppid = p->ppid;
	status.pr_pgrp = p->pgrp;
	status.pr_sid = p->session;
	if (thread->stopped)
		memcpy(&status.pr_reg, &thread->regs, sizeof(status.pr_reg));
	status.pr_fpvalid = thread->stopped && thread->xstate_bytes >= FXSAVE_BYTES;
	put_note(out, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static void put_floats(const struct gd_image *image, const struct gd_image_thread *thread,
                       struct gd_buf *out)
{
	const void *xstate = gd_image_xstate(image, thread);
	if (!thread->stopped || xstate == NULL || thread->xstate_bytes < FXSAVE_BYTES)
		return;
	uint8_t legacy[FXSAVE_BYTES] = { 0 };
	memcpy(legacy, xstate, FXSAVE_USED);
	put_note(out, "CORE", NT_FPREGSET, legacy, sizeof(legacy));
	if (thread->xstate_bytes > FXSAVE_BYTES)
		put_note(out, "LINUX", NT_X86_XSTATE, xstate, thread->xstate_bytes);
}

/* The index of the thread that comes first: of those that stopped, if any did. */
static size_t choose_first(const struct gd_image_thread *threads, size_t n, int32_t tid)
{
	size_t stopped = n;
	for (size_t i = 0; i < n; i++) {
		if (threads[i].tid == tid && threads[i].stopped)
			return i;
		if (threads[i].stopped && stopped == n)
			stopped = i;
	}
	return stopped < n ? stopped : 0;
}

static void put_others(const struct gd_image *image, const struct process *p, size_t first,
                       bool stopped, struct gd_buf *out)
{
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(image, &n);
	for (size_t i = 0; i < n; i++) {
		if (i == first || threads[i].stopped != stopped)
			continue;
		put_status(p, &threads[i], out);
		put_floats(image, &threads[i], out);
	}
}

int gd_core_notes_write(const struct gd_image *image, struct gd_target *target,
                        const struct gd_core_notes_order *order, struct gd_buf *out,
                        struct gd_error *err)
{
	static const siginfo_t none;
	/* An image that stopped nobody has no threads, and debuggers want one. */
	static const struct gd_image_thread nobody;
	struct process p;
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(image, &n);
	ask(target, &p);
	struct gd_image_thread alone = nobody;
	alone.tid = p.pid;
	size_t first = choose_first(threads, n, order->first_tid != 0 ? order->first_tid : p.pid);
	const struct gd_image_thread *thread = n > 0 ? &threads[first] : &alone;
	put_status(&p, thread, out);
	put_process(&p, out);
	put_note(out, "CORE", NT_SIGINFO, &none, sizeof(none));
	if (order->n_auxv > 0)
		put_note(out, "CORE", NT_AUXV, order->auxv, order->n_auxv);
	int r = put_files(image, out, err);
	if (r < 0)
		return r;
	put_floats(image, thread, out);
	put_others(image, &p, first, true, out);
	put_others(image, &p, first, false, out);
	return gd_buf_check(out, "core notes", err);
}
