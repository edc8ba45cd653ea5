/*
 * Frames of native code: what we find is what libunwind and libdwfl find, frame by frame; bytes that make
 * no sense end a stack; and of a program without frame pointers every sample reaches its root, through
 * the right callers.
 */
#include "collectors/native_unwind.h"

#include <elf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include "base/cleanup.h"
#include "collectors/collector.h"
#include "tests/kept.h"
#include "tests/test.h"

enum {
	FRAMES_MAX = 128,
	COPY = 16 << 10,
};

/* ---- this program, seen by three ---------------------------------------------------------------- */

/* One stack of ours: registers of an instant, a copy of the stack, and what each says of it. */
struct seen {
	uint64_t regs[17]; /* by DWARF numbers, the last is pc */
	uint8_t copy[COPY];
	size_t len;
	uint64_t ours[FRAMES_MAX], theirs[FRAMES_MAX], libdwfls[FRAMES_MAX];
	size_t n_ours, n_theirs, n_libdwfls;
	enum gd_native_step end;
	bool done;
};

static struct seen seen;
static struct gd_target *self;
static int own_memory; /* the sanitizers have parts of the stack that may not be touched otherwise */

/* How far this thread's stack goes. */
static uint64_t top_of_stack(void)
{
	pthread_attr_t attr;
	void *at = NULL;
	size_t size = 0;
	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return 0;
	(void)pthread_attr_getstack(&attr, &at, &size);
	(void)pthread_attr_destroy(&attr);
	return (uint64_t)(uintptr_t)at + size;
}

/* libunwind names them in DWARF's order on x86-64 (libunwind-x86_64.h). */
static void ask_libunwind(void)
{
	unw_context_t context;
	unw_cursor_t cursor;
	if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0)
		return;
	for (int i = 0; i < 17; i++) {
		unw_word_t value = 0;
		(void)unw_get_reg(&cursor, (unw_regnum_t)(UNW_X86_64_RAX + i), &value);
		seen.regs[i] = value;
	}
	/* All of it, before anything else uses the stack. */
	uint64_t sp = seen.regs[GD_CFI_SP];
	uint64_t top = top_of_stack();
	seen.len = top > sp && top - sp < COPY ? (size_t)(top - sp) : COPY;
	seen.done = pread(own_memory, seen.copy, seen.len, (off_t)sp) == (ssize_t)seen.len;
	do {
		unw_word_t pc = 0;
		(void)unw_get_reg(&cursor, UNW_REG_IP, &pc);
		if (pc != 0)
			seen.theirs[seen.n_theirs++] = pc;
	} while (seen.n_theirs < FRAMES_MAX && unw_step(&cursor) > 0);
}

static void ask_ourselves(void)
{
	struct gd_native_unwind *unwind = NULL;
	struct gd_error err = { 0 };
	struct gd_native_frame frame = { .pc = seen.regs[16], .exact = true };
	struct gd_stack stack = { .at = seen.regs[GD_CFI_SP], .hi = seen.regs[GD_CFI_SP] + seen.len,
		                  .len = seen.len, .bytes = seen.copy };
	assert_ok(gd_native_unwind_create(self->memory, &self->maps, &unwind, &err), &err);
	for (unsigned i = 0; i < GD_CFI_REGS; i++)
		frame.reg[i] = seen.regs[i];
	frame.known = (UINT64_C(1) << GD_CFI_REGS) - 1;
	seen.end = GD_NATIVE_CALLER;
	for (; seen.end == GD_NATIVE_CALLER && seen.n_ours < FRAMES_MAX;
	     seen.end = gd_native_unwind_step(unwind, &stack, &frame))
		seen.ours[seen.n_ours++] = frame.pc;
	/* Asked again, nothing new has to be worked out. */
	uint64_t rows = gd_native_unwind_rows(unwind);
	frame = (struct gd_native_frame){ .pc = seen.regs[16], .exact = true };
	memcpy(frame.reg, seen.regs, sizeof(frame.reg));
	frame.known = (UINT64_C(1) << GD_CFI_REGS) - 1;
	while (gd_native_unwind_step(unwind, &stack, &frame) == GD_NATIVE_CALLER)
		;
	assert_int_equal(gd_native_unwind_rows(unwind), rows);
	gd_native_unwind_destroy(unwind);
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread)
{
	(void)dwfl;
	(void)arg;
	if (*thread != NULL)
		return 0;
	*thread = &seen;
	return getpid();
}

static bool read_copy(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *ret, void *arg)
{
	(void)dwfl;
	(void)arg;
	uint64_t at = addr - seen.regs[GD_CFI_SP];
	if (addr < seen.regs[GD_CFI_SP] || at + 8 > seen.len)
		return false;
	memcpy(ret, seen.copy + at, 8);
	return true;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
	(void)arg;
	return dwfl_thread_state_registers(thread, 0, 17, seen.regs);
}

static int take_frame(Dwfl_Frame *frame, void *arg)
{
	(void)arg;
	Dwarf_Addr pc = 0;
	if (!dwfl_frame_pc(frame, &pc, NULL) || seen.n_libdwfls == FRAMES_MAX)
		return DWARF_CB_ABORT;
	seen.libdwfls[seen.n_libdwfls++] = pc;
	return DWARF_CB_OK;
}

static void ask_libdwfl(void)
{
	static const Dwfl_Callbacks callbacks = { .find_elf = dwfl_linux_proc_find_elf,
		                                  .find_debuginfo = dwfl_standard_find_debuginfo };
	static const Dwfl_Thread_Callbacks state = { .next_thread = next_thread,
		                                     .memory_read = read_copy,
		                                     .set_initial_registers = set_registers };
	Dwfl *dwfl = dwfl_begin(&callbacks);
	assert_non_null(dwfl);
	assert_int_equal(dwfl_linux_proc_report(dwfl, getpid()), 0);
	assert_int_equal(dwfl_report_end(dwfl, NULL, NULL), 0);
	assert_true(dwfl_attach_state(dwfl, NULL, getpid(), &state, NULL));
	(void)dwfl_getthread_frames(dwfl, getpid(), take_frame, NULL);
	dwfl_end(dwfl);
}

static void show(const char *who, const uint64_t *list, size_t n)
{
	print_message("%s:", who);
	for (size_t i = 0; i < n; i++)
		print_message(" %#lx", (unsigned long)list[i]);
	print_message("\n");
}

/* Whoever unwinds itself has a stack to its root; `least` frames are known to be on it. */
static void assert_all_agree(size_t least)
{
	struct gd_error err = { 0 };
	assert_true(seen.done);
	assert_ok(gd_target_open(getpid(), &self, &err), &err);
	ask_ourselves();
	ask_libdwfl();
	gd_target_close(self);
	bool equal = seen.n_ours == seen.n_theirs && seen.n_ours == seen.n_libdwfls &&
	             memcmp(seen.ours, seen.theirs, seen.n_ours * sizeof(seen.ours[0])) == 0 &&
	             memcmp(seen.ours, seen.libdwfls, seen.n_ours * sizeof(seen.ours[0])) == 0;
	if (!equal || seen.end != GD_NATIVE_ROOT || seen.n_ours < least) {
		show("ours", seen.ours, seen.n_ours);
		show("libunwind", seen.theirs, seen.n_theirs);
		show("libdwfl", seen.libdwfls, seen.n_libdwfls);
		fail_msg("ended with %d after %zu frames", (int)seen.end, seen.n_ours);
	}
}

static __attribute__((noinline)) int recurse(int level, int n)
{
	volatile int room[4] = { n, n, n, n };
	if (level == 0) {
		ask_libunwind();
		return room[n & 3];
	}
	return recurse(level - 1, n + room[0]) + room[level & 3];
}

static void our_own_recursion(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	(void)recurse(20, 1);
	assert_all_agree(24);
}

static int compare_once(const void *a, const void *b)
{
	if (!seen.done)
		(void)recurse(2, 1);
	return *(const int *)a - *(const int *)b;
}

static void a_callback_of_the_c_library(void **state)
{
	(void)state;
	int list[64];
	memset(&seen, 0, sizeof(seen));
	for (int i = 0; i < 64; i++)
		list[i] = (i * 37) % 64;
	qsort(list, 64, sizeof(list[0]), compare_once);
	assert_all_agree(8);
}

static voidpf allocate(voidpf opaque, uInt items, uInt size)
{
	(void)opaque;
	if (!seen.done)
		(void)recurse(2, 1);
	return calloc(items, size);
}

static void release(voidpf opaque, voidpf address)
{
	(void)opaque;
	free(address);
}

static void a_callback_of_a_library(void **state)
{
	(void)state;
	z_stream z = { .zalloc = allocate, .zfree = release };
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(deflateInit(&z, 6), Z_OK);
	(void)deflateEnd(&z);
	assert_all_agree(8);
}

static void on_signal(int number)
{
	(void)recurse(2, number);
}

static void a_signal_handler(void **state)
{
	(void)state;
	struct sigaction action = { .sa_handler = on_signal }, before;
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_all_agree(9);
}

static void *in_a_thread(void *nothing)
{
	(void)recurse(5, 1);
	return nothing;
}

static void a_thread(void **state)
{
	(void)state;
	pthread_t thread;
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(pthread_create(&thread, NULL, in_a_thread, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_all_agree(9);
}

/* ---- bytes that are made up --------------------------------------------------------------------- */

enum { MADE_AT = 0x400000, FRAMES_AT = 0x200, FUNCTION = 0x1000, MADE = 0x2000 };

struct made {
	uint8_t bytes[MADE];
	size_t at;
};

static void put(struct made *m, const void *bytes, size_t n)
{
	assert_true(m->at + n <= MADE);
	memcpy(m->bytes + m->at, bytes, n);
	m->at += n;
}

static void put_u32(struct made *m, uint32_t value)
{
	put(m, &value, sizeof(value));
}

/* A program of one function with these instructions for its frame. */
static void make(struct made *m, const char *instructions, size_t n)
{
	const Elf64_Ehdr elf = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		                 .e_phoff = sizeof(elf), .e_phentsize = sizeof(Elf64_Phdr),
		                 .e_phnum = 2 };
	const Elf64_Phdr phdrs[2] = {
		{ .p_type = PT_LOAD, .p_vaddr = MADE_AT, .p_memsz = MADE },
		{ .p_type = PT_GNU_EH_FRAME, .p_vaddr = MADE_AT + FRAMES_AT, .p_memsz = 20 },
	};
	/* CIE: "zR", code by 1, data by -8, return address in 16; CFA = rsp + 8, that at CFA - 8. */
	static const uint8_t cie[] = { 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b,
		                       0x0c, 7, 8, 0x90, 1, 0, 0 };
	memset(m, 0, sizeof(*m));
	put(m, &elf, sizeof(elf));
	put(m, phdrs, sizeof(phdrs));
	m->at = FRAMES_AT;
	put(m, "\x01\x1b\x03\x3b", 4);
	put_u32(m, 16);
	put_u32(m, 1);
	put_u32(m, FUNCTION - FRAMES_AT);
	put_u32(m, 20 + 8 + sizeof(cie));
	put_u32(m, 4 + sizeof(cie));
	put_u32(m, 0);
	put(m, cie, sizeof(cie));
	put_u32(m, (uint32_t)(4 + 4 + 4 + 1 + n));
	put_u32(m, 8 + sizeof(cie) + 4);
	put_u32(m, (uint32_t)(FUNCTION - m->at));
	put_u32(m, 0x100);
	put(m, "", 1);
	put(m, instructions, n);
}

/* One step from 0x20 into that function; rsp at 0x7000, where words are 0x500000, 0x500001, ... */
static enum gd_native_step step(const struct made *m, struct gd_native_frame *frame)
{
	GD_MEMORY struct gd_memory *memory = NULL;
	struct gd_native_unwind *unwind = NULL;
	struct gd_error err = { 0 };
	uint64_t words[8];
	struct gd_map map = { .start = MADE_AT, .end = MADE_AT + MADE, .exec = true, .path = "/x" };
	const struct gd_maps maps = { .list = &map, .n = 1 };
	for (unsigned i = 0; i < 8; i++)
		words[i] = 0x500000 + i;
	struct gd_stack stack = { .at = 0x7000, .hi = 0x7040, .len = 64,
		                  .bytes = (const uint8_t *)words };
	*frame = (struct gd_native_frame){ .pc = MADE_AT + FUNCTION + 0x20, .exact = true };
	for (unsigned i = 0; i < GD_CFI_REGS; i++)
		frame->reg[i] = UINT64_C(0x1000) * i;
	frame->known = (UINT64_C(1) << GD_CFI_REGS) - 1;
	assert_ok(gd_memory_bytes(MADE_AT, m->bytes, sizeof(m->bytes), &memory, &err), &err);
	assert_ok(gd_native_unwind_create(memory, &maps, &unwind, &err), &err);
	enum gd_native_step r = gd_native_unwind_step(unwind, &stack, frame);
	gd_native_unwind_destroy(unwind);
	return r;
}

#define make_of(m, instructions) make((m), (instructions), sizeof(instructions) - 1)

static void registers_come_from_where_the_rules_say(void **state)
{
	(void)state;
	static struct made m;
	struct gd_native_frame f;
	make_of(&m, "");
	assert_int_equal(step(&m, &f), GD_NATIVE_CALLER);
	assert_int_equal(f.pc, 0x500000);
	assert_int_equal(f.reg[GD_CFI_SP], 0x7008);
	assert_true(gd_native_frame_knows(&f, GD_CFI_BP) && f.reg[GD_CFI_BP] == 0x6000);
	assert_false(gd_native_frame_knows(&f, 0)); /* a caller's rax is gone */
	assert_false(f.exact);
	/* CFA = rsp + 32, rbp at CFA - 16, rbx is r12 */
	make_of(&m, "\x0e\x20\x86\x02\x09\x03\x0c");
	assert_int_equal(step(&m, &f), GD_NATIVE_CALLER);
	assert_int_equal(f.pc, 0x500003);
	assert_int_equal(f.reg[GD_CFI_BP], 0x500002);
	assert_int_equal(f.reg[3], 0xc000);
	assert_int_equal(f.reg[GD_CFI_SP], 0x7020);
	/* From 0x30 on another one: not yet. */
	make_of(&m, "\x0e\x10\x70\x0e\x20");
	assert_int_equal(step(&m, &f), GD_NATIVE_CALLER);
	assert_int_equal(f.pc, 0x500001);
	/* CFA as a PLT has it: rsp + 8 + ((rip & 15) >= 11) << 3, here rip & 15 is 0 */
	make_of(&m, "\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22");
	assert_int_equal(step(&m, &f), GD_NATIVE_CALLER);
	assert_int_equal(f.pc, 0x500000);
	/* CFA is the word at rsp + 8: beyond the copy, but rbp is known not to be. */
	make_of(&m, "\x0f\x03\x77\x08\x06");
	assert_int_equal(step(&m, &f), GD_NATIVE_BEYOND);
}

static void a_root_is_a_root(void **state)
{
	(void)state;
	static struct made m;
	struct gd_native_frame f;
	make_of(&m, "\x07\x10");
	assert_int_equal(step(&m, &f), GD_NATIVE_ROOT);
	/* Not within the copy, which has 64 bytes. */
	make_of(&m, "\x0e\x80\x01");
	assert_int_equal(step(&m, &f), GD_NATIVE_BEYOND);
	assert_int_equal(f.ret_at, 0x7078);
	/* A stack that would go down. */
	make_of(&m, "\x13\x02");
	assert_int_equal(step(&m, &f), GD_NATIVE_LOST);
}

static void frame_pointers_are_for_who_asks(void **state)
{
	(void)state;
	const uint64_t words[4] = { 1, 2, 0x7010, 0x500000 };
	struct gd_stack stack = { .at = 0x7000, .hi = 0x7020, .len = 32,
		                  .bytes = (const uint8_t *)words };
	struct gd_native_frame f = { .pc = MADE_AT, .exact = true };
	assert_int_equal(gd_native_unwind_by_pointer(&stack, &f), GD_NATIVE_BEYOND);
	f.reg[GD_CFI_BP] = 0x7010;
	f.known = UINT64_C(1) << GD_CFI_BP;
	assert_int_equal(gd_native_unwind_by_pointer(&stack, &f), GD_NATIVE_CALLER);
	assert_int_equal(f.pc, 0x500000);
	assert_int_equal(f.reg[GD_CFI_SP], 0x7020);
	assert_int_equal(f.reg[GD_CFI_BP], 0x7010);
	/* Not down again. */
	assert_int_equal(gd_native_unwind_by_pointer(&stack, &f), GD_NATIVE_BEYOND);
	assert_int_equal(f.pc, 0x500000);
}

static void what_is_not_sound_is_no_rule(void **state)
{
	(void)state;
	static const struct { const char *bytes; size_t n; } bad[] = {
		{ "\x0e", 1 },                             /* ends in the middle */
		{ "\x09\x03\xff\xff\xff\xff\x07", 7 },     /* a register of two billion */
		{ "\x0b", 1 },                             /* a state that nobody remembered */
		{ "\x3e", 1 },                             /* no such instruction */
		{ "\x01\x00\x00\x00\x00", 5 },             /* one that could go back */
		{ "\x0f\x7f\x77\x08", 4 },                 /* an expression longer than its entry */
		{ "\x0f\x03\x2f\xfd\xff", 5 },             /* one that jumps */
		{ "\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a", 18 },
	};
	static struct made m;
	struct gd_native_frame f;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make(&m, bad[i].bytes, bad[i].n);
		assert_int_equal(step(&m, &f), GD_NATIVE_NO_RULES);
	}
	/* Another form of table, one that is longer than it can be, an entry outside. */
	make_of(&m, "");
	m.bytes[FRAMES_AT + 3] = 0x1b;
	assert_int_equal(step(&m, &f), GD_NATIVE_NO_RULES);
	make_of(&m, "");
	m.bytes[FRAMES_AT + 8] = 3;
	assert_int_equal(step(&m, &f), GD_NATIVE_NO_RULES);
	make_of(&m, "");
	m.bytes[FRAMES_AT + 18] = 0x7f;
	assert_int_equal(step(&m, &f), GD_NATIVE_NO_RULES);
	/* The function ends before. */
	make_of(&m, "");
	m.bytes[FRAMES_AT + 20 + 24 + 12] = 0x20;
	m.bytes[FRAMES_AT + 20 + 24 + 13] = 0;
	assert_int_equal(step(&m, &f), GD_NATIVE_NO_RULES);
}

/* ---- a program without frame pointers ------------------------------------------------------------ */

/* Who calls whom in tests/victims/native.c. */
static const struct {
	const char *function;
	const char *callers[4]; /* libc's own have no names where it is a library */
} known[] = {
	{ "mix", { "deep", "compare" } },
	{ "smash", { "deep" } },
	{ "deep", { "deep", "run_deep", "on_signal", "run_main" } },
	{ "compare", { "libc.so", "msort_with_tmp" } },
	{ "qsort_r", { "run_sort", "qsort" } },
	{ "qsort", { "run_sort" } },
	{ "deflate", { "compress2" } },
	{ "compress2", { "run_deflate", "compress" } },
	{ "compress", { "run_deflate" } },
	{ "raise", { "run_signal" } },
	{ "on_signal", { "libc.so", "native_static+0x" } }, /* where handlers return to */
	{ "clock_gettime", { "run_clock", "clock_gettime" } }, /* libc's and the vdso's */
	{ "__vdso_clock_gettime", { "clock_gettime" } },
	{ "zlibVersion", { "run_plt" } },
	{ "run_deep", { "begin" } },
	{ "run_sort", { "begin" } },
	{ "run_deflate", { "begin" } },
	{ "run_signal", { "begin" } },
	{ "run_plt", { "begin" } },
	{ "run_clock", { "begin" } },
	{ "run_main", { "main" } },
	{ "begin", { "libc.so", "start_thread" } },
	{ "main", { "libc.so", "__libc_start_call_main" } },
	{ "__libc_start_main", { "_start" } },
};

struct totals {
	uint64_t samples, rooted, wrong, by_kind[8];
	unsigned shown;
};

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* 0, or the frame whose caller is wrong. */
static size_t wrong_caller(char *const *frames, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			bool right = strcmp(frames[i], known[k].function) != 0;
			for (size_t c = 0; c < 4 && known[k].callers[c] != NULL && !right; c++)
				right = begins_with(frames[i - 1], known[k].callers[c]);
			if (!right)
				return i;
		}
	return 0;
}

static const char *const kinds[8] = { "run_deep",  "run_sort", "run_deflate", "run_signal",
	                              "run_plt", "run_clock", "run_main", "wait_for_end" };

/* "class;thread;frame;...;frame COUNT"; a root is clone's or _start, and a kind is near it. */
static void check_line(char *line, struct totals *t)
{
	char *frames[600];
	size_t n = 0;
	GD_FREE char *whole = strdup(line);
	char *space = strrchr(line, ' ');
	assert_non_null(space);
	*space = '\0';
	uint64_t count = strtoull(space + 1, NULL, 10);
	char *saved = NULL;
	for (char *word = strtok_r(line, ";", &saved); word != NULL && n < 600;
	     word = strtok_r(NULL, ";", &saved))
		frames[n++] = word;
	t->samples += count;
	if (n < 3 || strcmp(frames[0], "lost") == 0)
		return;
	bool rooted = false;
	for (size_t i = 2; i < n && i < 7 && !rooted; i++)
		for (size_t k = 0; k < 8 && !rooted; k++)
			if (strcmp(frames[i], kinds[k]) == 0) {
				rooted = begins_with(frames[2], "_start") ||
				         begins_with(frames[2], "libc.so") ||
				         begins_with(frames[2], "__clone");
				t->by_kind[k] += count;
			}
	t->rooted += rooted ? count : 0;
	if (!rooted && t->shown++ < 10)
		print_error("no root: %s\n", whole);
	size_t wrong = wrong_caller(frames + 2, n - 2);
	t->wrong += wrong != 0 ? count : 0;
	if (wrong != 0)
		print_error("the caller of %s is %s; %s\n", frames[2 + wrong], frames[1 + wrong], whole);
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value))
		fail_msg("samples.json: %s is no number", key);
	return (uint64_t)json_integer_value(value);
}

static void check_facts(const struct kept_artifact *facts)
{
	json_error_t problem;
	json_t *json = json_loadb(facts->bytes.data, facts->bytes.len, 0, &problem);
	assert_non_null(json);
	const json_t *native = json_object_get(json, "native_callers");
	uint64_t samples = number(json, "samples");
	uint64_t root = number(json_object_get(json, "unwound"), "root");
	uint64_t by_cfi = number(native, "by_call_frame_information");
	uint64_t by_pointer = number(native, "by_frame_pointer");
	print_message("# %lu samples, %lu to the root; %lu callers by call frame information, %lu by "
	              "frame pointers, %lu rows; %.1f us of CPU a sample or switch\n",
	              (unsigned long)samples, (unsigned long)root, (unsigned long)by_cfi,
	              (unsigned long)by_pointer, (unsigned long)number(native, "rows"),
	              (double)number(json, "sampler_cpu_ns") / 1000 /
	              (double)(samples + number(json_object_get(json, "offcpu"), "switches")));
	assert_true(root * 100 >= samples * 99);
	assert_true(by_pointer * 100 <= by_cfi);
	json_decref(json);
}

static void all_samples_of(const char *name)
{
	static struct kept kept;
	struct gd_error err = { 0 };
	struct totals t = { .samples = 0 };
	struct victim *victim = victim_start(name, NULL);
	struct gd_collect c = { .sink = &kept.sink,
		                .window = { .duration_ns = 3000000000, .frequency_hz = 997 } };
	kept_init(&kept);
	assert_ok(gd_target_open(victim->pid, &c.target, &err), &err);
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	gd_target_close(c.target);
	if (outcome.grade == GD_GRADE_SKIPPED) {
		kept_deinit(&kept);
		test_skip("%s", outcome.why.msg);
	}
	const struct kept_artifact *folded = kept_find(&kept, "cpu.folded");
	const struct kept_artifact *facts = kept_find(&kept, "samples.json");
	assert_true(folded != NULL && facts != NULL && facts->bytes.len > 0);
	char *saved = NULL;
	for (char *line = strtok_r(folded->bytes.data, "\n", &saved); line != NULL;
	     line = strtok_r(NULL, "\n", &saved))
		check_line(line, &t);
	if (t.samples < 500) {
		kept_deinit(&kept);
		test_skip("the machine is too busy: only %lu samples", (unsigned long)t.samples);
	}
	check_facts(facts);
	kept_deinit(&kept);
	for (size_t k = 0; k + 1 < 8; k++)
		print_message("# %-12s %lu samples\n", kinds[k], (unsigned long)t.by_kind[k]);
	assert_int_equal(t.wrong, 0);
	assert_true(t.rooted * 100 >= t.samples * 99);
	for (size_t k = 0; k + 1 < 8; k++)
		assert_true(t.by_kind[k] > 0);
}

static void samples_reach_their_root(void **state)
{
	(void)state;
	all_samples_of("native");
}

/* Linked without .eh_frame_hdr: a table is made. */
static void those_of_a_static_program_too(void **state)
{
	(void)state;
	if (access(victim_path("native_static"), X_OK) != 0)
		test_skip("no C library here to link statically");
	all_samples_of("native_static");
}

int main(void)
{
	own_memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	/* libunwind has a pipe of its own from the first time on. */
	(void)recurse(1, 1);
	static const struct CMUnitTest tests[] = {
		test_case(our_own_recursion),
		test_case(a_callback_of_the_c_library),
		test_case(a_callback_of_a_library),
		test_case(a_signal_handler),
		test_case(a_thread),
		test_case(registers_come_from_where_the_rules_say),
		test_case(a_root_is_a_root),
		test_case(frame_pointers_are_for_who_asks),
		test_case(what_is_not_sound_is_no_rule),
		test_case(samples_reach_their_root),
		test_case(those_of_a_static_program_too),
	};
	return test_run(tests);
}
