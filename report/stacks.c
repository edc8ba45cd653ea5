#include "report/stacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t *slot_of(const struct gd_stacks *s, uint64_t hash)
{
	uint32_t at = (uint32_t)hash & (2 * s->cap - 1);
	while (s->table[at] != 0 && s->list[s->table[at]].hash != hash)
		at = (at + 1) & (2 * s->cap - 1);
	return &s->table[at];
}

/* Twice the room, up to the ceiling; the table is built anew. */
static int grow(struct gd_stacks *s)
{
	uint32_t cap = s->cap > 0 ? 2 * s->cap : 256;
	if (cap > GD_STACKS_MAX)
		return -E2BIG;
	struct gd_stack *list = realloc(s->list, cap * sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	s->list = list;
	uint32_t *table = calloc(2 * (size_t)cap, sizeof(*table));
	if (table == NULL)
		return -ENOMEM;
	free(s->table);
	s->table = table;
	s->cap = cap;
	for (uint32_t i = 1; i < s->n; i++)
		*slot_of(s, s->list[i].hash) = i;
	return 0;
}

int gd_stacks_init(struct gd_stacks *s, struct gd_words *words, struct gd_error *err)
{
	*s = (struct gd_stacks){ .words = words };
	if (grow(s) < 0) {
		gd_stacks_deinit(s);
		return gd_fail_errno(err, -ENOMEM, "stacks");
	}
	s->list[0] = (struct gd_stack){ 0 };
	s->n = 1;
	return 0;
}

void gd_stacks_deinit(struct gd_stacks *s)
{
	free(s->list);
	free(s->table);
	free(s->numbers);
	*s = (struct gd_stacks){ 0 };
}

static uint64_t mix(uint64_t h, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return (h ^ h >> 31) * UINT64_C(0x9e3779b97f4a7c15);
}

struct raw_frame {
	struct gd_scan_text function, file;
	int64_t line;
};

static struct raw_frame read_frame(struct gd_scan *scan, uint64_t *elided)
{
	struct raw_frame frame = { .function = { "", 0 }, .file = { "", 0 } };
	struct gd_scan_text key;
	if (gd_scan_peek(scan) != '{') {
		gd_scan_skip(scan);
		return frame;
	}
	(void)gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "function"))
			frame.function = gd_scan_string(scan);
		else if (gd_scan_is(&key, "file"))
			frame.file = gd_scan_string(scan);
		else if (gd_scan_is(&key, "line"))
			frame.line = gd_scan_i64(scan);
		else if (gd_scan_is(&key, "elided"))
			*elided = (uint64_t)gd_scan_i64(scan);
		else
			gd_scan_skip(scan);
	}
	return frame;
}

static const char *keep(struct gd_stacks *s, const struct gd_scan_text *text)
{
	GD_BUF struct gd_buf plain = GD_BUF_INIT(4096);
	if (memchr(text->at, '\\', text->n) == NULL)
		return gd_words_keep(s->words, text->at, text->n < 4096 ? text->n : 4096);
	gd_scan_put(text, &plain);
	return gd_words_keep(s->words, plain.data != NULL ? plain.data : "", plain.len);
}

/* False when there is no room for the words. */
static bool keep_frames(struct gd_stacks *s, const struct raw_frame *from, size_t n,
                        struct gd_stack *stack)
{
	for (size_t i = 0; i < n; i++) {
		struct gd_group_frame *to = &stack->frames[i];
		to->function = keep(s, &from[i].function);
		to->file = keep(s, &from[i].file);
		to->line = from[i].line;
		if (to->function == NULL || to->file == NULL)
			return false;
	}
	stack->n_frames = (uint8_t)n;
	return true;
}

/* "main.main.gowrap2": what the compiler puts around `go f(x)`; says nothing that f does not. */
static bool is_wrapper(const struct gd_scan_text *function)
{
	size_t n = function->n;
	while (n > 0 && function->at[n - 1] >= '0' && function->at[n - 1] <= '9')
		n--;
	return n >= 7 && n < function->n && memcmp(function->at + n - 7, ".gowrap", 7) == 0;
}

/* How much a frame tells about what the program was doing. */
enum telling { PLUMBING, LIBRARY, OWN, TELLINGS };

static enum telling telling_of(const struct gd_scan_text *function)
{
	static const char *const plumbing[] = { "runtime.", "internal/", "sync.", "sync/",
		                                "syscall.", "reflect." };
	char name[128];
	size_t n = function->n < sizeof(name) ? function->n : sizeof(name) - 1;
	memcpy(name, function->at, n);
	name[n] = '\0';
	for (size_t i = 0; i < sizeof(plumbing) / sizeof(plumbing[0]); i++)
		if (strncmp(name, plumbing[i], strlen(plumbing[i])) == 0)
			return PLUMBING;
	return gd_groups_is_standard(name) ? LIBRARY : OWN;
}

/* The innermost frames of each kind. */
struct chosen {
	struct raw_frame frames[TELLINGS][GD_GROUP_FRAMES];
	size_t n[TELLINGS];
	struct gd_scan_text via; /* what the innermost own frame called */
};

static void choose(struct chosen *c, const struct raw_frame *frame)
{
	if (c->n[OWN] == GD_GROUP_FRAMES)
		return;
	enum telling telling = telling_of(&frame->function);
	if (telling != OWN && c->n[OWN] == 0)
		c->via = frame->function;
	if (telling == OWN && is_wrapper(&frame->function))
		return;
	if (c->n[telling] < GD_GROUP_FRAMES)
		c->frames[telling][c->n[telling]++] = *frame;
}

uint32_t gd_stacks_read(struct gd_stacks *s, struct gd_scan *scan)
{
	struct chosen chosen = { .via = { "", 0 } };
	struct gd_stack stack = { .hash = UINT64_C(0xcbf29ce484222325) };
	(void)gd_scan_array(scan);
	while (gd_scan_item(scan)) {
		uint64_t elided = 0;
		struct raw_frame f = read_frame(scan, &elided);
		stack.hash = mix(stack.hash, f.function.at, f.function.n);
		stack.hash = mix(stack.hash, f.file.at, f.file.n);
		stack.hash = (stack.hash ^ (uint64_t)f.line ^ elided << 20) *
		             UINT64_C(0x9e3779b97f4a7c15);
		if (f.function.n == 0)
			continue;
		stack.depth++;
		choose(&chosen, &f);
	}
	stack.hash ^= stack.hash >> 32;
	if (scan->bad || stack.depth == 0)
		return 0;
	uint32_t known = *slot_of(s, stack.hash);
	if (known != 0)
		return known;
	enum telling best = chosen.n[OWN] > 0 ? OWN : chosen.n[LIBRARY] > 0 ? LIBRARY : PLUMBING;
	if ((s->n == s->cap && grow(s) < 0) ||
	    !keep_frames(s, chosen.frames[best], chosen.n[best], &stack))
		return 0;
	stack.own = best == OWN;
	stack.via = stack.own && chosen.via.n > 0 ? keep(s, &chosen.via) : NULL;
	s->list[s->n] = stack;
	*slot_of(s, stack.hash) = s->n;
	return s->n++;
}

void gd_stacks_number(struct gd_stacks *s, int64_t number, uint32_t stack)
{
	if (number < 0 || number >= GD_STACKS_NUMBERS_MAX)
		return;
	if (number >= s->n_numbers) {
		uint32_t n = s->n_numbers > 0 ? s->n_numbers : 4096;
		while (n <= number)
			n *= 2;
		uint32_t *numbers = realloc(s->numbers, n * sizeof(*numbers));
		if (numbers == NULL)
			return; /* its goroutines count as ungrouped */
		memset(numbers + s->n_numbers, 0, (n - s->n_numbers) * sizeof(*numbers));
		s->numbers = numbers;
		s->n_numbers = n;
	}
	s->numbers[number] = stack;
}

uint32_t gd_stacks_by_number(const struct gd_stacks *s, int64_t number)
{
	return number >= 0 && number < s->n_numbers ? s->numbers[number] : 0;
}
