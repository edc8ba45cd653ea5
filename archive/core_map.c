#include "archive/core_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/pack.h"

#define PAGE 4096u
#define EXACT (UINT64_C(1) << 53) /* from here on JSON numbers are not what everybody reads */

static const char *const missing_names[] = { "zero", "file", "lost" };

/* Inodes of overlays and remote file systems use all 64 bits. */
static void put_number(struct gd_json *json, const char *key, uint64_t value)
{
	if (value < EXACT)
		gd_json_u64(json, key, value);
	else
		gd_json_hex(json, key, value);
}

void gd_core_map_put_head(const struct gd_core_head *head, struct gd_buf *out)
{
	struct gd_json json = GD_JSON_INIT(out);
	gd_json_object(&json, NULL);
	gd_json_string(&json, "kind", "core");
	gd_json_u64(&json, "version", 1);
	gd_json_i64(&json, "pid", head->pid);
	gd_json_string(&json, "scope", head->scope);
	gd_json_string(&json, "method", head->method);
	gd_json_i64(&json, "pause_ns", head->pause_ns);
	gd_json_i64(&json, "instant_ns", head->instant_ns);
	gd_json_u64(&json, "page", PAGE);
	gd_json_u64(&json, "chunk", GD_PACK_CHUNK);
	gd_json_u64(&json, "threads", head->threads);
	if (head->has_base) {
		gd_json_object(&json, "base");
		gd_json_string(&json, "id", head->base_id);
		gd_json_string(&json, "digest", head->base_digest);
		gd_json_object_end(&json);
	} else {
		gd_json_null(&json, "base");
	}
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

void gd_core_map_put_area(const struct gd_core_area *area, struct gd_buf *out)
{
	struct gd_json json = GD_JSON_INIT(out);
	char text[32];
	gd_json_object(&json, NULL);
	gd_json_string(&json, "kind", "map");
	gd_json_hex(&json, "start", area->start);
	gd_json_hex(&json, "end", area->end);
	(void)snprintf(text, sizeof(text), "%c%c%c%c", area->read ? 'r' : '-',
	               area->write ? 'w' : '-', area->exec ? 'x' : '-',
	               area->shared ? 's' : 'p');
	gd_json_string(&json, "prot", text);
	put_number(&json, "offset", area->offset);
	(void)snprintf(text, sizeof(text), "%" PRIu32 ":%" PRIu32, area->dev_major,
	               area->dev_minor);
	gd_json_string(&json, "dev", text);
	put_number(&json, "inode", area->inode);
	gd_json_string(&json, "path", area->path != NULL ? area->path : "");
	gd_json_bool(&json, "deleted", area->deleted);
	gd_json_string(&json, "missing", missing_names[area->missing]);
	gd_json_string(&json, "why", area->why != NULL ? area->why : "");
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

static bool all_pages(const uint64_t pages[4])
{
	return (pages[0] & pages[1] & pages[2] & pages[3]) == UINT64_MAX;
}

void gd_core_map_put_chunk(const struct gd_core_chunk *chunk, struct gd_buf *out)
{
	struct gd_json json = GD_JSON_INIT(out);
	gd_json_object(&json, NULL);
	gd_json_string(&json, "kind", "chunk");
	gd_json_hex(&json, "addr", chunk->addr);
	if (!all_pages(chunk->pages)) {
		char text[65];
		(void)snprintf(text, sizeof(text),
		               "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64,
		               chunk->pages[0], chunk->pages[1], chunk->pages[2],
		               chunk->pages[3]);
		gd_json_string(&json, "pages", text);
	}
	gd_json_string(&json, "pack", chunk->pack);
	gd_json_u64(&json, "offset", chunk->offset);
	gd_json_u64(&json, "stored", chunk->stored_bytes);
	if (chunk->prefix)
		gd_json_bool(&json, "prefix", true);
	if (chunk->in_base)
		gd_json_bool(&json, "base", true);
	gd_json_object_end(&json);
	gd_json_line_end(&json);
}

void gd_core_map_deinit(struct gd_core_map *map)
{
	free(map->areas);
	free(map->chunks);
	free(map->texts);
	*map = (struct gd_core_map){ 0 };
}
