#include "base/error.h"

#include <stdio.h>
#include <string.h>

static __attribute__((format(printf, 3, 0))) void set(struct gd_error *err, int code,
                                                      const char *fmt, va_list args)
{
	err->code = code;
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, args);
}

/* Names in parentheses: for `make analyze` error.h has macros of the same name. */
int (gd_fail)(struct gd_error *err, int code, const char *fmt, ...)
{
	if (err != NULL) {
		va_list args;
		va_start(args, fmt);
		set(err, code, fmt, args);
		va_end(args);
	}
	return code;
}

int (gd_fail_errno)(struct gd_error *err, int code, const char *fmt, ...)
{
	if (err != NULL) {
		va_list args;
		va_start(args, fmt);
		set(err, code, fmt, args);
		va_end(args);
		size_t n = strlen(err->msg);
		(void)snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", strerror(-code));
	}
	return code;
}

int (gd_error_wrap)(struct gd_error *err, int code, const char *fmt, ...)
{
	if (err != NULL) {
		char inner[sizeof(err->msg)];
		memcpy(inner, err->msg, sizeof(inner));
		va_list args;
		va_start(args, fmt);
		set(err, code, fmt, args);
		va_end(args);
		size_t n = strlen(err->msg);
		(void)snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", inner);
	}
	return code;
}
