#pragma once
/*
 * One YAML text as a small tree in which every key and value knows its line and column.  A strict
 * subset: one document of maps, lists and texts; no anchors, aliases, tags, merge keys, directives
 * or second documents, and no guessing of types: `off`, `1e3` and `"off"` are texts alike.  It knows
 * nothing of policies.
 */
#include <stdbool.h>
#include <stddef.h>

#include "policies/finding.h"

#define GD_DOCUMENT_BYTES_MAX (1U << 20)
#define GD_DOCUMENT_DEPTH_MAX 16
#define GD_DOCUMENT_NODES_MAX 65536
#define GD_DOCUMENT_KEYS_MAX 256 /* of one map */

enum gd_node_kind { GD_NODE_TEXT, GD_NODE_LIST, GD_NODE_MAP };

struct gd_node {
	enum gd_node_kind kind;
	unsigned line, column; /* from 1; columns count characters, not bytes */
	char *key;             /* inside a map: its key, which stands at key_line:key_column */
	unsigned key_line, key_column;
	char *text;            /* TEXT: its characters, without NUL in them */
	bool plain;            /* TEXT: written without quotes */
	size_t n;              /* LIST, MAP: children, in the order written */
	struct gd_node *first, *last, *next;
	struct gd_node *made;  /* chain of all nodes of a document, for freeing */
};

struct gd_document {
	struct gd_node *root; /* NULL: an empty text, or nothing but comments */
	struct gd_node *made;
};

/*
 * Reads `text`.  What is wrong goes to `findings` as errors in `file`.  *nodes_left is lowered by
 * what was made (give GD_DOCUMENT_NODES_MAX at first; several documents may share it).  0: there is
 * a tree, which after errors holds everything but what was at fault; -EINVAL: it broke off, there
 * is no tree; -ENOMEM.
 */
int gd_document_parse(const char *file, const char *text, size_t len, size_t *nodes_left,
                      struct gd_document *ret, struct gd_findings *findings);

void gd_document_deinit(struct gd_document *document);

/* The child of a map with that key, or NULL; also NULL when `node` is no map. */
const struct gd_node *gd_node_get(const struct gd_node *node, const char *key);

/* Nothing was written, or ~ or null without quotes. */
bool gd_node_is_empty(const struct gd_node *node);

/* "a text", "a list", "a map": for messages. */
const char *gd_node_kind_name(const struct gd_node *node);
