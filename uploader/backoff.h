#pragma once
/*
 * When to try again after a failure: full jitter (a random moment between now and a bound that
 * doubles from min to max), and a circuit that opens after some failures in a row, so that what is
 * known to be broken is asked by one probe at a time.  No clock, no sleeping.
 */
#include <stdbool.h>
#include <stdint.h>

#define GD_BACKOFF_MIN_NS UINT64_C(1000000000)   /* 1 s */
#define GD_BACKOFF_MAX_NS UINT64_C(900000000000) /* 15 min */
#define GD_BACKOFF_CIRCUIT 5

struct gd_backoff {
	uint64_t min_ns, max_ns;
	uint64_t seed;     /* state of the generator; from getrandom unless a test says otherwise */
	unsigned failures; /* in a row */
};

/* 0: the defaults above. */
void gd_backoff_init(struct gd_backoff *backoff, uint64_t min_ns, uint64_t max_ns);

void gd_backoff_succeeded(struct gd_backoff *backoff);

/*
 * How long to wait.  `permanent`: only people can mend it, so the bound is max at once and at least
 * half of it is waited.  `retry_after_ns`: never earlier than what the server asked for (0: it did
 * not), which counts up to an hour.
 */
uint64_t gd_backoff_failed(struct gd_backoff *backoff, bool permanent, uint64_t retry_after_ns);

/* Whether probes are all that is allowed: something new to do is then no reason to try earlier. */
bool gd_backoff_is_open(const struct gd_backoff *backoff);
