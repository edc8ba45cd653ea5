#pragma once
/*
 * Log lines on stderr.  Only agent/ and cli/ log above debug; libraries return errors instead, so
 * that one failure is one line.  Under systemd (JOURNAL_STREAM set) lines begin with "<N>".  Every
 * line carries the capture id once gd_log_set_id was called.  Foreign bytes are escaped.
 */
enum gd_log_level {
	GD_LOG_ERROR = 3, /* syslog numbers */
	GD_LOG_WARNING = 4,
	GD_LOG_INFO = 6,
	GD_LOG_DEBUG = 7,
};

void gd_log_set_level(enum gd_log_level level);
void gd_log_set_id(const char *capture_id); /* copied; NULL forgets it */

void gd_log(enum gd_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
