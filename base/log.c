#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static enum gd_log_level threshold = GD_LOG_WARNING;
static char capture_id[64];

void gd_log_set_level(enum gd_log_level level)
{
	threshold = level;
}

void gd_log_set_id(const char *id)
{
	(void)snprintf(capture_id, sizeof(capture_id), "%s", id != NULL ? id : "");
}

void gd_log(enum gd_log_level level, const char *fmt, ...)
{
	if (level > threshold)
		return;
	char raw[1024];
	char line[1200];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	gd_text_escape(line, sizeof(line), raw, strlen(raw));

	char priority[8] = "";
	if (getenv("JOURNAL_STREAM") != NULL)
		(void)snprintf(priority, sizeof(priority), "<%d>", (int)level);
	if (capture_id[0] != '\0')
		(void)fprintf(stderr, "%sgodiag: capture %s: %s\n", priority, capture_id, line);
	else
		(void)fprintf(stderr, "%sgodiag: %s\n", priority, line);
}
