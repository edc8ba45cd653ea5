/*
 * Records of a perf ring, and what is made of a sample: its stack, its goroutine, a profile.  Input: the
 * Go release (18 to 28), flags, the record's length (2 bytes), the record, then a memory image at
 * 0x400000 with module and code as in fuzz_goroutines.
 *
 * Whatever comes: what a record hands out lies within it, a stack has its kernel frames first and none
 * too many, and the profile can be written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "collectors/perf_record.h"
#include "collectors/perf_stack.h"
#include "collectors/samples_cgo.h"
#include "collectors/samples_profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	BASE = 0x400000,
	TEXT = 0x1000,
	CONSTANTS = 0x2000,
	DATA = 0x5000,
	IMAGE = 0x8000,
};

enum { WITH_STACK = 1, WITHOUT_GO = 2, CALIBRATED = 4, WITH_WAKEUPS = 8 };
enum { WAKEUPS = 0x57 }; /* the id of their event */

static uint8_t image[IMAGE];

static ssize_t read_image(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	(void)memory;
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

static void check_within(const uint8_t *part, size_t n, const uint8_t *whole, size_t size)
{
	if (part != NULL && (part < whole || n > size || (size_t)(part - whole) > size - n))
		abort();
}

static void check_stack(const struct gd_perf_stack *stack)
{
	if (stack->n > GD_PERF_DEPTH_MAX || stack->n_kernel > stack->n ||
	    stack->end >= GD_PERF_ENDS)
		abort();
	for (size_t i = 0; i < stack->n; i++)
		if ((stack->list[i].kind == GD_PERF_FRAME_KERNEL) != (i < stack->n_kernel))
			abort();
}

static void use(const struct gd_perf_record *record, struct gd_go *go, struct gd_target *target)
{
	static struct gd_perf_stack stack;
	struct gd_samples_profile *profile;
	struct gd_samples_goroutines *goroutines = NULL;
	struct gd_samples_goroutine goroutine = { .goid = 0 };
	struct gd_samples_thread *threads = NULL;
	struct gd_stream stream = { .write = swallow };
	struct gd_samples_written written;
	struct gd_error err = { 0 };
	struct gd_kernel_names *kernel = NULL;
	struct gd_native_names *native = NULL;
	bool away = record->cpu % 2 == 1;
	size_t n_threads = 0;
	struct gd_native_unwind *unwind = NULL;
	if (gd_native_unwind_create(target->memory, &target->maps, &unwind, &err) < 0)
		abort();
	gd_perf_stack_of(go, unwind, &target->maps, record, &stack);
	gd_native_unwind_destroy(unwind);
	check_stack(&stack);
	if (go != NULL && stack.left_g != 0) {
		struct gd_samples_cgo *cgo = NULL;
		if (gd_samples_cgo_create(go, &cgo, &err) < 0)
			abort();
		for (int i = 0; i < 2; i++)
			(void)gd_samples_cgo_resume(cgo, record, BASE + DATA, &stack);
		gd_samples_cgo_destroy(cgo);
		check_stack(&stack);
	}
	if (gd_samples_profile_create(&profile, &err) < 0 ||
	    (go != NULL && gd_samples_goroutines_create(go, NULL, &goroutines, &err) < 0))
		abort();
	if (go != NULL)
		gd_samples_goroutines_find(goroutines, record, &stack, &goroutine);
	const struct gd_samples_labels labels = { .tid = record->tid, .goid = goroutine.goid,
		                                  .confidence = goroutine.confidence };
	uint32_t number = gd_samples_profile_number(profile, &stack, &labels);
	if (number == 0 || gd_kernel_names_create(&kernel, &err) < 0 ||
	    gd_native_names_create(&native, &err) < 0)
		abort();
	gd_samples_profile_count(profile, number, away ? record->tid % 2 : 0, 1, 7);
	gd_samples_profile_want(profile, kernel, native);
	gd_native_names_read(native, target);
	if (gd_samples_profile_threads(profile, NULL, &threads, &n_threads, &err) < 0 || n_threads != 1)
		abort();
	const struct gd_samples_write how = { .target = target, .go = go, .threads = threads,
		                              .n_threads = n_threads, .kernel = kernel,
		                              .native = native, .away = away,
		                              .lost = record->lost % 3, .period_ns = 10101010 };
	if (gd_samples_profile_write(profile, &how, &stream, away ? NULL : &stream, &written, &err) < 0)
		abort();
	uint64_t all = 0;
	for (unsigned i = 0; i < GD_CLASSES; i++)
		all += written.by_class[i];
	if (all != 1)
		abort();
	free(threads);
	gd_kernel_names_destroy(kernel);
	gd_native_names_destroy(native);
	gd_samples_goroutines_destroy(goroutines);
	gd_samples_profile_destroy(profile);
}

static void with_go(const struct gd_perf_record *record, uint8_t release, uint8_t flags)
{
	struct gd_map list[3] = {
		{ .start = BASE + TEXT, .end = BASE + CONSTANTS, .inode = 1, .read = true,
		  .exec = true, .path = "/x" },
		{ .start = BASE + CONSTANTS, .end = BASE + DATA, .inode = 1, .read = true,
		  .path = "[vdso]" },
		{ .start = BASE + DATA, .end = BASE + IMAGE, .inode = 1, .read = true,
		  .write = true, .path = "/x" },
	};
	struct gd_memory memory = { .ops = &ops };
	struct gd_target target = { .fds = { -1, -1, -1, -1 }, .maps = { .list = list, .n = 3 },
		                    .memory = &memory };
	struct gd_error err = { 0 };
	struct gd_go go = { .memory = &memory, .maps = &target.maps };
	go.version = (struct gd_go_version){ .minor = 18 + release % 11, .patch = release / 11 };
	if (gd_layout_of(&go.version, &go.layout, &err) < 0)
		abort();
	if ((flags & CALIBRATED) != 0)
		go.layout.trust = GD_LAYOUT_CALIBRATED;
	if ((flags & WITHOUT_GO) != 0) {
		use(record, NULL, &target);
		return;
	}
	if (gd_modules_find(&memory, &target.maps, &go.modules, &err) < 0)
		return;
	(void)gd_modules_complete(&go.modules, &memory, go.version.minor, 0, &err);
	if (gd_symbols_create(&memory, &go.modules, go.version.minor, &go.symbols, &err) == 0)
		use(record, &go, &target);
	gd_symbols_destroy(go.symbols);
	gd_modules_deinit(&go.modules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_perf_record record;
	uint64_t ips[64];
	if (size < 4)
		return 0;
	size_t len = (size_t)data[2] | (size_t)data[3] << 8;
	const uint8_t *bytes = data + 4;
	if (len > size - 4)
		len = size - 4;
	const struct gd_perf_layout layout = {
		.stack_bytes = (data[1] & WITH_STACK) != 0 ? 8192 : 0,
		.wakeups_id = (data[1] & WITH_WAKEUPS) != 0 ? WAKEUPS : 0,
	};
	if (gd_perf_record_parse(bytes, len, &layout, &record, NULL) < 0)
		return 0;
	if (record.kind == GD_PERF_WAKEUP && (layout.wakeups_id == 0 || record.woken == 0))
		abort();
	check_within(record.chain, record.n_chain * 8, bytes, len);
	check_within(record.regs, (size_t)GD_PERF_N_REGS * 8, bytes, len);
	check_within(record.stack, record.stack_len, bytes, len);
	if (gd_perf_record_chain(&record, GD_PERF_USER_HALF, ips, 64) > 64 ||
	    gd_perf_record_chain(&record, GD_PERF_KERNEL_HALF, ips, 64) > 64)
		abort();
	if (record.kind != GD_PERF_SAMPLE)
		return 0;
	memset(image, 0, sizeof(image));
	size_t left = size - 4 - len;
	memcpy(image, bytes + len, left < IMAGE ? left : IMAGE);
	with_go(&record, data[0], data[1]);
	return 0;
}
