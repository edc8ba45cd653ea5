#include "archive/recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/digest.h"
#include "archive/pack.h"
#include "base/cleanup.h"
#include "base/io.h"

static bool is_document(const struct gd_blob *blob)
{
	return strcmp(blob->title, GD_LAYOUT_MANIFEST_NAME) == 0 ||
	       strcmp(blob->title, GD_LAYOUT_SNAPSHOT_NAME) == 0;
}

static bool starts_like_zstd(const struct gd_reader *reader, const struct gd_blob *blob)
{
	static const unsigned char magic[4] = { 0x28, 0xb5, 0x2f, 0xfd }; /* RFC 8878, 3.1.1 */
	unsigned char start[4];
	return blob->bytes >= sizeof(start) &&
	       gd_io_pread_all(reader->fd, start, sizeof(start), (off_t)blob->offset, NULL) == 0 &&
	       memcmp(start, magic, sizeof(magic)) == 0;
}

static bool is_pack(const char *name)
{
	return strncmp(name, "core/pack-", 10) == 0;
}

static const char *type_of(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{ GD_LAYOUT_PLAN_NAME, GD_LAYOUT_PLAN_TYPE },
		{ ".jsonl", "application/jsonl" },
		{ ".json", "application/json" },
		{ ".pb.gz", "application/vnd.google.protobuf+gzip" },
		{ ".txt", "text/plain" },
		{ ".folded", "text/plain" },
	};
	size_t n = strlen(name);
	if (is_pack(name))
		return GD_PACK_MEDIA_TYPE;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t k = strlen(types[i].ending);
		if (n >= k && strcmp(name + n - k, types[i].ending) == 0)
			return types[i].type;
	}
	return strncmp(name, "proc/", 5) == 0 || strncmp(name, "cgroup/", 7) == 0
	               ? "text/plain" : "application/octet-stream";
}

/* Fills *row, which is zeroed and freed with the snapshot, also when this fails. */
static int fill_row(const struct gd_reader *reader, const struct gd_blob *blob, bool unique,
                    struct gd_artifact_row *row, struct gd_error *err)
{
	char name[64];
	/* A name that was never written down, or that two blobs claim. */
	(void)snprintf(name, sizeof(name), "blob-%.16s", blob->hex);
	const char *title = blob->title[0] != '\0' && unique ? blob->title : name;
	bool zstd = !is_pack(title) && starts_like_zstd(reader, blob);
	char type[128];
	(void)snprintf(type, sizeof(type), "%s%s", type_of(title), zstd ? "+zstd" : "");
	int r = gd_artifact_row_init(row, title, type, blob->collector, err);
	gd_layout_digest(row->digest, blob->hex);
	row->stored_bytes = blob->bytes;
	row->bytes = zstd ? GD_ARTIFACT_BYTES_UNKNOWN : blob->bytes;
	row->outcome = gd_outcome(GD_GRADE_PARTIAL, -EBADMSG, "%s",
	                          blob->truncated ? "cut off: the archive ends too early"
	                                          : "the archive has no readable snapshot.json");
	return r;
}

/* plan.json has the keys of snapshot.json that were known at the start. */
static void take_identity(struct gd_reader *reader)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_INDEX_MAX);
	struct gd_snapshot plan;
	for (size_t i = 0; i < reader->n_blobs; i++) {
		const struct gd_blob *blob = &reader->blobs[i];
		if (strcmp(blob->title, GD_LAYOUT_PLAN_NAME) != 0)
			continue;
		if (gd_reader_load_blob(reader, blob, &json, NULL) < 0 ||
		    gd_snapshot_parse(json.data, json.len, &plan, NULL) < 0)
			return;
		for (size_t k = 0; k < plan.n_artifacts; k++)
			gd_artifact_row_deinit(&plan.artifacts[k]);
		plan.n_artifacts = 0;
		free(plan.artifacts);
		plan.artifacts = NULL;
		reader->snapshot = plan;
		return;
	}
}

static int compare_titles(const void *a, const void *b)
{
	const struct gd_blob *const *x = a;
	const struct gd_blob *const *y = b;
	int order = strcmp((*x)->title, (*y)->title);
	return order != 0 ? order : *x < *y ? -1 : 1;
}

/* Marks in `unique` the first blob of each title. */
static int find_unique(const struct gd_reader *reader, bool *unique, struct gd_error *err)
{
	const struct gd_blob **sorted = calloc(reader->n_blobs + 1, sizeof(struct gd_blob *));
	if (sorted == NULL)
		return gd_fail_errno(err, -ENOMEM, "recovered artifacts");
	for (size_t i = 0; i < reader->n_blobs; i++)
		sorted[i] = &reader->blobs[i];
	qsort(sorted, reader->n_blobs, sizeof(*sorted), compare_titles);
	for (size_t i = 0; i < reader->n_blobs; i++)
		unique[sorted[i] - reader->blobs] =
			i == 0 || strcmp(sorted[i]->title, sorted[i - 1]->title) != 0;
	free(sorted);
	return 0;
}

/* --- blobs behind damaged headers ------------------------------------------------------------- */

/* So often one gap is hashed at most: a hostile manifest lists many blobs of its size. */
#define TRIES_PER_GAP 4

static int add_blob(struct gd_reader *reader, const struct gd_layer *layer, uint64_t offset,
                    struct gd_error *err)
{
	size_t n = reader->n_blobs;
	if (n >= GD_READER_BLOBS_MAX)
		return 0;
	struct gd_blob *blobs = realloc(reader->blobs, (n + 1) * sizeof(*blobs));
	if (blobs == NULL)
		return gd_fail_errno(err, -ENOMEM, "list of blobs");
	reader->blobs = blobs;
	blobs[n] = (struct gd_blob){ .offset = offset, .bytes = layer->stored_bytes };
	memcpy(blobs[n].hex, layer->digest + 7, 65);
	if (strlen(layer->title) < sizeof(blobs[n].title) && gd_layout_name_ok(layer->title))
		memcpy(blobs[n].title, layer->title, strlen(layer->title) + 1);
	reader->n_blobs++;
	return 1;
}

/* 1 when the bytes behind the gap's header are that layer's blob. */
static int fits(const struct gd_reader *reader, struct gd_digest *sha, const struct gd_gap *gap,
                const struct gd_layer *layer, unsigned *tries, struct gd_error *err)
{
	char hex[GD_DIGEST_HEX];
	uint64_t room = gap->end - gap->at; /* header, content, padding */
	if (room < GD_TARFILE_BLOCK || layer->stored_bytes > room - GD_TARFILE_BLOCK ||
	    room - GD_TARFILE_BLOCK - layer->stored_bytes >= GD_TARFILE_BLOCK ||
	    (*tries)++ >= TRIES_PER_GAP)
		return 0;
	int r = gd_digest_range(sha, reader->fd, gap->at + GD_TARFILE_BLOCK, layer->stored_bytes,
	                        hex, err);
	return r < 0 ? r : strcmp(hex, layer->digest + 7) == 0;
}

static int recover_gap(struct gd_reader *reader, struct gd_digest *sha, const struct gd_gap *gap,
                       struct gd_error *err)
{
	const struct gd_manifest *m = &reader->manifest;
	unsigned tries = 0;
	for (size_t i = 0; i <= m->n_layers; i++) {
		const struct gd_layer *layer = i < m->n_layers ? &m->layers[i] : &m->config;
		if (gd_reader_blob(reader, layer->digest) != NULL)
			continue;
		int r = fits(reader, sha, gap, layer, &tries, err);
		if (r != 0)
			return r < 0 ? r : add_blob(reader, layer, gap->at + GD_TARFILE_BLOCK, err);
	}
	return 0;
}

int gd_recover_blobs(struct gd_reader *reader, struct gd_error *err)
{
	GD_DIGEST struct gd_digest *sha = NULL;
	int added = 0;
	int r = gd_digest_create(&sha, err);
	for (size_t i = 0; r >= 0 && i < reader->n_gaps; i++) {
		r = recover_gap(reader, sha, &reader->gaps[i], err);
		added += r > 0;
	}
	return r < 0 ? r : added;
}

int gd_recover_rows(struct gd_reader *reader, struct gd_error *err)
{
	take_identity(reader);
	struct gd_snapshot *s = &reader->snapshot;
	if (s->started.realtime_ns == 0 && reader->mtime_s < INT64_MAX / 1000000000)
		s->started.realtime_ns = (int64_t)reader->mtime_s * 1000000000;
	s->outcome = gd_outcome(GD_GRADE_PARTIAL, -EBADMSG,
	                        "the archive has no readable snapshot.json");
	GD_FREE bool *unique = calloc(reader->n_blobs + 1, sizeof(*unique));
	s->artifacts = calloc(reader->n_blobs + 1, sizeof(*s->artifacts));
	if (unique == NULL || s->artifacts == NULL)
		return gd_fail_errno(err, -ENOMEM, "recovered artifacts");
	int r = find_unique(reader, unique, err);
	for (size_t i = 0; r == 0 && i < reader->n_blobs; i++)
		if (!is_document(&reader->blobs[i]))
			r = fill_row(reader, &reader->blobs[i], unique[i],
			             &s->artifacts[s->n_artifacts++], err);
	return r;
}
