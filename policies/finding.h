#pragma once
/*
 * Collecting what is wrong with a policy (struct gd_finding in policy.h), all of it in one run.
 */
#include "policies/policy.h"

/*
 * Adds one; beyond GD_FINDINGS_MAX errors are only counted.  Texts may hold foreign bytes, which
 * gd_finding_put escapes.  When there is no memory for it the error is still counted.
 */
void gd_findings_add(struct gd_findings *findings, enum gd_severity severity, const char *file,
                     unsigned line, unsigned column, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Sorts by file (in the order of `files`, NULL-terminated; NULL: one file), line, column. */
void gd_findings_sort(struct gd_findings *findings, char *const *files);
