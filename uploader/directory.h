#pragma once
/*
 * The embedded default store: a directory that archives are copied into under their own names.
 */
#include "base/error.h"
#include "uploader/digest.h"

/*
 * Copies fd to DIR/name (made when missing, 0700), durable and verified by reading it back.  A file
 * of that name with the same content is a success, with other content -EEXIST.
 */
int gd_directory_put(const char *directory, const char *name, int fd,
                     const struct gd_upload_digest *digest, struct gd_error *err);
