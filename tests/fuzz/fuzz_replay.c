/*
 * Recorded metrics of any shape, replayed with rules of every kind: no line may break anything, and the
 * lines before a bad one have to give the same however often they are replayed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policies/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char yaml[] =
	"services:\n"
	"  - { name: a, match: { comm: a } }\n"
	"  - { name: b, match: { comm: b } }\n"
	"budget: { captures: 50/1h }\n"
	"rules:\n"
	"  - { name: m, service: a, when: { metric: cpu, above: 80% }, for: 3s, clear_for: 2s, "
	"unless: { metric: rss, above: 1GiB } }\n"
	"  - { name: l, service: b, when: { metric: time_to_limit, below: 5m }, for: 0, cooldown: 0 }\n"
	"  - { name: p, service: a, when: { alert: Slow, labels: { severity: page } }, sample: 1/2 }\n"
	"  - { name: g, service: a, when: { event: gone }, dedup: 1h }\n"
	"  - { name: r, service: b, when: { event: restarts, count: 3, within: 1m } }\n"
	"  - { name: o, service: a, when: { event: oom_kill } }\n"
	"  - { name: s, service: b, when: { every: 1h, jitter: 10m } }\n";

static void note(void *arg, const struct gd_replay_firing *firing)
{
	gd_replay_put(firing, arg);
}

static void replay(const struct gd_policy *policy, const uint8_t *data, size_t size,
                   struct gd_buf *to)
{
	const struct gd_replay_options options = {
		.policy = policy,
		.service = "a",
		.capture_ns = UINT64_C(5000000000),
		.queue_max = 2,
	};
	struct gd_replay *replay;
	struct gd_error err = { 0 };
	struct gd_replay_stats stats;
	if (gd_replay_create(&options, note, to, &replay, NULL) < 0)
		abort();
	const char *text = (const char *)data;
	int r = 0;
	while (size > 0 && r == 0) {
		const char *end = memchr(text, '\n', size);
		size_t n = end != NULL ? (size_t)(end - text) : size;
		r = gd_replay_line(replay, text, n, &err);
		text += n + (end != NULL);
		size -= n + (end != NULL);
	}
	if (r < 0 && strncmp(err.msg, "line ", 5) != 0)
		abort();
	gd_replay_end(replay);
	gd_replay_stats(replay, &stats);
	uint64_t sum = 0;
	for (size_t i = 0; i < GD_VERDICTS; i++)
		sum += stats.verdicts[i];
	if (sum != stats.fired || stats.engine.fired != stats.fired)
		abort();
	gd_replay_destroy(replay);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gd_policy *policy;
	GD_BUF struct gd_buf once = GD_BUF_INIT(64 << 20);
	GD_BUF struct gd_buf twice = GD_BUF_INIT(64 << 20);
	if (policy == NULL &&
	    gd_policy_parse("fuzz.yaml", yaml, sizeof(yaml) - 1, &policy, NULL, NULL) < 0)
		abort();
	replay(policy, data, size, &once);
	replay(policy, data, size, &twice);
	if (once.len != twice.len || (once.len > 0 && memcmp(once.data, twice.data, once.len) != 0))
		abort();
	return 0;
}
