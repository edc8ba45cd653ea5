#pragma once
/*
 * What tests of freeze/ ask about their victims: selfcheck and gocheck, which notice when something was
 * done to them.
 */
#include <sys/types.h>

#include "target/target.h"
#include "tests/test.h"

#define FREEZE_GO_RELEASES 3
extern const char *const freeze_go_releases[FREEZE_GO_RELEASES];

struct gd_target *freeze_open(pid_t pid);
char freeze_state(pid_t pid);              /* of its main thread; '-' when it is gone */
void freeze_await_state(pid_t pid, const char *any);
void freeze_await_untraced(pid_t pid);

bool freeze_is_named(pid_t pid, pid_t tid, const char *comm);

/* It lives, works, and nothing was noticed. */
void freeze_assert_well(struct victim *v);
/* The same as an answer: NULL, or what is wrong. */
const char *freeze_what_is_wrong(struct victim *v);

/* Children whose end tells it nothing, as ours do: all, and those that are not dead. */
int freeze_children(pid_t pid);
int freeze_children_running(pid_t pid);
/* One zombie of them, 0: none. */
pid_t freeze_a_zombie(pid_t pid);
