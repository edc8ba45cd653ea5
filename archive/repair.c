/*
 * Two ways.  When manifest, snapshot.json and every blob they list are good, only the frame was
 * damaged: the blobs are copied as they are and the result is the archive as it was sealed, with
 * the same manifest digest.  Otherwise the good artifacts are copied and new documents written,
 * which say what was lost.
 */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/content.h"
#include "archive/documents.h"
#include "archive/verify.h"
#include "base/cleanup.h"
#include "base/io.h"

struct repair {
	const struct gd_reader *reader;
	struct gd_digest *digest;
	struct gd_output output;
	struct gd_tarfile_writer *tar;
	bool *copied; /* per blob of the reader */
	struct gd_snapshot snapshot;
	struct gd_verdict verdict;
};

static void end_repair(struct repair *r)
{
	gd_digest_destroy(r->digest);
	gd_tarfile_abandon(r->tar);
	gd_output_deinit(&r->output);
	gd_snapshot_deinit(&r->snapshot);
	free(r->copied);
}

/* 1 good, 0 bad or not there. */
static int is_good(struct repair *r, const struct gd_blob *blob, struct gd_error *err)
{
	char hex[GD_DIGEST_HEX];
	if (blob == NULL || blob->truncated)
		return 0;
	int got = gd_digest_range(r->digest, r->reader->fd, blob->offset, blob->bytes, hex, err);
	return got < 0 ? got : strcmp(hex, blob->hex) == 0;
}

static int copy_blob(struct repair *r, const struct gd_blob *blob, const char *title,
                     const char *collector, struct gd_error *err)
{
	enum { PIECE = 256 * 1024 };
	bool *copied = &r->copied[blob - r->reader->blobs];
	if (*copied)
		return 0;
	GD_FREE char *piece = malloc(blob->bytes < PIECE ? (size_t)blob->bytes + 1 : PIECE);
	if (piece == NULL)
		return gd_fail_errno(err, -ENOMEM, "repair");
	char path[GD_DOCUMENTS_PATH];
	gd_documents_path(path, blob->hex);
	int got = gd_tarfile_begin(r->tar, path, blob->bytes, title, collector, err);
	for (uint64_t at = 0; got == 0 && at < blob->bytes;) {
		uint64_t left = blob->bytes - at;
		size_t n = left < PIECE ? (size_t)left : PIECE;
		got = gd_io_pread_all(r->reader->fd, piece, n, (off_t)(blob->offset + at), err);
		if (got == 0)
			got = gd_tarfile_data(r->tar, piece, n, err);
		at += n;
	}
	*copied = true;
	return got;
}

/* --- only the frame was damaged ------------------------------------------------------------ */

/* 1 when the manifest and everything it lists is good. */
static int is_whole(struct repair *r, struct gd_error *err)
{
	const struct gd_manifest *m = &r->reader->manifest;
	if (!r->reader->has_manifest || !r->reader->has_snapshot)
		return 0;
	int good = 1;
	for (size_t i = 0; good == 1 && i < m->n_layers; i++)
		good = is_good(r, gd_reader_blob(r->reader, m->layers[i].digest), err);
	return good;
}

static const char *collector_of(const struct gd_reader *reader, const char *title)
{
	const struct gd_artifact_row *row = gd_reader_artifact(reader, title);
	return row != NULL ? row->collector : NULL;
}

static int restore(struct repair *r, struct gd_error *err)
{
	const struct gd_reader *reader = r->reader;
	const struct gd_manifest *m = &reader->manifest;
	GD_BUF struct gd_buf manifest = GD_BUF_INIT(GD_LAYOUT_MANIFEST_MAX);
	GD_BUF struct gd_buf index = GD_BUF_INIT(GD_LAYOUT_INDEX_MAX);
	struct gd_layer blob;
	int got = 0;
	for (size_t i = 0; got == 0 && i < m->n_layers; i++) {
		const char *title = m->layers[i].title;
		got = copy_blob(r, gd_reader_blob(reader, m->layers[i].digest), title,
		                collector_of(reader, title), err);
	}
	if (got == 0)
		got = copy_blob(r, gd_reader_blob(reader, m->config.digest),
		                GD_LAYOUT_SNAPSHOT_NAME, NULL, err);
	if (got == 0)
		got = gd_reader_load_blob(reader, &reader->manifest_blob, &manifest, err);
	if (got == 0)
		got = gd_documents_blob(r->tar, &manifest, GD_LAYOUT_MANIFEST_NAME, &blob, err);
	if (got < 0)
		return got;
	gd_layout_put_index(m, blob.digest, blob.stored_bytes, &index);
	got = gd_buf_check(&index, GD_LAYOUT_INDEX, err);
	if (got == 0)
		got = gd_documents_append(r->tar, GD_LAYOUT_INDEX, index.data, index.len, NULL,
		                          err);
	r->verdict.blobs_good = m->n_layers;
	r->verdict.complete = m->complete;
	return got;
}

/* --- something is lost --------------------------------------------------------------------- */

/* The reader's snapshot is not ours to change: a copy by way of its own format. */
static int copy_snapshot(const struct gd_snapshot *from, struct gd_snapshot *ret,
                         struct gd_error *err)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_SNAPSHOT_MAX);
	struct gd_json j = GD_JSON_INIT(&json);
	gd_snapshot_write(from, &j);
	int r = gd_buf_check(&json, GD_LAYOUT_SNAPSHOT_NAME, err);
	return r < 0 ? r : gd_snapshot_parse(json.data, json.len, ret, err);
}

static void lose(struct repair *r, struct gd_artifact_row *row, const char *why)
{
	row->outcome = gd_outcome(GD_GRADE_FAILED, -EBADMSG, "lost: %s", why);
	row->digest[0] = '\0';
	row->bytes = 0;
	row->stored_bytes = 0;
	r->verdict.blobs_missing++;
}

/* What a compressed artifact holds when no snapshot.json says so. */
static int measure(const struct repair *r, const struct gd_blob *blob,
                   struct gd_artifact_row *row, struct gd_error *err)
{
	struct gd_content content = { .fd = r->reader->fd, .offset = blob->offset,
		                      .stored_bytes = blob->bytes, .zstd = true,
		                      .limit = gd_content_limit(UINT64_MAX, blob->bytes, true) };
	int got = gd_content_run(&content, err);
	row->bytes = content.bytes;
	return got;
}

static int keep_artifact(struct repair *r, size_t i, struct gd_error *err)
{
	struct gd_artifact_row *row = &r->snapshot.artifacts[i];
	struct gd_error why = { 0 };
	if (row->digest[0] == '\0')
		return 0; /* there never was anything */
	const struct gd_blob *blob = gd_reader_blob(r->reader, row->digest);
	int good = is_good(r, blob, err);
	if (good < 0)
		return good;
	if (good == 0) {
		lose(r, row, blob == NULL      ? "not in the damaged archive"
		             : blob->truncated ? "cut off"
		                               : "content did not match its digest");
		return 0;
	}
	if (r->reader->snapshot.artifacts[i].bytes == GD_ARTIFACT_BYTES_UNKNOWN &&
	    measure(r, blob, row, &why) < 0) {
		lose(r, row, why.msg);
		return 0;
	}
	row->stored_bytes = blob->bytes;
	r->verdict.blobs_good++;
	return copy_blob(r, blob, row->name, row->collector, err);
}

static int rebuild(struct repair *r, struct gd_error *err)
{
	char digest[GD_LAYOUT_DIGEST];
	int got = copy_snapshot(&r->reader->snapshot, &r->snapshot, err);
	for (size_t i = 0; got == 0 && i < r->snapshot.n_artifacts; i++)
		got = keep_artifact(r, i, err);
	if (got < 0)
		return got;
	struct gd_snapshot *s = &r->snapshot;
	free(s->repair_note);
	s->repair_note = NULL;
	if (asprintf(&s->repair_note, "%zu artifacts kept, %zu lost%s", r->verdict.blobs_good,
	             r->verdict.blobs_missing, r->reader->has_snapshot ? "" :
	             "; snapshot.json was lost too, names come from the tar headers") < 0) {
		s->repair_note = NULL;
		return gd_fail_errno(err, -ENOMEM, "repair");
	}
	s->repaired = true;
	struct gd_outcome partial = gd_outcome(GD_GRADE_PARTIAL, -EBADMSG, "repaired: %s",
	                                       s->repair_note);
	s->outcome = gd_outcome_worse(s->outcome, partial);
	return gd_documents_close(r->tar, s, digest, err);
}

/* --- the whole ----------------------------------------------------------------------------- */

static int begin(struct repair *r, const char *dir, struct gd_error *err)
{
	r->copied = calloc(r->reader->n_blobs + 1, sizeof(*r->copied));
	if (r->copied == NULL)
		return gd_fail_errno(err, -ENOMEM, "repair");
	int64_t when_s = r->reader->snapshot.started.realtime_ns / 1000000000;
	int got = gd_digest_create(&r->digest, err);
	if (got == 0)
		got = gd_output_create(dir, false, &r->output, err);
	if (got == 0)
		got = gd_tarfile_create(&r->output, when_s, &r->tar, err);
	if (got == 0)
		got = gd_documents_append(r->tar, GD_LAYOUT_FILE, GD_LAYOUT_FILE_TEXT,
		                          strlen(GD_LAYOUT_FILE_TEXT), NULL, err);
	return got;
}

static int run(struct repair *r, const char *dir, const char *name, struct gd_error *err)
{
	int got = begin(r, dir, err);
	int whole = got == 0 ? is_whole(r, err) : got;
	if (whole < 0)
		return whole;
	got = whole ? restore(r, err) : rebuild(r, err);
	if (got == 0) {
		got = gd_tarfile_close(r->tar, err);
		r->tar = NULL;
	}
	return got < 0 ? got : gd_output_publish(&r->output, name, err);
}

int gd_verify_repair(const struct gd_reader *reader, const char *to, struct gd_verdict *ret,
                     struct gd_error *err)
{
	GD_CLEANUP(end_repair) struct repair r = { .reader = reader, .output = GD_OUTPUT_INIT };
	GD_FREE char *for_dir = strdup(to);
	GD_FREE char *for_name = strdup(to);
	if (for_dir == NULL || for_name == NULL)
		return gd_fail_errno(err, -ENOMEM, "repair");
	if (access(to, F_OK) == 0)
		return gd_fail(err, -EEXIST, "%.150s exists already", to);
	int got = run(&r, dirname(for_dir), basename(for_name), err);
	if (got < 0)
		return got;
	*ret = r.verdict;
	return 0;
}
