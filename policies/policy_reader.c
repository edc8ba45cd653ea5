#include "policies/policy_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policies/nearest.h"

static void add(struct gd_policy_reader *reader, enum gd_severity severity, unsigned line,
                unsigned column, const char *fmt, va_list args)
	__attribute__((format(printf, 5, 0)));

static void add(struct gd_policy_reader *reader, enum gd_severity severity, unsigned line,
                unsigned column, const char *fmt, va_list args)
{
	char text[sizeof(((struct gd_finding *)0)->text)];
	(void)vsnprintf(text, sizeof(text), fmt, args);
	gd_findings_add(reader->findings, severity, reader->file, line, column, "%s", text);
}

void gd_policy_reader_error(struct gd_policy_reader *reader, const struct gd_node *at,
                            const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(reader, GD_SEVERITY_ERROR, at->line, at->column, fmt, args);
	va_end(args);
}

void gd_policy_reader_error_at_key(struct gd_policy_reader *reader, const struct gd_node *at,
                                   const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(reader, GD_SEVERITY_ERROR, at->key_line, at->key_column, fmt, args);
	va_end(args);
}

void gd_policy_reader_warn(struct gd_policy_reader *reader, const struct gd_node *at,
                           const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(reader, GD_SEVERITY_WARNING, at->line, at->column, fmt, args);
	va_end(args);
}

/* The words of a small table, as "name, match or scrape". */
static void list_keys(const struct gd_policy_key *keys, char *to, size_t size)
{
	size_t len = 0;
	to[0] = '\0';
	for (const struct gd_policy_key *k = keys; k->name != NULL && len < size; k++) {
		const char *between = k == keys ? "" : k[1].name != NULL ? ", " : " or ";
		int n = snprintf(to + len, size - len, "%s%s", between, k->name);
		len += n > 0 ? (size_t)n : 0;
	}
}

static void unknown_key(struct gd_policy_reader *reader, const struct gd_node *node,
                        const char *what, const struct gd_policy_key *keys)
{
	char hint[GD_NEAREST_HINT];
	char all[200];
	struct gd_nearest nearest = GD_NEAREST(node->key);
	for (const struct gd_policy_key *k = keys; k->name != NULL; k++)
		gd_nearest_offer(&nearest, k->name);
	if (nearest.best != NULL) {
		gd_policy_reader_error_at_key(reader, node, "unknown key \"%.60s\" in %s%s",
		                              node->key, what, gd_nearest_hint(hint, &nearest));
		return;
	}
	list_keys(keys, all, sizeof(all));
	gd_policy_reader_error_at_key(reader, node, "unknown key \"%.60s\" in %s; keys are %s",
	                              node->key, what, all);
}

bool gd_policy_reader_map(struct gd_policy_reader *reader, const struct gd_node *node,
                          const char *what, const struct gd_policy_key *keys, void *to)
{
	if (node->kind != GD_NODE_MAP) {
		char all[200];
		list_keys(keys, all, sizeof(all));
		gd_policy_reader_error(reader, node, "%s is written as a map, not as %s; keys are %s",
		                       what, gd_node_kind_name(node), all);
		return false;
	}
	bool whole = true;
	for (const struct gd_node *child = node->first; child != NULL; child = child->next) {
		const struct gd_policy_key *k = keys;
		while (k->name != NULL && strcmp(k->name, child->key) != 0)
			k++;
		whole &= k->name != NULL && !gd_node_is_empty(child);
		if (k->name == NULL)
			unknown_key(reader, child, what, keys);
		else if (gd_node_is_empty(child))
			gd_policy_reader_error_at_key(reader, child, "\"%s\" has no value",
			                              child->key);
		else if (k->read != NULL)
			k->read(reader, child, (char *)to + k->offset);
	}
	return whole;
}

const char *gd_policy_reader_text(struct gd_policy_reader *reader, const struct gd_node *node,
                                  const char *what)
{
	if (node->kind != GD_NODE_TEXT) {
		gd_policy_reader_error(reader, node, "%s%sexpected %s, found %s",
		                       node->key != NULL ? node->key : "",
		                       node->key != NULL ? ": " : "", what,
		                       gd_node_kind_name(node));
		return NULL;
	}
	return node->text;
}
