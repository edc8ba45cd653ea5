/*
 * A recorded stack has either one address per logical frame (the runtime makes up addresses for
 * the frames that were inlined) or, in block and mutex profiles since Go 1.23, one per physical
 * frame.  Both come out alike: after an address whose innermost function was inlined, addresses
 * that stand for its callers in the same function are swallowed, and callers without one are added.
 */
#include "collectors/locations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/build_id.h"

#define LINES_MAX (2 * GD_SITE_LINES_MAX)

int gd_locations_init(struct gd_locations *ret, struct gd_go *go, struct gd_pprof *pprof,
                      int exe_fd, struct gd_error *err)
{
	const struct gd_maps *maps = go->maps;
	struct gd_build_id ids = { 0 };
	uint64_t text = go->modules.n > 0 ? go->modules.list[0].text.start : 0;

	uint64_t *mappings = calloc(maps->n > 0 ? maps->n : 1, sizeof(mappings[0]));
	if (mappings == NULL)
		return gd_fail_errno(err, -ENOMEM, "mappings of a profile");
	/* A profile without a build id is as good; the reason is of no interest here. */
	if (exe_fd >= 0)
		(void)gd_build_id_read(exe_fd, &ids, NULL);
	for (size_t i = 0; i < maps->n; i++) {
		const struct gd_map *map = &maps->list[i];
		if (!map->exec || (map->inode == 0 && map->path[0] == '\0'))
			continue;
		bool main_program = text >= map->start && text < map->end;
		mappings[i] = gd_pprof_mapping(pprof, &(struct gd_pprof_mapping){
			.start = map->start,
			.limit = map->end,
			.offset = map->offset,
			.file = map->path,
			.build_id = main_program ? ids.gnu : "",
		});
	}
	*ret = (struct gd_locations){ .go = go, .pprof = pprof, .mappings = mappings };
	return 0;
}

void gd_locations_deinit(struct gd_locations *locations)
{
	free(locations->mappings);
	*locations = (struct gd_locations){ 0 };
}

static uint64_t mapping_of(const struct gd_locations *l, uint64_t addr)
{
	const struct gd_map *map = gd_maps_find(l->go->maps, addr);
	return map != NULL ? l->mappings[map - l->go->maps->list] : 0;
}

/* What one location is made of. */
struct deck {
	struct gd_pprof_line lines[LINES_MAX];
	size_t n;
};

static void add_line(struct deck *deck, const struct gd_line *line)
{
	if (deck->n == LINES_MAX)
		return;
	deck->lines[deck->n++] = (struct gd_pprof_line){
		.function = line->function,
		.file = line->file,
		.line = line->line,
		.start_line = line->start_line,
	};
}

/* Wrappers are shown only where a panic calls them: runtime.elideWrapperCalling. */
static bool elided(const struct gd_line *line, const struct gd_line *callee)
{
	return line->wrapper && strcmp(callee->function, "runtime.gopanic") != 0 &&
	       strcmp(callee->function, "runtime.sigpanic") != 0 &&
	       strcmp(callee->function, "runtime.panicwrap") != 0;
}

static bool same_place(const struct gd_line *a, const struct gd_line *b)
{
	return a->line == b->line && strcmp(a->function, b->function) == 0 &&
	       strcmp(a->file, b->file) == 0;
}

/* Does `next` stand for a caller that `site`'s innermost function was inlined into? */
static bool is_caller(const struct gd_site *next, uint64_t entry, const struct gd_line *lines,
                      unsigned n_lines)
{
	return next != NULL && next->entry == entry && next->n_lines < n_lines &&
	       same_place(&next->lines[0], &lines[n_lines - next->n_lines]);
}

/*
 * Fills the deck with the frames of the function that pcs[0] is in.  Returns how many addresses
 * they take.
 */
static size_t take_function(struct gd_symbols *symbols, const struct gd_site *site,
                            const uint64_t *pcs, size_t n, struct deck *deck)
{
	/* Another lookup may empty the cache that `site` lives in. */
	struct gd_line lines[GD_SITE_LINES_MAX];
	unsigned n_lines = site->n_lines;
	uint64_t entry = site->entry;
	memcpy(lines, site->lines, n_lines * sizeof(lines[0]));

	size_t used = 1;
	unsigned at = 0;
	add_line(deck, &lines[0]);
	while (at < n_lines - 1 && used < n) {
		const struct gd_site *next = gd_symbols_site(symbols, pcs[used], false);
		if (!is_caller(next, entry, lines + at, n_lines - at))
			break;
		at = n_lines - next->n_lines;
		add_line(deck, &lines[at]);
		used++;
	}
	for (; at < n_lines - 1; at++)
		if (!elided(&lines[at + 1], &lines[at]))
			add_line(deck, &lines[at + 1]);
	return used;
}

size_t gd_locations_of(struct gd_locations *l, const uint64_t *pcs, size_t n,
                       uint64_t to[GD_PPROF_DEPTH_MAX])
{
	size_t used;
	size_t n_to = 0;
	for (size_t i = 0; i < n && n_to < GD_PPROF_DEPTH_MAX; i += used) {
		struct deck deck = { .n = 0 };
		uint64_t pc = pcs[i];
		const struct gd_site *site = gd_symbols_site(l->go->symbols, pc, false);
		used = 1;
		if (site == NULL ? l->go_only :
		                   strcmp(site->lines[0].function, "runtime.goexit") == 0)
			continue;
		if (site != NULL)
			used = take_function(l->go->symbols, site, pcs + i, n - i, &deck);
		uint64_t id = gd_pprof_find(l->pprof, pc);
		if (id == 0)
			id = gd_pprof_location(l->pprof, pc, pc - 1, mapping_of(l, pc - 1),
			                       deck.lines, deck.n);
		to[n_to++] = id;
	}
	return n_to;
}

size_t gd_locations_hidden(struct gd_locations *l, const uint64_t *pcs, size_t n)
{
	size_t i = 0;
	for (; i < n; i++) {
		/* FuncForPC is asked with the return address itself: also where that is already
		 * in the next function, as after a call that never returns. */
		const struct gd_site *site = gd_symbols_site(l->go->symbols, pcs[i], true);
		const char *name = site != NULL ? site->lines[0].function : "";
		if (strncmp(name, "runtime.", 8) != 0 &&
		    (l->go->version.minor < 24 || strncmp(name, "internal/runtime/", 17) != 0))
			break;
	}
	return i < n ? i : 0;
}
