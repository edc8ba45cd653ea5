#pragma once
/*
 * The roles our processes play and what each may do: the table of docs/privilege.md as data.  A
 * process enters its role once, after it has what it needs and before it sees the first foreign
 * byte; there is no way back.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum gd_role {
	GD_ROLE_BROKER,   /* opens and hands out descriptors, holds the capabilities */
	GD_ROLE_PARSER,   /* reads the target through passed descriptors: pread, write, no more */
	GD_ROLE_PACKER,   /* hashes, compresses, writes the archive it was given a descriptor of */
	GD_ROLE_FREEZER,  /* traces one target: makes its image; parent of tracer and guard */
	GD_ROLE_COMPRESSOR, /* an image's bytes into packs, in threads; parses none of them */
	GD_ROLE_WATCHER,  /* samples: reads /proc and cgroup files and passed memory, asks the broker */
	GD_ROLE_HOOK,     /* serves passed sockets, one of them to the broker; makes none, no files */
	GD_ROLE_SCRAPER,  /* connects to the services' own metrics; no files */
	GD_ROLE_CONNECTOR, /* connects where the broker says, in the target's network namespace; hands on */
	GD_ROLE_CLIENT,   /* speaks HTTP over connections it is given with a target's own debug port */
	GD_ROLE_UPLOADER, /* the network, passed descriptors of sealed archives, credentials */
	GD_ROLES,
};

struct gd_role_info {
	const char *name;
	const char *user;             /* whose uid it takes when it may change uids; NULL: keeps it */
	uint64_t capabilities;        /* bits of CAP_*, kept when it has them; all others go */
	/* NULL-terminated names; NULL: all but what no process of ours ever needs, which is answered
	 * with EPERM (the broker).  Some carry a condition on their
	 * arguments, see role_seccomp.c: mmap and mprotect never make anything executable, socket
	 * knows the families of `network`, clone makes no namespaces. */
	const char *const *syscalls;
	/* Landlock: readable trees, NULL-terminated; NULL: none.  "$NAME" is that variable's value;
	 * what does not exist is left out. */
	const char *const *read_paths;
	const char *const *write_paths; /* the same, writable */
	bool keeps_all;               /* descriptors: it is the one that hands them out */
	bool network;                 /* may create and connect or accept INET sockets */
	uint64_t memory_max;          /* RLIMIT_AS, 0 none */
	unsigned files_max;           /* RLIMIT_NOFILE, 0 as it is */
};

extern const struct gd_role_info gd_roles[GD_ROLES];

/*
 * What entering a role could not do on this kernel ("Landlock: not in this kernel"); texts for
 * doctor, status and the snapshot.  A missing seccomp or an unset no_new_privs is an error, not a gap.
 */
struct gd_role_gaps {
	char text[248]; /* "" none */
};

/*
 * A tree more that roles entered by this process or its children from now on may read: tests bring
 * trees of their own.  Borrowed; at most four, -E2BIG.
 */
int gd_role_also_read(const char *path, struct gd_error *err);

/*
 * Enters it: closes all descriptors but 0 to 2 and `keep` (0 to 2 are tied to /dev/null unless
 * kept; the broker keeps all), capabilities, uid (when we hold CAP_SETUID, else the uid stays and the process becomes
 * non-dumpable), no_new_privs, rlimits, Landlock, seccomp with KILL_PROCESS.  Single-threaded
 * callers only.  On failure the process must _exit.
 */
int gd_role_enter(enum gd_role role, const int *keep, size_t n_keep, struct gd_role_gaps *gaps,
                  struct gd_error *err);

/*
 * Forks a child that dies with us (PR_SET_PDEATHSIG, checked for the race) and enters the role.
 * Child: calls run(arg), which returns its exit status; it never returns from here.  It ignores the
 * signals that people and systemd send to a whole group (INT, TERM, HUP, QUIT, USR1, USR2, PIPE): it
 * ends when we end it.  A child that cannot enter says why on stderr and exits with
 * GD_ROLE_EXIT_JAIL.  Parent: pid in *ret_pid and a pidfd in *ret_pid_fd (may be NULL).
 */
#define GD_ROLE_EXIT_JAIL 125
int gd_role_fork(enum gd_role role, const int *keep, size_t n_keep, int (*run)(void *arg),
                 void *arg, pid_t *ret_pid, int *ret_pid_fd, struct gd_error *err);

/*
 * For the children a jailed role forks for one piece of work: from here on no process can be made,
 * nothing opened or signalled and no filter added, whatever the role allows.
 */
int gd_role_tighten(struct gd_error *err);

/* What entering would leave out here, without entering: for doctor and the snapshot. */
void gd_role_find_gaps(struct gd_role_gaps *gaps);
