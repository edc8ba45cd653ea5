/*
 * A core map from a hostile archive: what is accepted is written again and must read back as the
 * same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "archive/core_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const struct gd_core_map *map, struct gd_buf *out)
{
	gd_core_map_put_head(&map->head, out);
	for (size_t i = 0; i < map->n_areas; i++)
		gd_core_map_put_area(&map->areas[i], out);
	for (size_t i = 0; i < map->n_chunks; i++)
		gd_core_map_put_chunk(&map->chunks[i], out);
}

static void check(const struct gd_core_map *map)
{
	for (size_t i = 0; i < map->n_areas; i++)
		if (map->areas[i].start >= map->areas[i].end || map->areas[i].start % 4096 != 0 ||
		    (i > 0 && map->areas[i].start < map->areas[i - 1].end))
			abort();
	for (size_t i = 0; i < map->n_chunks; i++)
		if (map->chunks[i].addr % 1048576 != 0 ||
		    (i > 0 && map->chunks[i].addr <= map->chunks[i - 1].addr) ||
		    !gd_layout_digest_ok(map->chunks[i].pack))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_core_map first;
	struct gd_core_map second;
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf once = GD_BUF_INIT(64U << 20);
	GD_BUF struct gd_buf twice = GD_BUF_INIT(64U << 20);
	if (gd_core_map_parse((const char *)data, size, &first, &err) < 0) {
		if (err.code == 0 || err.msg[0] == '\0')
			abort();
		return 0;
	}
	check(&first);
	put(&first, &once);
	if (gd_core_map_parse(once.data, once.len, &second, NULL) < 0)
		abort();
	put(&second, &twice);
	if (first.n_areas != second.n_areas || first.n_chunks != second.n_chunks ||
	    once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
	gd_core_map_deinit(&first);
	gd_core_map_deinit(&second);
	return 0;
}
