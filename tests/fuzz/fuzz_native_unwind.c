/*
 * A module in the memory of a process and as a file, registers and a stack: what native unwinding and the
 * names of native functions make of them.  Input: flags, the registers by DWARF number and pc (8 bytes
 * each), the length of the stack (2 bytes), the stack, then the module, mapped at 0x400000.
 *
 * Whatever comes: a stack ends, steps are the same whether rows were kept or are new, and names end
 * within their room.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "collectors/cfi_scan.h"
#include "collectors/native_symbols.h"
#include "collectors/native_unwind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	BASE = 0x400000,
	MODULE = 0x8000,
	STEPS_MAX = 64,
	PROBES = 24,
	NAME_MAX_BYTES = 96,
};

enum { RETURN_ADDRESS = 1, VDSO = 2, BACKWARDS = 4 };

static uint8_t module[MODULE];
static size_t module_len;

static ssize_t read_module(struct gd_memory *memory, uint64_t addr, void *to, size_t len)
{
	(void)memory;
	if (addr < BASE || addr >= BASE + module_len)
		return 0;
	size_t n = BASE + module_len - addr;
	n = n < len ? n : len;
	memcpy(to, module + (addr - BASE), n);
	return (ssize_t)n;
}

static const struct gd_memory_ops memory_ops = { .kind = "bytes", .read = read_module };

/* The program is what the kernel says it is. */
static ssize_t read_link(struct gd_access *access, const char *path, char *to, size_t size,
                         struct gd_error *err)
{
	(void)access;
	(void)path;
	(void)err;
	return snprintf(to, size, "/x");
}

static const struct gd_access_ops access_ops = { .read_link = read_link };

struct walked {
	uint64_t pcs[STEPS_MAX];
	size_t n;
	enum gd_native_step end;
};

static void walk(struct gd_native_unwind *unwind, const struct gd_native_frame *from,
                 const struct gd_stack *copy, struct walked *ret)
{
	struct gd_native_frame frame = *from;
	struct gd_stack stack = *copy;
	memset(ret, 0, sizeof(*ret));
	for (ret->n = 0; ret->n < STEPS_MAX; ret->n++) {
		ret->end = gd_native_unwind_step(unwind, &stack, &frame);
		if (ret->end == GD_NATIVE_NO_RULES)
			ret->end = gd_native_unwind_by_pointer(&stack, &frame);
		if (ret->end != GD_NATIVE_CALLER)
			return;
		if (frame.known >> GD_CFI_REGS != 0 || frame.pc == 0)
			abort();
		ret->pcs[ret->n] = frame.pc;
	}
}

static void unwind_twice(struct gd_native_unwind *unwind, const struct gd_native_frame *frame,
                         const struct gd_stack *stack, uint8_t flags)
{
	static struct walked fresh, kept;
	gd_native_unwind_forget(unwind);
	walk(unwind, frame, stack, &fresh);
	gd_native_unwind_forget(unwind);
	/* Rows of everything near, in some order, and then again. */
	for (unsigned i = 0; i < PROBES; i++) {
		struct gd_native_frame near = *frame;
		struct gd_stack copy = *stack;
		near.pc += (flags & BACKWARDS) != 0 ? (uint64_t)(PROBES - i) : (uint64_t)i;
		near.exact = true;
		(void)gd_native_unwind_step(unwind, &copy, &near);
	}
	walk(unwind, frame, stack, &kept);
	if (fresh.n != kept.n || fresh.end != kept.end ||
	    memcmp(fresh.pcs, kept.pcs, sizeof(fresh.pcs)) != 0)
		abort();
}

/* The table that is made of all there is: sorted, and its entries lead somewhere or nowhere. */
static void scan(struct gd_memory *memory, int fd, uint64_t pc)
{
	static struct gd_cfi_entry entry;
	struct gd_cfi_table table = { .n = 0 };
	struct gd_cfi_row row;
	uint64_t at = 0, bytes = 0;
	gd_cfi_scan_locate(fd, &at, &bytes);
	if (gd_cfi_scan(memory, at < BASE ? at + BASE : at, bytes, &table, NULL) < 0)
		abort();
	for (uint32_t i = 1; i < table.n; i++)
		if (table.list[i - 1].start > table.list[i].start)
			abort();
	for (uint32_t i = 0; i <= table.n && i < PROBES; i++) {
		uint64_t wanted = i < table.n ? table.list[i].start : pc;
		if (gd_cfi_entry_read(memory, &table, wanted, &entry, NULL) == 0 &&
		    gd_cfi_row_of(&entry, wanted, &row, NULL) == 0 &&
		    (row.start > wanted || row.end <= wanted))
			abort();
	}
	free(table.list);
}

static void name(struct gd_memory *memory, const struct gd_maps *maps, uint64_t pc)
{
	struct gd_access access = { .ops = &access_ops };
	struct gd_target target = { .fds = { -1, -1, -1, -1 }, .access = &access, .memory = memory,
		                    .maps = *maps };
	struct gd_native_names *names = NULL;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, module, module_len) != (ssize_t)module_len ||
	    gd_native_names_create(&names, NULL) < 0)
		abort();
	target.fds.exe_fd = fd;
	scan(memory, fd, pc);
	for (uint64_t at = BASE; at < BASE + module_len; at += 64)
		(void)gd_native_names_want(names, at);
	(void)gd_native_names_want(names, pc);
	gd_native_names_read(names, &target);
	for (uint64_t at = BASE; at < BASE + module_len; at += 64) {
		const char *text = gd_native_names_find(names, at);
		if (text != NULL && strnlen(text, NAME_MAX_BYTES) >= NAME_MAX_BYTES)
			abort();
	}
	gd_native_names_destroy(names);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gd_native_unwind *unwind; /* one for all inputs: it is large */
	static struct gd_memory memory = { .ops = &memory_ops };
	static struct gd_map list = { .start = BASE, .end = BASE + MODULE, .exec = true, .read = true };
	static const struct gd_maps maps = { .list = &list, .n = 1 };
	struct gd_bytes b = gd_bytes_of(data, size);
	uint8_t flags = gd_bytes_u8(&b);
	list.path = (flags & VDSO) != 0 ? "[vdso]" : "/x";
	if (unwind == NULL && gd_native_unwind_create(&memory, &maps, &unwind, NULL) < 0)
		abort();
	struct gd_native_frame frame = { .exact = (flags & RETURN_ADDRESS) == 0 };
	for (unsigned i = 0; i < GD_CFI_REGS; i++)
		frame.reg[i] = gd_bytes_u64(&b);
	frame.known = (UINT64_C(1) << GD_CFI_REGS) - 1;
	frame.pc = gd_bytes_u64(&b);
	size_t len = gd_bytes_u16(&b);
	const uint8_t *bytes = gd_bytes_take(&b, len);
	if (bytes == NULL)
		return 0;
	const struct gd_stack stack = { .at = frame.reg[GD_CFI_SP], .len = len, .bytes = bytes,
		                        .hi = frame.reg[GD_CFI_SP] + len };
	module_len = size - b.pos < MODULE ? size - b.pos : MODULE;
	memcpy(module, data + b.pos, module_len);
	unwind_twice(unwind, &frame, &stack, flags);
	name(&memory, &maps, frame.pc);
	return 0;
}
