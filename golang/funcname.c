#include "golang/funcname.h"

#include <string.h>

#include "base/text.h"

/* Longer ones are cut: no compiler makes them. */
enum { NAME_MAX = 16 << 10 };

/*
 * The parts of a name between which "[...]" stands.  In tables of 1.18 to 1.20 it stands there
 * already.  From 1.21 on, all between the first '[' and the last ']' goes; 1.27, whose methods can
 * be generic too, keeps what lies between the type arguments of the receiver and of the method.
 */
struct pieces {
	const char *at[3];
	size_t len[3];
	unsigned n;
};

static void add(struct pieces *p, const char *from, const char *to)
{
	p->at[p->n] = from;
	p->len[p->n++] = (size_t)(to - from);
}

enum brackets {
	ONE_PAIR,  /* "[" ... "]", whatever is nested in it */
	TWO_PAIRS, /* "[" ... "]" middle "[" ... "]" */
	MALFORMED,
};

/* What lies within the first '[' and the last ']', and where its middle is. */
static enum brackets look_inside(const char *from, const char *to, const char **left,
                                 const char **right)
{
	int depth = 1;
	*left = NULL;
	for (const char *c = from; c < to; c++) {
		if (*c == '[' && ++depth == 1) {
			*right = c;
			return TWO_PAIRS;
		}
		if (*c == ']' && --depth == 0)
			*left = c;
		if (depth < 0)
			return MALFORMED;
	}
	return depth == 1 ? ONE_PAIR : MALFORMED;
}

static struct pieces split(int minor, const char *name)
{
	struct pieces p = { .n = 0 };
	const char *end = name + strnlen(name, NAME_MAX);
	size_t n = (size_t)(end - name);
	const char *open = memchr(name, '[', n);
	const char *close = memrchr(name, ']', n);
	const char *left = NULL, *right = NULL;
	enum brackets brackets = MALFORMED;
	if (minor >= 21 && open != NULL && close != NULL && close > open)
		brackets = minor < 27 ? ONE_PAIR : look_inside(open + 1, close, &left, &right);
	if (brackets == MALFORMED) {
		add(&p, name, end);
		return p;
	}
	add(&p, name, open);
	if (brackets == TWO_PAIRS)
		add(&p, left + 1, right);
	add(&p, close + 1, end);
	return p;
}

void gd_funcname_put_raw(int minor, const char *name, struct gd_buf *out)
{
	struct pieces p = split(minor, name);
	for (unsigned i = 0; i < p.n; i++) {
		if (i > 0)
			gd_buf_puts(out, "[...]");
		gd_buf_append(out, p.at[i], p.len[i]);
	}
}

void gd_funcname_put(int minor, const char *name, struct gd_buf *out)
{
	if (strcmp(name, "runtime.gopanic") == 0) {
		gd_buf_puts(out, "panic");
		return;
	}
	struct pieces p = split(minor, name);
	for (unsigned i = 0; i < p.n; i++) {
		if (i > 0)
			gd_buf_puts(out, "[...]");
		gd_text_put_escaped(out, p.at[i], p.len[i]);
	}
}

static bool upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* name without "runtime." */
static bool exported(int minor, const char *name)
{
	if (minor < 23) /* methods were not looked at: "GC" and all that begins like it */
		return upper(name[0]);
	const char *dot = strrchr(name, '.');
	if (dot == NULL)
		return upper(name[0]);
	size_t n = (size_t)(dot - name);
	if (n >= 3 && name[0] == '(' && name[1] == '*' && name[n - 1] == ')') {
		name += 2;
		n -= 3;
	}
	return upper(dot[1]) && (n == 0 || upper(name[0]));
}

bool gd_funcname_shown(int minor, const char *name)
{
	static const char runtime[] = "runtime.";
	if (strchr(name, '.') == NULL)
		return false;
	if (strncmp(name, runtime, sizeof(runtime) - 1) != 0)
		return true;
	name += sizeof(runtime) - 1;
	if (minor >= 25 && (strcmp(name, "runFinalizers") == 0 || strcmp(name, "runCleanups") == 0))
		return true;
	return exported(minor, name);
}

bool gd_funcname_raises_panic(const char *name)
{
	return strcmp(name, "runtime.gopanic") == 0 || strcmp(name, "runtime.sigpanic") == 0 ||
	       strcmp(name, "runtime.panicwrap") == 0;
}
