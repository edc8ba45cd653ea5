#include "target/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* One line of the file while it is taken apart: what is left of it, and whether it made sense. */
struct line {
	const char *p, *end;
	bool bad;
};

static uint64_t take_number(struct line *line, unsigned base)
{
	uint64_t value = 0;
	const char *from = line->p;
	for (; line->p < line->end; line->p++) {
		char c = *line->p;
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			line->bad = true;
	}
	if (line->p == from)
		line->bad = true;
	return value;
}

static void take_char(struct line *line, char c)
{
	if (line->p < line->end && *line->p == c)
		line->p++;
	else
		line->bad = true;
}

/* One permission letter: `set`, or one of the others; false for anything but `set`. */
static bool take_flag(struct line *line, char set, char unset)
{
	bool is_set = line->p < line->end && *line->p == set;
	if (line->p < line->end && (is_set || *line->p == unset))
		line->p++;
	else
		line->bad = true;
	return is_set;
}

/*
 * Copies the path to `to` and returns its end there.  seq_path escapes the newline and nothing else
 * (not even the backslash), so exactly that one is undone.
 */
static char *unescape_path(char *to, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (n - i >= 4 && memcmp(s + i, "\\012", 4) == 0) {
			*to++ = '\n';
			i += 3;
		} else {
			*to++ = s[i];
		}
	}
	*to = '\0';
	return to;
}

static void take_path(struct line *line, struct gd_map *map, char **paths)
{
	static const char deleted[] = " (deleted)";
	size_t suffix = sizeof(deleted) - 1;
	while (line->p < line->end && *line->p == ' ')
		line->p++;
	size_t n = (size_t)(line->end - line->p);
	if (n > suffix && memcmp(line->end - suffix, deleted, suffix) == 0) {
		map->deleted = true;
		n -= suffix;
	}
	map->path = *paths;
	*paths = unescape_path(*paths, line->p, n) + 1;
}

static bool parse_line(struct line *line, struct gd_map *map, char **paths)
{
	map->start = take_number(line, 16);
	take_char(line, '-');
	map->end = take_number(line, 16);
	take_char(line, ' ');
	map->read = take_flag(line, 'r', '-');
	map->write = take_flag(line, 'w', '-');
	map->exec = take_flag(line, 'x', '-');
	map->shared = take_flag(line, 's', 'p');
	take_char(line, ' ');
	map->offset = take_number(line, 16);
	take_char(line, ' ');
	map->dev_major = (uint32_t)take_number(line, 16);
	take_char(line, ':');
	map->dev_minor = (uint32_t)take_number(line, 16);
	take_char(line, ' ');
	map->inode = take_number(line, 10);
	if (line->bad || map->start >= map->end)
		return false;
	take_path(line, map, paths);
	return true;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t n = 0;
	const char *end = text + len;
	for (const char *p = text; p < end; n++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		p = newline != NULL ? newline + 1 : end;
	}
	return n;
}

/*
 * The kernel lists a mapping, lets go of the lock and goes on at its end, with the mapping that lies
 * there by then.  One that grew meanwhile (a Go heap does) has swallowed what was listed already, so
 * it counts from there on.  What ends there too cannot come next.
 */
static bool follows(struct gd_map *map, uint64_t listed_until)
{
	if (map->end <= listed_until)
		return false;
	if (map->start < listed_until) {
		if (map->inode != 0)
			map->offset += listed_until - map->start;
		map->start = listed_until;
	}
	return true;
}

int gd_maps_parse(const char *text, size_t len, struct gd_maps *ret, struct gd_error *err)
{
	size_t n = len > 0 ? count_lines(text, len) : 0;
	if (n > GD_MAPS_MAX)
		return gd_fail(err, -E2BIG, "maps: more than %d mappings", GD_MAPS_MAX);
	if (n == 0) {
		*ret = (struct gd_maps){ 0 };
		return 0;
	}
	GD_FREE struct gd_map *list = calloc(n, sizeof(*list));
	/* A path is never longer than its line; the last line may lack the newline its NUL takes. */
	GD_FREE char *paths = malloc(len + 1);
	if (list == NULL || paths == NULL)
		return gd_fail_errno(err, -ENOMEM, "maps of %zu lines", n);

	char *next_path = paths;
	const char *p = text;
	for (size_t i = 0; i < n; i++) {
		const char *newline = memchr(p, '\n', (size_t)(text + len - p));
		struct line line = { .p = p, .end = newline != NULL ? newline : text + len };
		if (!parse_line(&line, &list[i], &next_path))
			return gd_fail(err, -EBADMSG, "maps: line %zu makes no sense", i + 1);
		if (i > 0 && !follows(&list[i], list[i - 1].end))
			return gd_fail(err, -EBADMSG, "maps: line %zu lies before the one before",
			               i + 1);
		p = newline != NULL ? newline + 1 : text + len;
	}
	*ret = (struct gd_maps){
		.list = gd_steal_ptr(&list),
		.n = n,
		.paths = gd_steal_ptr(&paths),
	};
	return 0;
}

void gd_maps_deinit(struct gd_maps *maps)
{
	free(maps->list);
	free(maps->paths);
	*maps = (struct gd_maps){ 0 };
}

const struct gd_map *gd_maps_find(const struct gd_maps *maps, uint64_t addr)
{
	size_t low = 0;
	size_t high = maps->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct gd_map *map = &maps->list[mid];
		if (addr < map->start)
			high = mid;
		else if (addr >= map->end)
			low = mid + 1;
		else
			return map;
	}
	return NULL;
}
