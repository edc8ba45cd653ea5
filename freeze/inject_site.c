/* Whether and where a target can run calls for us: found out by reading, before it is touched. */
#include "freeze/inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "freeze/stop.h"

#define STATUS_MAX 65536
#define PIECE ((size_t)1 << 20)
#define TEXT_MAX ((uint64_t)512 << 20)
#define GO_SIGNALS 40 /* the Go runtime catches about 60 of 64, nobody else does */
#define RANKED_MAX 1024

enum { RANK_UNSEEN, RANK_GOOD, RANK_RESTARTS, RANK_RUNNING, RANK_EINTR, RANK_LAST, RANK_NEVER };

static const char *field(const char *status, const char *name)
{
	char key[40];
	(void)snprintf(key, sizeof(key), "\n%s:\t", name);
	const char *at = strstr(status, key);
	return at != NULL ? at + strlen(key) : NULL;
}

static uint64_t number(const char *status, const char *name, int base)
{
	const char *at = field(status, name);
	return at != NULL ? strtoull(at, NULL, base) : 0;
}

static int read_status(struct gd_target *target, const char *path, struct gd_buf *text,
                       struct gd_error *err)
{
	gd_buf_reset(text);
	int r = gd_target_read_file(target, path, text, err);
	if (r < 0)
		return r;
	return gd_buf_str(text)[0] == '\0' ? gd_fail(err, -ESRCH, "%s: empty", path) : 0;
}

/* What rules an injection out whatever the thread does (docs/freeze.md, guards G4 and G6). */
static int check_status(const char *status, struct gd_error *err)
{
	if (number(status, "TracerPid", 10) != 0)
		return gd_fail(err, -ENOTSUP, "process %" PRIu64 " traces it (G6)",
		               number(status, "TracerPid", 10));
	if (number(status, "Seccomp", 10) != 0)
		return gd_fail(err, -ENOTSUP, "it has a seccomp filter, which may kill it for an "
		               "injected call (G4)");
	const char *features = field(status, "x86_Thread_features");
	if (features != NULL && strncmp(features, "shstk", 5) == 0)
		return gd_fail(err, -ENOTSUP, "it has a shadow stack, on which our frame is not");
	return 0;
}

static int check_machine(struct gd_target *target, struct gd_error *err)
{
#if defined(__x86_64__)
	Elf64_Ehdr head;
	if (target->fds.exe_fd < 0 ||
	    pread(target->fds.exe_fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return 0; /* the stopped thread's code segment says the same */
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != EM_X86_64)
		return gd_fail(err, -ENOTSUP, "it is not a 64-bit program");
	return 0;
#else
	(void)target;
	return gd_fail(err, -ENOTSUP, "calls are injected on x86-64 only");
#endif
}

/* Looks in one piece of text for both; what was found before stays. */
static void scan_piece(struct gd_inject_site *site, const uint8_t *text, size_t n, uint64_t addr)
{
	static const uint8_t call[] = { 0x0f, 0x05, 0xc3 };
	/* As glibc, musl and Go write it, and with the short form of mov. */
	static const uint8_t restore_long[] = { 0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05 };
	static const uint8_t restore_short[] = { 0xb8, 15, 0, 0, 0, 0x0f, 0x05 };
	const uint8_t *at = NULL;
	if (site->call_at == 0 && (at = memmem(text, n, call, sizeof(call))) != NULL)
		site->call_at = addr + (uint64_t)(at - text);
	if (site->restore_at == 0 &&
	    ((at = memmem(text, n, restore_long, sizeof(restore_long))) != NULL ||
	     (at = memmem(text, n, restore_short, sizeof(restore_short))) != NULL))
		site->restore_at = addr + (uint64_t)(at - text);
}

static void scan_map(struct gd_target *target, const struct gd_map *map, uint8_t *piece,
                     uint64_t *budget, struct gd_inject_site *site)
{
	for (uint64_t at = map->start; at < map->end && *budget > 0;) {
		size_t want = map->end - at < PIECE ? (size_t)(map->end - at) : PIECE;
		ssize_t n = gd_memory_read_some(target->memory, at, piece, want);
		if (n <= 0)
			return;
		scan_piece(site, piece, (size_t)n, at);
		*budget -= (uint64_t)n < *budget ? (uint64_t)n : *budget;
		if ((site->call_at != 0 && site->restore_at != 0) || (size_t)n < PIECE)
			return;
		at += (size_t)n - 16; /* what lies across two pieces */
	}
}

static int find_text(struct gd_target *target, struct gd_inject_site *site, struct gd_error *err)
{
	uint64_t budget = TEXT_MAX;
	GD_FREE uint8_t *piece = malloc(PIECE);
	if (piece == NULL)
		return gd_fail_errno(err, -ENOMEM, "text");
	/* Libraries first: theirs is small, mapped shared by all and never written. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < target->maps.n; i++) {
			const struct gd_map *map = &target->maps.list[i];
			bool libc = strstr(map->path, "/libc") != NULL ||
			            strstr(map->path, "/ld-") != NULL;
			if (!map->exec || !map->read || map->write || map->inode == 0 ||
			    libc != (pass == 0))
				continue;
			scan_map(target, map, piece, &budget, site);
			if (site->call_at != 0 && site->restore_at != 0)
				return 0;
		}
	if (site->call_at == 0)
		return gd_fail(err, -ENOTSUP, "there is no `syscall; ret` in its text");
	if (!site->by_signal) /* else the kernel's frame names the one to use */
		return gd_fail(err, -ENOTSUP, "there is no rt_sigreturn in its text");
	return 0;
}

int gd_inject_find_site(struct gd_target *target, struct gd_inject_site *ret, struct gd_error *err)
{
	struct gd_inject_site site = { 0 };
	GD_BUF struct gd_buf status = GD_BUF_INIT(STATUS_MAX);
	if (target->memory == NULL)
		return gd_fail(err, -ENOTSUP, "its memory cannot be read");
	int r = check_machine(target, err);
	if (r == 0)
		r = read_status(target, "status", &status, err);
	if (r == 0)
		r = check_status(status.data, err);
	if (r < 0)
		return r;
	uint64_t caught = number(status.data, "SigCgt", 16);
	site.by_signal = (caught >> (SIGURG - 1) & 1) != 0 &&
	                 __builtin_popcountll(caught) >= GO_SIGNALS;
	r = find_text(target, &site, err);
	if (r < 0)
		return r;
	*ret = site;
	return 0;
}

int gd_inject_possible(struct gd_target *target, struct gd_error *err)
{
	struct gd_inject_site site;
	int r = gd_target_refresh_maps(target, err);
	if (r == 0)
		r = gd_inject_find_site(target, &site, err);
	return r < 0 ? gd_error_wrap(err, r, "no call can be injected") : 0;
}

/* How much an interruption of this call shows; args as in the file `syscall`. */
static int rank_call(long nr, const uint64_t args[6], bool by_signal)
{
#if defined(__x86_64__)
	switch (nr) {
	case SYS_futex:
		return args[3] == 0 || ((int)args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET
		               ? RANK_UNSEEN
		       : by_signal ? RANK_GOOD : RANK_LAST;
	case SYS_poll:
		return (int)args[2] < 0 ? RANK_GOOD : by_signal ? RANK_RESTARTS : RANK_LAST;
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
		return by_signal ? RANK_GOOD : RANK_LAST;
	case SYS_epoll_wait: /* answers EINTR to every stop */
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_rt_sigtimedwait:
	case SYS_semtimedop:
	case SYS_io_getevents:
		return RANK_EINTR;
	case SYS_vfork: /* cannot be stopped until the child lets go */
	case SYS_clone:
	case SYS_clone3:
		return RANK_NEVER;
	default:
		return RANK_RESTARTS;
	}
#else
	(void)nr, (void)args, (void)by_signal;
	return RANK_NEVER;
#endif
}

static int rank_thread(struct gd_target *target, pid_t tid, bool by_signal, struct gd_buf *text)
{
	char path[48];
	long nr = -1;
	uint64_t a[6] = { 0 };
	(void)snprintf(path, sizeof(path), "task/%d/status", tid);
	if (read_status(target, path, text, NULL) < 0 || check_status(text->data, NULL) < 0)
		return RANK_NEVER;
	const char *state = field(text->data, "State");
	if (state == NULL || strchr("DZXTt", state[0]) != NULL ||
	    (by_signal && (number(text->data, "SigBlk", 16) >> (SIGURG - 1) & 1) != 0))
		return RANK_NEVER;
	(void)snprintf(path, sizeof(path), "task/%d/syscall", tid);
	if (read_status(target, path, text, NULL) < 0 || strncmp(text->data, "running", 7) == 0)
		return RANK_RUNNING;
	if (sscanf(text->data, "%ld %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64, &nr, &a[0],
	           &a[1], &a[2], &a[3]) < 5)
		return RANK_LAST;
	return rank_call(nr, a, by_signal);
}

void gd_inject_find_candidates(struct gd_target *target, struct gd_inject *inject)
{
	GD_FREE pid_t *tids = NULL;
	GD_BUF struct gd_buf text = GD_BUF_INIT(STATUS_MAX);
	size_t n = 0;
	inject->n_candidates = 0;
	if (gd_target_threads(target, &tids, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n && i < RANKED_MAX; i++) {
		int rank = rank_thread(target, tids[i], inject->site.by_signal, &text);
		size_t at = inject->n_candidates;
		if (rank == RANK_NEVER)
			continue;
		while (at > 0 && inject->candidates[at - 1].rank > rank) {
			if (at < GD_INJECT_CANDIDATES)
				inject->candidates[at] = inject->candidates[at - 1];
			at--;
		}
		if (at == GD_INJECT_CANDIDATES)
			continue;
		inject->candidates[at].tid = tids[i];
		inject->candidates[at].rank = rank;
		if (inject->n_candidates < GD_INJECT_CANDIDATES)
			inject->n_candidates++;
	}
}
