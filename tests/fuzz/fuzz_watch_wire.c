/*
 * A watcher that was taken over talks to the broker: each record of the input is a type (one byte), a
 * length (two) and a body.  Whatever it says, who is told of a process hears first that it was found.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch_wire.h"
#include "base/message.h"
#include "target/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool taken[GD_WATCHED_MAX];

static void check(const struct gd_watched *watched, bool expected)
{
	if (watched->slot >= GD_WATCHED_MAX || taken[watched->slot] != expected ||
	    watched->service > 0 ||
	    memchr(watched->comm, '\0', sizeof(watched->comm)) == NULL ||
	    memchr(watched->note, '\0', sizeof(watched->note)) == NULL)
		abort();
}

static void on_process(void *arg, const struct gd_watched *watched, bool first_look)
{
	(void)arg;
	(void)first_look;
	check(watched, false);
	taken[watched->slot] = true;
}

static void on_changed(void *arg, const struct gd_watched *watched)
{
	(void)arg;
	check(watched, true);
}

static void on_gone(void *arg, uint32_t slot, const struct gd_subject_id *id)
{
	(void)arg;
	(void)id;
	if (slot >= GD_WATCHED_MAX || !taken[slot])
		abort();
	taken[slot] = false;
}

static void on_sample(void *arg, uint32_t slot, const struct gd_clock *at,
                      const double values[GD_METRICS])
{
	(void)arg;
	(void)at;
	(void)values;
	if (slot >= GD_WATCHED_MAX || !taken[slot])
		abort();
}

static void on_event(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at)
{
	(void)arg;
	(void)at;
	if (slot >= GD_WATCHED_MAX || !taken[slot] || event >= GD_EVENTS)
		abort();
}

static void on_tick(void *arg, const struct gd_clock *at)
{
	(void)arg;
	(void)at;
}

/*
 * Process 1 is found when it is asked for: its real start time is put in.  Its memory is not: that
 * would fork.
 */
static bool make_true(uint8_t type, uint8_t *body, size_t len)
{
	static uint64_t start_ticks;
	struct gd_watch_who who;
	if (len < sizeof(who))
		return true;
	if (start_ticks == 0) {
		struct gd_target *target = NULL;
		start_ticks = UINT64_MAX;
		if (gd_target_open(1, &target, NULL) == 0)
			start_ticks = target->start_ticks;
		gd_target_close(target);
	}
	memcpy(&who, body, sizeof(who));
	if (who.pid == 1)
		who.start_ticks = start_ticks;
	memcpy(body, &who, sizeof(who));
	return type != GD_WATCH_MEMORY || who.pid != 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t body[UINT16_MAX];
	static const struct gd_watcher_ops ops = { on_process, on_changed, on_gone,
		                                   on_sample,  on_event,   on_tick };
	struct gd_service service = { .name = "it" };
	struct gd_policy policy = { .services = &service, .n_services = 1 };
	struct gd_watcher_options options = { .policy = &policy, .ops = &ops };
	struct gd_watcher *watcher = NULL;
	int pair[2];
	if (gd_message_pair(pair, NULL) < 0)
		return 0;
	memset(taken, 0, sizeof(taken));
	if (gd_watcher_adopt(&options, pair[0], &watcher, NULL) < 0)
		abort();
	int r = 0;
	for (uint32_t seq = 1; size >= 3 && r == 0 && seq < 64; seq++) {
		size_t len = (size_t)data[1] | (size_t)data[2] << 8;
		if (len > size - 3)
			len = size - 3;
		memcpy(body, data + 3, len);
		bool about = data[0] == GD_WATCH_FOUND || data[0] >= GD_WATCH_EXE;
		if ((about && !make_true(data[0], body, len)) ||
		    gd_message_send(pair[1], data[0], seq, body, len, NULL, 0, NULL) < 0)
			break;
		data += 3 + len;
		size -= 3 + len;
		r = gd_watcher_handle(watcher, NULL);
	}
	gd_watcher_stop(watcher);
	(void)close(pair[1]);
	return 0;
}
