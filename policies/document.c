/*
 * Events of libyaml become nodes; whatever the strict subset does not have becomes a finding at its
 * place, and the rest is read on, so that one run tells everything.  Only a text that is no YAML, or
 * one beyond a ceiling, ends it.
 */
#include "policies/document.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct level {
	struct gd_node *node; /* LIST or MAP that is being filled */
	char *key;            /* MAP: read, its value comes next */
	yaml_mark_t key_at;
};

struct builder {
	const char *file;
	struct gd_findings *findings;
	struct gd_document document;
	struct level levels[GD_DOCUMENT_DEPTH_MAX];
	size_t depth;
	size_t nodes_left;
	unsigned n_documents;
};

static void cleanup_parser(yaml_parser_t *parser)
{
	yaml_parser_delete(parser);
}

static void cleanup_event(yaml_event_t *event)
{
	yaml_event_delete(event);
}

static void cleanup_builder(struct builder *b)
{
	for (size_t i = 0; i < b->depth; i++)
		free(b->levels[i].key);
	gd_document_deinit(&b->document);
}

void gd_document_deinit(struct gd_document *document)
{
	struct gd_node *node = document->made;
	while (node != NULL) {
		struct gd_node *next = node->made;
		free(node->key);
		free(node->text);
		free(node);
		node = next;
	}
	*document = (struct gd_document){ 0 };
}

const struct gd_node *gd_node_get(const struct gd_node *node, const char *key)
{
	if (node == NULL || node->kind != GD_NODE_MAP)
		return NULL;
	for (const struct gd_node *child = node->first; child != NULL; child = child->next)
		if (strcmp(child->key, key) == 0)
			return child;
	return NULL;
}

bool gd_node_is_empty(const struct gd_node *node)
{
	return node->kind == GD_NODE_TEXT && node->plain &&
	       (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
	        strcmp(node->text, "null") == 0);
}

const char *gd_node_kind_name(const struct gd_node *node)
{
	static const char *const names[] = {
		[GD_NODE_TEXT] = "a text",
		[GD_NODE_LIST] = "a list",
		[GD_NODE_MAP] = "a map",
	};
	return names[node->kind];
}

/* Marks count from 0 and are bounded by the size of the text. */
#define AT(mark) (unsigned)(mark).line + 1, (unsigned)(mark).column + 1

#define complain(b, mark, ...)                                                                     \
	gd_findings_add((b)->findings, GD_SEVERITY_ERROR, (b)->file, AT(mark), __VA_ARGS__)

static struct gd_node *make(struct builder *b, enum gd_node_kind kind, const yaml_mark_t *at)
{
	struct gd_node *node = calloc(1, sizeof(*node));
	if (node == NULL)
		return NULL;
	node->kind = kind;
	node->line = (unsigned)at->line + 1;
	node->column = (unsigned)at->column + 1;
	node->made = b->document.made;
	b->document.made = node;
	b->nodes_left--;
	return node;
}

/* Hangs the node below what is open; a key that was there before loses its second value. */
static void attach(struct builder *b, struct gd_node *node)
{
	if (b->depth == 0) {
		b->document.root = node;
		return;
	}
	struct level *level = &b->levels[b->depth - 1];
	struct gd_node *parent = level->node;
	assert(parent != NULL);
	if (parent->kind == GD_NODE_MAP) {
		const struct gd_node *before = gd_node_get(parent, level->key);
		node->key = level->key;
		node->key_line = (unsigned)level->key_at.line + 1;
		node->key_column = (unsigned)level->key_at.column + 1;
		level->key = NULL;
		if (before != NULL) {
			complain(b, level->key_at, "key \"%.60s\" is given twice, first at %u:%u",
			         node->key, before->key_line, before->key_column);
			return;
		}
		/* so that looking for one stays cheap */
		if (parent->n == GD_DOCUMENT_KEYS_MAX) {
			complain(b, level->key_at, "more than %d keys in one map",
			         GD_DOCUMENT_KEYS_MAX);
			return;
		}
	}
	if (parent->last != NULL)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	parent->n++;
}

/* Anchors and tags are named and otherwise overlooked. */
static void refuse_extras(struct builder *b, const yaml_event_t *event, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
	if (anchor != NULL)
		complain(b, event->start_mark, "anchor \"&%.60s\": anchors are not allowed here",
		         (const char *)anchor);
	if (tag != NULL)
		complain(b, event->start_mark, "tag \"%.60s\": tags are not allowed here",
		         (const char *)tag);
}

static bool wants_key(const struct builder *b)
{
	const struct level *open = b->depth > 0 ? &b->levels[b->depth - 1] : NULL;
	return open != NULL && open->node != NULL && open->node->kind == GD_NODE_MAP &&
	       open->key == NULL;
}

static int take_key(struct builder *b, const yaml_event_t *event, const char *text)
{
	struct level *level = &b->levels[b->depth - 1];
	level->key = strdup(text);
	level->key_at = event->start_mark;
	if (level->key == NULL)
		return -ENOMEM;
	if (strcmp(text, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		complain(b, event->start_mark, "merge key \"<<\": write the keys out");
	return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	refuse_extras(b, event, event->data.scalar.anchor, event->data.scalar.tag);
	if (strlen(text) != event->data.scalar.length)
		complain(b, event->start_mark, "a text with a NUL character in it");
	if (wants_key(b))
		return take_key(b, event, text);
	struct gd_node *node = make(b, GD_NODE_TEXT, &event->start_mark);
	if (node == NULL)
		return -ENOMEM;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = strdup(text);
	attach(b, node);
	return node->text != NULL ? 0 : -ENOMEM;
}

/* An alias stands for an empty text, so that what follows is read. */
static int on_alias(struct builder *b, const yaml_event_t *event)
{
	complain(b, event->start_mark, "alias \"*%.60s\": aliases are not allowed here%s",
	         (const char *)event->data.alias.anchor,
	         "; a text that begins with * needs quotes");
	if (wants_key(b)) {
		b->levels[b->depth - 1].key = strdup("*");
		b->levels[b->depth - 1].key_at = event->start_mark;
		return b->levels[b->depth - 1].key != NULL ? 0 : -ENOMEM;
	}
	struct gd_node *node = make(b, GD_NODE_TEXT, &event->start_mark);
	if (node == NULL)
		return -ENOMEM;
	node->text = strdup("");
	attach(b, node);
	return node->text != NULL ? 0 : -ENOMEM;
}

static int on_start(struct builder *b, const yaml_event_t *event, enum gd_node_kind kind)
{
	if (wants_key(b)) {
		complain(b, event->start_mark, "a key must be a word, not %s",
		         kind == GD_NODE_LIST ? "a list" : "a map");
		return -EINVAL;
	}
	if (b->depth == GD_DOCUMENT_DEPTH_MAX) {
		complain(b, event->start_mark, "nested deeper than %d levels",
		         GD_DOCUMENT_DEPTH_MAX);
		return -EINVAL;
	}
	struct gd_node *node = make(b, kind, &event->start_mark);
	if (node == NULL)
		return -ENOMEM;
	attach(b, node);
	b->levels[b->depth++] = (struct level){ .node = node };
	return 0;
}

static int on_document(struct builder *b, const yaml_event_t *event)
{
	if (b->n_documents++ > 0) {
		complain(b, event->start_mark, "a second document begins; one file holds one policy");
		return -EINVAL;
	}
	if (event->data.document_start.version_directive != NULL ||
	    event->data.document_start.tag_directives.start !=
	            event->data.document_start.tag_directives.end)
		complain(b, event->start_mark, "%%YAML and %%TAG lines are not allowed here");
	return 0;
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
	if (b->nodes_left == 0) {
		complain(b, event->start_mark, "more than %d keys and values",
		         GD_DOCUMENT_NODES_MAX);
		return -EINVAL;
	}
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, event);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, event);
	case YAML_ALIAS_EVENT:
		return on_alias(b, event);
	case YAML_SEQUENCE_START_EVENT:
		refuse_extras(b, event, event->data.sequence_start.anchor,
		              event->data.sequence_start.tag);
		return on_start(b, event, GD_NODE_LIST);
	case YAML_MAPPING_START_EVENT:
		refuse_extras(b, event, event->data.mapping_start.anchor,
		              event->data.mapping_start.tag);
		return on_start(b, event, GD_NODE_MAP);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	}
	return 0;
}

/* libyaml gives a byte offset instead of a mark for bytes that are no characters. */
static void mark_of_offset(const char *text, size_t offset, yaml_mark_t *ret)
{
	*ret = (yaml_mark_t){ 0 };
	for (size_t i = 0; i < offset; i++) {
		if (text[i] == '\n') {
			ret->line++;
			ret->column = 0;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			ret->column++;
		}
	}
}

/* Marks count characters; the byte at one, 0 at the end. */
static char byte_at(const char *text, size_t len, const yaml_mark_t *at)
{
	size_t line = 0;
	size_t column = 0;
	for (size_t i = 0; i < len; i++) {
		if (line == at->line && column == at->column)
			return text[i];
		if (text[i] == '\n') {
			line++;
			column = 0;
		} else if (i + 1 < len && ((unsigned char)text[i + 1] & 0xc0) != 0x80) {
			column++;
		}
	}
	return '\0';
}

static const char *hint_for(const char *problem, const char *text, size_t len,
                            const yaml_mark_t *at)
{
	if (byte_at(text, len, at) == '\t')
		return "; YAML is indented with blanks, not with tabs";
	if (strstr(problem, "mapping values are not allowed") != NULL ||
	    strstr(problem, "expected key") != NULL || strstr(problem, "expected '-'") != NULL ||
	    strstr(problem, "could not find expected ':'") != NULL)
		return "; is the line above complete and the indentation right?";
	if (strstr(problem, "cannot start any token") != NULL)
		return "; a text that begins with @, ` or % needs quotes";
	return "";
}

/* What libyaml has to say, at the place where it noticed. */
static int broke_off(struct builder *b, const yaml_parser_t *parser, const char *text, size_t len)
{
	yaml_mark_t at = parser->problem_mark;
	const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR) {
		mark_of_offset(text, parser->problem_offset < len ? parser->problem_offset : len,
		               &at);
		complain(b, at, "not UTF-8 text: %s", problem);
		return -EINVAL;
	}
	complain(b, at, "not YAML: %s%s%s%s", parser->context != NULL ? parser->context : "",
	         parser->context != NULL ? ", " : "", problem, hint_for(problem, text, len, &at));
	return -EINVAL;
}

int gd_document_parse(const char *file, const char *text, size_t len, size_t *nodes_left,
                      struct gd_document *ret, struct gd_findings *findings)
{
	__attribute__((cleanup(cleanup_builder))) struct builder b = {
		.file = file, .findings = findings, .nodes_left = *nodes_left
	};
	__attribute__((cleanup(cleanup_parser))) yaml_parser_t parser;
	if (yaml_parser_initialize(&parser) == 0)
		return -ENOMEM;
	if (len > GD_DOCUMENT_BYTES_MAX) {
		gd_findings_add(findings, GD_SEVERITY_ERROR, file, 0, 0, "larger than %u bytes",
		                GD_DOCUMENT_BYTES_MAX);
		return -EINVAL;
	}
	/* What some editors put in front of UTF-8; nothing else may guess the encoding. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	for (bool ended = false; !ended;) {
		__attribute__((cleanup(cleanup_event))) yaml_event_t event = { 0 };
		if (yaml_parser_parse(&parser, &event) == 0)
			return broke_off(&b, &parser, text, len);
		ended = event.type == YAML_STREAM_END_EVENT;
		int r = on_event(&b, &event);
		if (r < 0)
			return r;
	}
	*nodes_left = b.nodes_left;
	*ret = b.document;
	b.document = (struct gd_document){ 0 };
	return 0;
}
