#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/doctor.h"

const char *const gd_cli_doctor_verdicts[] = {
	[GD_HOST_OK] = "ok",
	[GD_HOST_LIMITED] = "limited",
	[GD_HOST_MISSING] = "missing",
};

/* One finding, as a line or as an object of the array `checks`. */
void gd_cli_doctor_say(struct gd_json *json, enum gd_host_verdict verdict, const char *what,
                const char *detail, const char *lost)
{
	if (json != NULL) {
		gd_json_object(json, NULL);
		gd_json_string(json, "check", what);
		gd_json_string(json, "verdict", gd_cli_doctor_verdicts[verdict]);
		gd_json_string(json, "detail", detail);
		gd_json_string(json, "lost", verdict != GD_HOST_OK ? lost : NULL);
		gd_json_object_end(json);
		return;
	}
	char safe[600];
	gd_text_escape(safe, sizeof(safe), detail, strlen(detail));
	(void)printf("  %-8s %-26s %s\n", gd_cli_doctor_verdicts[verdict], what, safe);
	if (verdict != GD_HOST_OK)
		(void)printf("  %-8s %-26s lost: %s\n", "", "", lost);
}
