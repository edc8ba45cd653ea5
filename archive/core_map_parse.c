/*
 * A core map that somebody else may have written.  One line at a time through jansson, so that a
 * map of a 64 GiB heap is never a tree in memory.  Keys in any order, unknown ones and unknown
 * kinds of lines ignored; what is there must make sense.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "archive/core_map.h"
#include "archive/pack.h"

#define PAGE 4096u
#define LINE_MAX_BYTES ((size_t)64 * 1024) /* a path of 4,096 escaped characters has 24 KiB */

static const char *const missing_names[] = { "zero", "file", "lost" };

struct parse {
	struct gd_core_map map;
	size_t cap_areas, cap_chunks, texts_used;
	const json_t *from; /* the line at hand */
	bool has_head;
};

static const char *text_of(const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));
	return text != NULL ? text : "";
}

/* Exactly `digits` hex digits (0: up to 16, and all of the text). */
static bool read_hex(const char *text, size_t digits, uint64_t *ret)
{
	uint64_t value = 0;
	size_t n = 0;
	for (; digits == 0 || n < digits; n++) {
		char c = text[n];
		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	if (digits != 0 ? n != digits : n == 0 || n > 16 || text[n] != '\0')
		return false;
	*ret = value;
	return true;
}

static bool address(const struct parse *p, const char *key, uint64_t *ret)
{
	const char *text = text_of(p->from, key);
	return text[0] == '0' && text[1] == 'x' && read_hex(text + 2, 0, ret);
}

/* A number, or one in hex; none is 0. */
static bool number(const struct parse *p, const char *key, uint64_t *ret)
{
	const json_t *value = json_object_get(p->from, key);
	if (json_is_string(value))
		return address(p, key, ret);
	json_int_t n = json_integer_value(value);
	*ret = (uint64_t)n;
	return n >= 0;
}

/* Like every text of ours it ends before the array does. */
static bool copy(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);
	if (n >= size)
		return false;
	memcpy(to, from, n + 1);
	return true;
}

/* `texts` is as large as all lines together, and no text is longer than it was in its quotes. */
static const char *keep(struct parse *p, const char *text)
{
	char *to = p->map.texts + p->texts_used;
	size_t n = strlen(text) + 1;
	memcpy(to, text, n);
	p->texts_used += n;
	return to;
}

static int grow(void **list, size_t n, size_t *cap, size_t size, struct gd_error *err)
{
	if (n < *cap)
		return 0;
	size_t more = *cap > 0 ? 2 * *cap : 256;
	void *larger = reallocarray(*list, more, size);
	if (larger == NULL)
		return gd_fail_errno(err, -ENOMEM, "core map");
	*list = larger;
	*cap = more;
	return 0;
}

static const char *take_head(struct parse *p)
{
	struct gd_core_head *head = &p->map.head;
	if (p->has_head)
		return "a second head";
	if (json_integer_value(json_object_get(p->from, "version")) != 1)
		return "a version we do not know";
	uint64_t page;
	uint64_t chunk;
	if (!number(p, "page", &page) || page != PAGE || !number(p, "chunk", &chunk) ||
	    chunk != GD_PACK_CHUNK)
		return "pages or chunks of another size";
	head->pid = json_integer_value(json_object_get(p->from, "pid"));
	head->pause_ns = json_integer_value(json_object_get(p->from, "pause_ns"));
	head->instant_ns = json_integer_value(json_object_get(p->from, "instant_ns"));
	if (!copy(head->scope, sizeof(head->scope), text_of(p->from, "scope")) ||
	    !copy(head->method, sizeof(head->method), text_of(p->from, "method")) ||
	    !number(p, "threads", &head->threads))
		return "a head that makes no sense";
	const json_t *base = json_object_get(p->from, "base");
	head->has_base = json_is_object(base);
	if (head->has_base && (!gd_layout_digest_ok(text_of(base, "digest")) ||
	                       !copy(head->base_digest, sizeof(head->base_digest),
	                             text_of(base, "digest")) ||
	                       !copy(head->base_id, sizeof(head->base_id), text_of(base, "id"))))
		return "a base that makes no sense";
	p->has_head = true;
	return NULL;
}

static bool take_prot(const char *prot, struct gd_core_area *area)
{
	if (strlen(prot) != 4)
		return false;
	area->read = prot[0] == 'r';
	area->write = prot[1] == 'w';
	area->exec = prot[2] == 'x';
	area->shared = prot[3] == 's';
	return true;
}

static bool take_device(const char *dev, struct gd_core_area *area)
{
	char *end;
	unsigned long major = strtoul(dev, &end, 10);
	if (end == dev || *end != ':' || major > UINT32_MAX)
		return false;
	const char *second = end + 1;
	unsigned long minor = strtoul(second, &end, 10);
	area->dev_major = (uint32_t)major;
	area->dev_minor = (uint32_t)minor;
	return end != second && *end == '\0' && minor <= UINT32_MAX;
}

static bool take_missing(const char *missing, struct gd_core_area *area)
{
	for (size_t i = 0; i < sizeof(missing_names) / sizeof(missing_names[0]); i++) {
		if (strcmp(missing, missing_names[i]) == 0) {
			area->missing = (enum gd_core_missing)i;
			return true;
		}
	}
	return false;
}

static const char *take_area(struct parse *p)
{
	struct gd_core_area *area = &p->map.areas[p->map.n_areas];
	*area = (struct gd_core_area){ 0 };
	if (!address(p, "start", &area->start) || !address(p, "end", &area->end) ||
	    area->start % PAGE != 0 || area->end % PAGE != 0 || area->start >= area->end)
		return "a mapping without a range of pages";
	if (p->map.n_areas > 0 && area->start < area[-1].end)
		return "a mapping below the one before it";
	if (!take_prot(text_of(p->from, "prot"), area) ||
	    !take_device(text_of(p->from, "dev"), area) ||
	    !take_missing(text_of(p->from, "missing"), area) ||
	    !number(p, "offset", &area->offset) || !number(p, "inode", &area->inode))
		return "a mapping that makes no sense";
	area->deleted = json_is_true(json_object_get(p->from, "deleted"));
	area->path = keep(p, text_of(p->from, "path"));
	area->why = keep(p, text_of(p->from, "why"));
	p->map.n_areas++;
	return NULL;
}

static bool take_pages(const json_t *value, uint64_t pages[4])
{
	if (value == NULL) {
		memset(pages, 0xff, 4 * sizeof(*pages));
		return true;
	}
	const char *text = json_string_value(value);
	if (text == NULL || strlen(text) != 64)
		return false;
	for (size_t i = 0; i < 4; i++)
		if (!read_hex(text + 16 * i, 16, &pages[i]))
			return false;
	return (pages[0] | pages[1] | pages[2] | pages[3]) != 0;
}

static bool take_digest(const char *text, char digest[GD_LAYOUT_DIGEST])
{
	return gd_layout_digest_ok(text) && copy(digest, GD_LAYOUT_DIGEST, text);
}

static const char *take_chunk(struct parse *p)
{
	struct gd_core_chunk *chunk = &p->map.chunks[p->map.n_chunks];
	uint64_t end;
	*chunk = (struct gd_core_chunk){ 0 };
	if (!address(p, "addr", &chunk->addr) || chunk->addr % GD_PACK_CHUNK != 0)
		return "a chunk without its address";
	if (p->map.n_chunks > 0 && chunk->addr <= chunk[-1].addr)
		return "a chunk below the one before it";
	if (!take_pages(json_object_get(p->from, "pages"), chunk->pages))
		return "a chunk without pages";
	if (!take_digest(text_of(p->from, "pack"), chunk->pack))
		return "a chunk without its pack";
	if (!number(p, "offset", &chunk->offset) || !number(p, "stored", &chunk->stored_bytes) ||
	    chunk->stored_bytes == 0 || chunk->stored_bytes > GD_PACK_FRAME_MAX ||
	    __builtin_add_overflow(chunk->offset, chunk->stored_bytes, &end))
		return "a chunk without its frame";
	chunk->in_base = json_is_true(json_object_get(p->from, "base"));
	const json_t *prefix = json_object_get(p->from, "prefix");
	if (prefix != NULL && !json_is_boolean(prefix))
		return "a chunk whose prefix is neither true nor false";
	chunk->prefix = json_is_true(prefix);
	if ((chunk->in_base || chunk->prefix) && !p->map.head.has_base)
		return "a chunk that needs a base nobody named";
	/* The base is a full capture: what lies there needs nothing else. */
	if (chunk->in_base && chunk->prefix)
		return "a chunk of the base with a prefix";
	p->map.n_chunks++;
	return NULL;
}

static int take_line(struct parse *p, size_t line, struct gd_error *err)
{
	const char *kind = text_of(p->from, "kind");
	const char *why = NULL;
	void *list;
	int r = 0;
	if (!p->has_head && strcmp(kind, "core") != 0) {
		why = "the head is missing";
	} else if (strcmp(kind, "core") == 0) {
		why = take_head(p);
	} else if (strcmp(kind, "map") == 0) {
		list = p->map.areas;
		r = grow(&list, p->map.n_areas, &p->cap_areas, sizeof(*p->map.areas), err);
		p->map.areas = list;
		why = r == 0 && list != NULL ? take_area(p) : NULL;
	} else if (strcmp(kind, "chunk") == 0) {
		list = p->map.chunks;
		r = grow(&list, p->map.n_chunks, &p->cap_chunks, sizeof(*p->map.chunks), err);
		p->map.chunks = list;
		why = r == 0 && list != NULL ? take_chunk(p) : NULL;
	}
	return why != NULL ? gd_fail(err, -EBADMSG, "core map: line %zu: %s", line, why) : r;
}

static int parse(struct parse *p, const char *text, size_t len, struct gd_error *err)
{
	size_t line = 0;
	int r = 0;
	for (size_t at = 0; r == 0 && at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t n = end != NULL ? (size_t)(end - (text + at)) : len - at;
		line++;
		if (n > LINE_MAX_BYTES)
			return gd_fail(err, -E2BIG, "core map: line %zu: too long", line);
		json_error_t why;
		json_t *json = json_loadb(text + at, n, JSON_REJECT_DUPLICATES, &why);
		if (!json_is_object(json))
			r = gd_fail(err, -EBADMSG, "core map: line %zu: %s", line,
			            json == NULL ? why.text : "not an object");
		p->from = json;
		if (r == 0)
			r = take_line(p, line, err);
		json_decref(json);
		at += n + 1;
	}
	if (r == 0 && !p->has_head)
		r = gd_fail(err, -EBADMSG, "core map: empty");
	return r;
}

int gd_core_map_parse(const char *text, size_t len, struct gd_core_map *ret, struct gd_error *err)
{
	struct parse p = { 0 };
	if (len > GD_CORE_MAP_MAX)
		return gd_fail(err, -E2BIG, "core map: larger than %" PRIu64 " bytes",
		               GD_CORE_MAP_MAX);
	/* What is not used of it is never touched and costs nothing. */
	p.map.texts = malloc(len + 4);
	if (p.map.texts == NULL)
		return gd_fail_errno(err, -ENOMEM, "core map");
	int r = parse(&p, text, len, err);
	if (r < 0) {
		gd_core_map_deinit(&p.map);
		return r;
	}
	*ret = p.map;
	return 0;
}
