#pragma once
/*
 * Which processes there are, and which of them deserves a look now: a listing of /proc merged with
 * what is known.  A pid is looked at when it is new, a few times in its first seconds (it may call
 * execve, or listen later), and about once a minute after that.  What is reused shows by the inode
 * of its directory, which belongs to one process; the listing tells it for nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GD_WATCH_PIDS_MAX (1u << 18)  /* known at once; more are not looked at */
#define GD_WATCH_LOOKS_PER_TICK 256   /* thousands of short-lived processes shall not hurt */

enum gd_watch_kind {
	GD_KNOWN_NEW,     /* not looked at yet */
	GD_KNOWN_OTHER,   /* belongs to no service so far */
	GD_KNOWN_NEVER,   /* a kernel thread, one of us, or gone */
	GD_KNOWN_WATCHED,
	GD_KNOWN_BEYOND,  /* belongs to a service, but there is no slot for it */
};

struct gd_watch_known {
	uint64_t inode;
	int32_t pid;
	uint32_t slot;    /* WATCHED */
	uint32_t due;     /* tick of the next look; wraps */
	uint8_t looks;
	uint8_t kind;     /* enum gd_watch_kind */
};

struct gd_watch_discover {
	int proc_fd;      /* borrowed */
	uint32_t tick;
	struct gd_watch_known *list; /* ascending by pid */
	size_t n;
	struct gd_watch_known *spare;
	size_t capacity;  /* of both */
	uint64_t last_pid; /* given away by the kernel when last listed; 0 unknown */
	int64_t position_base; /* how far a position in the listing is from its pid; 0: not known */
	bool no_positions;     /* it is not the same for all: no real /proc */
	int32_t resume;   /* pid at which looking goes on when a tick had too many */
	bool overflowed;  /* there were more than GD_WATCH_PIDS_MAX */
};

void gd_watch_discover_init(struct gd_watch_discover *discover, int proc_fd);
void gd_watch_discover_deinit(struct gd_watch_discover *discover);

/*
 * Lists /proc: all of it every eighth time, otherwise from the last pid known on, or not at all when
 * nobody was born since.  `left` is called for each that was watched and is seen not to be there any
 * more, or to be another process now.  Negative errno: /proc cannot be listed, nothing has changed.
 */
int gd_watch_discover_scan(struct gd_watch_discover *discover,
                           void (*left)(void *arg, uint32_t slot), void *arg);

/* The next that is due in this tick, from *cursor (0 at first) on; NULL: none, or enough for now. */
struct gd_watch_known *gd_watch_discover_next(struct gd_watch_discover *discover, size_t *cursor,
                                              unsigned *looks);

/* It was looked at: sets what it is and when to look again. */
void gd_watch_discover_looked(struct gd_watch_discover *discover, struct gd_watch_known *known,
                              enum gd_watch_kind kind, uint32_t slot);

/* NULL: not known. */
struct gd_watch_known *gd_watch_discover_find(struct gd_watch_discover *discover, int32_t pid);
