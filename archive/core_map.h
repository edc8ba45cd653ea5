#pragma once
/*
 * The core map: which memory of a target an archive holds, and in which pack each chunk of it lies.
 * JSON lines, so that `jq` and a loop rebuild a core without us (docs/archive-format.md shows how):
 *
 *	{"kind":"core","version":1,"pid":..,"scope":"full|thin","method":"uffd","pause_ns":..,
 *	 "instant_ns":..,"page":4096,"chunk":1048576,"threads":N,
 *	 "base":{"id":"..","digest":"sha256:.."}|null}
 *	{"kind":"map","start":"0x..","end":"0x..","prot":"rw-p","offset":..,"dev":"8:1",
 *	 "inode":..,"path":"..","deleted":false,"missing":"zero|file|lost","why":""}
 *	{"kind":"chunk","addr":"0x..","pages":"<64 hex digits>","pack":"sha256:..",
 *	 "offset":..,"stored":..,"prefix":true}
 *
 * A number of 2^53 or more is a string in hex.  `pages`: which of the 256 pages are kept: four
 * words of 16 digits, the first has pages 0 to 63, page 0 in its lowest bit; absent: all.
 * `prefix`: the frame was compressed against the base's chunk at this address; absent: against nothing.
 * A chunk that has not changed since the base has no pack of its own: `pack` is the base's and `base`
 * is true.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/digest.h"
#include "archive/layout.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#define GD_CORE_MAP_NAME "core/map.jsonl"
#define GD_CORE_NOTES_NAME "core/notes"  /* the PT_NOTE segment, as it goes into an ELF core */
#define GD_CORE_PACK_NAME "core/pack-%05u"
#define GD_CORE_EXE_NAME "exe"
#define GD_CORE_MAP_TYPE "application/vnd.godiag.coremap.v1+jsonl"
#define GD_CORE_NOTES_TYPE "application/vnd.godiag.elf-notes.v1"
#define GD_CORE_MAP_MAX (UINT64_C(256) << 20) /* text; 64 GiB of heap have some 20 MiB */

enum gd_core_missing { GD_CORE_ZERO, GD_CORE_OF_FILE, GD_CORE_LOST };

struct gd_core_head {
	int64_t pid;
	char scope[16], method[16];
	int64_t pause_ns, instant_ns;
	uint64_t threads;
	bool has_base;
	char base_id[64], base_digest[GD_LAYOUT_DIGEST]; /* capture id and manifest digest */
};

struct gd_core_area { /* a mapping */
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	bool read, write, exec, shared, deleted;
	enum gd_core_missing missing;
	const char *path, *why; /* borrowed when put, owned by the map when parsed */
};

struct gd_core_chunk {
	uint64_t addr;
	uint64_t pages[4];
	char pack[GD_LAYOUT_DIGEST];
	uint64_t offset, stored_bytes;
	bool in_base; /* `pack` is a blob of the base archive */
	bool prefix;  /* the frame needs the base's chunk at this address */
};

void gd_core_map_put_head(const struct gd_core_head *head, struct gd_buf *out);
void gd_core_map_put_area(const struct gd_core_area *area, struct gd_buf *out);
void gd_core_map_put_chunk(const struct gd_core_chunk *chunk, struct gd_buf *out);

struct gd_core_map {
	struct gd_core_head head;
	struct gd_core_area *areas; /* ascending, disjoint */
	size_t n_areas;
	struct gd_core_chunk *chunks; /* ascending */
	size_t n_chunks;
	char *texts;
};
/* Foreign bytes; -EBADMSG names the line. */
int gd_core_map_parse(const char *text, size_t len, struct gd_core_map *ret, struct gd_error *err);
void gd_core_map_deinit(struct gd_core_map *map);
