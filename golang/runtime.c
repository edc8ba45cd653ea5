#include "golang/runtime.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "golang/calibrate.h"

/* The longest of Go's own has some 40 bytes. */
#define WAIT_REASON_MAX 80

/* Cut when there is no room: the note is one line for people. */
static void __attribute__((format(printf, 2, 3))) add_note(struct gd_go *go, const char *fmt, ...)
{
	size_t used = strlen(go->note);
	if (used > 0 && used + 3 < sizeof(go->note)) {
		memcpy(go->note + used, "; ", 3);
		used += 2;
	}
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(go->note + used, sizeof(go->note) - used, fmt, args);
	va_end(args);
}

/* Modules first: they say whether this is Go at all, and the block can be missing. */
static int find_version(struct gd_go *go, struct gd_error *err)
{
	struct gd_error why = { 0 };

	int r = gd_buildinfo_find(go->memory, go->maps, &go->build, &why);
	if (r < 0) {
		go->build_block_missing = true;
		r = gd_buildinfo_recover(&go->modules, go->memory, &go->build, &why);
	}
	if (r == -ESRCH)
		return gd_fail_errno(err, r, "build info");
	if (r < 0 || gd_go_version_parse(go->build.version, &go->version, &why) < 0) {
		/* Newer than everything: the newest row, calibrated. */
		go->version = (struct gd_go_version){ .minor = INT16_MAX, .devel = true };
		add_note(go, "%s", why.msg);
	}
	return 0;
}

static bool printable(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

/* The array's length is not known: it ends where something else begins. */
static void read_wait_reasons(struct gd_go *go)
{
	char text[WAIT_REASON_MAX];

	for (size_t i = 0; i < GD_WAIT_REASONS_MAX && go->globals.wait_reason_strings != 0; i++) {
		ssize_t n = gd_memory_read_go_string(go->memory,
		                                     go->globals.wait_reason_strings + 16 * i, text,
		                                     sizeof(text), NULL);
		/* Only the first, of a goroutine that waits for nothing, is empty. */
		if (n < 0 || (n == 0 && i > 0) || !printable(text, (size_t)n))
			break;
		go->wait_reasons[i] = strdup(text);
		if (go->wait_reasons[i] == NULL)
			break;
	}
}

/*
 * The linker turns the profile off for good when the function that reads it was not linked in: its
 * own test is for runtime.MemProfile, from 1.23 on for runtime.memProfileInternal, which is what
 * both the former and runtime/pprof call (cmd/link/internal/ld/lib.go, disableMemoryProfiling).
 */
static bool memory_profile_linked(const struct gd_go *go)
{
	const struct gd_pclntab *tab = &go->modules.list[0].pclntab;
	struct gd_func func;

	return gd_pclntab_func_named(tab, "runtime.memProfileInternal", &func) ||
	       gd_pclntab_func_named(tab, "runtime.MemProfile", &func);
}

static void note_calibration(struct gd_go *go, const struct gd_calibration *c)
{
	const char *name = go->build.version[0] != '\0' ? go->build.version : "this Go";

	if (go->layout.trust == GD_LAYOUT_EXACT && c->moved == 0)
		return;
	if (go->layout.trust == GD_LAYOUT_EXACT)
		add_note(go, "layout calibrated: %s differs from its row in the table: %s", name,
		         c->what);
	else
		add_note(go, "layout calibrated: %s has no row in the table; checked on "
		         "%u goroutines and %u threads%s%s", name, c->goroutines, c->threads,
		         c->moved > 0 ? ", moved " : "", c->what);
	go->layout.trust = GD_LAYOUT_CALIBRATED;
}

static int find_layout(struct gd_go *go, const pid_t *tids, size_t n_tids, struct gd_error *err)
{
	struct gd_calibration c = { 0 };

	int r = gd_layout_of(&go->version, &go->layout, err);
	if (r < 0)
		return r;
	/* Shapes depend on the layout, most operands do not. */
	gd_globals_by_operands(&go->modules, go->memory, &go->layout, &go->globals);
	if (go->globals.allgs == 0 || go->globals.allm == 0)
		(void)gd_globals_find(&go->modules, go->memory, &go->layout, &go->globals, NULL);
	struct gd_calibrate_input input = {
		.memory = go->memory,
		.modules = &go->modules,
		.globals = &go->globals,
		.tids = tids,
		.n_tids = n_tids,
	};
	r = gd_calibrate(&input, &go->layout, &c, err);
	if (r < 0)
		return r;
	note_calibration(go, &c);
	return gd_globals_find(&go->modules, go->memory, &go->layout, &go->globals, err);
}

/* A target that exits meanwhile looks like one that holds no Go, or like a strange layout. */
static int check_alive(struct gd_go *go, struct gd_error *err)
{
	uint64_t word;
	int r = gd_memory_read_u64(go->memory, go->modules.list[0].addr, &word, err);
	return r == -ESRCH ? r : 0;
}

static int open_runtime(struct gd_go *go, const pid_t *tids, size_t n_tids, struct gd_error *err)
{
	int r = gd_modules_find(go->memory, go->maps, &go->modules, err);
	if (r < 0)
		return r;
	r = find_version(go, err);
	if (r < 0)
		return r;
	r = gd_modules_complete(&go->modules, go->memory, go->version.minor, go->version.patch, err);
	if (r < 0)
		return r;
	r = gd_symbols_create(go->memory, &go->modules, go->version.minor, &go->symbols, err);
	if (r < 0)
		return r;
	r = find_layout(go, tids, n_tids, err);
	if (check_alive(go, err) == -ESRCH)
		return -ESRCH;
	if (r < 0)
		return r;
	read_wait_reasons(go);
	go->memory_profile_linked = memory_profile_linked(go);
	return 0;
}

int gd_go_open(struct gd_memory *memory, const struct gd_maps *maps, const pid_t *tids,
               size_t n_tids, struct gd_go **ret, struct gd_error *err)
{
	GD_GO struct gd_go *go = calloc(1, sizeof(*go));
	if (go == NULL)
		return gd_fail_errno(err, -ENOMEM, "Go runtime");
	go->memory = memory;
	go->maps = maps;
	int r = open_runtime(go, tids, n_tids, err);
	if (r < 0)
		return r;
	*ret = gd_steal_ptr(&go);
	return 0;
}

void gd_go_close(struct gd_go *go)
{
	if (go == NULL)
		return;
	for (size_t i = 0; i < GD_WAIT_REASONS_MAX; i++)
		free(go->wait_reasons[i]);
	gd_symbols_destroy(go->symbols);
	gd_modules_deinit(&go->modules);
	gd_buildinfo_deinit(&go->build);
	free(go);
}
