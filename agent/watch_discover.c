#include "agent/watch_discover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/watch_file.h"
#include "base/text.h"

#define LISTING 32768
#define ROLLING_TICKS 64
#define RELIST_TICKS 8 /* whatever the count says: who restores processes chooses their pids */
#define POSITION_BASE_MAX 65536 /* 258 in Linux 6.18 */

/* What getdents64 writes; glibc gives its struct another name and a fixed length. */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

void gd_watch_discover_init(struct gd_watch_discover *discover, int proc_fd)
{
	*discover = (struct gd_watch_discover){ .proc_fd = proc_fd };
}

void gd_watch_discover_deinit(struct gd_watch_discover *discover)
{
	free(discover->list);
	free(discover->spare);
	*discover = (struct gd_watch_discover){ .proc_fd = -1 };
}

static bool pid_of(const char *name, int32_t *ret)
{
	const char *end;
	uint64_t pid;
	if (name[0] < '1' || name[0] > '9' || !gd_text_u64(name, &end, 10, &pid) || *end != '\0' ||
	    pid > INT32_MAX)
		return false;
	*ret = (int32_t)pid;
	return true;
}

static int grow(struct gd_watch_discover *d)
{
	size_t capacity = d->capacity > 0 ? d->capacity * 2 : 1024;
	struct gd_watch_known *list = realloc(d->list, capacity * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	d->list = list;
	struct gd_watch_known *spare = realloc(d->spare, capacity * sizeof(*spare));
	if (spare == NULL)
		return -ENOMEM;
	d->spare = spare;
	d->capacity = capacity;
	return 0;
}

static int add(struct gd_watch_discover *d, size_t *n, int32_t pid, uint64_t inode)
{
	if (*n == GD_WATCH_PIDS_MAX) {
		d->overflowed = true;
		return 0;
	}
	if (*n == d->capacity && grow(d) < 0)
		return -ENOMEM;
	d->spare[(*n)++] = (struct gd_watch_known){ .pid = pid, .inode = inode, .due = d->tick };
	return 0;
}

/*
 * The position of a process in /proc, which the entry before it tells, is its pid and a constant, so
 * that a listing can begin in the middle.  Which constant is learnt from each whole listing.
 */
static void learn_position(struct gd_watch_discover *d, const struct entry *before, int32_t pid)
{
	int64_t base = before->offset - pid;
	if (base < 0 || base >= POSITION_BASE_MAX || (d->position_base != 0 && d->position_base != base))
		d->no_positions = true;
	d->position_base = base;
}

/* Appends to spare, which has *n, all from `from` on. */
static int list_pids(struct gd_watch_discover *d, int32_t from, size_t *n)
{
	_Alignas(struct entry) char listing[LISTING];
	if (lseek(d->proc_fd, from == 0 ? 0 : d->position_base + from, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long got = syscall(SYS_getdents64, d->proc_fd, listing, sizeof(listing));
		if (got <= 0)
			return got < 0 ? -errno : 0;
		const struct entry *before = NULL;
		for (long at = 0; at < got;) {
			const struct entry *entry = (const struct entry *)(const void *)(listing + at);
			int32_t pid;
			at += entry->len;
			if (!pid_of(entry->name, &pid) || pid < from)
				continue;
			if (add(d, n, pid, entry->inode) < 0)
				return -ENOMEM;
			if (before != NULL)
				learn_position(d, before, pid);
			before = entry;
		}
	}
}

static int ascending(const void *a, const void *b)
{
	const struct gd_watch_known *x = a;
	const struct gd_watch_known *y = b;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The kernel lists pids in order; a tree that somebody made does not. */
static void sort(struct gd_watch_known *list, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (list[i].pid < list[i - 1].pid) {
			qsort(list, n, sizeof(*list), ascending);
			return;
		}
}

/* Index of the first with at least that pid; n when there is none. */
static size_t first_from(const struct gd_watch_discover *d, int32_t pid)
{
	size_t low = 0;
	size_t high = d->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (d->list[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The first pid that /proc may list anew: the last one that was given away is another one.  A listing
 * costs a microsecond for each process of the host, this costs two in all.  INT32_MAX: none; 0: any.
 */
static int32_t news_from(struct gd_watch_discover *d)
{
	char text[256];
	uint64_t last_pid = 0;
	const char *last;
	/* "0.20 0.18 0.12 1/80 11206" */
	if (gd_watch_file_read(d->proc_fd, "loadavg", text, sizeof(text)) > 0 &&
	    (last = strrchr(text, ' ')) != NULL)
		(void)gd_text_u64(last + 1, NULL, 10, &last_pid);
	uint64_t before = d->last_pid;
	d->last_pid = last_pid < INT32_MAX ? last_pid : 0;
	if (d->last_pid == 0 || before == 0 || d->tick % RELIST_TICKS == 0)
		return 0;
	if (before == last_pid)
		return INT32_MAX;
	/* They are given away upwards until they wrap. */
	bool seekable = d->position_base > 0 && !d->no_positions;
	return before < last_pid && seekable ? (int32_t)before + 1 : 0;
}

int gd_watch_discover_scan(struct gd_watch_discover *discover,
                           void (*left)(void *arg, uint32_t slot), void *arg)
{
	discover->tick++;
	int32_t from = news_from(discover);
	if (from == INT32_MAX)
		return 0;
	size_t k = first_from(discover, from);
	size_t n = k;
	if (from == 0)
		discover->overflowed = false;
	else if (k > 0)
		memcpy(discover->spare, discover->list, k * sizeof(*discover->spare));
	int r = list_pids(discover, from, &n);
	if (r < 0)
		return r;
	sort(discover->spare + k, n - k);
	for (size_t i = k; i <= n; i++) {
		struct gd_watch_known *now = i < n ? &discover->spare[i] : NULL;
		for (; k < discover->n; k++) {
			const struct gd_watch_known *old = &discover->list[k];
			if (now != NULL && old->pid > now->pid)
				break;
			if (now != NULL && old->pid == now->pid && old->inode == now->inode)
				*now = *old;
			else if (old->kind == GD_KNOWN_WATCHED)
				left(arg, old->slot);
		}
	}
	struct gd_watch_known *list = discover->list;
	discover->list = discover->spare;
	discover->spare = list;
	discover->n = n;
	return 0;
}

struct gd_watch_known *gd_watch_discover_next(struct gd_watch_discover *discover, size_t *cursor,
                                              unsigned *looks)
{
	/* Those never looked at first, they may not live to see the next tick.  And round and round, so
	 * that the lowest pids are not the only ones ever seen in a storm. */
	size_t start = first_from(discover, discover->resume);
	for (; *cursor < 2 * discover->n; (*cursor)++) {
		bool first_look = *cursor < discover->n;
		struct gd_watch_known *known = &discover->list[(start + *cursor) % discover->n];
		if (first_look != (known->kind == GD_KNOWN_NEW) || known->kind == GD_KNOWN_NEVER ||
		    (int32_t)(discover->tick - known->due) < 0)
			continue;
		/* The first time everybody is looked at: who was there already must be known. */
		if (*looks == GD_WATCH_LOOKS_PER_TICK && discover->tick > 1) {
			discover->resume = known->pid;
			return NULL;
		}
		(*looks)++;
		(*cursor)++;
		return known;
	}
	return NULL;
}

void gd_watch_discover_looked(struct gd_watch_discover *discover, struct gd_watch_known *known,
                              enum gd_watch_kind kind, uint32_t slot)
{
	static const uint8_t first[] = { 1, 1, 2, 4, 8, 16 };
	known->kind = (uint8_t)kind;
	known->slot = slot;
	if (known->looks < sizeof(first))
		known->due = discover->tick + first[known->looks++];
	else /* spread by pid, so that not all are due in one tick */
		known->due = discover->tick + ROLLING_TICKS -
		             (discover->tick + (uint32_t)known->pid) % ROLLING_TICKS;
}

struct gd_watch_known *gd_watch_discover_find(struct gd_watch_discover *discover, int32_t pid)
{
	struct gd_watch_known key = { .pid = pid };
	if (discover->n == 0)
		return NULL;
	return bsearch(&key, discover->list, discover->n, sizeof(key), ascending);
}
