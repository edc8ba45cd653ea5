/*
 * What a capture would do, said before it does it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "agent/capture.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/capture.h"
#include "cli/cli.h"

#define NAME "godiag-capture"

static void print_json(pid_t pid, const struct gd_plan *plan, const struct gd_freeze_plan *freeze)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(65536);
	struct gd_json json = GD_JSON_INIT(&text);
	int64_t pause = 0;
	gd_json_object(&json, NULL);
	gd_json_i64(&json, "pid", pid);
	gd_json_string(&json, "profile", plan->profile);
	gd_plan_put(plan, &json);
	if (freeze != NULL) {
		gd_freeze_plan_put(freeze, &json);
		pause = freeze->refused ? 0 : freeze->methods[freeze->chosen].pause_ns;
	}
	gd_json_i64(&json, "predicted_pause_ns", pause);
	gd_json_object_end(&json);
	(void)puts(gd_buf_str(&text));
}

static void print_facts(const struct gd_freeze_facts *facts)
{
	char rss[GD_UNITS_TEXT];
	char huge[GD_UNITS_TEXT];
	(void)printf("threads %" PRIu64 "  mappings %" PRIu64 "  resident %s  of it huge pages %s\n",
	             facts->threads, facts->maps, gd_units_bytes(rss, facts->rss_bytes),
	             gd_units_bytes(huge, facts->huge_bytes));
}

static void print_method(const struct gd_freeze_estimate *e, bool chosen)
{
	char pause[GD_UNITS_TEXT];
	char total[GD_UNITS_TEXT];
	char extra[GD_UNITS_TEXT];
	const char *name = gd_freeze_method_name(e->method);
	if (!e->possible && e->guard != 0)
		(void)printf("  %-11s no (guard G%u): %s\n", name, e->guard, e->why);
	else if (!e->possible)
		(void)printf("  %-11s no: %s\n", name, e->why);
	else
		(void)printf("%s %-11s pause %9s  whole after %9s  grows by %9s%s%s\n",
		             chosen ? ">" : " ", name,
		             gd_units_duration(pause, (uint64_t)e->pause_ns),
		             gd_units_duration(total, (uint64_t)e->total_ns),
		             gd_units_bytes(extra, e->extra_bytes), e->why[0] != '\0' ? "  " : "",
		             e->why);
}

static void print_text(pid_t pid, const struct gd_plan *plan, const struct gd_freeze_plan *freeze)
{
	(void)printf("pid %d, profile %s: would collect", (int)pid, plan->profile);
	for (size_t i = 0; i < plan->n; i++)
		(void)printf("%s %s", i > 0 ? "," : "", plan->list[i].collector->name);
	(void)puts("");
	if (freeze == NULL) {
		(void)puts("method: read while it runs; predicted pause 0");
		return;
	}
	print_facts(&freeze->facts);
	if (freeze->refused)
		(void)printf("no image: %s\n", freeze->why);
	for (int i = 0; i < GD_FREEZE_METHODS; i++)
		print_method(&freeze->methods[i],
		             !freeze->refused && freeze->methods[i].method == freeze->chosen);
}

int gd_cli_capture_plan(pid_t pid, const struct gd_plan *plan,
                        const struct gd_capture_freeze *freeze, const char *output_dir, bool json)
{
	struct gd_freeze_plan made;
	struct gd_error err = { 0 };
	bool image = freeze->consistent || gd_plan_has(plan, "core");
	if (image) {
		enum gd_exit exit = gd_capture_plan(pid, freeze, output_dir, &made, &err);
		if (exit != GD_EXIT_COMPLETE)
			return gd_cli_fail((int)exit, NAME, &err);
	}
	(json ? print_json : print_text)(pid, plan, image ? &made : NULL);
	return GD_EXIT_COMPLETE;
}
