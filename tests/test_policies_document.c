#include "policies/document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

struct parsed {
	struct gd_document document;
	struct gd_findings findings;
	int r;
};

static void parsed_deinit(struct parsed *p)
{
	gd_document_deinit(&p->document);
	gd_findings_deinit(&p->findings);
}
#define PARSED __attribute__((cleanup(parsed_deinit))) struct parsed

static struct parsed parse_bytes(const char *text, size_t len)
{
	struct parsed p = { 0 };
	size_t nodes_left = GD_DOCUMENT_NODES_MAX;
	p.r = gd_document_parse("p.yaml", text, len, &nodes_left, &p.document, &p.findings);
	return p;
}

static struct parsed parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void assert_at(const struct gd_node *node, unsigned line, unsigned column)
{
	assert_non_null(node);
	assert_int_equal(node->line, line);
	assert_int_equal(node->column, column);
}

static void every_key_and_value_knows_its_place(void **state)
{
	(void)state;
	PARSED p = parse("# comment\n"
	                 "rules:\n"
	                 "  - name: a\n"
	                 "    when: { metric: cpu,  above: '95%' }\n"
	                 "\n"
	                 "upload: \"s3://x\"\n");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.findings.n, 0);
	const struct gd_node *rules = gd_node_get(p.document.root, "rules");
	assert_at(p.document.root, 2, 1);
	assert_at(rules, 3, 3);
	assert_int_equal(rules->kind, GD_NODE_LIST);
	assert_int_equal(rules->n, 1);
	assert_at(rules->first, 3, 5);
	const struct gd_node *when = gd_node_get(rules->first, "when");
	assert_at(when, 4, 11);
	assert_int_equal(when->key_line, 4);
	assert_int_equal(when->key_column, 5);
	const struct gd_node *above = gd_node_get(when, "above");
	assert_at(above, 4, 34);
	assert_int_equal(above->key_column, 27);
	assert_string_equal(above->text, "95%");
	assert_false(above->plain);
	assert_true(gd_node_get(when, "metric")->plain);
	assert_at(gd_node_get(p.document.root, "upload"), 6, 9);
	assert_null(gd_node_get(p.document.root, "nothing"));
	assert_null(gd_node_get(above, "text"));
}

static void columns_count_characters(void **state)
{
	(void)state;
	PARSED p = parse("{ \"\xc3\xa4\xe2\x82\xac\": x, b: y }\n");
	assert_int_equal(p.r, 0);
	assert_at(gd_node_get(p.document.root, "b"), 1, 15);
}

static void values_have_no_types(void **state)
{
	(void)state;
	PARSED p = parse("{ a: off, b: 1e3, c: 012, d: 2026-11-20, e: yes, f: \"null\", g: null, h: ~, "
	                 "i: , j: \"\" }");
	static const struct {
		const char *key, *text;
		bool empty;
	} rows[] = {
		{ "a", "off", false },  { "b", "1e3", false },  { "c", "012", false },
		{ "d", "2026-11-20", false }, { "e", "yes", false }, { "f", "null", false },
		{ "g", "null", true },  { "h", "~", true },     { "i", "", true },
		{ "j", "", false },
	};
	assert_int_equal(p.r, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct gd_node *node = gd_node_get(p.document.root, rows[i].key);
		assert_non_null(node);
		assert_string_equal(node->text, rows[i].text);
		assert_int_equal(gd_node_is_empty(node), rows[i].empty);
	}
}

static void nothing_but_comments_is_no_tree_and_no_mistake(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "\n\n", "# a comment\n", "\xef\xbb\xbf" };
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		PARSED p = parse(texts[i]);
		assert_int_equal(p.r, 0);
		assert_int_equal(p.findings.n, 0);
		assert_null(p.document.root);
	}
	PARSED marked = parse("---\n...\n");
	assert_int_equal(marked.r, 0);
	assert_true(gd_node_is_empty(marked.document.root));
}

static void a_byte_order_mark_is_overlooked(void **state)
{
	(void)state;
	PARSED p = parse("\xef\xbb\xbf" "a: b\n");
	assert_int_equal(p.r, 0);
	assert_at(gd_node_get(p.document.root, "a"), 1, 4);
}

/* What the strict subset does not have, where it stands, and whether it ends the reading. */
static void what_yaml_has_and_policies_have_not_is_an_error_at_its_place(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		unsigned line, column;
		const char *says;
		int r;
	} rows[] = {
		{ "a: &x 1\n", 1, 4, "anchor \"&x\"", 0 },
		{ "a: &x\n  b: 1\n", 1, 4, "anchor \"&x\"", 0 },
		{ "a: &x [1]\n", 1, 4, "anchor \"&x\"", 0 },
		{ "a: *x\n", 1, 4, "alias \"*x\"", 0 },
		{ "a: *.service\n", 1, 5, "not YAML", -EINVAL },
		{ "*x : 1\n", 1, 1, "alias \"*x\"", 0 },
		{ "a: !!str 1\n", 1, 4, "tag \"tag:yaml.org,2002:str\"", 0 },
		{ "a: !x {b: 1}\n", 1, 4, "tag \"!x\"", 0 },
		{ "a: !x [1]\n", 1, 4, "tag \"!x\"", 0 },
		{ "a:\n  <<: {b: 1}\n", 2, 3, "merge key", 0 },
		{ "a: 1\nb: 2\na: 3\n", 3, 1, "key \"a\" is given twice, first at 1:1", 0 },
		{ "{a: 1, \"a\": 2}\n", 1, 8, "key \"a\" is given twice, first at 1:2", 0 },
		{ "a: 1\n---\nb: 2\n", 2, 1, "a second document begins", -EINVAL },
		{ "%YAML 1.1\n---\na: 1\n", 1, 1, "%YAML and %TAG lines", 0 },
		{ "%TAG ! tag:x,2026:\n---\na: 1\n", 1, 1, "%YAML and %TAG lines", 0 },
		{ "? [a]\n: b\n", 1, 3, "a key must be a word, not a list", -EINVAL },
		{ "{{a: 1}: b}\n", 1, 2, "a key must be a word, not a map", -EINVAL },
		{ "a: \"x\\0y\"\n", 1, 4, "NUL character", 0 },
		{ "a: b: c\n", 1, 5, "mapping values are not allowed", -EINVAL },
		{ "a:\n\t- b\n", 2, 1, "not with tabs", -EINVAL },
		{ "a: \"x\n", 2, 1, "unexpected end of stream", -EINVAL },
		{ "a: [x\nb: y\n", 2, 2, "did not find expected ',' or ']'", -EINVAL },
		{ "a: b\n  c: d\n", 2, 4, "is the line above complete", -EINVAL },
		{ "- a\nb: c\n", 2, 1, "not YAML", -EINVAL },
		{ "a: @x\n", 1, 4, "needs quotes", -EINVAL },
		{ "ok: 1\nb: x\xff\n", 2, 5, "not UTF-8", -EINVAL },
		{ "\xc3\xa4: 1\nb: \x01\n", 2, 4, "not UTF-8", -EINVAL },
		{ "\xff\xfe" "a", 1, 1, "not UTF-8", -EINVAL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		PARSED p = parse(rows[i].text);
		const struct gd_finding *f = p.findings.list;
		if (p.findings.n != 1 || p.r != rows[i].r || f->line != rows[i].line ||
		    f->column != rows[i].column)
			fail_msg("%s: %d, %zu findings, %u:%u %s", rows[i].text, p.r, p.findings.n,
			         f != NULL ? f->line : 0, f != NULL ? f->column : 0,
			         f != NULL ? f->text : "");
		assert_contains(f->text, rows[i].says);
		assert_string_equal(f->file, "p.yaml");
		assert_int_equal(p.document.root == NULL, rows[i].r < 0);
	}
}

static void what_follows_a_mistake_is_still_read(void **state)
{
	(void)state;
	PARSED p = parse("a: &x 1\nb: *x\nc: !t 2\na: 3\nd: 4\n");
	assert_int_equal(p.r, 0);
	assert_int_equal(p.findings.n_errors, 4);
	assert_string_equal(gd_node_get(p.document.root, "a")->text, "1");
	assert_string_equal(gd_node_get(p.document.root, "d")->text, "4");
	assert_int_equal(p.document.root->n, 4);
}

static char *repeated(const char *unit, size_t n)
{
	size_t len = strlen(unit);
	char *text = malloc(n * len + 1);
	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, unit, len);
	text[n * len] = '\0';
	return text;
}

static void expect_only(const struct parsed *p, const char *says)
{
	assert_int_equal(p->r, -EINVAL);
	assert_null(p->document.root);
	assert_int_equal(p->findings.n, 1);
	assert_contains(p->findings.list[0].text, says);
}

static void depth_has_a_ceiling(void **state)
{
	(void)state;
	char *good = repeated("[", GD_DOCUMENT_DEPTH_MAX);
	char *bad = repeated("[", GD_DOCUMENT_DEPTH_MAX + 1);
	char *worse = repeated("- ", 400000);
	char *closed = repeated("]", GD_DOCUMENT_DEPTH_MAX);
	char text[2 * GD_DOCUMENT_DEPTH_MAX + 1];
	(void)snprintf(text, sizeof(text), "%s%s", good, closed);
	PARSED p = parse(text);
	assert_int_equal(p.r, 0);
	PARSED q = parse(bad);
	expect_only(&q, "nested deeper than 16");
	assert_int_equal(q.findings.list[0].column, GD_DOCUMENT_DEPTH_MAX + 1);
	PARSED w = parse(worse);
	expect_only(&w, "nested deeper than 16");
	free(good);
	free(bad);
	free(worse);
	free(closed);
}

static void nodes_have_a_ceiling_that_documents_share(void **state)
{
	(void)state;
	char *text = repeated("- a\n", 1000);
	size_t nodes_left = 1500;
	PARSED p = { 0 };
	PARSED q = { 0 };
	p.r = gd_document_parse("p.yaml", text, 4000, &nodes_left, &p.document, &p.findings);
	assert_int_equal(p.r, 0);
	assert_int_equal(nodes_left, 499);
	q.r = gd_document_parse("p.yaml", text, 4000, &nodes_left, &q.document, &q.findings);
	expect_only(&q, "more than 65536 keys and values");
	assert_int_equal(q.findings.list[0].line, 499);
	free(text);
}

static void a_map_has_a_ceiling(void **state)
{
	(void)state;
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	for (unsigned i = 0; i < GD_DOCUMENT_KEYS_MAX + 1; i++)
		gd_buf_printf(&text, "k%u: v\n", i);
	PARSED p = parse(gd_buf_str(&text));
	assert_int_equal(p.r, 0);
	assert_int_equal(p.findings.n_errors, 1);
	assert_int_equal(p.findings.list[0].line, GD_DOCUMENT_KEYS_MAX + 1);
	assert_contains(p.findings.list[0].text, "more than 256 keys in one map");
}

static void size_has_a_ceiling(void **state)
{
	(void)state;
	char *text = repeated("# comment......\n", GD_DOCUMENT_BYTES_MAX / 16);
	PARSED p = parse(text);
	assert_int_equal(p.r, 0);
	PARSED q = parse_bytes(text, GD_DOCUMENT_BYTES_MAX + 1);
	expect_only(&q, "larger than 1048576 bytes");
	assert_int_equal(q.findings.list[0].line, 0);
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(every_key_and_value_knows_its_place),
		test_case(columns_count_characters),
		test_case(values_have_no_types),
		test_case(nothing_but_comments_is_no_tree_and_no_mistake),
		test_case(a_byte_order_mark_is_overlooked),
		test_case(what_yaml_has_and_policies_have_not_is_an_error_at_its_place),
		test_case(what_follows_a_mistake_is_still_read),
		test_case(depth_has_a_ceiling),
		test_case(nodes_have_a_ceiling_that_documents_share),
		test_case(a_map_has_a_ceiling),
		test_case(size_has_a_ceiling),
	};
	return test_run(tests);
}
