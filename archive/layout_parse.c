#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "archive/layout.h"

static void release(json_t **json)
{
	json_decref(*json);
}
#define GD_JSON_VALUE __attribute__((cleanup(release)))

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static json_t *load(const char *text, size_t len, const char *what, struct gd_error *err)
{
	json_error_t why;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (json == NULL)
		(void)gd_fail(err, -EBADMSG, "%s: line %d: %s", what, why.line, why.text);
	return json;
}

/* Fills *ret, which is zeroed and freed with its manifest, also when this fails. */
static int parse_descriptor(const json_t *json, struct gd_layer *ret, struct gd_error *err)
{
	const char *digest = text_of(json, "digest");
	json_int_t size = json_integer_value(json_object_get(json, "size"));
	if (!gd_layout_digest_ok(digest) || size < 0)
		return gd_fail(err, -EBADMSG, "manifest: a descriptor without digest or size");
	int r = gd_layer_init(ret, text_of(json_object_get(json, "annotations"),
	                                   "org.opencontainers.image.title"),
	                      text_of(json, "mediaType"), err);
	ret->stored_bytes = (uint64_t)size;
	memcpy(ret->digest, digest, GD_LAYOUT_DIGEST);
	return r;
}

static int parse_layers(const json_t *layers, struct gd_manifest *m, struct gd_error *err)
{
	size_t n = json_array_size(layers);
	if (n > GD_LAYOUT_ARTIFACTS_MAX)
		return gd_fail(err, -E2BIG, "manifest: %zu layers", n);
	m->layers = calloc(n > 0 ? n : 1, sizeof(*m->layers));
	if (m->layers == NULL)
		return gd_fail_errno(err, -ENOMEM, "manifest");
	m->n_layers = n;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = parse_descriptor(json_array_get(layers, i), &m->layers[i], err);
	return r;
}

int gd_layout_parse_manifest(const char *text, size_t len, struct gd_manifest *ret,
                             struct gd_error *err)
{
	GD_JSON_VALUE json_t *json = load(text, len, "manifest", err);
	if (json == NULL)
		return -EBADMSG;
	if (strcmp(text_of(json, "artifactType"), GD_LAYOUT_ARTIFACT_TYPE) != 0)
		return gd_fail(err, -EBADMSG, "manifest: not a godiag snapshot");
	const json_t *annotations = json_object_get(json, "annotations");
	struct gd_manifest m = { 0 };
	m.complete = strcmp(text_of(annotations, "vnd.godiag.complete"), "true") == 0;
	m.id = strdup(text_of(annotations, "vnd.godiag.id"));
	m.created = strdup(text_of(annotations, "org.opencontainers.image.created"));
	int r = m.id == NULL || m.created == NULL ? gd_fail_errno(err, -ENOMEM, "manifest") : 0;
	if (r == 0)
		r = parse_descriptor(json_object_get(json, "config"), &m.config, err);
	if (r == 0)
		r = parse_layers(json_object_get(json, "layers"), &m, err);
	if (r < 0) {
		gd_manifest_deinit(&m);
		return r;
	}
	*ret = m;
	return 0;
}

int gd_layout_parse_index(const char *text, size_t len, char digest[GD_LAYOUT_DIGEST],
                          struct gd_error *err)
{
	GD_JSON_VALUE json_t *json = load(text, len, "index.json", err);
	if (json == NULL)
		return -EBADMSG;
	const json_t *manifests = json_object_get(json, "manifests");
	if (json_array_size(manifests) != 1)
		return gd_fail(err, -EBADMSG, "index.json: names %zu manifests instead of one",
		               json_array_size(manifests));
	const char *found = text_of(json_array_get(manifests, 0), "digest");
	if (!gd_layout_digest_ok(found))
		return gd_fail(err, -EBADMSG, "index.json: no usable digest");
	memcpy(digest, found, GD_LAYOUT_DIGEST);
	return 0;
}
