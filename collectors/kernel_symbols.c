#include "collectors/kernel_symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "collectors/known.h"

#define PIECE (64 << 10)
#define NAMES_MAX (1u << 16)
/* No function is longer; what lies farther behind one (code made at run time, modules of a list without them) is not its. */
#define FUNCTION_MAX (64u << 10)

static int by_pc(const void *a, const void *b)
{
	const struct gd_kernel_symbol *x = a;
	const struct gd_kernel_symbol *y = b;
	return x->pc < y->pc ? -1 : x->pc > y->pc;
}

int gd_kernel_symbols_begin(struct gd_kernel_symbols_reader *r, struct gd_kernel_symbol *symbols,
                            size_t n, struct gd_error *err)
{
	*r = (struct gd_kernel_symbols_reader){ .symbols = symbols, .n = n,
		                                  .sorted = true };
	r->starts = calloc(n > 0 ? n : 1, sizeof(*r->starts));
	if (r->starts == NULL)
		return gd_fail_errno(err, -ENOMEM, "kernel symbols");
	if (n > 0)
		qsort(symbols, n, sizeof(*symbols), by_pc);
	for (size_t i = 0; i < n; i++)
		symbols[i].name[0] = '\0';
	return 0;
}

/* The first of the sorted ones at or above `addr`. */
static size_t lower_bound(const struct gd_kernel_symbols_reader *r, uint64_t addr)
{
	size_t low = 0;
	size_t high = r->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r->symbols[middle].pc < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * A symbol holds all that lies between it and the next one, within reason.  Modules come in no order, so each line may
 * be nearer than what was found before: it takes the ones above it until one that has a nearer symbol.
 */
static void take_symbol(struct gd_kernel_symbols_reader *r, uint64_t addr, const char *name,
                        const char *module)
{
	for (size_t i = lower_bound(r, addr);
	     i < r->n && r->starts[i] < addr && r->symbols[i].pc - addr < FUNCTION_MAX; i++) {
		r->starts[i] = addr;
		(void)snprintf(r->symbols[i].name, sizeof(r->symbols[i].name), "%s%s%s", module,
		               module[0] != '\0' ? " " : "", name);
	}
}

/* "ffffffff81000000 T _text[\t[module]]" */
static void take_line(struct gd_kernel_symbols_reader *r)
{
	char *at = r->line;
	uint64_t addr;
	const char *end;
	at[r->line_len] = '\0';
	if (!gd_text_u64(at, &end, 16, &addr) || end[0] != ' ' || end[1] == '\0' || end[2] != ' ')
		return;
	if (addr == 0)
		return;
	r->any_address = true;
	r->sorted = r->sorted && addr >= r->last;
	r->last = addr;
	if (r->sorted && r->n > 0 && addr > r->symbols[r->n - 1].pc) {
		r->done = true;
		return;
	}
	if (strchr("tTwW", end[1]) == NULL)
		return;
	char *name = at + (end - at) + 3;
	char *tab = strchr(name, '\t');
	const char *module = "";
	if (tab != NULL) {
		*tab = '\0';
		module = tab + 1;
	}
	take_symbol(r, addr, name, module);
}

void gd_kernel_symbols_text(struct gd_kernel_symbols_reader *r, const char *text, size_t len)
{
	while (len > 0 && !r->done) {
		const char *newline = memchr(text, '\n', len);
		size_t n = newline != NULL ? (size_t)(newline - text) : len;
		if (r->line_len + n >= sizeof(r->line))
			r->skipping = true;
		if (!r->skipping) {
			memcpy(r->line + r->line_len, text, n);
			r->line_len += n;
		}
		if (newline == NULL)
			return;
		if (!r->skipping)
			take_line(r);
		r->skipping = false;
		r->line_len = 0;
		text += n + 1;
		len -= n + 1;
	}
}

int gd_kernel_symbols_end(struct gd_kernel_symbols_reader *r, struct gd_error *err)
{
	free(r->starts);
	r->starts = NULL;
	return r->any_address ? 0 : gd_fail(err, -ENOTSUP, "the kernel hides its addresses "
	                                    "(kernel.kptr_restrict, CAP_SYSLOG)");
}

int gd_kernel_symbols_name(int kallsyms_fd, struct gd_kernel_symbol *symbols, size_t n,
                           struct gd_error *err)
{
	GD_FREE char *piece = malloc(PIECE);
	struct gd_kernel_symbols_reader reader;
	if (piece == NULL)
		return gd_fail_errno(err, -ENOMEM, "kernel symbols");
	int r = gd_kernel_symbols_begin(&reader, symbols, n, err);
	if (r < 0)
		return r;
	ssize_t got;
	do {
		got = read(kallsyms_fd, piece, PIECE);
		if (got > 0)
			gd_kernel_symbols_text(&reader, piece, (size_t)got);
	} while ((got > 0 && !reader.done) || (got < 0 && errno == EINTR));
	return gd_kernel_symbols_end(&reader, err);
}

/* ---- many at once ---------------------------------------------------------------------------- */

struct gd_kernel_names {
	struct gd_known *wanted;
	struct gd_kernel_symbol *list; /* by pc */
	size_t n;
};

int gd_kernel_names_create(struct gd_kernel_names **ret, struct gd_error *err)
{
	struct gd_kernel_names *names = calloc(1, sizeof(*names));
	if (names == NULL)
		return gd_fail_errno(err, -ENOMEM, "kernel symbols");
	int r = gd_known_create(NAMES_MAX, NAMES_MAX * sizeof(uint64_t), &names->wanted, err);
	if (r < 0) {
		free(names);
		return r;
	}
	*ret = names;
	return 0;
}

void gd_kernel_names_destroy(struct gd_kernel_names *names)
{
	if (names == NULL)
		return;
	gd_known_destroy(names->wanted);
	free(names->list);
	free(names);
}

bool gd_kernel_names_want(struct gd_kernel_names *names, uint64_t pc)
{
	if (gd_known_find(names->wanted, &pc, sizeof(pc)) != NULL)
		return true;
	return !gd_known_full(names->wanted, sizeof(pc)) &&
	       gd_known_slot(names->wanted, &pc, sizeof(pc)) != NULL;
}

int gd_kernel_names_read(struct gd_kernel_names *names, int kallsyms_fd, struct gd_error *err)
{
	const void *key;
	size_t cursor = 0, len, n = 0;
	uint64_t value;
	while (gd_known_next(names->wanted, &cursor, &key, &len, &value))
		n++;
	if (n == 0)
		return 0;
	if (kallsyms_fd < 0)
		return gd_fail(err, -EACCES, "/proc/kallsyms could not be opened");
	struct gd_kernel_symbol *list = calloc(n, sizeof(*list));
	if (list == NULL)
		return gd_fail_errno(err, -ENOMEM, "kernel symbols");
	cursor = 0;
	for (size_t i = 0; gd_known_next(names->wanted, &cursor, &key, &len, &value); i++)
		memcpy(&list[i].pc, key, sizeof(list[i].pc));
	int r = gd_kernel_symbols_name(kallsyms_fd, list, n, err);
	if (r < 0) {
		free(list);
		return r;
	}
	free(names->list);
	names->list = list;
	names->n = n;
	return 0;
}

const char *gd_kernel_names_find(const struct gd_kernel_names *names, uint64_t pc)
{
	const struct gd_kernel_symbol wanted = { .pc = pc };
	const struct gd_kernel_symbol *found =
		names->n > 0 ? bsearch(&wanted, names->list, names->n, sizeof(wanted), by_pc) : NULL;
	return found != NULL && found->name[0] != '\0' ? found->name : NULL;
}
