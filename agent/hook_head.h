#pragma once
/*
 * Looks at the head of an HTTP request while it is still in the kernel's buffer, before any parser
 * spends memory on it: is it complete, is it within our limits, is it of the plain kind that we
 * serve (RFC 9112 without chunks, folding, Expect or upgrades).  What passes is parsed by
 * libmicrohttpd; nothing here is remembered, no header's value is believed.
 */
#include <stddef.h>

#define GD_HOOK_HEAD_MAX 8192
#define GD_HOOK_FIELDS_MAX 32
#define GD_HOOK_TARGET_MAX 256
#define GD_HOOK_BODY_MAX 65536

/*
 * 0: more is needed; 200: complete and fine; else the status to refuse it with: 400, 405, 411, 413,
 * 414, 415, 417, 431, 505.  `n` is at most GD_HOOK_HEAD_MAX bytes: the first ones of the connection.
 */
int gd_hook_head_check(const char *bytes, size_t n);

/* "431 Request Header Fields Too Large"; for every status that the hook ever sends. */
const char *gd_hook_head_status(int status);
