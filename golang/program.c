#include "golang/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"

enum { CHUNK_BYTES = 1 << 20, PAGE_BYTES = 4096 };

/* The data of the largest programs known has some ten MiB. */
static const uint64_t FILE_MAP_MAX = UINT64_C(64) << 20;
static const uint64_t UNPACKED_MAP_MAX = UINT64_C(16) << 20;
static const uint64_t UNPACKED_MAX = UINT64_C(64) << 20;

static bool same_file(const struct gd_map *a, const struct gd_map *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

static bool is_private_data(const struct gd_map *map)
{
	return map->read && map->write && !map->exec && !map->shared;
}

/* The mappings of one file lie together; text, constants, relro and data make four, and an
 * anonymous .bss or a text remapped to huge pages can come in between. */
static bool is_file_data(const struct gd_maps *maps, const struct gd_map *map)
{
	enum { NEIGHBOURS = 16 };
	if (!is_private_data(map) || map->inode == 0)
		return false;
	size_t at = (size_t)(map - maps->list);
	for (size_t i = at > NEIGHBOURS ? at - NEIGHBOURS : 0; i < maps->n && i <= at + NEIGHBOURS;
	     i++)
		if (maps->list[i].exec && same_file(maps->list + i, map))
			return true;
	return false;
}

static bool is_unpacked_data(const struct gd_maps *maps, const struct gd_map *map)
{
	enum { NEIGHBOURS = 4 };
	if (!is_private_data(map) || map->inode != 0 || map->path[0] == '[')
		return false;
	size_t at = (size_t)(map - maps->list);
	for (size_t i = at > NEIGHBOURS ? at - NEIGHBOURS : 0; i < at; i++)
		if (maps->list[i].exec && maps->list[i].inode == 0 && maps->list[i].path[0] != '[')
			return true;
	return false;
}

static int scan_range(struct gd_memory *memory, uint64_t start, uint64_t end, size_t overlap,
                      uint8_t *chunk, gd_program_fn *fn, void *arg)
{
	for (uint64_t at = start; at < end;) {
		size_t want = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
		ssize_t got = gd_memory_read_some(memory, at, chunk, want);
		if (got < 0)
			return (int)got;
		int r = got > 0 ? fn(at, chunk, (size_t)got, arg) : 0;
		if (r != 0)
			return r;
		if ((size_t)got < want) /* go on behind the page that cannot be read */
			at = (at + (uint64_t)got) / PAGE_BYTES * PAGE_BYTES + PAGE_BYTES;
		else if (at + want == end)
			break;
		else
			at += want - overlap;
	}
	return 0;
}

int gd_program_scan(struct gd_memory *memory, const struct gd_maps *maps, enum gd_program_data what,
                    size_t overlap, gd_program_fn *fn, void *arg, struct gd_error *err)
{
	uint64_t left = what == GD_PROGRAM_FILES ? UINT64_MAX : UNPACKED_MAX;
	uint64_t map_max = what == GD_PROGRAM_FILES ? FILE_MAP_MAX : UNPACKED_MAP_MAX;
	GD_FREE uint8_t *chunk = malloc(CHUNK_BYTES);
	if (chunk == NULL)
		return gd_fail_errno(err, -ENOMEM, "data of programs");
	for (size_t i = 0; i < maps->n && left > 0; i++) {
		const struct gd_map *map = maps->list + i;
		if (what == GD_PROGRAM_FILES ? !is_file_data(maps, map)
		                             : !is_unpacked_data(maps, map))
			continue;
		uint64_t n = map->end - map->start;
		n = n < map_max ? n : map_max;
		n = n < left ? n : left;
		left -= n;
		int r = scan_range(memory, map->start, map->start + n, overlap, chunk, fn, arg);
		if (r == -ESRCH)
			return gd_fail(err, r, "data of programs: the target is gone");
		if (r != 0)
			return r;
	}
	return 0;
}

uint64_t gd_program_mapped_until(const struct gd_maps *maps, uint64_t addr)
{
	const struct gd_map *map = gd_maps_find(maps, addr);
	if (map == NULL)
		return addr;
	const struct gd_map *last = maps->list + maps->n - 1;
	while (map < last && map[1].start == map->end)
		map++;
	return map->end;
}
