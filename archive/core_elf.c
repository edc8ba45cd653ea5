/*
 * First what the file looks like is planned from the map, then notes, chunks and the executable go
 * where they belong, each read once and in order, and the headers last: so they can still say that
 * there are no notes when those turn out damaged.
 */
#include "archive/core_elf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/core_elf_layout.h"
#include "archive/core_read.h"
#include "archive/extract.h"
#include "base/cleanup.h"

#define PAGE GD_CORE_ELF_PAGE

struct writing {
	const struct gd_reader *reader;
	const struct gd_core_base *base;
	int fd;
	void (*problem)(void *arg, const char *sentence);
	void *arg;
	struct gd_core_map map;
	struct gd_core_layout layout;
	struct gd_core_elf_result result;
	uint8_t *plain, *scratch; /* a chunk each */
	uint64_t at;              /* of the artifact that comes in pieces */
	struct gd_error failure;  /* of writing those pieces */
};

static void end_writing(struct writing *w)
{
	gd_core_map_deinit(&w->map);
	gd_core_layout_deinit(&w->layout);
	free(w->plain);
	free(w->scratch);
}

static void say(void *arg, const char *sentence)
{
	struct writing *w = arg;
	w->result.problems++;
	if (w->problem != NULL)
		w->problem(w->arg, sentence);
}

static int put(struct writing *w, const void *bytes, uint64_t n, uint64_t at, struct gd_error *err)
{
	const char *from = bytes;
	w->result.stored_bytes += n;
	while (n > 0) {
		ssize_t got = pwrite(w->fd, from, n, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return gd_fail_errno(err, got < 0 ? -errno : -EIO, "core");
		from += got;
		at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

static bool is_zero(const uint8_t *bytes, uint64_t n)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

/* --- chunks -------------------------------------------------------------------------------- */

/* Bytes that lie side by side in memory and in the file, not yet written. */
struct run {
	const uint8_t *bytes;
	uint64_t n, at;
};

static int flush(struct writing *w, struct run *run, struct gd_error *err)
{
	int r = run->n > 0 ? put(w, run->bytes, run->n, run->at, err) : 0;
	run->n = 0;
	return r;
}

/* The kept pages of a chunk into the file; *load moves on with the addresses. */
static int put_chunk(struct writing *w, const struct gd_core_chunk *chunk, size_t *load,
                     struct gd_error *err)
{
	struct run run = { 0 };
	int r = 0;
	for (uint64_t page = 0; r == 0 && page < GD_PACK_CHUNK; page += PAGE) {
		uint64_t addr = chunk->addr + page;
		const uint8_t *bytes = w->plain + page;
		if (!gd_core_layout_kept(chunk, addr) || is_zero(bytes, PAGE))
			continue;
		while (*load < w->layout.n &&
		       w->layout.loads[*load].addr + w->layout.loads[*load].memory_bytes <= addr)
			++*load;
		if (*load == w->layout.n)
			break;
		const struct gd_core_load *l = &w->layout.loads[*load];
		if (addr < l->addr || addr - l->addr >= l->file_bytes)
			continue; /* of no mapping */
		uint64_t at = l->offset + (addr - l->addr);
		if (run.n > 0 && (run.at + run.n != at || run.bytes + run.n != bytes))
			r = flush(w, &run, err);
		if (run.n == 0)
			run = (struct run){ .bytes = bytes, .at = at };
		run.n += PAGE;
	}
	return r < 0 ? r : flush(w, &run, err);
}

static int put_chunks(struct writing *w, struct gd_error *err)
{
	struct gd_core_bad bad = { .reader = w->reader, .say = say, .arg = w };
	size_t load = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < w->map.n_chunks; i++) {
		const struct gd_core_chunk *chunk = &w->map.chunks[i];
		struct gd_error why = { 0 };
		w->result.chunks++;
		r = gd_core_read_chunk(w->reader, w->base, chunk, w->scratch, w->plain, &why);
		if (r == -EBADMSG || r == -ENOENT || r == -EIO) {
			gd_core_bad_add(&bad, chunk, why.msg);
			r = 0;
		} else if (r < 0) {
			r = gd_fail(err, r, "core: %s", why.msg);
		} else {
			r = put_chunk(w, chunk, &load, err);
		}
	}
	gd_core_bad_end(&bad);
	w->result.chunks_bad = bad.n;
	return r;
}

/* --- artifacts that come in pieces --------------------------------------------------------- */

static int note_piece(void *arg, const void *bytes, size_t n)
{
	struct writing *w = arg;
	if (n > w->layout.notes_bytes - w->at)
		return gd_fail(&w->failure, -E2BIG, "core: notes of another size");
	int r = put(w, bytes, n, w->layout.notes_at + w->at, &w->failure);
	w->at += n;
	return r;
}

static const struct gd_core_chunk *chunk_at(const struct gd_core_map *map, uint64_t addr)
{
	size_t low = 0;
	size_t high = map->n_chunks;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (map->chunks[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	const struct gd_core_chunk *chunk = low > 0 ? &map->chunks[low - 1] : NULL;
	return chunk != NULL && addr - chunk->addr < GD_PACK_CHUNK ? chunk : NULL;
}

/* Bytes [at, at + n) of the executable into a load, but where the process had a page of its own. */
static int fill(struct writing *w, const struct gd_core_load *l, const uint8_t *bytes, uint64_t n)
{
	uint64_t from = l->area->offset > w->at ? l->area->offset : w->at;
	int r = 0;
	while (r == 0 && from < w->at + n && from - l->area->offset < l->memory_bytes) {
		uint64_t into = from - l->area->offset;
		uint64_t rest = PAGE - into % PAGE;
		if (rest > w->at + n - from)
			rest = w->at + n - from;
		const struct gd_core_chunk *chunk = chunk_at(&w->map, l->addr + into);
		bool kept = chunk != NULL && gd_core_layout_kept(chunk, l->addr + into);
		if (!kept && !is_zero(bytes + (from - w->at), rest))
			r = put(w, bytes + (from - w->at), rest, l->offset + into, &w->failure);
		from += rest;
	}
	return r;
}

static int exe_piece(void *arg, const void *bytes, size_t n)
{
	struct writing *w = arg;
	int r = 0;
	for (size_t i = 0; r == 0 && i < w->layout.n; i++)
		if (w->layout.loads[i].of_exe)
			r = fill(w, &w->layout.loads[i], bytes, n);
	w->at += n;
	return r;
}

/* Damage is told, what could not be written is returned. */
static int put_artifact(struct writing *w, const char *name,
                        int (*piece)(void *arg, const void *bytes, size_t n), bool *ret_good,
                        struct gd_error *err)
{
	const struct gd_artifact_row *row = gd_reader_artifact(w->reader, name);
	struct gd_error why = { 0 };
	char sentence[400];
	w->at = 0;
	w->failure = (struct gd_error){ 0 };
	int r = row != NULL ? gd_reader_content(w->reader, row, piece, w, &why)
	                    : gd_fail(&why, -ENOENT, "artifact %s is not in the archive", name);
	*ret_good = r == 0;
	if (w->failure.code != 0 && err != NULL)
		*err = w->failure;
	if (w->failure.code != 0)
		return w->failure.code;
	if (r == -ENOMEM)
		return gd_fail(err, r, "core: %s", why.msg);
	if (r < 0) {
		(void)snprintf(sentence, sizeof(sentence), "%s", why.msg);
		say(w, sentence);
	}
	return 0;
}

/* --- the whole ----------------------------------------------------------------------------- */

static int check_base(const struct writing *w, struct gd_error *err)
{
	const struct gd_core_head *head = &w->map.head;
	bool needed = false;
	for (size_t i = 0; !needed && i < w->map.n_chunks; i++)
		needed = w->map.chunks[i].in_base || w->map.chunks[i].prefix;
	if (!needed)
		return 0;
	if (w->base == NULL)
		return gd_fail(err, -ENOENT, "core: needs the capture it is based on: %s, %s",
		               head->base_id, head->base_digest);
	if (strcmp(gd_core_base_digest(w->base), head->base_digest) != 0)
		return gd_fail(err, -EINVAL, "core: is based on %s, %s, and not on %.40s",
		               head->base_id, head->base_digest,
		               gd_core_base_snapshot(w->base)->id);
	return 0;
}

static int count_piece(void *arg, const void *bytes, size_t n)
{
	(void)bytes;
	*(uint64_t *)arg += n;
	return 0;
}

/* 0: it is not there, or unreadable. */
static uint64_t bytes_of(const struct gd_reader *reader, const char *name)
{
	const struct gd_artifact_row *row = gd_reader_artifact(reader, name);
	uint64_t n = 0;
	if (row == NULL || row->digest[0] == '\0')
		return 0;
	if (row->bytes != GD_ARTIFACT_BYTES_UNKNOWN)
		return row->bytes;
	/* snapshot.json was lost, so it is counted. */
	return gd_reader_content(reader, row, count_piece, &n, NULL) < 0 ? 0 : n;
}

static int begin(struct writing *w, struct gd_error *err)
{
	const struct gd_snapshot *s = &w->reader->snapshot;
	uint64_t exe = bytes_of(w->reader, GD_CORE_EXE_NAME);
	bool has_exe = exe > 0 && s->exe != NULL && s->exe[0] != '\0';
	w->plain = malloc(GD_PACK_CHUNK);
	w->scratch = malloc(GD_PACK_CHUNK);
	if (w->plain == NULL || w->scratch == NULL)
		return gd_fail_errno(err, -ENOMEM, "core");
	int r = gd_core_read_map(w->reader, &w->map, err);
	if (r == 0)
		r = check_base(w, err);
	if (r == 0)
		r = gd_core_layout_plan(&w->map, has_exe ? s->exe : NULL, s->exe_deleted, exe,
		                        bytes_of(w->reader, GD_CORE_NOTES_NAME), &w->layout, err);
	if (r == 0)
		r = gd_extract_room(w->fd, w->layout.content_bytes + w->layout.notes_bytes, err);
	if (r == 0 && ftruncate(w->fd, (off_t)w->layout.file_bytes) < 0)
		r = gd_fail_errno(err, -errno, "core of %" PRIu64 " bytes", w->layout.file_bytes);
	return r;
}

static int put_headers(struct writing *w, struct gd_error *err)
{
	GD_BUF struct gd_buf headers = GD_BUF_INIT(w->layout.notes_at);
	gd_core_layout_put(&w->layout, &headers);
	int r = gd_buf_check(&headers, "core headers", err);
	return r < 0 ? r : put(w, headers.data, headers.len, 0, err);
}

int gd_core_elf_write(const struct gd_reader *reader, const struct gd_core_base *base, int fd,
                      void (*problem)(void *arg, const char *sentence), void *arg,
                      struct gd_core_elf_result *ret, struct gd_error *err)
{
	GD_CLEANUP(end_writing) struct writing w = { .reader = reader, .base = base, .fd = fd,
		                                     .problem = problem, .arg = arg };
	bool good = false;
	bool exe = false;
	int r = begin(&w, err);
	for (size_t i = 0; r == 0 && i < w.layout.n; i++)
		exe = exe || w.layout.loads[i].of_exe;
	if (r == 0)
		r = put_artifact(&w, GD_CORE_NOTES_NAME, note_piece, &good, err);
	if (!good)
		w.layout.notes_bytes = 0; /* no threads rather than wrong ones */
	if (r == 0)
		r = put_chunks(&w, err);
	if (r == 0 && exe)
		r = put_artifact(&w, GD_CORE_EXE_NAME, exe_piece, &good, err);
	if (r == 0)
		r = put_headers(&w, err);
	if (r < 0)
		return r;
	w.result.file_bytes = w.layout.file_bytes;
	w.result.loads = w.layout.n;
	*ret = w.result;
	return 0;
}
