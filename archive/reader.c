#include "archive/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/content.h"
#include "archive/recover.h"
#include "base/cleanup.h"
#include "base/io.h"

void gd_reader_close(struct gd_reader *r)
{
	if (r->fd >= 0)
		(void)close(r->fd);
	free(r->blobs);
	free(r->by_hex);
	gd_manifest_deinit(&r->manifest);
	gd_snapshot_deinit(&r->snapshot);
	*r = GD_READER_INIT;
}

/* Keeps the first reason only: the later ones follow from it. */
static void note(struct gd_reader *r, const struct gd_error *why)
{
	if (r->trouble.code == 0)
		r->trouble = *why;
}

/* --- what is in the file ------------------------------------------------------------------- */

static int add_blob(struct gd_reader *r, size_t *cap, const struct gd_tarfile_member *m,
                    struct gd_error *err)
{
	if (r->n_blobs >= GD_READER_BLOBS_MAX)
		return gd_fail(err, -E2BIG, "more than %u blobs", GD_READER_BLOBS_MAX);
	if (r->n_blobs == *cap) {
		*cap = *cap > 0 ? 2 * *cap : 64;
		struct gd_blob *blobs = realloc(r->blobs, *cap * sizeof(*blobs));
		if (blobs == NULL)
			return gd_fail_errno(err, -ENOMEM, "list of blobs");
		r->blobs = blobs;
	}
	struct gd_blob *blob = &r->blobs[r->n_blobs++];
	*blob = (struct gd_blob){ .offset = m->data_at, .bytes = m->bytes,
		                  .truncated = m->truncated };
	memcpy(blob->hex, m->name + strlen(GD_LAYOUT_BLOBS), 65);
	memcpy(blob->title, m->user, sizeof(blob->title));
	memcpy(blob->collector, m->group, sizeof(blob->collector));
	if (!gd_layout_name_ok(blob->title))
		blob->title[0] = '\0';
	if (!gd_layout_name_ok(blob->collector))
		blob->collector[0] = '\0';
	return 0;
}

static bool is_blob(const char *name)
{
	size_t n = strlen(GD_LAYOUT_BLOBS);
	return strncmp(name, GD_LAYOUT_BLOBS, n) == 0 && gd_layout_hex_ok(name + n);
}

static void note_gap(struct gd_reader *r, uint64_t at, uint64_t end)
{
	r->n_damaged++;
	if (r->n_gaps < GD_READER_GAPS_MAX)
		r->gaps[r->n_gaps++] = (struct gd_gap){ .at = at, .end = end };
}

/* Lists the blobs; `index` gets index.json's place, `layout` whether oci-layout is there. */
static int walk(struct gd_reader *r, struct gd_tarfile_member *index, bool *layout,
                struct gd_error *err)
{
	struct gd_tarfile_walk tar = GD_TARFILE_WALK(r->fd, r->file_bytes);
	struct gd_tarfile_member m;
	size_t cap = 0;
	int got;
	while ((got = gd_tarfile_next(&tar, &m, err)) > 0) {
		if (m.gap_at != m.header_at)
			note_gap(r, m.gap_at, m.header_at);
		if (m.truncated)
			r->truncated = true;
		if (r->mtime_s == 0)
			r->mtime_s = m.mtime_s;
		if (m.plain && is_blob(m.name)) {
			int added = add_blob(r, &cap, &m, err);
			if (added < 0)
				return added;
		} else if (m.plain && strcmp(m.name, GD_LAYOUT_INDEX) == 0 && !m.truncated) {
			*index = m;
			r->has_index = true;
		} else if (m.plain && strcmp(m.name, GD_LAYOUT_FILE) == 0) {
			*layout = true;
		} else {
			r->n_foreign++;
		}
	}
	if (!tar.has_end && tar.end_at < r->file_bytes &&
	    r->file_bytes - tar.end_at >= GD_TARFILE_BLOCK)
		r->n_damaged++;
	else if (!tar.has_end)
		r->truncated = true;
	return got;
}

static int compare_hex(const void *a, const void *b, void *blobs)
{
	const struct gd_blob *x = (const struct gd_blob *)blobs + *(const size_t *)a;
	const struct gd_blob *y = (const struct gd_blob *)blobs + *(const size_t *)b;
	int order = memcmp(x->hex, y->hex, 64);
	return order != 0 ? order : x < y ? -1 : 1; /* of equal ones the first: it is whole */
}

static int sort(struct gd_reader *r, struct gd_error *err)
{
	free(r->by_hex);
	r->by_hex = calloc(r->n_blobs + 1, sizeof(*r->by_hex));
	if (r->by_hex == NULL)
		return gd_fail_errno(err, -ENOMEM, "list of blobs");
	for (size_t i = 0; i < r->n_blobs; i++)
		r->by_hex[i] = i;
	if (r->n_blobs > 0)
		qsort_r(r->by_hex, r->n_blobs, sizeof(*r->by_hex), compare_hex, r->blobs);
	return 0;
}

const struct gd_blob *gd_reader_blob(const struct gd_reader *r, const char *digest)
{
	if (!gd_layout_digest_ok(digest))
		return NULL;
	size_t low = 0;
	size_t high = r->n_blobs;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(r->blobs[r->by_hex[middle]].hex, digest + 7, 64) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == r->n_blobs || memcmp(r->blobs[r->by_hex[low]].hex, digest + 7, 64) != 0)
		return NULL;
	return &r->blobs[r->by_hex[low]];
}

/* --- what the documents say ---------------------------------------------------------------- */

static int take(void *arg, const void *bytes, size_t n)
{
	struct gd_buf *buf = arg;
	gd_buf_append(buf, bytes, n);
	return buf->failed;
}

int gd_reader_load_blob(const struct gd_reader *r, const struct gd_blob *blob, struct gd_buf *buf,
                        struct gd_error *err)
{
	if (blob->truncated)
		return gd_fail(err, -EBADMSG, "blob %.12s: cut off", blob->hex);
	if (blob->bytes > buf->ceiling - buf->len)
		return gd_fail(err, -E2BIG, "blob %.12s: larger than our limit of %zu bytes",
		               blob->hex, buf->ceiling);
	struct gd_content content = { .fd = r->fd, .offset = blob->offset,
		                      .stored_bytes = blob->bytes, .limit = blob->bytes,
		                      .piece = take, .arg = buf };
	int got = gd_content_run(&content, err);
	if (got < 0)
		return gd_error_wrap(err, got, "blob %.12s", blob->hex);
	if (strcmp(content.hex, blob->hex) != 0)
		return gd_fail(err, -EBADMSG, "blob %.12s: content does not match its digest",
		               blob->hex);
	return 0;
}

static int read_index(struct gd_reader *r, const struct gd_tarfile_member *index,
                      struct gd_error *err)
{
	char text[GD_LAYOUT_INDEX_MAX];
	if (index->bytes > sizeof(text))
		return gd_fail(err, -E2BIG, "index.json: larger than %zu bytes", sizeof(text));
	int got = gd_io_pread_all(r->fd, text, (size_t)index->bytes, (off_t)index->data_at, err);
	return got < 0 ? got : gd_layout_parse_index(text, (size_t)index->bytes,
	                                             r->manifest_digest, err);
}

static int read_manifest(struct gd_reader *r, const struct gd_blob *blob, struct gd_error *err)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_MANIFEST_MAX);
	int got = gd_reader_load_blob(r, blob, &json, err);
	if (got == 0)
		got = gd_layout_parse_manifest(json.data, json.len, &r->manifest, err);
	if (got == 0) {
		r->has_manifest = true;
		r->manifest_blob = *blob;
	}
	return got;
}

static int read_snapshot(struct gd_reader *r, const struct gd_blob *blob, struct gd_error *err)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_SNAPSHOT_MAX);
	int got = gd_reader_load_blob(r, blob, &json, err);
	if (got == 0)
		got = gd_snapshot_parse(json.data, json.len, &r->snapshot, err);
	if (got == 0)
		r->has_snapshot = true;
	return got;
}

/* The last sound blob that its header calls `title`. */
static const struct gd_blob *labelled(const struct gd_reader *r, const char *title)
{
	for (size_t i = r->n_blobs; i-- > 0;)
		if (strcmp(r->blobs[i].title, title) == 0 && !r->blobs[i].truncated)
			return &r->blobs[i];
	return NULL;
}

/* Failures are noted, not returned: what is unreadable is one of the things a reader tells. */
static int read_documents(struct gd_reader *r, const struct gd_tarfile_member *index,
                          struct gd_error *err)
{
	struct gd_error why = { 0 };
	const struct gd_blob *blob;
	if (r->has_index && read_index(r, index, &why) < 0)
		note(r, &why);
	blob = r->manifest_digest[0] != '\0' ? gd_reader_blob(r, r->manifest_digest)
	                                     : labelled(r, GD_LAYOUT_MANIFEST_NAME);
	if (blob == NULL && r->manifest_digest[0] != '\0') {
		(void)gd_fail(&why, -ENOENT, "manifest %.19s is not stored", r->manifest_digest);
		note(r, &why);
	} else if (blob != NULL && read_manifest(r, blob, &why) < 0) {
		note(r, &why);
	}
	int got = r->has_manifest && r->n_gaps > 0 ? gd_recover_blobs(r, err) : 0;
	if (got > 0)
		got = sort(r, err);
	if (got < 0)
		return got;
	blob = r->has_manifest ? gd_reader_blob(r, r->manifest.config.digest)
	                       : labelled(r, GD_LAYOUT_SNAPSHOT_NAME);
	if (blob == NULL && r->has_manifest) {
		(void)gd_fail(&why, -ENOENT, "snapshot.json is not stored");
		note(r, &why);
	} else if (blob != NULL && read_snapshot(r, blob, &why) < 0) {
		note(r, &why);
	}
	return 0;
}

/* --- artifacts ----------------------------------------------------------------------------- */

const struct gd_artifact_row *gd_reader_artifact(const struct gd_reader *r, const char *name)
{
	for (size_t i = 0; i < r->snapshot.n_artifacts; i++)
		if (strcmp(r->snapshot.artifacts[i].name, name) == 0)
			return &r->snapshot.artifacts[i];
	return NULL;
}

int gd_reader_content(const struct gd_reader *r, const struct gd_artifact_row *row,
                      int (*piece)(void *arg, const void *bytes, size_t n), void *arg,
                      struct gd_error *err)
{
	if (row->digest[0] == '\0')
		return gd_fail(err, -ENOENT, "artifact %s has no content: %s", row->name,
		               row->outcome.why.msg);
	const struct gd_blob *blob = gd_reader_blob(r, row->digest);
	if (blob == NULL)
		return gd_fail(err, -ENOENT, "artifact %s is not in the archive", row->name);
	uint64_t here = blob->truncated ? r->file_bytes - blob->offset : blob->bytes;
	bool zstd = gd_content_is_zstd(row->media_type);
	struct gd_content content = { .fd = r->fd, .offset = blob->offset, .stored_bytes = here,
		                      .zstd = zstd, .piece = piece, .arg = arg,
		                      .limit = gd_content_limit(row->bytes, here, zstd) };
	int got = gd_content_run(&content, err);
	if (blob->truncated && (got == 0 || got == -EBADMSG))
		return gd_fail(err, -EBADMSG, "artifact %s: cut off, the archive ends too early",
		               row->name);
	if (got < 0)
		return gd_error_wrap(err, got, "artifact %s", row->name);
	if (strcmp(content.hex, blob->hex) != 0)
		return gd_fail(err, -EBADMSG, "artifact %s: content does not match its digest",
		               row->name);
	if (row->bytes != GD_ARTIFACT_BYTES_UNKNOWN && content.bytes != row->bytes)
		return gd_fail(err, -EBADMSG, "artifact %s: shorter than snapshot.json says",
		               row->name);
	return 0;
}

int gd_reader_load(const struct gd_reader *r, const char *name, struct gd_buf *buf,
                   struct gd_error *err)
{
	const struct gd_artifact_row *row = gd_reader_artifact(r, name);
	if (row == NULL)
		return gd_fail(err, -ENOENT, "there is no artifact %s", name);
	int got = gd_reader_content(r, row, take, buf, err);
	int full = gd_buf_check(buf, name, err);
	return full < 0 ? full : got;
}

const char *gd_reader_complaint(const struct gd_reader *r)
{
	if (r->truncated)
		return "cut off: the file ends too early";
	if (r->n_damaged > 0)
		return "damaged: a tar header is unreadable";
	if (r->trouble.code != 0)
		return r->trouble.msg;
	if (!r->has_index)
		return "never sealed: index.json is missing";
	return NULL;
}

void gd_reader_prepare(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	json_object_seed(0);
	(void)EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);
}

int gd_reader_open_fd(int fd, struct gd_reader *ret, struct gd_error *err)
{
	GD_READER struct gd_reader r = GD_READER_INIT;
	struct gd_tarfile_member index = { 0 };
	struct stat st;
	bool layout = false;
	r.fd = fd;
	if (fstat(fd, &st) < 0)
		return gd_fail_errno(err, -errno, "archive");
	if (!S_ISREG(st.st_mode))
		return gd_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL, "not a regular file");
	r.file_bytes = (uint64_t)st.st_size;
	int got = walk(&r, &index, &layout, err);
	if (got == 0 && r.n_blobs == 0 && !layout && !r.has_index)
		got = gd_fail(err, -EBADMSG, "not a godiag archive");
	if (got == 0)
		got = sort(&r, err);
	if (got < 0)
		return got;
	got = read_documents(&r, &index, err);
	if (got == 0 && !r.has_snapshot)
		got = gd_recover_rows(&r, err);
	if (got < 0)
		return got;
	*ret = r;
	r = GD_READER_INIT;
	return 0;
}

int gd_reader_open(const char *path, struct gd_reader *ret, struct gd_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "%.150s", path);
	int r = gd_reader_open_fd(fd, ret, err);
	return r < 0 ? gd_error_wrap(err, r, "%.150s", path) : 0;
}
