#pragma once
/*
 * The real hook process between a broker made for tests and raw HTTP clients.  The broker is a child
 * that uses the real end of the connection (gd_hook_peer_*) and decides as the test says; what it
 * was asked stands in shared memory.
 */
#include <stdbool.h>
#include <sys/types.h>

#include "agent/hook.h"

#define HOOK_TOKEN "a-token-for-tests-of-the-hook-0001"
#define HOOK_OLD_TOKEN "a-token-for-tests-of-the-hook-0000"
#define HOOK_KEY_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* Two alert rules on one alertname (one wants severity=page), one on another, one that is a metric. */
extern const char hook_policy[];
/* Tokens "am" (two of them), "narrow" (only rule gc-pause), key "deploy". */
extern const char *hook_tokens(void);

/* Shared between broker and test. */
struct hook_seen {
	char problem[248];            /* what the hook says keeps it from its work */
	volatile unsigned n_triggers, n_connections, n_operations, n_samples;
	struct gd_hook_trigger last;
	/* What it shall say. */
	volatile int verdict;         /* enum gd_verdict, but duplicates are found by itself */
	volatile unsigned busy_rule;  /* this one is busy; ~0 none */
	volatile int64_t retry_ns;
	volatile unsigned delay_ms;   /* before every answer */
	char policy[4096];            /* read when it starts, and on SIGHUP */
	unsigned n_keys;
	char keys[64][128];           /* of what was admitted */
};

struct hook_world {
	pid_t broker, hook;
	int port;                     /* 0: the unix socket */
	char socket[256], agent[256];
	char log[256];                /* what the hook says */
	char tokens[256];
	struct hook_seen *seen;
};

/*
 * listen: "tcp", "unix", or NULL for what the policy says.  tokens NULL: no file.  Waits until it
 * serves, unless `with_broker` is false.
 */
struct hook_world *hook_world_start(const char *listen, const char *tokens, bool with_broker);
void hook_world_stop(struct hook_world *world);
/* test_case for tests with worlds: stops those that a failed test left. */
#define hook_case(fn) cmocka_unit_test_setup_teardown(fn, test_before, hook_world_after)
int hook_world_after(void **state);
void hook_world_start_broker(struct hook_world *world);
void hook_world_stop_broker(struct hook_world *world);
/* Until /healthz says that status; fails after 10 s. */
void hook_world_wait(struct hook_world *world, int status);
/* Waits until the log has that text. */
void hook_world_wait_log(const struct hook_world *world, const char *text);
/* Of the hook's processes together. */
unsigned long hook_world_rss_kib(const struct hook_world *world);
pid_t hook_world_server(const struct hook_world *world); /* the jailed child */
pid_t hook_world_scraper(const struct hook_world *world); /* the other one; 0 none */

struct hook_answer {
	int status;      /* 0: the connection ended without an answer */
	char head[2048];
	char body[65536];
};

int hook_connect(const struct hook_world *world);
/* Sends those bytes on a fresh connection and reads until its end. */
void hook_send(const struct hook_world *world, const void *bytes, size_t n,
               struct hook_answer *ret);
/* Reads until the end; the descriptor stays open. */
void hook_read(int fd, struct hook_answer *ret);
/* A plain request; token NULL: none; body NULL: GET. */
void hook_ask(const struct hook_world *world, const char *token, const char *path,
              const char *body, struct hook_answer *ret);
