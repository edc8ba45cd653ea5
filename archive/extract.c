#include "archive/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"

/* One component; the kernel refuses to leave dir_fd or to follow a link. */
static int open_below(int dir_fd, const char *component, int flags, mode_t mode)
{
	struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW), .mode = mode,
		                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		                           RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dir_fd, component, &how, sizeof(how));
	/* Filtered away by some sandboxes; a single component is as safe without it. */
	if (fd < 0 && errno == ENOSYS)
		fd = openat(dir_fd, component, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	return fd < 0 ? -errno : (int)fd;
}

/* The directory that `name` lies in, made where missing; *leaf gets its last component. */
static int open_parent(int dir_fd, const char *name, const char **leaf)
{
	int at = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	if (at < 0)
		return -errno;
	const char *slash;
	while ((slash = strchr(name, '/')) != NULL) {
		char component[256];
		size_t n = (size_t)(slash - name);
		memcpy(component, name, n); /* names have at most 200 characters */
		component[n] = '\0';
		int next = mkdirat(at, component, 0700) < 0 && errno != EEXIST
		                   ? -errno
		                   : open_below(at, component, O_RDONLY | O_DIRECTORY, 0);
		(void)close(at);
		if (next < 0)
			return next;
		at = next;
		name = slash + 1;
	}
	*leaf = name;
	return at;
}

struct writing {
	int fd;
	struct gd_error failure;
};

static int write_piece(void *arg, const void *bytes, size_t n)
{
	struct writing *w = arg;
	return gd_io_write_all(w->fd, bytes, n, &w->failure);
}

int gd_extract_to(const struct gd_reader *reader, const struct gd_artifact_row *row, int fd,
                  struct gd_error *err)
{
	struct writing w = { .fd = fd };
	int r = gd_reader_content(reader, row, write_piece, &w, err);
	if (w.failure.code != 0)
		return gd_fail(err, w.failure.code, "artifact %s: %s", row->name, w.failure.msg);
	return r;
}

int gd_extract_below(const struct gd_reader *reader, const struct gd_artifact_row *row, int dir_fd,
                     bool keep_damaged, struct gd_error *err)
{
	const char *leaf = row->name;
	if (!gd_layout_name_ok(row->name))
		return gd_fail(err, -EINVAL, "a name that must not become a path");
	GD_CLOSE int parent = open_parent(dir_fd, row->name, &leaf);
	if (parent < 0)
		return gd_fail_errno(err, parent, "directory of %s", row->name);
	GD_CLOSE int fd = open_below(parent, leaf, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd == -EEXIST)
		return gd_fail(err, fd, "%s exists already, not overwritten", row->name);
	if (fd < 0)
		return gd_fail_errno(err, fd, "%s", row->name);
	int r = gd_extract_to(reader, row, fd, err);
	if (r < 0 && !(keep_damaged && r == -EBADMSG))
		(void)unlinkat(parent, leaf, 0);
	return r;
}

int gd_extract_room(int dir_fd, uint64_t bytes, struct gd_error *err)
{
	struct statvfs fs;
	char needed[GD_UNITS_TEXT];
	char room[GD_UNITS_TEXT];
	if (fstatvfs(dir_fd, &fs) < 0 || fs.f_blocks == 0)
		return 0; /* it does not say: it will be seen when writing */
	uint64_t have = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (bytes <= have)
		return 0;
	return gd_fail(err, -ENOSPC, "%s needed, %s free", gd_units_bytes(needed, bytes),
	               gd_units_bytes(room, have));
}

bool gd_extract_document(const struct gd_reader *reader, char *name, struct gd_artifact_row *ret)
{
	static char type[] = "application/json";
	struct gd_artifact_row row = { .name = name, .media_type = type };
	const struct gd_blob *blob = NULL;
	if (strcmp(name, GD_LAYOUT_SNAPSHOT_NAME) == 0 && reader->has_manifest)
		blob = gd_reader_blob(reader, reader->manifest.config.digest);
	else if (strcmp(name, GD_LAYOUT_MANIFEST_NAME) == 0 && reader->has_manifest)
		blob = &reader->manifest_blob;
	if (blob == NULL)
		return false;
	gd_layout_digest(row.digest, blob->hex);
	row.bytes = row.stored_bytes = blob->bytes;
	*ret = row;
	return true;
}
