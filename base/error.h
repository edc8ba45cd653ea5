#pragma once
/*
 * An error as a plain value: a code and one sentence.  The caller owns the struct, nothing in it
 * is allocated, so an error cannot leak, survives a fork and fits into a pipe message.
 *
 * Every function of godiag that can fail returns 0 or a count on success and a negative errno on
 * failure, takes `struct gd_error *err` last (NULL is allowed: the code is then all one gets), and
 * leaves its out parameters untouched when it fails.  Codes with one meaning everywhere:
 *
 *   -EFAULT   memory that is not there          -EBADMSG  bytes that make no sense
 *   -E2BIG    one of our ceilings was reached   -ENOTSUP  this kernel or Go release cannot
 *   -ESRCH    the target is gone                -ECANCELED  the user interrupted us
 */
#include <stdarg.h>

struct gd_error {
	int code; /* negative errno, 0 when no error happened */
	char msg[248];
};

/* Fills *err (if any) and returns code, so that a failure is one statement. */
int gd_fail(struct gd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Like gd_fail, and appends ": " and the text of errno code. */
int gd_fail_errno(struct gd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Puts "context: " before the message that err already holds; returns code. */
int gd_error_wrap(struct gd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

#ifdef GD_ANALYZER
/* `make analyze` looks at one file at a time: there, what goes in visibly comes out. */
#define GD_SAME_(fn, err, code, ...)                                                               \
	__extension__({                                                                            \
		int gd_code_ = (code);                                                             \
		(void)(fn)(err, gd_code_, __VA_ARGS__);                                            \
		gd_code_;                                                                          \
	})
#define gd_fail(err, code, ...) GD_SAME_(gd_fail, err, code, __VA_ARGS__)
#define gd_fail_errno(err, code, ...) GD_SAME_(gd_fail_errno, err, code, __VA_ARGS__)
#define gd_error_wrap(err, code, ...) GD_SAME_(gd_error_wrap, err, code, __VA_ARGS__)
#endif
