#include "uploader/uploader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "uploader/digest.h"
#include "uploader/directory.h"
#include "uploader/place.h"
#include "uploader/s3.h"

int gd_uploader_check_url(const char *url, struct gd_error *err)
{
	GD_CREDENTIALS struct gd_credentials credentials = { .pages = NULL };
	struct gd_place place;
	int r = gd_place_parse(url, &place, err);
	if (r == 0 && !place.is_directory)
		r = gd_credentials_load(&credentials, err);
	return r < 0 ? gd_error_wrap(err, r, "--upload") : 0;
}

static void set_location(const struct gd_place *place, const char *name, struct gd_uploaded *to)
{
	if (place->is_directory)
		(void)snprintf(to->location, sizeof(to->location), "file://%s/%s",
		               place->directory, name);
	else
		(void)snprintf(to->location, sizeof(to->location), "%s://%s/%s%s%s%s",
		               place->tls ? "https" : "http", place->host, place->bucket,
		               place->bucket[0] != '\0' ? "/" : "", place->prefix, name);
}

static int put(const struct gd_place *place, const char *name, int fd,
               const struct gd_upload_digest *digest, const struct gd_credentials *credentials,
               const struct gd_transfer_options *options, struct gd_upload_trouble *trouble,
               struct gd_error *err)
{
	if (!place->is_directory && credentials != NULL)
		return gd_s3_put(place, credentials, name, fd, digest, options, trouble, err);
	if (!place->is_directory) {
		trouble->permanent = true;
		return gd_fail(err, -ENOKEY, "no S3 credentials");
	}
	int r = gd_directory_put(place->directory, name, fd, digest, err);
	trouble->archive_only = r == -EEXIST;
	trouble->permanent = r == -EEXIST || r == -EACCES || r == -EROFS || r == -ENOTDIR;
	return r;
}

int gd_uploader_put_fd(int fd, const char *name, const char *url,
                       const struct gd_credentials *credentials,
                       const struct gd_transfer_options *options, struct gd_uploaded *ret,
                       struct gd_upload_trouble *trouble, struct gd_error *err)
{
	struct gd_place place;
	struct gd_upload_digest digest;
	*trouble = (struct gd_upload_trouble){ .permanent = false };
	int r = gd_place_parse(url, &place, err);
	if (r < 0) {
		trouble->permanent = true;
		return r;
	}
	r = gd_upload_digest(fd, &digest, err);
	if (r == 0)
		r = put(&place, name, fd, &digest, credentials, options, trouble, err);
	if (r < 0)
		return r;
	set_location(&place, name, ret);
	ret->bytes = digest.bytes;
	return 0;
}

int gd_uploader_put(const char *path, const char *url, struct gd_uploaded *ret,
                    struct gd_error *err)
{
	static const struct gd_transfer_options options = { .bytes_per_s = 0 };
	GD_CREDENTIALS struct gd_credentials credentials = { .pages = NULL };
	struct gd_upload_trouble trouble;
	struct gd_place place;
	const char *slash = strrchr(path, '/');

	int r = gd_place_parse(url, &place, err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	if (!place.is_directory)
		r = gd_credentials_load(&credentials, err);
	if (r == 0)
		r = gd_uploader_put_fd(fd, slash != NULL ? slash + 1 : path, url, &credentials,
		                       &options, ret, &trouble, err);
	return r < 0 ? gd_error_wrap(err, r, "not uploaded, still at %s", path) : 0;
}
