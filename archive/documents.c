#include "archive/documents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/digest.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

int gd_documents_append(struct gd_tarfile_writer *tar, const char *name, const void *bytes,
                        size_t n, const char *label, struct gd_error *err)
{
	int r = gd_tarfile_begin(tar, name, n, label, NULL, err);
	return r < 0 ? r : gd_tarfile_data(tar, bytes, n, err);
}

void gd_documents_path(char to[GD_DOCUMENTS_PATH], const char *hex)
{
	(void)snprintf(to, GD_DOCUMENTS_PATH, GD_LAYOUT_BLOBS "%.64s", hex);
}

int gd_documents_blob(struct gd_tarfile_writer *tar, const struct gd_buf *json, const char *label,
                      struct gd_layer *ret, struct gd_error *err)
{
	GD_DIGEST struct gd_digest *sha = NULL;
	char hex[GD_DIGEST_HEX];
	char path[GD_DOCUMENTS_PATH];
	int r = gd_buf_check(json, label, err);
	if (r == 0)
		r = gd_digest_create(&sha, err);
	if (r == 0)
		r = gd_digest_begin(sha, err);
	if (r == 0)
		r = gd_digest_update(sha, json->data, json->len, err);
	if (r == 0)
		r = gd_digest_end(sha, hex, err);
	if (r < 0)
		return r;
	gd_documents_path(path, hex);
	gd_layout_digest(ret->digest, hex);
	ret->stored_bytes = json->len;
	return gd_documents_append(tar, path, json->data, json->len, label, err);
}

static int append_snapshot(struct gd_tarfile_writer *tar, const struct gd_snapshot *snapshot,
                           struct gd_layer *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_SNAPSHOT_MAX);
	struct gd_json j = GD_JSON_INIT(&json);
	gd_snapshot_write(snapshot, &j);
	gd_json_line_end(&j);
	return gd_documents_blob(tar, &json, GD_LAYOUT_SNAPSHOT_NAME, ret, err);
}

/* `m` borrows all its texts and layers. */
static int append_manifest(struct gd_tarfile_writer *tar, const struct gd_manifest *m,
                           char digest[GD_LAYOUT_DIGEST], struct gd_error *err)
{
	GD_BUF struct gd_buf json = GD_BUF_INIT(GD_LAYOUT_MANIFEST_MAX);
	GD_BUF struct gd_buf index = GD_BUF_INIT(GD_LAYOUT_INDEX_MAX);
	struct gd_layer manifest = { 0 };
	gd_layout_put_manifest(m, &json);
	int r = gd_documents_blob(tar, &json, GD_LAYOUT_MANIFEST_NAME, &manifest, err);
	if (r < 0)
		return r;
	gd_layout_put_index(m, manifest.digest, json.len, &index);
	r = gd_buf_check(&index, GD_LAYOUT_INDEX, err);
	if (r == 0)
		r = gd_documents_append(tar, GD_LAYOUT_INDEX, index.data, index.len, NULL, err);
	if (r == 0)
		memcpy(digest, manifest.digest, GD_LAYOUT_DIGEST);
	return r;
}

int gd_documents_close(struct gd_tarfile_writer *tar, const struct gd_snapshot *snapshot,
                       char digest[GD_LAYOUT_DIGEST], struct gd_error *err)
{
	static char title[] = GD_LAYOUT_SNAPSHOT_NAME;
	static char type[] = GD_LAYOUT_SNAPSHOT_TYPE;
	GD_FREE struct gd_layer *layers = calloc(snapshot->n_artifacts + 1, sizeof(*layers));
	char created[GD_CLOCK_TEXT];
	char id[sizeof(snapshot->id)];
	if (layers == NULL)
		return gd_fail_errno(err, -ENOMEM, "manifest");
	(void)gd_clock_text(created, snapshot->started.realtime_ns);
	memcpy(id, snapshot->id, sizeof(id));
	struct gd_manifest m = { .id = id, .created = created, .complete = !snapshot->repaired,
		                 .config = { .title = title, .media_type = type },
		                 .layers = layers };
	for (size_t i = 0; i < snapshot->n_artifacts; i++) {
		const struct gd_artifact_row *row = &snapshot->artifacts[i];
		if (row->digest[0] == '\0')
			continue;
		struct gd_layer *layer = &layers[m.n_layers++];
		layer->title = row->name;
		layer->media_type = row->media_type;
		layer->stored_bytes = row->stored_bytes;
		memcpy(layer->digest, row->digest, sizeof(layer->digest));
	}
	int r = append_snapshot(tar, snapshot, &m.config, err);
	return r < 0 ? r : append_manifest(tar, &m, digest, err);
}
