#include "freeze/guard.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/* When the tracer is late, as things are now. */
static int64_t late_at(const struct gd_guard *guard)
{
	int64_t prepared = atomic_load(&guard->shared->prepared_ns);
	int64_t standing = atomic_load(&guard->shared->standing_since_ns);
	int64_t at = prepared == 0 ? guard->started_ns + guard->prepare_ns
	                           : prepared + guard->deadline_ns;
	if (standing != 0 && standing + guard->stop_deadline_ns < at)
		at = standing + guard->stop_deadline_ns;
	return at;
}

void gd_guard_run(const struct gd_guard *guard)
{
	/* Above the tracer, which may be real-time as well (freeze.c): it has to be able to end it. */
	struct sched_param first = { .sched_priority = 2 };
	(void)sched_setscheduler(0, SCHED_FIFO, &first);
	for (;;) {
		int64_t left_ns = late_at(guard) - gd_clock_monotonic_ns();
		if (left_ns <= 0) {
			/* The fields may say "late" while it is resuming: then it dies for nothing,
			 * which harms nobody.  The other way round is what must not happen. */
			atomic_store(&guard->shared->killed_by_guard, true);
			(void)syscall(SYS_pidfd_send_signal, guard->tracer_fd, SIGKILL, NULL, 0);
			left_ns = 1000000;
		}
		struct pollfd fds[] = {
			{ .fd = guard->tracer_fd, .events = POLLIN },
			{ .fd = guard->news_fd, .events = POLLIN },
		};
		struct timespec t = { left_ns / 1000000000, left_ns % 1000000000 };
		int r = ppoll(fds, 2, &t, NULL);
		if (r > 0 && fds[0].revents != 0)
			return;
		uint64_t news;
		if (r > 0 && fds[1].revents != 0 && read(guard->news_fd, &news, sizeof(news)) < 0)
			return; /* impossible for an eventfd that poll called readable */
	}
}
