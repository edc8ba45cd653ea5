/*
 * The watcher and as much of a broker as it needs, for tests/bench/idle.py to measure while
 * godiagd is not what is asked about: watches what POLICY says, counts, and prints a line a second.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "agent/footprint.h"
#include "agent/watcher.h"
#include "policies/policy.h"

struct counts {
	unsigned processes, go, samples, full, gone;
	double goroutines;
	bool print;
};

static void on_process(void *arg, const struct gd_watched *watched, bool first_look)
{
	struct counts *counts = arg;
	(void)watched;
	(void)first_look;
	counts->processes++;
}

static void on_changed(void *arg, const struct gd_watched *watched)
{
	struct counts *counts = arg;
	counts->go += watched->go;
	if (watched->note[0] != '\0')
		(void)fprintf(stderr, "pid %d: %s\n", watched->id.pid, watched->note);
}

static void on_gone(void *arg, uint32_t slot, const struct gd_subject_id *id)
{
	struct counts *counts = arg;
	(void)slot;
	(void)id;
	counts->gone++;
}

static void on_sample(void *arg, uint32_t slot, const struct gd_clock *at,
                      const double values[GD_METRICS])
{
	struct counts *counts = arg;
	(void)slot;
	(void)at;
	counts->samples++;
	counts->full += isnan(values[GD_METRIC_GO_GOROUTINES]) ? 0 : 1;
	if (counts->print) {
		for (int i = 0; i < GD_METRICS; i++) {
			char text[GD_METRIC_TEXT];
			(void)fprintf(stderr, "%s=%s ", gd_metrics[i].name,
			              gd_metric_text(text, (enum gd_metric)i, values[i]));
		}
		(void)fprintf(stderr, "\n");
	}
}

static void on_event(void *arg, uint32_t slot, enum gd_event event, const struct gd_clock *at)
{
	(void)arg;
	(void)at;
	(void)fprintf(stderr, "slot %u: %s\n", slot, gd_event_names[event]);
}

static void on_tick(void *arg, const struct gd_clock *at)
{
	struct counts *counts = arg;
	(void)at;
	printf("tick processes=%u gone=%u samples=%u go=%u\n", counts->processes, counts->gone,
	       counts->samples, counts->full);
	(void)fflush(stdout);
	counts->samples = counts->full = 0;
}

int main(int argc, char **argv)
{
	static const struct gd_watcher_ops ops = { on_process, on_changed, on_gone,
		                                   on_sample,  on_event,   on_tick };
	struct counts counts = { .print = getenv("IDLE_PRINT") != NULL };
	struct gd_policy *policy = NULL;
	struct gd_findings findings = { 0 };
	struct gd_error err = { 0 };
	struct gd_watcher *watcher = NULL;
	if (argc != 2 || gd_policy_load(argv[1], &policy, &findings, &err) < 0) {
		(void)fprintf(stderr, "usage: idle POLICY: %s\n", err.msg);
		return 1;
	}
	struct gd_watcher_options options = { .policy = policy, .ops = &ops, .arg = &counts };
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (gd_watcher_start(&options, &watcher, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	gd_footprint_shrink();
	printf("watcher %d\n", gd_watcher_pid(watcher));
	(void)fflush(stdout);
	for (;;) {
		struct pollfd p = { .fd = gd_watcher_fd(watcher), .events = POLLIN };
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			break;
		if (gd_watcher_handle(watcher, &err) < 0)
			break;
	}
	(void)fprintf(stderr, "%s\n", err.msg);
	return 1;
}
