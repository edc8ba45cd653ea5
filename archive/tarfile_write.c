#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/tarfile.h"

struct gd_tarfile_writer {
	struct archive *tar;
	struct archive_entry *entry;
	struct gd_output *output; /* borrowed */
	int64_t mtime_s;
	struct gd_error failure; /* why our write callback refused */
};

/*
 * Never tells libarchive of a failure: 3.6 forgets to free its state once it believes itself
 * broken.  We remember, write nothing more, and look after every call.
 */
static la_ssize_t on_write(struct archive *tar, void *arg, const void *bytes, size_t n)
{
	struct gd_tarfile_writer *w = arg;
	(void)tar;
	if (w->failure.code == 0)
		(void)gd_output_write(w->output, bytes, n, &w->failure);
	return (la_ssize_t)n;
}

static int fail(struct gd_tarfile_writer *w, struct gd_error *err)
{
	if (w->failure.code != 0) {
		if (err != NULL)
			*err = w->failure;
		return w->failure.code;
	}
	const char *why = archive_error_string(w->tar);
	return gd_fail(err, -EIO, "tar: %s", why != NULL ? why : "unknown failure of libarchive");
}

int gd_tarfile_create(struct gd_output *output, int64_t mtime_s, struct gd_tarfile_writer **ret,
                      struct gd_error *err)
{
	struct gd_tarfile_writer *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return gd_fail_errno(err, -ENOMEM, "tar");
	w->output = output;
	/* what eleven octal digits hold; a repaired snapshot.json may say anything */
	w->mtime_s = mtime_s >= 0 && mtime_s < INT64_C(1) << 33 ? mtime_s : 0;
	w->tar = archive_write_new();
	w->entry = archive_entry_new();
	int r = 0;
	if (w->tar == NULL || w->entry == NULL)
		r = gd_fail_errno(err, -ENOMEM, "tar");
	else if (archive_write_set_format_ustar(w->tar) != ARCHIVE_OK ||
	         archive_write_set_bytes_per_block(w->tar, 0) != ARCHIVE_OK ||
	         archive_write_set_bytes_in_last_block(w->tar, 1) != ARCHIVE_OK ||
	         archive_write_open(w->tar, w, NULL, on_write, NULL) != ARCHIVE_OK)
		r = fail(w, err);
	if (r < 0) {
		gd_tarfile_abandon(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* A label that would be cut is none. */
static const char *fitting(const char *label)
{
	return label != NULL && strlen(label) < GD_TARFILE_LABEL ? label : NULL;
}

int gd_tarfile_begin(struct gd_tarfile_writer *w, const char *name, uint64_t bytes,
                     const char *user, const char *group, struct gd_error *err)
{
	if (bytes > INT64_MAX)
		return gd_fail(err, -E2BIG, "tar: %s: too large", name);
	(void)archive_entry_clear(w->entry);
	archive_entry_set_pathname(w->entry, name);
	archive_entry_set_filetype(w->entry, AE_IFREG);
	archive_entry_set_perm(w->entry, 0600);
	archive_entry_set_size(w->entry, (la_int64_t)bytes);
	archive_entry_set_mtime(w->entry, w->mtime_s, 0);
	archive_entry_set_uid(w->entry, 0);
	archive_entry_set_gid(w->entry, 0);
	archive_entry_set_uname(w->entry, fitting(user));
	archive_entry_set_gname(w->entry, fitting(group));
	if (archive_write_header(w->tar, w->entry) != ARCHIVE_OK || w->failure.code != 0)
		return fail(w, err);
	return 0;
}

int gd_tarfile_data(struct gd_tarfile_writer *w, const void *bytes, size_t n,
                    struct gd_error *err)
{
	if (n == 0)
		return 0;
	la_ssize_t done = archive_write_data(w->tar, bytes, n);
	return done < 0 || (size_t)done != n || w->failure.code != 0 ? fail(w, err) : 0;
}

int gd_tarfile_close(struct gd_tarfile_writer *w, struct gd_error *err)
{
	bool closed = archive_write_close(w->tar) == ARCHIVE_OK && w->failure.code == 0;
	int r = closed ? 0 : fail(w, err);
	gd_tarfile_abandon(w);
	return r;
}

void gd_tarfile_abandon(struct gd_tarfile_writer *w)
{
	if (w == NULL)
		return;
	w->failure.code = -ECANCELED; /* free would write the end otherwise */
	if (w->tar != NULL)
		(void)archive_write_free(w->tar);
	archive_entry_free(w->entry);
	free(w);
}
