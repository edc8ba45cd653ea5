/*
 * The way of an artifact: open gives it a staging (memory, then scratch file); write fills it;
 * close knows size and digest, appends header and bytes to the tar unless the same content is
 * there already, and adds a row.  Seal appends snapshot.json, manifest and index.json and gives
 * the file its name.
 *
 * What can go wrong: any failure to write (disk full, quota, I/O) is kept in `failure` and ends
 * the archive: every later call returns it and seal leaves nothing behind.  A collector's own
 * failure is no failure here: it arrives as an outcome.
 */
#include "archive/archive.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/digest.h"
#include "archive/documents.h"
#include "archive/layout.h"
#include "archive/output.h"
#include "archive/pack.h"
#include "archive/staging.h"
#include "archive/tarfile.h"
#include "base/clock.h"

#define IDLE_MAX 8

struct artifact_stream {
	struct gd_stream stream;
	struct gd_archive *archive;
	struct gd_staging *staging;
	struct gd_artifact_row row;
	struct artifact_stream *next; /* of the open ones */
};

struct gd_archive {
	struct gd_sink sink;
	struct gd_output output;
	struct gd_tarfile_writer *tar;
	struct gd_digest *digest; /* made when first needed */
	struct gd_error failure; /* the first one; sticky */
	struct gd_artifact_row *rows;
	size_t n_rows, cap_rows;
	struct artifact_stream *open;
	struct gd_staging *idle[IDLE_MAX];
	size_t n_idle;
};

static int stick(struct gd_archive *a, int r, const struct gd_error *why, struct gd_error *err)
{
	if (a->failure.code == 0) {
		a->failure = *why;
		a->failure.code = r;
	}
	if (err != NULL)
		*err = a->failure;
	return a->failure.code;
}

static int broken(const struct gd_archive *a, struct gd_error *err)
{
	if (a->failure.code != 0 && err != NULL)
		*err = a->failure;
	return a->failure.code;
}

/* Room for one row more, so that recording what was stored cannot fail. */
static int reserve_row(struct gd_archive *a, struct gd_error *err)
{
	if (a->n_rows >= GD_LAYOUT_ARTIFACTS_MAX)
		return gd_fail(err, -E2BIG, "more than %u artifacts", GD_LAYOUT_ARTIFACTS_MAX);
	if (a->n_rows < a->cap_rows)
		return 0;
	size_t cap = a->cap_rows > 0 ? 2 * a->cap_rows : 64;
	struct gd_artifact_row *rows = realloc(a->rows, cap * sizeof(*rows));
	if (rows == NULL)
		return gd_fail_errno(err, -ENOMEM, "artifact row");
	a->rows = rows;
	a->cap_rows = cap;
	return 0;
}

static bool name_taken(const struct gd_archive *a, const char *name)
{
	for (size_t i = 0; i < a->n_rows; i++)
		if (strcmp(a->rows[i].name, name) == 0)
			return true;
	for (const struct artifact_stream *s = a->open; s != NULL; s = s->next)
		if (strcmp(s->row.name, name) == 0)
			return true;
	/* These two are no artifacts, but must not be mistaken for one. */
	return strcmp(name, GD_LAYOUT_SNAPSHOT_NAME) == 0 ||
	       strcmp(name, GD_LAYOUT_MANIFEST_NAME) == 0;
}

static int start_row(const struct gd_archive *a, const struct gd_artifact *artifact,
                     struct gd_artifact_row *ret, struct gd_error *err)
{
	if (!gd_layout_name_ok(artifact->name))
		return gd_fail(err, -EINVAL, "artifact name \"%.100s\" is not allowed",
		               artifact->name);
	if (name_taken(a, artifact->name))
		return gd_fail(err, -EEXIST, "artifact %s exists already", artifact->name);
	int r = gd_artifact_row_init(ret, artifact->name, artifact->media_type,
	                             artifact->collector, err);
	if (r < 0)
		gd_artifact_row_deinit(ret);
	ret->started_ns = gd_clock_monotonic_ns();
	return r;
}

/* --- one artifact's stream ----------------------------------------------------------------- */

static int take_staging(struct gd_archive *a, struct gd_staging **ret, struct gd_error *err)
{
	if (a->n_idle == 0)
		return gd_staging_create(ret, err);
	*ret = a->idle[--a->n_idle];
	return 0;
}

static void end_stream(struct artifact_stream *s)
{
	struct gd_archive *a = s->archive;
	for (struct artifact_stream **at = &a->open; *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			break;
		}
	}
	gd_staging_reset(s->staging);
	if (a->n_idle < IDLE_MAX)
		a->idle[a->n_idle++] = s->staging;
	else
		gd_staging_destroy(s->staging);
	gd_artifact_row_deinit(&s->row);
	free(s);
}

static int on_write(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	struct artifact_stream *s = (struct artifact_stream *)stream;
	struct gd_error why = { 0 };
	int r = broken(s->archive, err);
	if (r < 0)
		return r;
	r = gd_staging_write(s->staging, bytes, n, &why);
	return r < 0 ? stick(s->archive, r, &why, err) : 0;
}

static bool stored_already(const struct gd_archive *a, const char *digest)
{
	for (size_t i = 0; i < a->n_rows; i++)
		if (strcmp(a->rows[i].digest, digest) == 0)
			return true;
	return false;
}

static int emit_piece(void *arg, const void *bytes, size_t n, struct gd_error *err)
{
	return gd_tarfile_data(arg, bytes, n, err);
}

static int append_staged(struct artifact_stream *s, struct gd_error *err)
{
	struct gd_archive *a = s->archive;
	struct gd_staged staged;
	int r = gd_staging_end(s->staging, &staged, err);
	if (r < 0)
		return r;
	s->row.bytes = staged.bytes;
	s->row.stored_bytes = staged.stored_bytes;
	gd_layout_digest(s->row.digest, staged.hex);
	if (staged.compressed) {
		char *type = NULL;
		if (asprintf(&type, "%s+zstd", s->row.media_type) < 0)
			return gd_fail_errno(err, -ENOMEM, "artifact %s", s->row.name);
		free(s->row.media_type);
		s->row.media_type = type;
	}
	if (stored_already(a, s->row.digest))
		return 0;
	char path[GD_DOCUMENTS_PATH];
	gd_documents_path(path, staged.hex);
	r = gd_tarfile_begin(a->tar, path, staged.stored_bytes, s->row.name, s->row.collector, err);
	return r < 0 ? r : gd_staging_emit(s->staging, emit_piece, a->tar, err);
}

static int on_close(struct gd_stream *stream, const struct gd_outcome *outcome,
                    struct gd_error *err)
{
	struct artifact_stream *s = (struct artifact_stream *)stream;
	struct gd_archive *a = s->archive;
	struct gd_error why = { 0 };
	int r = broken(a, err);
	if (r == 0) {
		/* "Failed" means that nothing usable came: its bytes are not kept. */
		bool keep = outcome->grade <= GD_GRADE_PARTIAL;
		r = reserve_row(a, &why);
		if (r == 0 && keep)
			r = append_staged(s, &why);
		if (r < 0) {
			r = stick(a, r, &why, err);
		} else {
			s->row.outcome = *outcome;
			s->row.ended_ns = gd_clock_monotonic_ns();
			a->rows[a->n_rows++] = s->row;
			s->row = (struct gd_artifact_row){ 0 };
		}
	}
	end_stream(s);
	return r;
}

static struct gd_archive *archive_of(struct gd_sink *sink)
{
	return (struct gd_archive *)sink; /* its first member */
}

static int on_open(struct gd_sink *sink, const struct gd_artifact *artifact,
                   struct gd_stream **ret, struct gd_error *err)
{
	struct gd_archive *a = archive_of(sink);
	int r = broken(a, err);
	if (r < 0)
		return r;
	struct artifact_stream *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "artifact %s", artifact->name);
	r = start_row(a, artifact, &s->row, err);
	if (r == 0)
		r = take_staging(a, &s->staging, err);
	if (r < 0) {
		gd_artifact_row_deinit(&s->row);
		free(s);
		return r;
	}
	s->stream.write = on_write;
	s->stream.close = on_close;
	s->archive = a;
	s->next = a->open;
	a->open = s;
	bool pack = strcmp(artifact->media_type, GD_PACK_MEDIA_TYPE) == 0;
	r = gd_staging_begin(s->staging, &a->output, artifact->compress != 0,
	                     pack ? GD_STAGING_LARGE_BYTES : GD_STAGING_MEMORY_BYTES, err);
	if (r < 0) {
		end_stream(s);
		return r;
	}
	*ret = &s->stream;
	return 0;
}

static int on_absent(struct gd_sink *sink, const struct gd_artifact *artifact,
                     const struct gd_outcome *outcome, struct gd_error *err)
{
	struct gd_archive *a = archive_of(sink);
	struct gd_artifact_row row = { 0 };
	int r = broken(a, err);
	if (r == 0)
		r = reserve_row(a, err);
	if (r == 0)
		r = start_row(a, artifact, &row, err);
	if (r != 0)
		return r;
	row.outcome = *outcome;
	row.ended_ns = row.started_ns;
	a->rows[a->n_rows++] = row;
	return 0;
}

/* The bytes as they are, from where they lie: nothing is staged. */
static int append_bytes(struct gd_archive *a, struct gd_artifact_row *row, const void *bytes,
                        size_t n, struct gd_error *err)
{
	char hex[GD_DIGEST_HEX];
	char path[GD_DOCUMENTS_PATH];
	int r = a->digest == NULL ? gd_digest_create(&a->digest, err) : 0;
	if (r == 0)
		r = gd_digest_begin(a->digest, err);
	if (r == 0)
		r = gd_digest_update(a->digest, bytes, n, err);
	if (r == 0)
		r = gd_digest_end(a->digest, hex, err);
	if (r < 0)
		return r;
	row->bytes = row->stored_bytes = n;
	gd_layout_digest(row->digest, hex);
	if (stored_already(a, row->digest))
		return 0;
	gd_documents_path(path, hex);
	r = gd_tarfile_begin(a->tar, path, n, row->name, row->collector, err);
	return r < 0 ? r : gd_tarfile_data(a->tar, bytes, n, err);
}

static int on_put(struct gd_sink *sink, const struct gd_artifact *artifact, const void *bytes,
                  size_t n, const struct gd_outcome *outcome, struct gd_error *err)
{
	struct gd_archive *a = archive_of(sink);
	struct gd_artifact_row row = { 0 };
	struct gd_error why = { 0 };
	if (outcome->grade > GD_GRADE_PARTIAL)
		return on_absent(sink, artifact, outcome, err);
	int r = broken(a, err);
	if (r == 0)
		r = start_row(a, artifact, &row, err);
	if (r < 0)
		return r;
	r = reserve_row(a, &why);
	if (r == 0)
		r = append_bytes(a, &row, bytes, n, &why);
	if (r < 0) {
		gd_artifact_row_deinit(&row);
		return stick(a, r, &why, err);
	}
	row.outcome = *outcome;
	row.ended_ns = gd_clock_monotonic_ns();
	a->rows[a->n_rows++] = row;
	return 0;
}

/* --- the whole ----------------------------------------------------------------------------- */

static int begin(struct gd_archive *a, const char *plan_json, size_t plan_len,
                 struct gd_error *err)
{
	static const struct gd_artifact plan = { .name = GD_LAYOUT_PLAN_NAME,
		                                 .media_type = GD_LAYOUT_PLAN_TYPE,
		                                 .collector = "godiag" };
	int r = gd_tarfile_create(&a->output, gd_clock_now().realtime_ns / 1000000000, &a->tar,
	                          err);
	if (r == 0)
		r = gd_documents_append(a->tar, GD_LAYOUT_FILE, GD_LAYOUT_FILE_TEXT,
		                        strlen(GD_LAYOUT_FILE_TEXT), NULL, err);
	if (r == 0)
		r = gd_sink_put(&a->sink, &plan, plan_json, plan_len, &GD_OUTCOME_COMPLETE, err);
	return r;
}

int gd_archive_create_on(struct gd_output *output, const char *plan_json, size_t plan_len,
                         struct gd_archive **ret, struct gd_error *err)
{
	struct gd_archive *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		gd_output_deinit(output);
		return gd_fail_errno(err, -ENOMEM, "archive");
	}
	a->sink = (struct gd_sink){ .open = on_open, .absent = on_absent, .put = on_put };
	a->output = *output;
	*output = GD_OUTPUT_INIT;
	int r = begin(a, plan_json, plan_len, err);
	if (r < 0) {
		gd_archive_abandon(a);
		return r;
	}
	*ret = a;
	return 0;
}

int gd_archive_create(const char *dir, const char *plan_json, size_t plan_len,
                      struct gd_archive **ret, struct gd_error *err)
{
	struct gd_output output = GD_OUTPUT_INIT;
	int r = gd_output_create(dir, false, &output, err);
	return r < 0 ? r : gd_archive_create_on(&output, plan_json, plan_len, ret, err);
}

const struct gd_error *gd_archive_failure(const struct gd_archive *a)
{
	return &a->failure;
}

struct gd_sink *gd_archive_sink(struct gd_archive *a)
{
	return &a->sink;
}

const struct gd_artifact_row *gd_archive_rows(const struct gd_archive *a, size_t *ret_n)
{
	*ret_n = a->n_rows;
	return a->rows;
}

void gd_archive_abandon(struct gd_archive *a)
{
	if (a == NULL)
		return;
	while (a->open != NULL)
		end_stream(a->open);
	while (a->n_idle > 0)
		gd_staging_destroy(a->idle[--a->n_idle]);
	for (size_t i = 0; i < a->n_rows; i++)
		gd_artifact_row_deinit(&a->rows[i]);
	free(a->rows);
	gd_tarfile_abandon(a->tar);
	gd_digest_destroy(a->digest);
	gd_output_deinit(&a->output);
	free(a);
}

/* Everything but the name. */
static int finish(struct gd_archive *a, const struct gd_snapshot *snapshot, struct gd_sealed *ret,
                  struct gd_error *err)
{
	int r = broken(a, err);
	if (r == 0 && a->open != NULL)
		r = gd_fail(err, -EBUSY, "artifact %s is still open", a->open->row.name);
	if (r < 0)
		return r;
	r = gd_documents_close(a->tar, snapshot, ret->digest, err);
	if (r == 0) {
		r = gd_tarfile_close(a->tar, err);
		a->tar = NULL;
	}
	ret->bytes = a->output.bytes;
	return r;
}

static int seal(struct gd_archive *a, const struct gd_snapshot *snapshot, const char *file_name,
                struct gd_sealed *ret, struct gd_error *err)
{
	struct gd_sealed sealed = { 0 };
	assert(strchr(file_name, '/') == NULL);
	int n = snprintf(sealed.path, sizeof(sealed.path), "%s/%s", a->output.dir, file_name);
	if (n < 0 || (size_t)n >= sizeof(sealed.path))
		return gd_fail(err, -ENAMETOOLONG, "%.100s/%.80s", a->output.dir, file_name);
	int r = finish(a, snapshot, &sealed, err);
	if (r == 0)
		r = gd_output_publish(&a->output, file_name, err);
	if (r == 0)
		*ret = sealed;
	return r;
}

/* The rows move over: the caller reads them in its snapshot when the archive is gone. */
static void move_rows(struct gd_archive *a, struct gd_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_artifacts; i++)
		gd_artifact_row_deinit(&snapshot->artifacts[i]);
	free(snapshot->artifacts);
	snapshot->artifacts = a->rows;
	snapshot->n_artifacts = a->n_rows;
	a->rows = NULL;
	a->n_rows = 0;
}

int gd_archive_seal(struct gd_archive *a, struct gd_snapshot *snapshot, const char *file_name,
                    struct gd_sealed *ret, struct gd_error *err)
{
	move_rows(a, snapshot);
	int r = seal(a, snapshot, file_name, ret, err);
	gd_archive_abandon(a);
	return r;
}

int gd_archive_finish(struct gd_archive *a, struct gd_snapshot *snapshot, struct gd_sealed *ret,
                      struct gd_error *err)
{
	move_rows(a, snapshot);
	int r = finish(a, snapshot, ret, err);
	gd_archive_abandon(a);
	return r;
}
