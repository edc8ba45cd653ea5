#include "uploader/backoff.h"

#include <sys/random.h>
#include <time.h>

#define RETRY_AFTER_MAX_NS UINT64_C(3600000000000)

void gd_backoff_init(struct gd_backoff *backoff, uint64_t min_ns, uint64_t max_ns)
{
	*backoff = (struct gd_backoff){ .min_ns = min_ns > 0 ? min_ns : GD_BACKOFF_MIN_NS,
		                        .max_ns = max_ns > 0 ? max_ns : GD_BACKOFF_MAX_NS };
	if (backoff->max_ns < backoff->min_ns)
		backoff->max_ns = backoff->min_ns;
	if (getrandom(&backoff->seed, sizeof(backoff->seed), GRND_NONBLOCK) !=
	    (ssize_t)sizeof(backoff->seed)) {
		struct timespec now;
		(void)clock_gettime(CLOCK_REALTIME, &now);
		backoff->seed = (uint64_t)now.tv_nsec;
	}
}

/* splitmix64 (Steele, Lea, Flood 2014): hosts must differ from each other, nobody has to be fooled. */
static uint64_t next_random(struct gd_backoff *backoff)
{
	uint64_t z = backoff->seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void gd_backoff_succeeded(struct gd_backoff *backoff)
{
	backoff->failures = 0;
}

uint64_t gd_backoff_failed(struct gd_backoff *backoff, bool permanent, uint64_t retry_after_ns)
{
	uint64_t bound = backoff->min_ns;
	for (unsigned i = 0; i < backoff->failures && bound < backoff->max_ns; i++)
		bound = bound <= backoff->max_ns / 2 ? bound * 2 : backoff->max_ns;
	if (backoff->failures < UINT32_MAX)
		backoff->failures++;
	uint64_t least = 0;
	if (permanent) {
		bound = backoff->max_ns;
		least = bound / 2;
	}
	uint64_t wait = least + next_random(backoff) % (bound - least + 1);
	uint64_t asked = retry_after_ns < RETRY_AFTER_MAX_NS ? retry_after_ns : RETRY_AFTER_MAX_NS;
	return wait > asked ? wait : asked;
}

bool gd_backoff_is_open(const struct gd_backoff *backoff)
{
	return backoff->failures >= GD_BACKOFF_CIRCUIT;
}
