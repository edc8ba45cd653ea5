/*
 * All goroutines of a made-up runtime.  The first byte is the Go release (18 to 28), the second
 * says what the walk is given; the rest is a memory image at 0x400000: module and code as in
 * fuzz_pclntab, runtime.allgs at its beginning.  From 0x20000000 on 256 bytes of it repeat
 * themselves for 128 KiB, so that stacks can be deep.
 *
 * Whatever is there, every goroutine comes out with frames that have sites, as text that ends with
 * a newline and as one line of JSON, and the profile can be finished.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collectors/goroutines_lines.h"
#include "collectors/goroutines_profile.h"
#include "golang/goroutines.h"
#include "golang/traceback.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	BASE = 0x400000,
	TEXT = 0x1000,
	CONSTANTS = 0x2000,
	DATA = 0x5000,
	IMAGE = 0x8000,
	MIRROR = 0x20000000,
	MIRROR_BYTES = 128 << 10,
	MIRRORED = 0xf00, /* 256 bytes from there on */
	GOROUTINES_MAX = 64,
};

enum { WITH_REGISTERS = 1, CALIBRATED = 2, CANCELLED = 4 };

static uint8_t image[IMAGE];

static ssize_t read_image(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	(void)memory;
	if (addr >= MIRROR && addr < MIRROR + MIRROR_BYTES) {
		size_t n = MIRROR + MIRROR_BYTES - addr;
		n = n < len ? n : len;
		for (size_t i = 0; i < n; i++)
			((uint8_t *)to)[i] = image[MIRRORED + (addr + i) % 256];
		return (ssize_t)n;
	}
	if (addr < BASE || addr >= BASE + IMAGE)
		return 0;
	size_t n = BASE + IMAGE - addr;
	n = n < len ? n : len;
	memcpy(to, image + (addr - BASE), n);
	return (ssize_t)n;
}

static const struct gd_memory_ops ops = { .kind = "bytes", .read = read_image };

static int swallow(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	(void)stream;
	(void)bytes;
	(void)n;
	(void)err;
	return 0;
}

struct dump {
	struct gd_traceback *traceback;
	struct gd_goroutines_lines lines;
	struct gd_goroutines_profile profile;
	struct gd_buf text, json;
	unsigned n;
};

static int visit(void *arg, const struct gd_goroutine *g)
{
	struct dump *d = arg;
	if (g->n_frames > GD_FRAMES_MAX || g->n_inner > g->n_frames)
		abort();
	for (size_t i = 0; i < g->n_frames; i++)
		if (g->frames[i].site == NULL || g->frames[i].site->pc != g->frames[i].pc)
			abort();
	if (g->frames_are == GD_FRAMES_EXACT && !gd_unwind_complete(g->end))
		abort();
	gd_buf_reset(&d->text);
	gd_buf_reset(&d->json);
	gd_traceback_put(d->traceback, g, &d->text);
	gd_goroutines_lines_put(&d->lines, g, &d->json);
	gd_goroutines_profile_add(&d->profile, g);
	if (d->text.failed != 0 || d->text.len == 0 || d->text.data[d->text.len - 1] != '\n')
		abort();
	if (d->json.failed != 0 || d->json.len < 3 ||
	    memcmp(d->json.data + d->json.len - 2, "}\n", 2) != 0)
		abort();
	return ++d->n < GOROUTINES_MAX ? 0 : -1;
}

/* Registers that point into the image, with a copy of it as the stack. */
static int registers(void *arg, uint64_t tid, struct gd_thread_registers *ret)
{
	(void)arg;
	if (tid % 3 == 0)
		return -1;
	*ret = (struct gd_thread_registers){ .pc = BASE + TEXT + tid % 0x200,
		                             .sp = BASE + tid % TEXT, };
	if (tid % 3 == 1) {
		ret->stack = image + tid % TEXT;
		ret->stack_len = 64;
	}
	return 0;
}

static void run(struct gd_go *go, uint8_t flags)
{
	struct gd_stream stream = { .write = swallow };
	struct gd_walk_stats stats;
	struct gd_error err = { 0 };
	volatile sig_atomic_t cancelled = (flags & CANCELLED) != 0;
	struct dump d = { .text = GD_BUF_INIT(16 << 20), .json = GD_BUF_INIT(16 << 20) };
	if (gd_traceback_create(go, &d.traceback, &err) < 0 ||
	    gd_goroutines_lines_init(&d.lines, go->version.minor, &err) < 0 ||
	    gd_goroutines_profile_init(&d.profile, &stream, go, -1, &err) < 0)
		abort();
	struct gd_walk_options options = {
		.now_ns = INT64_C(1000000000000),
		.cancelled = &cancelled,
		.registers = (flags & WITH_REGISTERS) != 0 ? registers : NULL,
		.lines = gd_traceback_lines,
		.lines_arg = d.traceback,
	};
	if (gd_goroutines_walk(go, &options, visit, &d, &stats, &err) < 0 && d.n < GOROUTINES_MAX &&
	    (err.code == 0 || err.msg[0] == '\0'))
		abort();
	if (stats.seen < d.n || stats.repeated > stats.torn)
		abort();
	if (gd_goroutines_profile_finish(&d.profile, &err) < 0)
		abort();
	gd_goroutines_profile_deinit(&d.profile);
	gd_goroutines_lines_deinit(&d.lines);
	gd_traceback_destroy(d.traceback);
	gd_buf_deinit(&d.text);
	gd_buf_deinit(&d.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char reasons[3][24] = { "", "chan receive", "select (no cases)" };
	struct gd_map list[3] = {
		{ .start = BASE + TEXT, .end = BASE + CONSTANTS, .inode = 1, .read = true,
		  .exec = true, .path = "/x" },
		{ .start = BASE + CONSTANTS, .end = BASE + DATA, .inode = 1, .read = true,
		  .path = "/x" },
		{ .start = BASE + DATA, .end = BASE + IMAGE, .inode = 1, .read = true,
		  .write = true, .path = "/x" },
	};
	const struct gd_maps maps = { .list = list, .n = 3 };
	struct gd_memory memory = { .ops = &ops };
	struct gd_error err = { 0 };
	static struct gd_go go;
	if (size < 2)
		return 0;
	memset(image, 0, sizeof(image));
	memcpy(image, data + 2, size - 2 < IMAGE ? size - 2 : IMAGE);
	go = (struct gd_go){ .memory = &memory, .maps = &maps, .globals.allgs = BASE };
	go.version = (struct gd_go_version){ .minor = 18 + data[0] % 11, .patch = data[0] / 11 };
	for (size_t i = 0; i < 3; i++)
		go.wait_reasons[i] = reasons[i];
	if (gd_layout_of(&go.version, &go.layout, &err) < 0)
		abort();
	if ((data[1] & CALIBRATED) != 0)
		go.layout.trust = GD_LAYOUT_CALIBRATED;
	if (gd_modules_find(&memory, &maps, &go.modules, &err) < 0)
		return 0;
	(void)gd_modules_complete(&go.modules, &memory, go.version.minor, 0, &err);
	if (gd_symbols_create(&memory, &go.modules, go.version.minor, &go.symbols, &err) == 0)
		run(&go, data[1]);
	gd_symbols_destroy(go.symbols);
	gd_modules_deinit(&go.modules);
	return 0;
}
