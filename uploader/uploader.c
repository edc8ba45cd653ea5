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
	struct gd_place place;
	struct gd_s3_credentials credentials;
	int r = gd_place_parse(url, &place, err);
	if (r == 0 && !place.is_directory)
		r = gd_s3_credentials_from_env(&credentials, err);
	return r < 0 ? gd_error_wrap(err, r, "--upload") : 0;
}

static int put(const struct gd_place *place, const char *name, int fd,
               const struct gd_upload_digest *digest, struct gd_error *err)
{
	if (place->is_directory)
		return gd_directory_put(place->directory, name, fd, digest, err);
	struct gd_s3_credentials credentials;
	int r = gd_s3_credentials_from_env(&credentials, err);
	return r < 0 ? r : gd_s3_put(place, &credentials, name, fd, digest, err);
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

int gd_uploader_put(const char *path, const char *url, struct gd_uploaded *ret,
                    struct gd_error *err)
{
	struct gd_place place;
	struct gd_upload_digest digest;
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;

	int r = gd_place_parse(url, &place, err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	r = gd_upload_digest(fd, &digest, err);
	if (r == 0)
		r = put(&place, name, fd, &digest, err);
	if (r < 0)
		return gd_error_wrap(err, r, "not uploaded, still at %s", path);
	set_location(&place, name, ret);
	ret->bytes = digest.bytes;
	return 0;
}
