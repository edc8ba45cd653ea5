/*
 * Lines are "path P", "mod P VERSION SUM", "dep P VERSION SUM", "=> P VERSION SUM" (replaces the
 * module before it) and "build KEY=VALUE", separated by tabs; keys and values with odd characters
 * are quoted as in Go.  Source: runtime/debug/mod.go.
 */
#include "collectors/build.h"

#include <string.h>

#define FIELDS 4

struct text {
	const char *s;
	size_t n;
};

struct line {
	struct text field[FIELDS]; /* absent ones are empty */
};

/* Takes the line at *at apart; false at the end. */
static bool next_line(const char **at, struct line *ret)
{
	const char *s = *at;
	if (*s == '\0')
		return false;
	size_t len = strcspn(s, "\n");
	*at = s + len + (s[len] == '\n');
	*ret = (struct line){ 0 };
	for (unsigned i = 0; i < FIELDS; i++) {
		const char *tab = memchr(s, '\t', len);
		size_t n = tab != NULL && i < FIELDS - 1 ? (size_t)(tab - s) : len;
		ret->field[i] = (struct text){ s, n };
		if (n == len)
			break;
		s += n + 1;
		len -= n + 1;
	}
	return true;
}

static bool is(const struct line *line, const char *word)
{
	return line->field[0].n == strlen(word) &&
	       memcmp(line->field[0].s, word, line->field[0].n) == 0;
}

static void write_text(struct gd_json *json, const char *key, struct text text)
{
	gd_json_bytes(json, key, text.s != NULL ? text.s : "", text.n);
}

/* A module's members; the line after it may be its replacement. */
static void write_module(struct gd_json *json, const char *key, const struct line *line,
                         const char *after)
{
	struct line replacement;
	gd_json_object(json, key);
	write_text(json, "path", line->field[1]);
	write_text(json, "version", line->field[2]);
	if (line->field[3].n > 0)
		write_text(json, "sum", line->field[3]);
	if (next_line(&after, &replacement) && is(&replacement, "=>")) {
		gd_json_object(json, "replaced_by");
		write_text(json, "path", replacement.field[1]);
		write_text(json, "version", replacement.field[2]);
		if (replacement.field[3].n > 0)
			write_text(json, "sum", replacement.field[3]);
		gd_json_object_end(json);
	}
	gd_json_object_end(json);
}

/* A quoted word (strconv.Quote) is shown as it is but for the quotes and simple escapes. */
static struct text unquote(struct text t, char *to, size_t size)
{
	size_t n = 0;
	if (t.n < 2 || (t.s[0] != '"' && t.s[0] != '`') || t.s[t.n - 1] != t.s[0])
		return t;
	for (size_t i = 1; i < t.n - 1 && n < size; i++) {
		char c = t.s[i];
		if (c == '\\' && t.s[0] == '"' && i + 1 < t.n - 1) {
			c = t.s[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
		}
		to[n++] = c;
	}
	return (struct text){ to, n };
}

/* Where KEY ends in KEY=VALUE: the key may be quoted and then hold anything. */
static size_t key_length(struct text t)
{
	size_t i = 0;
	if (t.n > 0 && (t.s[0] == '"' || t.s[0] == '`'))
		for (i = 1; i < t.n && t.s[i] != t.s[0]; i++)
			i += t.s[i] == '\\' && t.s[0] == '"';
	while (i < t.n && t.s[i] != '=')
		i++;
	return i < t.n ? i : t.n;
}

static void write_setting(struct gd_json *json, const struct line *line)
{
	char key[256];
	char value[8192];
	/* A value may hold tabs: the rest of the line belongs to it. */
	const struct text *last = &line->field[1];
	struct text all = line->field[1];
	for (unsigned i = 2; i < FIELDS && line->field[i].s != NULL; i++)
		last = &line->field[i];
	if (all.s == NULL)
		return;
	all.n = (size_t)(last->s + last->n - all.s);
	size_t n = key_length(all);
	struct text k = unquote((struct text){ all.s, n }, key, sizeof(key) - 1);
	struct text v = { all.s + n, 0 };
	if (n < all.n)
		v = unquote((struct text){ all.s + n + 1, all.n - n - 1 }, value, sizeof(value));
	if (k.n > sizeof(key) - 1)
		k.n = sizeof(key) - 1;
	memmove(key, k.s, k.n);
	key[k.n] = '\0';
	write_text(json, key, v);
}

static void write_dependencies(struct gd_json *json, const char *modinfo, bool dependencies)
{
	struct line line;
	uint64_t n = 0;
	if (dependencies)
		gd_json_array(json, "dependencies");
	for (const char *at = modinfo; next_line(&at, &line);) {
		if (!is(&line, "dep"))
			continue;
		n++;
		if (dependencies)
			write_module(json, NULL, &line, at);
	}
	if (dependencies)
		gd_json_array_end(json);
	else
		gd_json_u64(json, "dependencies", n);
}

void gd_build_write(struct gd_json *json, const char *key, const char *modinfo, bool dependencies)
{
	struct line line;
	gd_json_object(json, key);
	for (const char *at = modinfo; next_line(&at, &line);) {
		if (is(&line, "path"))
			write_text(json, "path", line.field[1]);
		else if (is(&line, "mod"))
			write_module(json, "main", &line, at);
	}
	write_dependencies(json, modinfo, dependencies);
	gd_json_object(json, "settings");
	for (const char *at = modinfo; next_line(&at, &line);)
		if (is(&line, "build"))
			write_setting(json, &line);
	gd_json_object_end(json);
	gd_json_object_end(json);
}
