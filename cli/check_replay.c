/*
 * When each rule would have fired on recorded metrics, and whether it would have been admitted.
 */
#include "cli/check_replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/exit.h"
#include "agent/host.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/cli.h"
#include "policies/replay.h"

#define NAME "godiag check --replay"
/* A recording this much coarser or finer than once a second is worth a word. */
#define STEP_TOLERANCE 2
#define NS_PER_S UINT64_C(1000000000)

static void cleanup_replay(struct gd_replay **replay)
{
	gd_replay_destroy(*replay);
}

static void print_firing(void *arg, const struct gd_replay_firing *firing)
{
	(void)arg;
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf safe = GD_BUF_INIT(32768);
	gd_replay_put(firing, &line);
	/* alert names and labels come from the recording */
	gd_text_put_escaped(&safe, line.data, line.len > 0 ? line.len - 1 : 0);
	(void)puts(gd_buf_str(&safe));
}

/* "12 fired: 3 admitted, 9 cooldown" */
static void print_summary(const struct gd_replay_stats *stats)
{
	char first[GD_CLOCK_TEXT];
	char last[GD_CLOCK_TEXT];
	const char *between = ": ";
	(void)printf("%" PRIu64 " line%s", stats->lines, stats->lines == 1 ? "" : "s");
	if (stats->first_realtime_ns != 0)
		(void)printf(" from %s to %s", gd_clock_text(first, stats->first_realtime_ns),
		             gd_clock_text(last, stats->last_realtime_ns));
	(void)printf("\n%" PRIu64 " fired", stats->fired);
	for (size_t i = 0; i < GD_VERDICTS; i++) {
		if (stats->verdicts[i] == 0)
			continue;
		(void)printf("%s%" PRIu64 " %s", between, stats->verdicts[i], gd_verdict_names[i]);
		between = ", ";
	}
	(void)putchar('\n');
}

/* What makes the answer less than certain. */
static void print_doubts(const struct gd_replay_stats *stats)
{
	char step[GD_UNITS_TEXT];
	if (stats->engine.ignored > 0)
		(void)printf("%" PRIu64 " samples were out of order and ignored\n",
		             stats->engine.ignored);
	if (stats->engine.gaps > 0)
		(void)printf("%" PRIu64 " gaps in the recording began what had to hold anew\n",
		             stats->engine.gaps);
	if (stats->alerts_ignored > 0)
		(void)printf("%" PRIu64 " alerts were resolved, or no rule waits for them\n",
		             stats->alerts_ignored);
	if (stats->step_ns > STEP_TOLERANCE * NS_PER_S)
		(void)printf("recorded every %s, the agent samples every second: it may fire earlier\n",
		             gd_units_duration(step, stats->step_ns));
}

int gd_cli_check_replay(const struct gd_policy *policy, const struct gd_cli_replay *wish)
{
	char host[GD_HOST_ID_SIZE];
	gd_host_id(host);
	const struct gd_replay_options options = {
		.policy = policy,
		.service = wish->service,
		.host = wish->host != NULL ? wish->host : host,
		.seed = gd_host_seed(wish->host != NULL ? wish->host : host),
		.queue_max = 8,
	};
	GD_CLEANUP(cleanup_replay) struct gd_replay *replay = NULL;
	struct gd_replay_stats stats;
	struct gd_error err = { 0 };
	bool is_stdin = strcmp(wish->file, "-") == 0;
	GD_CLOSE int fd = is_stdin ? -1 : open(wish->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (!is_stdin && fd < 0) {
		int r = gd_fail_errno(&err, -errno, "%s", wish->file);
		return gd_cli_fail(r == -EACCES ? GD_EXIT_PERMISSION : GD_EXIT_USAGE, NAME, &err);
	}
	int r = gd_replay_create(&options, print_firing, NULL, &replay, &err);
	if (r < 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	r = gd_replay_read(replay, is_stdin ? STDIN_FILENO : fd, &err);
	gd_replay_stats(replay, &stats);
	print_summary(&stats);
	print_doubts(&stats);
	if (r < 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	return GD_EXIT_COMPLETE;
}
