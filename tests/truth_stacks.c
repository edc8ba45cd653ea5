#include "tests/truth_stacks.h"

#include "tests/loopback.h"

enum { TEXT_MAX = 64 << 20 };

void truth_judge(const struct truth *t, const char *when, const struct stacks_report *report)
{
	print_message("# %s %s, %s: %zu goroutines equal, %zu excused, %zu different, %zu passed a "
	              "minute\n", t->release, t->variant, when, report->equal, report->excused,
	              report->different, report->one_minute_off);
	if (report->different != 0)
		fail_msg("%s %s, %s: %zu differences", t->release, t->variant, when,
		         report->different);
}

struct stacks_report truth_stacks(struct truth *t, const char *when,
                                  const struct stacks_exception *exceptions)
{
	struct gd_buf body = GD_BUF_INIT(TEXT_MAX);
	struct stacks theirs;
	struct stacks ours;
	struct stacks_report report;

	truth_collect(t, &gd_collector_goroutines);
	loopback_get(t->port, "/debug/pprof/goroutine?debug=2", &body);
	stacks_parse(body.data, &theirs);
	stacks_parse(truth_text(t, "goroutines.txt"), &ours);
	stacks_compare(&theirs, &ours, exceptions, &report);
	stacks_deinit(&theirs);
	stacks_deinit(&ours);
	gd_buf_deinit(&body);
	truth_judge(t, when, &report);
	return report;
}
