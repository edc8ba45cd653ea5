#include "archive/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/content.h"
#include "archive/verify_core.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

struct check {
	const struct gd_reader *reader;
	struct gd_verdict verdict;
	void (*problem)(void *arg, const char *sentence);
	void *arg;
	const struct gd_artifact_row **rows; /* sorted by digest, those with one */
	size_t n_rows;
	const struct gd_layer **layers; /* sorted by digest */
	size_t n_layers;
	struct gd_verify_core core;
};

static void say(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *c, const char *fmt, ...)
{
	char text[600];
	char sentence[1000];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* Names, notes and parsers' messages quote foreign bytes. */
	gd_text_escape(sentence, sizeof(sentence), text, strlen(text));
	c->verdict.problems++;
	if (c->problem != NULL)
		c->problem(c->arg, sentence);
}

static void say_as_it_is(void *arg, const char *sentence)
{
	say(arg, "%s", sentence);
}

/* --- what the documents list, sorted by digest --------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
	const struct gd_artifact_row *const *x = a;
	const struct gd_artifact_row *const *y = b;
	int order = strcmp((*x)->digest, (*y)->digest);
	return order != 0 ? order : *x < *y ? -1 : 1;
}

static int compare_layers(const void *a, const void *b)
{
	const struct gd_layer *const *x = a;
	const struct gd_layer *const *y = b;
	int order = strcmp((*x)->digest, (*y)->digest);
	return order != 0 ? order : *x < *y ? -1 : 1;
}

static int sort(struct check *c, struct gd_error *err)
{
	const struct gd_snapshot *s = &c->reader->snapshot;
	const struct gd_manifest *m = &c->reader->manifest;
	c->rows = calloc(s->n_artifacts + 1, sizeof(struct gd_artifact_row *));
	c->layers = calloc(m->n_layers + 1, sizeof(struct gd_layer *));
	if (c->rows == NULL || c->layers == NULL)
		return gd_fail_errno(err, -ENOMEM, "verify");
	for (size_t i = 0; i < s->n_artifacts; i++)
		if (s->artifacts[i].digest[0] != '\0')
			c->rows[c->n_rows++] = &s->artifacts[i];
	for (size_t i = 0; i < m->n_layers; i++)
		c->layers[c->n_layers++] = &m->layers[i];
	qsort(c->rows, c->n_rows, sizeof(*c->rows), compare_rows);
	qsort(c->layers, c->n_layers, sizeof(*c->layers), compare_layers);
	return 0;
}

static void end_check(struct check *c)
{
	free(c->rows);
	free(c->layers);
	gd_verify_core_deinit(&c->core);
}

/* The first artifact stored under that digest; others with the same content follow it. */
static const struct gd_artifact_row *row_of(const struct check *c, const char *digest)
{
	size_t low = 0;
	size_t high = c->n_rows;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(c->rows[middle]->digest, digest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->n_rows && strcmp(c->rows[low]->digest, digest) == 0 ? c->rows[low] : NULL;
}

static const struct gd_layer *layer_of(const struct check *c, const char *digest)
{
	size_t low = 0;
	size_t high = c->n_layers;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(c->layers[middle]->digest, digest) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->n_layers && strcmp(c->layers[low]->digest, digest) == 0 ? c->layers[low]
	                                                                       : NULL;
}

/* What a person calls that blob. */
static void name_blob(const struct check *c, const struct gd_blob *blob, char to[256])
{
	const struct gd_reader *r = c->reader;
	char digest[GD_LAYOUT_DIGEST];
	gd_layout_digest(digest, blob->hex);
	const struct gd_artifact_row *row = row_of(c, digest);
	if (row != NULL)
		(void)snprintf(to, 256, "artifact %s", row->name);
	else if (strcmp(digest, r->manifest_digest) == 0)
		(void)snprintf(to, 256, "the manifest");
	else if (r->has_manifest && strcmp(digest, r->manifest.config.digest) == 0)
		(void)snprintf(to, 256, "snapshot.json");
	else if (blob->title[0] != '\0')
		(void)snprintf(to, 256, "labelled %s", blob->title);
	else
		(void)snprintf(to, 256, "unlisted");
}

/* --- blobs --------------------------------------------------------------------------------- */

/* 1 when the stored bytes match their name, 0 when not. */
static int matches(const struct gd_reader *r, const struct gd_blob *blob, struct gd_error *err)
{
	GD_DIGEST struct gd_digest *digest = NULL;
	char hex[GD_DIGEST_HEX];
	int got = gd_digest_create(&digest, err);
	if (got == 0)
		got = gd_digest_range(digest, r->fd, blob->offset, blob->bytes, hex, err);
	return got < 0 ? got : strcmp(hex, blob->hex) == 0;
}

static int check_content(struct check *c, const struct gd_blob *blob,
                         const struct gd_artifact_row *row, const char *name,
                         struct gd_error *err)
{
	struct gd_error why = { 0 };
	bool zstd = row != NULL && gd_content_is_zstd(row->media_type);
	uint64_t claimed = zstd ? row->bytes : UINT64_MAX;
	struct gd_content content = { .fd = c->reader->fd, .offset = blob->offset,
		                      .stored_bytes = blob->bytes, .zstd = zstd,
		                      .limit = gd_content_limit(claimed, blob->bytes, zstd) };
	int got = gd_content_run(&content, &why);
	if (got < 0 && got != -EBADMSG && got != -E2BIG) {
		if (err != NULL)
			*err = why;
		return got;
	}
	int good = got == 0 ? strcmp(content.hex, blob->hex) == 0 : matches(c->reader, blob, err);
	if (good < 0)
		return good;
	c->verdict.blobs_good += good != 0;
	c->verdict.blobs_bad += good == 0;
	if (!good && got < 0)
		say(c, "blob %.12s: %s: content does not match its digest (readable up to byte "
		       "%" PRIu64 ")", blob->hex, name, content.bytes);
	else if (!good)
		say(c, "blob %.12s: %s: content does not match its digest", blob->hex, name);
	else if (got < 0)
		say(c, "blob %.12s: %s: %s", blob->hex, name, why.msg);
	else if (row != NULL && row->bytes != GD_ARTIFACT_BYTES_UNKNOWN &&
	         content.bytes != row->bytes)
		say(c, "blob %.12s: %s: holds %" PRIu64 " bytes, snapshot.json says %" PRIu64,
		    blob->hex, name, content.bytes, row->bytes);
	return 0;
}

static int check_blob(struct check *c, const struct gd_blob *blob, struct gd_error *err)
{
	const struct gd_reader *r = c->reader;
	char digest[GD_LAYOUT_DIGEST];
	char name[256];
	gd_layout_digest(digest, blob->hex);
	name_blob(c, blob, name);
	const struct gd_artifact_row *row = row_of(c, digest);
	bool pack = row != NULL && strcmp(row->media_type, GD_PACK_MEDIA_TYPE) == 0;
	if (blob->truncated) {
		c->verdict.blobs_bad++;
		say(c, "blob %.12s: %s: cut off after %" PRIu64 " of %" PRIu64 " bytes", blob->hex,
		    name, r->file_bytes - blob->offset, blob->bytes);
		return pack ? gd_verify_core_pack(&c->core, digest, err) : 0;
	}
	size_t bad = c->verdict.blobs_bad;
	int got = check_content(c, blob, row, name, err);
	if (got == 0 && pack && c->verdict.blobs_bad > bad)
		got = gd_verify_core_pack(&c->core, digest, err);
	if (got < 0)
		return got;
	if (gd_reader_blob(r, digest) != blob)
		say(c, "blob %.12s: %s: stored twice", blob->hex, name);
	const struct gd_layer *layer = layer_of(c, digest);
	if (r->has_manifest && layer == NULL && strcmp(digest, r->manifest_digest) != 0 &&
	    strcmp(digest, r->manifest.config.digest) != 0 && r->manifest_digest[0] != '\0')
		say(c, "blob %.12s: %s: not listed in the manifest", blob->hex, name);
	if (layer != NULL && layer->stored_bytes != blob->bytes)
		say(c, "blob %.12s: %s: %" PRIu64 " bytes, the manifest says %" PRIu64, blob->hex,
		    name, blob->bytes, layer->stored_bytes);
	return 0;
}

/* --- documents ----------------------------------------------------------------------------- */

static void check_listing(struct check *c)
{
	const struct gd_reader *r = c->reader;
	const struct gd_manifest *m = &r->manifest;
	if (r->trouble.code != 0)
		say(c, "%s", r->trouble.msg);
	for (size_t i = 0; r->has_manifest && i < m->n_layers; i++) {
		if (gd_reader_blob(r, m->layers[i].digest) == NULL) {
			c->verdict.blobs_missing++;
			say(c, "blob %.12s: artifact %.200s: listed, but not in the file",
			    m->layers[i].digest + 7, m->layers[i].title);
		}
	}
	for (size_t i = 0; r->has_manifest && r->has_snapshot && i < c->n_rows; i++)
		if (layer_of(c, c->rows[i]->digest) == NULL)
			say(c, "artifact %s: in snapshot.json, not in the manifest",
			    c->rows[i]->name);
	for (size_t i = 0; r->has_manifest && r->has_snapshot && i < c->n_layers; i++)
		if (row_of(c, c->layers[i]->digest) == NULL)
			say(c, "blob %.12s: in the manifest, not in snapshot.json",
			    c->layers[i]->digest + 7);
	if (!r->has_index)
		say(c, "index.json is missing: the archive was never sealed, or lost its end");
	if (r->has_snapshot && r->snapshot.repaired)
		say(c, "the archive was repaired: %s", r->snapshot.repair_note);
}

/* A document that can have only one form. */
static int check_text(struct check *c, const struct gd_tarfile_member *m, const char *want,
                      size_t n, struct gd_error *err)
{
	char have[GD_LAYOUT_INDEX_MAX];
	int r = 0;
	bool same = m->bytes == n && n <= sizeof(have);
	if (same) {
		r = gd_io_pread_all(c->reader->fd, have, n, (off_t)m->data_at, err);
		same = r == 0 && memcmp(have, want, n) == 0;
	}
	if (r == 0 && !same)
		say(c, "%s: not as it was sealed", m->name);
	return r;
}

static int check_index(struct check *c, const struct gd_tarfile_member *m, struct gd_error *err)
{
	const struct gd_reader *r = c->reader;
	const struct gd_blob *blob = gd_reader_blob(r, r->manifest_digest);
	GD_BUF struct gd_buf want = GD_BUF_INIT(GD_LAYOUT_INDEX_MAX);
	if (!r->has_manifest || blob == NULL)
		return 0; /* said already */
	gd_layout_put_index(&r->manifest, r->manifest_digest, blob->bytes, &want);
	int got = gd_buf_check(&want, GD_LAYOUT_INDEX, err);
	return got < 0 ? got : check_text(c, m, want.data, want.len, err);
}

/* --- the bytes between --------------------------------------------------------------------- */

/* Offset of the first byte that is not zero in [at, end), or end. */
static int find_nonzero(const struct check *c, uint64_t at, uint64_t end, uint64_t *ret,
                        struct gd_error *err)
{
	char piece[8192];
	if (end > c->reader->file_bytes)
		end = c->reader->file_bytes;
	while (at < end) {
		size_t n = end - at < sizeof(piece) ? (size_t)(end - at) : sizeof(piece);
		int r = gd_io_pread_all(c->reader->fd, piece, n, (off_t)at, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			if (piece[i] != 0) {
				*ret = at + i;
				return 0;
			}
		}
		at += n;
	}
	*ret = end;
	return 0;
}

static int check_member(struct check *c, const struct gd_tarfile_member *m,
                        const struct gd_tarfile_walk *walk, struct gd_error *err)
{
	const char *name = m->name;
	uint64_t at;
	if (m->gap_at != m->header_at)
		say(c, "bytes %" PRIu64 " to %" PRIu64
		       ": a damaged tar header and what followed it",
		    m->gap_at, m->header_at);
	if (m->truncated)
		return 0;
	uint64_t end = m->data_at + m->bytes;
	int r = find_nonzero(c, end, walk->at, &at, err);
	if (r < 0)
		return r;
	if (at < walk->at && at < c->reader->file_bytes)
		say(c, "byte %" PRIu64 ": not zero in the padding after %s", at, name);
	bool blob = strncmp(m->name, GD_LAYOUT_BLOBS, strlen(GD_LAYOUT_BLOBS)) == 0 &&
	            gd_layout_hex_ok(m->name + strlen(GD_LAYOUT_BLOBS));
	if (m->plain && strcmp(m->name, GD_LAYOUT_FILE) == 0)
		return check_text(c, m, GD_LAYOUT_FILE_TEXT, strlen(GD_LAYOUT_FILE_TEXT), err);
	if (m->plain && strcmp(m->name, GD_LAYOUT_INDEX) == 0)
		return check_index(c, m, err);
	if (!m->plain || !blob)
		say(c, "member %s (type %c): does not belong into an archive, ignored", name,
		    m->type >= ' ' && m->type <= '~' ? m->type : '?');
	return 0;
}

static int check_members(struct check *c, struct gd_error *err)
{
	const struct gd_reader *r = c->reader;
	struct gd_tarfile_walk walk = GD_TARFILE_WALK(r->fd, r->file_bytes);
	struct gd_tarfile_member m;
	bool layout = false;
	int got;
	while ((got = gd_tarfile_next(&walk, &m, err)) > 0) {
		got = check_member(c, &m, &walk, err);
		if (got < 0)
			return got;
		layout = layout || strcmp(m.name, GD_LAYOUT_FILE) == 0;
	}
	if (got < 0)
		return got;
	if (!layout)
		say(c, "oci-layout is missing");
	if (r->truncated) {
		c->verdict.truncated = true;
		say(c, "the file ends too early");
		return 0;
	}
	uint64_t at;
	got = find_nonzero(c, walk.end_at, r->file_bytes, &at, err);
	if (got == 0 && at < r->file_bytes)
		say(c, "bytes from %" PRIu64 ": %s", at,
		    walk.has_end ? "not zero after the end" : "a damaged tar header, nothing sound "
		                                              "after it");
	else if (got == 0 && r->file_bytes - walk.end_at < 2ULL * GD_TARFILE_BLOCK)
		say(c, "the file ends too early");
	return got;
}

int gd_verify(const struct gd_reader *reader,
              void (*problem)(void *arg, const char *sentence), void *arg,
              struct gd_verdict *ret, struct gd_error *err)
{
	GD_CLEANUP(end_check) struct check c = { .reader = reader, .problem = problem, .arg = arg };
	gd_verify_core_init(&c.core, reader, say_as_it_is, &c);
	int r = sort(&c, err);
	for (size_t i = 0; r == 0 && i < reader->n_blobs; i++)
		r = check_blob(&c, &reader->blobs[i], err);
	if (r == 0)
		r = check_members(&c, err);
	if (r < 0)
		return r;
	check_listing(&c);
	gd_verify_core_lost(&c.core);
	c.verdict.complete = c.verdict.problems == 0;
	*ret = c.verdict;
	return 0;
}
