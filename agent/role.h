#pragma once
/*
 * The roles our processes play and what each may do: the table of docs/privilege.md as data.  A
 * process enters its role once, after it has what it needs and before it sees the first foreign
 * byte; there is no way back.  Tracer and guard join with the core dump.
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
	GD_ROLE_WATCHER,  /* samples: reads /proc and cgroup files and passed memory, asks the broker */
	GD_ROLE_HOOK,     /* one listening socket, one socket to the broker, no files, no /proc */
	GD_ROLE_SCRAPER,  /* connects to the services' own metrics; no files */
	GD_ROLE_UPLOADER, /* the network, passed descriptors of sealed archives, credentials */
	GD_ROLES,
};

struct gd_role_info {
	const char *name;
	const char *user;             /* whose uid it takes when it may change uids; NULL: keeps it */
	uint64_t capabilities;        /* bits of CAP_*, kept when it has them; all others go */
	const char *const *syscalls;  /* NULL-terminated names; NULL: no filter (the broker) */
	const char *const *read_paths;  /* Landlock: readable trees, NULL-terminated; NULL: none */
	const char *const *write_paths; /* the same, writable */
	bool network;                 /* may create and connect or accept INET sockets */
	uint64_t memory_max;          /* RLIMIT_AS, 0 none */
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
 * Enters it: closes all descriptors but 0 to 2 and `keep` (0 to 2 are tied to /dev/null unless
 * kept), capabilities, uid (when we hold CAP_SETUID, else the uid stays and the process becomes
 * non-dumpable), no_new_privs, rlimits, Landlock, seccomp with KILL_PROCESS.  Single-threaded
 * callers only.  On failure the process must _exit.
 */
int gd_role_enter(enum gd_role role, const int *keep, size_t n_keep, struct gd_role_gaps *gaps,
                  struct gd_error *err);

/*
 * Forks a child that dies with us (PR_SET_PDEATHSIG, checked for the race) and enters the role.
 * Child: calls run(arg), which returns its exit status; it never returns from here.  Parent: pid in
 * *ret_pid and a pidfd in *ret_pid_fd (may be NULL).
 */
int gd_role_fork(enum gd_role role, const int *keep, size_t n_keep, int (*run)(void *arg),
                 void *arg, pid_t *ret_pid, int *ret_pid_fd, struct gd_error *err);
