#pragma once
/*
 * Takes secrets out of command lines and environments before they are written anywhere.  It errs
 * on the side of masking: a lost argument costs a question, a leaked one a rotation.  What it knows:
 *
 *	--password=x  --password x  -token=x  PASSWORD=x  "api_key": "x"  Authorization: x
 *	      names that contain pass, pwd, secret, token, key, cred, auth, dsn or cookie
 *	scheme://user:pass@host  user:pass@tcp(host:3306)/db
 *	JWT, PEM blocks, and the prefixes of well-known access keys (AKIA..., ghp_..., xoxb-..., ...)
 *
 * It does not know secrets in bare words ("-p x", "login x"), nor in file contents.
 */
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#define GD_PROC_REDACT_MASK "[masked]"

/*
 * Calls `argument` for each argument of a /proc/PID/cmdline text (NUL-separated), masked; the bytes
 * are foreign all the same.  Returns how many arguments had something masked, or a negative errno.
 */
int gd_proc_redact_cmdline(const void *cmdline, size_t len,
                           void (*argument)(void *arg, const char *bytes, size_t n), void *arg,
                           struct gd_error *err);

/* The same as one line of text for people: escaped, separated by blanks, cut at `size`. */
int gd_proc_redact_cmdline_text(const void *cmdline, size_t len, char *to, size_t size,
                                struct gd_error *err);

/*
 * One JSON line per variable of a /proc/PID/environ text: {"name","value"} for the few names whose
 * values are known to matter and to be harmless, {"name","value_bytes"} for all others.
 */
void gd_proc_redact_environ(const void *variables, size_t len, struct gd_json *json);
