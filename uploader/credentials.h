#pragma once
/*
 * What requests are signed with: from $CREDENTIALS_DIRECTORY (systemd's LoadCredential), else from the
 * environment.  Kept in locked pages that are in no core dump, wiped on release, never in a message.
 *
 *	s3, aws-credentials      lines NAME = VALUE, names in any case, [sections] and # comments ignored
 *	aws_access_key_id, aws_secret_access_key, aws_session_token    or a file for each
 */
#include <stddef.h>

#include "base/error.h"

struct gd_credentials {
	const char *access_key, *secret_key;
	const char *session_token; /* NULL: none */
	char *pages;               /* where they are */
	size_t size;
};

/*
 * -ENOKEY names what is missing; -EINVAL a file that is not like this.  Region and endpoint
 * (AWS_REGION, AWS_ENDPOINT_URL, ...), which are no secrets, go from such a file into the environment
 * unless they are set.  Not thread safe (setenv).
 */
int gd_credentials_load(struct gd_credentials *ret, struct gd_error *err);
void gd_credentials_deinit(struct gd_credentials *credentials);
#define GD_CREDENTIALS __attribute__((cleanup(gd_credentials_deinit)))

/* Wipes the secrets out of this process's environment, where /proc/PID/environ shows them. */
void gd_credentials_forget_environment(void);
