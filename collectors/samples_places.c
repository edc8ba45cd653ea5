#include "collectors/samples_places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "golang/class.h"
#include "target/build_id.h"

enum {
	WORD_MAX = 4096,
	NATIVE_NAME = 256,
};

struct gd_samples_places {
	struct gd_target *target;
	struct gd_go *go;
	struct gd_pprof *pprof;
	uint64_t *mappings; /* ids, one per entry of the target's maps; 0: not executable */
	uint64_t kernel_mapping;
	const struct gd_kernel_names *kernel;
	const struct gd_native_names *native;
};

/* ---- mappings -------------------------------------------------------------------------------- */

static uint64_t add_mapping(struct gd_samples_places *p, const struct gd_map *map,
                            const char *build_id)
{
	return gd_pprof_mapping(p->pprof, &(struct gd_pprof_mapping){
		.start = map->start, .limit = map->end, .offset = map->offset,
		.file = map->path, .build_id = build_id,
	});
}

/* The main program first: that is how pprof knows it. */
static int add_mappings(struct gd_samples_places *p, struct gd_error *err)
{
	const struct gd_maps *maps = &p->target->maps;
	struct gd_build_id ids = { 0 };
	uint64_t text = p->go != NULL && p->go->modules.n > 0 ?
	                        p->go->modules.list[0].text.start : 0;
	p->mappings = calloc(maps->n + 1, sizeof(p->mappings[0]));
	if (p->mappings == NULL)
		return gd_fail_errno(err, -ENOMEM, "mappings of a profile");
	if (p->target->fds.exe_fd >= 0)
		(void)gd_build_id_read(p->target->fds.exe_fd, &ids, NULL);
	const struct gd_map *program = gd_maps_find(maps, text);
	for (size_t i = 0; program == NULL && i < maps->n; i++)
		if (maps->list[i].exec && maps->list[i].inode != 0)
			program = &maps->list[i];
	if (program != NULL)
		p->mappings[program - maps->list] = add_mapping(p, program, ids.gnu);
	for (size_t i = 0; i < maps->n; i++) {
		const struct gd_map *map = &maps->list[i];
		if (map->exec && map != program)
			p->mappings[i] = add_mapping(p, map, "");
	}
	p->kernel_mapping = gd_pprof_mapping(p->pprof, &(struct gd_pprof_mapping){
		.start = UINT64_C(1) << 63, .limit = UINT64_MAX, .file = "[kernel.kallsyms]",
		.build_id = "",
	});
	return 0;
}

static uint64_t mapping_of(const struct gd_samples_places *p, uint64_t addr)
{
	const struct gd_map *map = gd_maps_find(&p->target->maps, addr);
	return map != NULL ? p->mappings[map - p->target->maps.list] : 0;
}

int gd_samples_places_create(struct gd_target *target, struct gd_go *go,
                             const struct gd_kernel_names *kernel,
                             const struct gd_native_names *native, struct gd_pprof *pprof,
                             struct gd_samples_places **ret, struct gd_error *err)
{
	struct gd_samples_places *p = calloc(1, sizeof(*p));
	if (p == NULL)
		return gd_fail_errno(err, -ENOMEM, "places of samples");
	p->target = target;
	p->go = go;
	p->kernel = kernel;
	p->native = native;
	p->pprof = pprof;
	int r = pprof != NULL ? add_mappings(p, err) : 0;
	if (r < 0) {
		gd_samples_places_destroy(p);
		return r;
	}
	*ret = p;
	return 0;
}

void gd_samples_places_destroy(struct gd_samples_places *p)
{
	if (p == NULL)
		return;
	free(p->mappings);
	free(p);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* NULL: not known. */
static const char *kernel_name(const struct gd_samples_places *p, const struct gd_perf_frame *frame)
{
	return gd_kernel_names_find(p->kernel, gd_samples_places_address(frame));
}

/* "futex_wait", else "libc.so.6+0x88f12" */
static const char *native_name(const struct gd_samples_places *p, const struct gd_perf_frame *frame,
                               char to[NATIVE_NAME])
{
	uint64_t pc = gd_samples_places_address(frame);
	const char *known = gd_native_names_find(p->native, pc);
	if (known != NULL)
		return known;
	const struct gd_map *map = gd_maps_find(&p->target->maps, pc);
	if (map == NULL || map->path[0] == '\0') {
		(void)snprintf(to, NATIVE_NAME, map == NULL ? "[unknown]" : "[anonymous]");
		return to;
	}
	const char *slash = strrchr(map->path, '/');
	(void)snprintf(to, NATIVE_NAME, "%.200s+0x%" PRIx64, slash != NULL ? slash + 1 : map->path,
	               pc - map->start + map->offset);
	return to;
}

static const struct gd_site *site_of(const struct gd_samples_places *p,
                                     const struct gd_perf_frame *frame)
{
	return p->go != NULL && frame->kind == GD_PERF_FRAME_GO ?
	               gd_symbols_site(p->go->symbols, frame->pc, frame->exact) : NULL;
}

/* Where goroutines begin: runtime/pprof leaves it out, too.  But not when it is what runs. */
static bool is_hidden(const struct gd_perf_frame *frame, const struct gd_site *site)
{
	return !frame->exact && strcmp(site->lines[0].function, "runtime.goexit") == 0;
}

/* ---- locations ------------------------------------------------------------------------------- */

static uint64_t one_line(struct gd_samples_places *p, uint64_t key, uint64_t address,
                         uint64_t mapping, const char *name)
{
	const struct gd_pprof_line line = { .function = name, .file = "" };
	return gd_pprof_location(p->pprof, key, address, mapping, &line, 1);
}

static uint64_t kernel_location(struct gd_samples_places *p, const struct gd_perf_frame *frame)
{
	const char *name = kernel_name(p, frame);
	/* Where the kernel hides addresses, so do we. */
	if (name == NULL)
		return one_line(p, GD_SAMPLES_PLACES_KERNEL, 0, p->kernel_mapping, "[kernel]");
	/* Nor, where it does not, where it lies: archives leave the host. */
	return one_line(p, gd_samples_places_address(frame), 0, p->kernel_mapping, name);
}

static uint64_t go_location(struct gd_samples_places *p, uint64_t key,
                            const struct gd_perf_frame *frame, const struct gd_site *site)
{
	struct gd_pprof_line lines[GD_SITE_LINES_MAX];
	size_t n = 0;
	unsigned from = frame->inferred ? site->n_lines - 1 : 0;
	for (unsigned i = from; i < site->n_lines; i++)
		lines[n++] = (struct gd_pprof_line){
			.function = site->lines[i].function,
			.file = site->lines[i].file,
			/* of a caller that was inferred only the function is known */
			.line = frame->inferred ? site->lines[i].start_line : site->lines[i].line,
			.start_line = site->lines[i].start_line,
		};
	return gd_pprof_location(p->pprof, key, gd_samples_places_address(frame), mapping_of(p, frame->pc), lines, n);
}

uint32_t gd_samples_places_signs(struct gd_samples_places *p, const struct gd_perf_frame *frame)
{
	const struct gd_site *site = site_of(p, frame);
	uint32_t signs = 0;
	for (unsigned i = 0; site != NULL && i < site->n_lines; i++)
		signs |= gd_go_class_signs(site->lines[i].function);
	return signs;
}

uint64_t gd_samples_places_location(struct gd_samples_places *p, const struct gd_perf_frame *frame)
{
	char name[NATIVE_NAME];
	if (frame->kind == GD_PERF_FRAME_KERNEL)
		return kernel_location(p, frame);
	/* User addresses have 47 bits, and small ones are no code. */
	uint64_t key = frame->pc << 2 | (uint64_t)frame->exact << 1 | frame->inferred;
	const struct gd_site *site = site_of(p, frame);
	uint64_t id = gd_pprof_find(p->pprof, key);
	if (site == NULL)
		return id != 0 ? id : one_line(p, key, gd_samples_places_address(frame), mapping_of(p, frame->pc),
		                               native_name(p, frame, name));
	if (is_hidden(frame, site))
		return 0;
	return id != 0 ? id : go_location(p, key, frame, site);
}

/* ---- folded ---------------------------------------------------------------------------------- */

static void put_word(const char *word, struct gd_buf *to)
{
	gd_text_put_folded(to, word, strnlen(word, WORD_MAX));
}

static bool ends_with(const struct gd_buf *buf, const char *text)
{
	size_t n = strlen(text);
	return buf->failed == 0 && buf->len >= n && memcmp(buf->data + buf->len - n, text, n) == 0;
}

void gd_samples_places_put(struct gd_samples_places *p, const struct gd_perf_frame *frame,
                           struct gd_buf *to)
{
	char name[NATIVE_NAME];
	const struct gd_site *site = site_of(p, frame);
	if (site != NULL && is_hidden(frame, site))
		return;
	if (site == NULL) {
		bool kernel = frame->kind == GD_PERF_FRAME_KERNEL;
		const char *known = kernel ? kernel_name(p, frame) : native_name(p, frame, name);
		/* Frames of a kernel without names are one. */
		if (known == NULL && ends_with(to, ";[kernel]_[k]"))
			return;
		gd_buf_putc(to, ';');
		put_word(known != NULL ? known : "[kernel]", to);
		if (kernel)
			gd_buf_puts(to, "_[k]");
		return;
	}
	unsigned from = frame->inferred ? site->n_lines - 1 : 0;
	for (unsigned i = site->n_lines; i-- > from;) {
		gd_buf_putc(to, ';');
		put_word(site->lines[i].function, to);
		if (i + 1 < site->n_lines)
			gd_buf_puts(to, "_[i]");
	}
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_json_line(struct gd_json *json, const char *function, const char *file, int64_t line,
                          const char *how)
{
	gd_json_object(json, NULL);
	gd_json_string(json, "function", function);
	if (file != NULL)
		gd_json_string(json, "file", file);
	if (line > 0)
		gd_json_i64(json, "line", line);
	if (how != NULL)
		gd_json_bool(json, how, true);
	gd_json_object_end(json);
}

void gd_samples_places_put_json(struct gd_samples_places *p, const struct gd_perf_frame *frame,
                                struct gd_json *json)
{
	char name[NATIVE_NAME];
	const struct gd_site *site = site_of(p, frame);
	if (site != NULL && is_hidden(frame, site))
		return;
	if (frame->kind == GD_PERF_FRAME_KERNEL) {
		const char *known = kernel_name(p, frame);
		put_json_line(json, known != NULL ? known : "[kernel]", NULL, 0, "kernel");
		return;
	}
	if (site == NULL) {
		put_json_line(json, native_name(p, frame, name), NULL, 0, NULL);
		return;
	}
	for (unsigned i = frame->inferred ? site->n_lines - 1 : 0; i < site->n_lines; i++)
		put_json_line(json, site->lines[i].function, site->lines[i].file,
		              frame->inferred ? 0 : site->lines[i].line,
		              i + 1 < site->n_lines ? "inlined" : frame->inferred ? "inferred" : NULL);
}
