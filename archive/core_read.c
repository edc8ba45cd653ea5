#include "archive/core_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/core_base.h"

int gd_core_read_map(const struct gd_reader *reader, struct gd_core_map *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_CORE_MAP_MAX);
	int r = gd_reader_load(reader, GD_CORE_MAP_NAME, &text, err);
	return r < 0 ? r : gd_core_map_parse(text.data, text.len, ret, err);
}

/* The frame in this archive, against `prefix` or nothing. */
static int read_here(const struct gd_reader *reader, const struct gd_core_chunk *chunk,
                     const uint8_t *prefix, uint8_t to[GD_PACK_CHUNK], struct gd_error *err)
{
	const struct gd_blob *blob = gd_reader_blob(reader, chunk->pack);
	if (blob == NULL)
		return gd_fail(err, -EBADMSG, "the pack is not in the archive");
	uint64_t here = blob->truncated ? reader->file_bytes - blob->offset : blob->bytes;
	/* That their sum is no overflow was seen when the map was read. */
	if (chunk->offset + chunk->stored_bytes > here)
		return gd_fail(err, -EBADMSG, "%s",
		               blob->truncated ? "cut off: the archive ends too early"
		                               : "behind the end of its pack");
	return gd_pack_read(reader->fd, blob->offset + chunk->offset, chunk->stored_bytes, prefix,
	                    to, err);
}

int gd_core_read_chunk(const struct gd_reader *reader, const struct gd_core_base *base,
                       const struct gd_core_chunk *chunk, uint8_t scratch[GD_PACK_CHUNK],
                       uint8_t to[GD_PACK_CHUNK], struct gd_error *err)
{
	if (!chunk->in_base && !chunk->prefix)
		return read_here(reader, chunk, NULL, to, err);
	if (base == NULL)
		return gd_fail(err, -ENOENT, "it needs the base capture");
	int r = gd_core_base_read(base, chunk->addr, chunk->in_base ? to : scratch, err);
	if (r < 0)
		return gd_error_wrap(err, r, "in the base capture");
	return chunk->in_base ? 0 : read_here(reader, chunk, scratch, to, err);
}

/* --- sentences ----------------------------------------------------------------------------- */

static const char *pack_name(const struct gd_reader *reader, const char *digest)
{
	const struct gd_snapshot *s = &reader->snapshot;
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (strcmp(s->artifacts[i].digest, digest) == 0)
			return s->artifacts[i].name;
	return NULL;
}

void gd_core_bad_end(struct gd_core_bad *bad)
{
	char name[232];
	char sentence[600];
	if (bad->run == 0)
		return;
	const char *known = bad->of->in_base ? NULL : pack_name(bad->reader, bad->of->pack);
	if (known != NULL)
		(void)snprintf(name, sizeof(name), "%s", known);
	else
		(void)snprintf(name, sizeof(name), "pack %.12s%s", bad->of->pack + 7,
		               bad->of->in_base ? " of the base" : "");
	if (bad->run == 1)
		(void)snprintf(sentence, sizeof(sentence), "%s: chunk 0x%" PRIx64 ": %s", name,
		               bad->first, bad->why);
	else
		(void)snprintf(sentence, sizeof(sentence),
		               "%s: %" PRIu64 " chunks from 0x%" PRIx64 " to 0x%" PRIx64 ": %s",
		               name, bad->run, bad->first, bad->last, bad->why);
	if (bad->say != NULL)
		bad->say(bad->arg, sentence);
	bad->run = 0;
}

void gd_core_bad_add(struct gd_core_bad *bad, const struct gd_core_chunk *chunk, const char *why)
{
	bool goes_on = bad->run > 0 && chunk->addr - bad->last == GD_PACK_CHUNK &&
	               strcmp(chunk->pack, bad->of->pack) == 0 &&
	               strncmp(why, bad->why, sizeof(bad->why) - 1) == 0;
	if (!goes_on) {
		gd_core_bad_end(bad);
		bad->of = chunk;
		bad->first = chunk->addr;
		(void)snprintf(bad->why, sizeof(bad->why), "%s", why);
	}
	bad->last = chunk->addr;
	bad->run++;
	bad->n++;
}
