#include "archive/core_base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

struct gd_core_base {
	struct gd_reader reader;
	struct gd_core_map map;
};

int gd_core_base_open(int fd, struct gd_core_base **ret, struct gd_error *err)
{
	struct gd_core_base *base = calloc(1, sizeof(*base));
	if (base == NULL) {
		(void)close(fd);
		return gd_fail_errno(err, -ENOMEM, "base capture");
	}
	base->reader = GD_READER_INIT;
	int r = gd_reader_open_fd(fd, &base->reader, err);
	if (r == 0)
		r = gd_core_read_map(&base->reader, &base->map, err);
	if (r == 0 && base->map.head.has_base)
		r = gd_fail(err, -ENOTSUP, "needs %s itself, only a full capture can be a base",
		            base->map.head.base_id);
	if (r < 0) {
		gd_core_base_close(base);
		return gd_error_wrap(err, r, "base capture");
	}
	*ret = base;
	return 0;
}

void gd_core_base_close(struct gd_core_base *base)
{
	if (base == NULL)
		return;
	gd_reader_close(&base->reader);
	gd_core_map_deinit(&base->map);
	free(base);
}

const struct gd_core_head *gd_core_base_head(const struct gd_core_base *base)
{
	return &base->map.head;
}

const struct gd_snapshot *gd_core_base_snapshot(const struct gd_core_base *base)
{
	return &base->reader.snapshot;
}

const char *gd_core_base_digest(const struct gd_core_base *base)
{
	return base->reader.manifest_digest;
}

const struct gd_core_chunk *gd_core_base_chunk(const struct gd_core_base *base, uint64_t addr)
{
	const struct gd_core_map *map = &base->map;
	size_t low = 0;
	size_t high = map->n_chunks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (map->chunks[middle].addr < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < map->n_chunks && map->chunks[low].addr == addr ? &map->chunks[low] : NULL;
}

int gd_core_base_read(const struct gd_core_base *base, uint64_t addr,
                      uint8_t bytes[GD_PACK_CHUNK], struct gd_error *err)
{
	const struct gd_core_chunk *chunk = gd_core_base_chunk(base, addr);
	if (chunk == NULL)
		return gd_fail(err, -ENOENT, "no chunk at 0x%" PRIx64, addr);
	return gd_core_read_chunk(&base->reader, NULL, chunk, NULL, bytes, err);
}

/* 1 when that file is the archive, 0 when it is another one or none. */
static int is_it(int fd, const char *digest)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own >= 0 && gd_reader_open_fd(own, &reader, NULL) == 0 &&
	       strcmp(reader.manifest_digest, digest) == 0;
}

int gd_core_base_look(int dir_fd, const char *digest, struct gd_error *err)
{
	GD_CLOSE int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *dir = again >= 0 ? fdopendir(again) : NULL;
	if (dir == NULL)
		return gd_fail_errno(err, -errno, "directory of captures");
	(void)gd_steal_fd(&again);
	const struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		size_t n = strlen(entry->d_name);
		if (n <= 4 || strcmp(entry->d_name + n - 4, ".tar") != 0)
			continue;
		GD_CLOSE int fd = openat(dir_fd, entry->d_name,
		                         O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0 && is_it(fd, digest))
			return gd_steal_fd(&fd);
	}
	return gd_fail(err, -ENOENT, "no capture with the digest %.19s is there", digest);
}
