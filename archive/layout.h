#pragma once
/*
 * The OCI image layout of one archive: its three JSON documents and the names in it.  Writing and
 * reading only; what the documents are about is snapshot.h's business.  index.json is a function
 * of the manifest, so that a verifier can say what it should have been, byte for byte.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/digest.h"
#include "base/buf.h"
#include "base/error.h"

#define GD_LAYOUT_DIGEST 72 /* "sha256:", 64 digits, NUL */

#define GD_LAYOUT_ARTIFACT_TYPE "application/vnd.godiag.snapshot.v1"
#define GD_LAYOUT_SNAPSHOT_TYPE "application/vnd.godiag.snapshot.v1+json"
#define GD_LAYOUT_PLAN_TYPE "application/vnd.godiag.plan.v1+json"
#define GD_LAYOUT_PLAN_NAME "plan.json"
#define GD_LAYOUT_SNAPSHOT_NAME "snapshot.json"
#define GD_LAYOUT_MANIFEST_NAME "manifest.json"
#define GD_LAYOUT_FILE "oci-layout"
#define GD_LAYOUT_FILE_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define GD_LAYOUT_INDEX "index.json"
#define GD_LAYOUT_BLOBS "blobs/sha256/"

/* Ceilings for documents that somebody else may have written. */
#define GD_LAYOUT_INDEX_MAX (64U * 1024)
#define GD_LAYOUT_MANIFEST_MAX (4U * 1024 * 1024) /* what registries take */
#define GD_LAYOUT_SNAPSHOT_MAX (8U * 1024 * 1024)
#define GD_LAYOUT_ARTIFACTS_MAX 16384U

/* One thing the manifest lists; the title is the artifact's name. */
struct gd_layer {
	char *title, *media_type;
	char digest[GD_LAYOUT_DIGEST];
	uint64_t stored_bytes;
};

/* Copies of the two texts, nothing else; -ENOMEM (its manifest may be deinited all the same). */
int gd_layer_init(struct gd_layer *layer, const char *title, const char *media_type,
                  struct gd_error *err);

struct gd_manifest {
	char *id;      /* the capture's, from the annotations; "" without */
	char *created; /* RFC 3339; "" without */
	bool complete; /* false: a repaired archive */
	struct gd_layer config; /* snapshot.json */
	struct gd_layer *layers;
	size_t n_layers;
};

void gd_manifest_deinit(struct gd_manifest *manifest);

void gd_layout_put_manifest(const struct gd_manifest *manifest, struct gd_buf *out);
/* Foreign bytes; -EBADMSG when it is not a manifest of ours. */
int gd_layout_parse_manifest(const char *text, size_t len, struct gd_manifest *ret,
                             struct gd_error *err);

/* `digest` and `bytes` are those of the manifest itself. */
void gd_layout_put_index(const struct gd_manifest *manifest, const char *digest, uint64_t bytes,
                         struct gd_buf *out);
/* The digest of the one manifest that index.json names; foreign bytes. */
int gd_layout_parse_index(const char *text, size_t len, char digest[GD_LAYOUT_DIGEST],
                          struct gd_error *err);

/* "sha256:" and 64 lower-case hex digits. */
bool gd_layout_digest_ok(const char *digest);
bool gd_layout_hex_ok(const char *hex);
void gd_layout_digest(char digest[GD_LAYOUT_DIGEST], const char hex[GD_DIGEST_HEX]);

/*
 * May this be an artifact's name, and so a path below a directory?  Relative, of A-Z a-z 0-9 and
 * - _ . + = @ : with single slashes between, no component starting with a dot, no more than 200
 * characters.
 */
bool gd_layout_name_ok(const char *name);
