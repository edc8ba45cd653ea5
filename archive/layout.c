#include "archive/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define ANNOTATION_TITLE "org.opencontainers.image.title"
#define ANNOTATION_CREATED "org.opencontainers.image.created"
#define ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"
#define ANNOTATION_ID "vnd.godiag.id"
#define ANNOTATION_COMPLETE "vnd.godiag.complete"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"

int gd_layer_init(struct gd_layer *layer, const char *title, const char *media_type,
                  struct gd_error *err)
{
	*layer = (struct gd_layer){ .title = strdup(title), .media_type = strdup(media_type) };
	if (layer->title == NULL || layer->media_type == NULL)
		return gd_fail_errno(err, -ENOMEM, "layer %s", title);
	return 0;
}

void gd_manifest_deinit(struct gd_manifest *m)
{
	for (size_t i = 0; i < m->n_layers; i++) {
		free(m->layers[i].title);
		free(m->layers[i].media_type);
	}
	free(m->layers);
	free(m->config.title);
	free(m->config.media_type);
	free(m->id);
	free(m->created);
	*m = (struct gd_manifest){ 0 };
}

static void put_descriptor(struct gd_json *j, const char *key, const struct gd_layer *layer)
{
	gd_json_object(j, key);
	gd_json_string(j, "mediaType", layer->media_type);
	gd_json_string(j, "digest", layer->digest);
	gd_json_u64(j, "size", layer->stored_bytes);
	gd_json_object(j, "annotations");
	gd_json_string(j, ANNOTATION_TITLE, layer->title);
	gd_json_object_end(j);
	gd_json_object_end(j);
}

void gd_layout_put_manifest(const struct gd_manifest *m, struct gd_buf *out)
{
	struct gd_json j = GD_JSON_INIT(out);
	gd_json_object(&j, NULL);
	gd_json_u64(&j, "schemaVersion", 2);
	gd_json_string(&j, "mediaType", MANIFEST_TYPE);
	gd_json_string(&j, "artifactType", GD_LAYOUT_ARTIFACT_TYPE);
	put_descriptor(&j, "config", &m->config);
	gd_json_array(&j, "layers");
	for (size_t i = 0; i < m->n_layers; i++)
		put_descriptor(&j, NULL, &m->layers[i]);
	gd_json_array_end(&j);
	gd_json_object(&j, "annotations");
	gd_json_string(&j, ANNOTATION_CREATED, m->created);
	gd_json_string(&j, ANNOTATION_ID, m->id);
	gd_json_string(&j, ANNOTATION_COMPLETE, m->complete ? "true" : "false");
	gd_json_object_end(&j);
	gd_json_object_end(&j);
}

/* A tag as OCI clients take it; a capture id is one. */
static bool tag_ok(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
	return n > 0 && n <= 128 && s[n] == '\0' && s[0] != '.' && s[0] != '-';
}

void gd_layout_put_index(const struct gd_manifest *m, const char *digest, uint64_t bytes,
                         struct gd_buf *out)
{
	struct gd_json j = GD_JSON_INIT(out);
	gd_json_object(&j, NULL);
	gd_json_u64(&j, "schemaVersion", 2);
	gd_json_string(&j, "mediaType", INDEX_TYPE);
	gd_json_array(&j, "manifests");
	gd_json_object(&j, NULL);
	gd_json_string(&j, "mediaType", MANIFEST_TYPE);
	gd_json_string(&j, "artifactType", GD_LAYOUT_ARTIFACT_TYPE);
	gd_json_string(&j, "digest", digest);
	gd_json_u64(&j, "size", bytes);
	gd_json_object(&j, "annotations");
	gd_json_string(&j, ANNOTATION_REF_NAME, tag_ok(m->id) ? m->id : "snapshot");
	gd_json_object_end(&j);
	gd_json_object_end(&j);
	gd_json_array_end(&j);
	gd_json_object_end(&j);
}

bool gd_layout_hex_ok(const char *hex)
{
	size_t n = strspn(hex, "0123456789abcdef");
	return n == 64 && hex[n] == '\0';
}

bool gd_layout_digest_ok(const char *digest)
{
	return strncmp(digest, "sha256:", 7) == 0 && gd_layout_hex_ok(digest + 7);
}

void gd_layout_digest(char digest[GD_LAYOUT_DIGEST], const char hex[GD_DIGEST_HEX])
{
	memcpy(digest, "sha256:", 7);
	memcpy(digest + 7, hex, 65);
}

bool gd_layout_name_ok(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+=@:/";
	size_t n = strspn(name, allowed);
	if (n == 0 || n > 200 || name[n] != '\0' || name[n - 1] == '/')
		return false;
	for (size_t i = 0; i < n; i++)
		if ((i == 0 || name[i - 1] == '/') && (name[i] == '.' || name[i] == '/'))
			return false;
	return true;
}
