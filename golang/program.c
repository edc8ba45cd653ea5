#include "golang/program.h"

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
bool gd_program_is_data(const struct gd_maps *maps, const struct gd_map *map)
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

bool gd_program_is_unpacked(const struct gd_maps *maps, const struct gd_map *map)
{
	enum { NEIGHBOURS = 4 };
	if (!is_private_data(map) || map->inode != 0 || map->path[0] == '[')
		return false;
	size_t at = (size_t)(map - maps->list);
	for (size_t i = at > NEIGHBOURS ? at - NEIGHBOURS : 0; i < at; i++)
		if (maps->list[i].exec)
			return true;
	return false;
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
