#pragma once
/*
 * A file that has no name until it is finished: O_TMPFILE in its directory, data synced, then
 * linked and the directory synced.  Whatever happens before leaves nothing behind, not even after
 * SIGKILL.  File systems without O_TMPFILE (NFS, FAT, some FUSE) get a hidden exclusive name
 * instead, which is removed on failure and only outlives a killed process.
 *
 * Errors name the directory; a full one (-ENOSPC, also for a quota) says what was needed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gd_output {
	int dir_fd;
	int fd;         /* of the file, read and write */
	char *dir;      /* as given, for messages */
	char temp[40];  /* its hidden name; "" when it has none */
	uint64_t bytes; /* written so far */
	/* Of a writer that may open nothing: where it gets a scratch file from, a descriptor or
	 * -errno; NULL: it makes them itself. */
	int (*scratch)(void *arg);
	void *scratch_arg;
};

#define GD_OUTPUT_INIT ((struct gd_output){ .dir_fd = -1, .fd = -1 })

/*
 * Opens the file in `dir`, mode 0600, and makes sure that a few blocks are free.  `named` asks for
 * the way without O_TMPFILE (tests do).
 */
int gd_output_create(const char *dir, bool named, struct gd_output *ret, struct gd_error *err);

int gd_output_write(struct gd_output *output, const void *bytes, size_t n, struct gd_error *err);

/* An unlinked, empty scratch file in the same directory; returns the descriptor. */
int gd_output_scratch(struct gd_output *output, struct gd_error *err);


/*
 * Explains the failure `code` of writing `n` more bytes into the directory.  A quota's and a full
 * disk's code both become -ENOSPC.
 */
int gd_output_fail(const struct gd_output *output, int code, uint64_t n, struct gd_error *err);

/* Durable under `name` in its directory, or -EEXIST, or another error and no name at all. */
int gd_output_publish(struct gd_output *output, const char *name, struct gd_error *err);

/* Closes; what was not published is gone.  Safe on GD_OUTPUT_INIT and after publish. */
void gd_output_deinit(struct gd_output *output);
