#include "tests/stacks_compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { SHOWN = 8, EXCEPTIONS_MAX = 32 };

struct comparison {
	const struct stacks_exception *exceptions;
	size_t used[EXCEPTIONS_MAX];
	struct stacks_report *report;
};

static bool is_excused(struct comparison *c, enum stacks_excuse excuse, const struct stack *a,
                       const struct stack *b, const struct stacks_exception **ret)
{
	for (size_t i = 0; c->exceptions[i].name != NULL; i++) {
		const struct stacks_exception *e = &c->exceptions[i];
		if (e->excuse != excuse || (strstr(a->text, e->holds) == NULL &&
		                            (b == NULL || strstr(b->text, e->holds) == NULL)))
			continue;
		c->used[i]++;
		if (ret != NULL)
			*ret = e;
		return true;
	}
	return false;
}

static void print_stack(const char *where, const struct stack *s)
{
	/* A message has room for about a thousand characters, a deep stack is longer. */
	print_message("# only %s: %.300s\n", where, s->text);
}

/* The lines in which two stacks differ, as far as both go. */
static void print_pair(const struct stack *a, const struct stack *b)
{
	const char *x = a->text;
	const char *y = b->text;
	print_message("# %.*s\n", (int)strcspn(x, "\n"), x);
	for (unsigned shown = 0; *x != '\0' && *y != '\0' && shown < 4;) {
		size_t n = strcspn(x, "\n");
		size_t m = strcspn(y, "\n");
		if (n != m || memcmp(x, y, n) != 0) {
			print_message("#   there %.*s\n", (int)(n < 400 ? n : 400), x);
			print_message("#   here  %.*s\n", (int)(m < 400 ? m : 400), y);
			shown++;
		}
		x += n + (x[n] == '\n');
		y += m + (y[m] == '\n');
	}
	if ((*x == '\0') != (*y == '\0'))
		print_message("#   %s goes on: %.200s\n", *x == '\0' ? "here" : "there",
		              *x == '\0' ? y : x);
}

static void show(struct comparison *c, const char *what, const struct stack *a,
                 const struct stack *b)
{
	if (c->report->different++ >= SHOWN)
		return;
	print_message("# %s:\n", what);
	if (a != NULL && b != NULL)
		print_pair(a, b);
	else if (a != NULL)
		print_stack("there", a);
	else if (b != NULL)
		print_stack("here", b);
}

/*
 * The functions from the line that starts with `from` outwards, one a line, without the wrappers
 * that `go f(x)` makes: whether those show depends on what they called.
 */
static void outer_functions(const char *text, const char *from, char *to, size_t size)
{
	size_t n = 0;
	for (const char *at = strstr(text, from); at != NULL && *at != '\0';) {
		size_t line = strcspn(at, "\n");
		size_t len = strcspn(at, "(\n");
		/* "(*Server).Serve(...)": the receiver is part of the name */
		while (len > 0 && at[len - 1] == '.' && at[len] == '(' && at[len + 1] == '*')
			len += 1 + strcspn(at + len + 1, "(\n");
		bool wrapper = memmem(at, line, ".gowrap", 7) != NULL ||
		               memmem(at, line, "main.setBusy.func", 17) != NULL;
		if (at[0] != '\t' && !wrapper && n + len + 2 < size) {
			memcpy(to + n, at, len);
			n += len;
			to[n++] = '\n';
		}
		at += line + (at[line] == '\n');
	}
	to[n] = '\0';
}

/*
 * Of a goroutine that ran when we looked, the innermost function leaves no trace on the stack: if
 * it is not in ours, what created the goroutine must be the same at least.
 */
static bool moves_alike(const struct stack *a, const struct stack *b,
                        const struct stacks_exception *e)
{
	char x[4096];
	char y[4096];
	bool searched = strstr(b->text, " [running") != NULL && strstr(b->text, e->holds) == NULL;
	const char *from = searched ? "created by " : e->holds;
	outer_functions(a->text, from, x, sizeof(x));
	outer_functions(b->text, from, y, sizeof(y));
	return x[0] != '\0' && strcmp(x, y) == 0;
}

static void compare_pair(struct comparison *c, struct stack *a, struct stack *b)
{
	const struct stacks_exception *e = NULL;
	if (strcmp(a->text, b->text) == 0) {
		c->report->equal++;
		return;
	}
	if (is_excused(c, STACKS_MOVING, a, b, &e)) {
		if (moves_alike(a, b, e))
			c->report->excused++;
		else
			show(c, "moving, and its outer frames differ", a, b);
		return;
	}
	unsigned theirs = stack_cut_minutes(a);
	unsigned ours = stack_cut_minutes(b);
	if (theirs != ours && theirs != ours + 1 && ours != theirs + 1) {
		print_message("# %u minutes there, %u here\n", theirs, ours);
		show(c, "wait times differ", a, b);
	} else if (strcmp(a->text, b->text) == 0) {
		c->report->one_minute_off++;
	} else {
		show(c, "differs", a, b);
	}
}

/* Who is printed first there is who asked, or whom the signal met; all others come in one order. */
static void compare_order(struct comparison *c, struct stacks *theirs, const struct stacks *ours)
{
	uint64_t first = theirs->n > 0 ? theirs->list[0].goid : 0;
	size_t at = 0;
	for (size_t i = 1; i < theirs->n; i++) {
		if (!theirs->list[i].met)
			continue;
		while (at < ours->n && (!ours->list[at].met || ours->list[at].goid == first))
			at++;
		if (at < ours->n && ours->list[at].goid != theirs->list[i].goid) {
			print_message("# goroutine %" PRIu64 " there where %" PRIu64 " is here\n",
			              theirs->list[i].goid, ours->list[at].goid);
			show(c, "the order differs", NULL, NULL);
			return;
		}
		at++;
	}
}

void stacks_compare(struct stacks *theirs, struct stacks *ours,
                    const struct stacks_exception *exceptions, struct stacks_report *ret)
{
	struct comparison c = { .exceptions = exceptions, .report = ret };
	*ret = (struct stacks_report){ 0 };
	for (size_t i = 0; i < theirs->n; i++) {
		struct stack *a = &theirs->list[i];
		struct stack *b = stacks_find(ours, a->goid);
		if (b != NULL) {
			a->met = b->met = true;
			compare_pair(&c, a, b);
		} else if (is_excused(&c, STACKS_ONLY_THERE, a, NULL, NULL)) {
			ret->excused++;
		} else {
			show(&c, "only there", a, NULL);
		}
	}
	for (size_t i = 0; i < ours->n; i++) {
		struct stack *b = &ours->list[i];
		if (b->met)
			continue;
		if (is_excused(&c, STACKS_ONLY_HERE, b, NULL, NULL))
			ret->excused++;
		else
			show(&c, "only here", NULL, b);
	}
	compare_order(&c, theirs, ours);
	for (size_t i = 0; exceptions[i].name != NULL; i++)
		if (c.used[i] > 0)
			print_message("# excused %zu: %s (%s)\n", c.used[i], exceptions[i].name,
			              exceptions[i].why);
}
