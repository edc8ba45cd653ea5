#pragma once
/*
 * Inside of policies/policy*.c: which files a policy consists of, and their bytes.  Whoever may
 * write them decides what is captured and where it goes, so files and folders that belong to others
 * than root and ourselves, or that everybody may write, are errors.
 */
#include "policies/policy.h"

#define GD_POLICY_FILES_MAX 64
#define GD_POLICY_PATH_MAX 256 /* as much as a finding can name */

struct gd_policy_file {
	char path[GD_POLICY_PATH_MAX];
	struct gd_buf text;
	bool readable; /* else a finding says why not */
};

struct gd_policy_files {
	struct gd_policy_file *list;
	size_t n;
	bool incomplete; /* the folder of drop-ins itself could not be read */
};

/* As gd_policy_load. */
int gd_policy_files_read(const char *path, struct gd_policy_files *ret,
                         struct gd_findings *findings, struct gd_error *err);
void gd_policy_files_deinit(struct gd_policy_files *files);
