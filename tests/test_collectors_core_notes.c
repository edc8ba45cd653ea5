#include "tests/cores.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "collectors/core_notes.h"
#include "target/target.h"

static void cleanup_image(struct gd_image **image)
{
	gd_image_destroy(*image);
}
#define GD_IMAGE GD_CLEANUP(cleanup_image)

static const struct gd_image_limits limits = {
	.chunks = 4096, .maps = 1000, .path_bytes = 1u << 20, .threads = 64,
};

static struct gd_image *new_image(void)
{
	struct gd_error err = { 0 };
	struct gd_image *image = NULL;
	int fd = open(test_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_ok(gd_image_create(fd, &limits, &image, &err), &err);
	return image;
}

/* --- the notes themselves ------------------------------------------------------------------ */

struct note {
	char owner[16];
	uint32_t type;
	const uint8_t *content;
	size_t n;
};

static size_t take_apart(const struct gd_buf *notes, struct note *list, size_t max)
{
	struct gd_bytes b = gd_bytes_of(notes->data, notes->len);
	size_t n = 0;
	while (b.pos < b.len) {
		assert_true(n < max);
		uint32_t name = gd_bytes_u32(&b);
		uint32_t size = gd_bytes_u32(&b);
		struct note *note = &list[n++];
		note->type = gd_bytes_u32(&b);
		assert_true(name <= sizeof(note->owner));
		memcpy(note->owner, gd_bytes_take(&b, name), name);
		(void)gd_bytes_take(&b, (4 - name % 4) % 4);
		note->content = gd_bytes_take(&b, size);
		note->n = size;
		(void)gd_bytes_take(&b, (4 - size % 4) % 4);
		assert_false(b.bad);
	}
	return n;
}

static const char made_up_maps[] =
	"00400000-00402000 r-xp 00001000 08:01 77 /srv/checkout\n"
	"00402000-00403000 rw-p 00000000 00:00 0 [heap]\n"
	"00500000-00501000 rw-s 00000000 00:05 78 /dev/shm/y (deleted)\n";

static void add_thread(struct gd_image *image, int32_t tid, bool stopped, size_t xstate_bytes)
{
	struct gd_error err = { 0 };
	GD_FREE uint8_t *xstate = calloc(1, xstate_bytes + 1);
	struct gd_image_thread thread = { .tid = tid, .stopped = stopped, .sigpend = 3,
		                          .sighold = 5, .xstate_bytes = (uint32_t)xstate_bytes };
	assert_non_null(xstate);
	thread.regs.rip = 0x400000u + (unsigned)tid;
	memset(xstate, tid, xstate_bytes);
	assert_ok(gd_image_add_thread(image, &thread, xstate, &err), &err);
}

static struct gd_image *made_up(void)
{
	struct gd_image *image = new_image();
	GD_MAPS struct gd_maps maps = { 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_maps_parse(made_up_maps, strlen(made_up_maps), &maps, &err), &err);
	assert_ok(gd_image_set_maps(image, &maps, &err), &err);
	return image;
}

static void notes_come_in_the_kernels_order(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = made_up();
	GD_BUF struct gd_buf out = GD_BUF_INIT(1u << 20);
	GD_TARGET struct gd_target *self = NULL;
	const struct gd_core_notes_order order = { .first_tid = 12, .auxv = "auxv", .n_auxv = 4 };
	struct gd_error err = { 0 };
	struct note notes[32];
	add_thread(image, 11, false, 0);
	add_thread(image, 10, true, 832);
	add_thread(image, 12, true, 512);
	assert_ok(gd_image_finish(image, &err), &err);
	assert_ok(gd_target_open(getpid(), &self, &err), &err);
	assert_ok(gd_core_notes_write(image, self, &order, &out, &err), &err);
	size_t n = take_apart(&out, notes, 32);
	static const uint32_t types[] = { NT_PRSTATUS, NT_PRPSINFO, NT_SIGINFO, NT_AUXV, NT_FILE,
		                          NT_FPREGSET, NT_PRSTATUS, NT_FPREGSET, NT_X86_XSTATE,
		                          NT_PRSTATUS };
	assert_int_equal(n, sizeof(types) / sizeof(types[0]));
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(notes[i].type, types[i]);
		assert_string_equal(notes[i].owner, i == 8 ? "LINUX" : "CORE");
	}
	static const int32_t tids[] = { 12, 10, 11 };
	static const size_t at[] = { 0, 6, 9 };
	for (size_t i = 0; i < 3; i++) {
		struct elf_prstatus status;
		struct user_regs_struct regs;
		assert_int_equal(notes[at[i]].n, sizeof(status));
		memcpy(&status, notes[at[i]].content, sizeof(status));
		memcpy(&regs, &status.pr_reg, sizeof(regs));
		assert_int_equal(status.pr_pid, tids[i]);
		assert_int_equal(status.pr_sigpend, 3);
		assert_int_equal(status.pr_ppid, getppid());
		/* Of one that did not stop nothing is known. */
		assert_int_equal(regs.rip, i < 2 ? 0x400000u + (unsigned)tids[i] : 0);
		assert_int_equal(status.pr_fpvalid, i < 2);
	}
	/* Its last 48 bytes are the kernel's own words about an XSAVE area, which this is none. */
	static const uint8_t nothing[48] = { 0 };
	assert_int_equal(notes[5].n, 512);
	assert_int_equal(notes[5].content[463], 12);
	assert_memory_equal(notes[5].content + 464, nothing, sizeof(nothing));
	assert_int_equal(notes[8].n, 832);
	assert_int_equal(notes[8].content[831], 10);
	assert_memory_equal(notes[3].content, "auxv", 4);
}

static void mapped_files_are_listed_in_pages(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = made_up();
	GD_BUF struct gd_buf out = GD_BUF_INIT(1u << 20);
	GD_TARGET struct gd_target *self = NULL;
	const struct gd_core_notes_order order = { 0 };
	struct gd_error err = { 0 };
	struct note notes[8];
	assert_ok(gd_image_finish(image, &err), &err);
	assert_ok(gd_target_open(getpid(), &self, &err), &err);
	assert_ok(gd_core_notes_write(image, self, &order, &out, &err), &err);
	/* An image of a process that was never stopped has one thread that nothing is known of. */
	assert_int_equal(take_apart(&out, notes, 8), 4);
	assert_int_equal(notes[0].type, NT_PRSTATUS);
	assert_int_equal(notes[3].type, NT_FILE);
	static const uint64_t want[] = { 2, 4096, 0x400000, 0x402000, 1, 0x500000, 0x501000, 0 };
	static const char names[] = "/srv/checkout\0/dev/shm/y (deleted)";
	assert_int_equal(notes[3].n, sizeof(want) + sizeof(names));
	assert_memory_equal(notes[3].content, want, sizeof(want));
	assert_memory_equal(notes[3].content + sizeof(want), names, sizeof(names));
}

static void a_buffer_too_small_is_an_error(void **state)
{
	(void)state;
	GD_IMAGE struct gd_image *image = made_up();
	GD_BUF struct gd_buf out = GD_BUF_INIT(500);
	GD_TARGET struct gd_target *self = NULL;
	const struct gd_core_notes_order order = { 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_image_finish(image, &err), &err);
	assert_ok(gd_target_open(getpid(), &self, &err), &err);
	assert_fails(gd_core_notes_write(image, self, &order, &out, &err), -E2BIG, &err);
}

/* --- a real process, and what gdb says of its core ------------------------------------------- */

struct picture {
	struct victim *victim;
	struct gd_target *target;
	struct gd_image *image;
	struct gd_buf auxv;
	struct gd_core_area *areas;
	size_t n_areas;
	struct core_chunk *chunks;
	size_t n_chunks;
};

static void stop_thread(struct gd_image *image, pid_t tid)
{
	struct gd_image_thread thread = { .tid = tid, .stopped = true };
	uint8_t xstate[GD_IMAGE_XSTATE_MAX];
	struct iovec io = { .iov_base = xstate, .iov_len = sizeof(xstate) };
	struct gd_error err = { 0 };
	int status;
	assert_int_equal(ptrace(PTRACE_SEIZE, tid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
	assert_int_equal(waitpid(tid, &status, __WALL), tid);
	assert_int_equal(ptrace(PTRACE_GETREGS, tid, NULL, &thread.regs), 0);
	assert_int_equal(ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &io), 0);
	thread.xstate_bytes = (uint32_t)io.iov_len;
	assert_ok(gd_image_add_thread(image, &thread, xstate, &err), &err);
}

/*
 * Private memory without the text: what was relocated and then protected is the process's own, too.
 */
static void copy_map(struct picture *p, const struct gd_map *map, int mem_fd)
{
	uint8_t page[4096];
	struct gd_error err = { 0 };
	if (!map->read || map->exec || map->shared)
		return;
	for (uint64_t at = map->start; at < map->end; at += sizeof(page)) {
		if (pread(mem_fd, page, sizeof(page), (off_t)at) != sizeof(page))
			return;
		if (page[0] != 0 || memcmp(page, page + 1, sizeof(page) - 1) != 0 ||
		    map->path[0] == '/')
			assert_ok(gd_image_put(p->image, at, page, 1, &err), &err);
	}
}

static void describe(struct picture *p)
{
	const struct gd_image_map *maps = gd_image_maps(p->image, &p->n_areas);
	p->areas = calloc(p->n_areas, sizeof(*p->areas));
	assert_non_null(p->areas);
	for (size_t i = 0; i < p->n_areas; i++) {
		const struct gd_image_map *m = &maps[i];
		const char *path = gd_image_path(p->image, m);
		p->areas[i] = (struct gd_core_area){
			.start = m->start, .end = m->end, .offset = m->offset, .inode = m->inode,
			.read = m->read, .write = m->write, .exec = m->exec, .shared = m->shared,
			.deleted = m->deleted, .path = path,
			.missing = path[0] == '/' ? GD_CORE_OF_FILE
			           : path[0] == '[' && m->exec ? GD_CORE_LOST : GD_CORE_ZERO,
		};
	}
	const struct gd_image_chunk *chunks = gd_image_chunks(p->image, &p->n_chunks);
	p->chunks = calloc(p->n_chunks, sizeof(*p->chunks));
	assert_non_null(p->chunks);
	for (size_t i = 0; i < p->n_chunks; i++) {
		struct gd_error err = { 0 };
		p->chunks[i] = core_chunk(chunks[i].addr, 0);
		memcpy(p->chunks[i].pages, chunks[i].pages, sizeof(p->chunks[i].pages));
		assert_ok(gd_image_read_chunk(p->image, &chunks[i], p->chunks[i].bytes, &err),
		          &err);
	}
}

/* The victim is ours: it may be stopped with ptrace here. */
static void take_picture(struct picture *p)
{
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n;
	*p = (struct picture){ .victim = victim_start("household", "--password=hunter2", NULL),
		               .image = new_image(), .auxv = GD_BUF_INIT(65536) };
	assert_ok(gd_target_open(p->victim->pid, &p->target, &err), &err);
	assert_ok(gd_target_threads(p->target, &tids, &n, &err), &err);
	for (size_t i = 0; i < n; i++)
		stop_thread(p->image, tids[i]);
	assert_ok(gd_target_read_file(p->target, "auxv", &p->auxv, &err), &err);
	for (size_t i = 0; i < p->target->maps.n; i++)
		copy_map(p, &p->target->maps.list[i], p->target->fds.mem_fd);
	assert_ok(gd_image_set_maps(p->image, &p->target->maps, &err), &err);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(ptrace(PTRACE_DETACH, tids[i], NULL, NULL), 0);
	assert_ok(gd_image_finish(p->image, &err), &err);
	describe(p);
}

static void forget(struct picture *p)
{
	core_free(p->chunks, p->n_chunks);
	free(p->chunks);
	free(p->areas);
	gd_buf_deinit(&p->auxv);
	gd_image_destroy(p->image);
	gd_target_close(p->target);
	victim_stop(p->victim);
}

static struct gd_sealed archive_picture(struct picture *p, const char *file, bool with_exe)
{
	GD_BUF struct gd_buf notes = GD_BUF_INIT(1u << 20);
	GD_BUF struct gd_buf exe = archive_read(victim_path("household"));
	const struct gd_core_notes_order order = { .auxv = p->auxv.data, .n_auxv = p->auxv.len };
	char path[4096];
	struct gd_error err = { 0 };
	assert_ok(gd_core_notes_write(p->image, p->target, &order, &notes, &err), &err);
	assert_ok(gd_target_read_link(p->target, "exe", path, sizeof(path), &err), &err);
	const struct core_made made = { .areas = p->areas, .n_areas = p->n_areas,
		                        .chunks = p->chunks, .n_chunks = p->n_chunks,
		                        .notes = notes.data, .n_notes = notes.len,
		                        .exe_path = path, .exe = with_exe ? exe.data : NULL,
		                        .n_exe = exe.len };
	return core_make(file, &made);
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;
	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

static void gdb_shows_every_thread_with_its_backtrace(void **state)
{
	(void)state;
	struct picture p;
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	take_picture(&p);
	for (int with_exe = 0; with_exe < 2; with_exe++) {
		const char *core = with_exe ? "core-exe" : "core";
		struct gd_sealed sealed =
			archive_picture(&p, with_exe ? "exe.tar" : "a.tar", with_exe != 0);
		assert_ok(core_extract(sealed.path, NULL, core, &result, NULL, &err), &err);
		assert_int_equal(result.problems, 0);
		const char *exe = victim_path("household");
		const char *said = core_gdb(exe, test_path(core), "thread apply all bt");
		assert_int_equal(count(said, "live (arg="), 10);
		assert_int_equal(count(said, " main ("), 1);
		said = core_gdb(exe, test_path(core), "info threads");
		assert_int_equal(count(said, "[New LWP"), 11);
		assert_contains(core_gdb(exe, test_path(core), "info proc"), "household");
		assert_contains(core_gdb(exe, test_path(core), "info auxv"), "AT_ENTRY");
	}
	forget(&p);
}

static void every_kept_page_is_in_the_core_as_it_was(void **state)
{
	(void)state;
	struct picture p;
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	unsigned pages = 0;
	take_picture(&p);
	struct gd_sealed sealed = archive_picture(&p, "a.tar", true);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	for (size_t i = 0; i < p.n_chunks; i++) {
		for (unsigned k = 0; k < 256; k++) {
			uint8_t page[4096];
			if ((p.chunks[i].pages[k / 64] >> (k % 64) & 1) == 0)
				continue;
			pages++;
			assert_true(core_peek(test_path("core"), p.chunks[i].addr + k * 4096ULL,
			                      page));
			assert_memory_equal(page, p.chunks[i].bytes + k * 4096ULL, 4096);
		}
	}
	assert_true(pages > 20);
	/* The text, which nobody kept, is the executable's. */
	for (size_t i = 0; i < p.n_areas; i++) {
		uint8_t page[4096];
		uint8_t was[4096];
		const struct gd_core_area *area = &p.areas[i];
		if (!area->exec || strstr(area->path, "/household") == NULL)
			continue;
		assert_true(core_peek(test_path("core"), area->start, page));
		assert_int_equal(pread(p.target->fds.mem_fd, was, 4096, (off_t)area->start), 4096);
		assert_memory_equal(page, was, 4096);
		pages = 0;
	}
	assert_int_equal(pages, 0);
	forget(&p);
}

static void readelf_knows_the_notes_and_secrets_are_masked(void **state)
{
	(void)state;
	struct picture p;
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	take_picture(&p);
	struct gd_sealed sealed = archive_picture(&p, "a.tar", false);
	assert_ok(core_extract(sealed.path, NULL, "core", &result, NULL, &err), &err);
	/* Of a CPU with wide registers it prints 33,000 letters for each thread. */
	const char *said = archive_run("readelf -nW %s 2>&1 | cut -c1-100", test_path("core"));
	static const char *const notes[] = { "NT_PRSTATUS", "NT_PRPSINFO", "NT_SIGINFO", "NT_AUXV",
		                             "NT_FILE", "NT_FPREGSET", "NT_X86_XSTATE" };
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
		assert_contains(said, notes[i]);
	assert_int_equal(count(said, "NT_X86_XSTATE"), 11);
	assert_null(strstr(said, "arning"));
	GD_BUF struct gd_buf text = GD_BUF_INIT(1u << 20);
	const struct gd_core_notes_order order = { 0 };
	assert_ok(gd_core_notes_write(p.image, p.target, &order, &text, &err), &err);
	assert_null(memmem(text.data, text.len, "hunter2", 7));
	assert_non_null(memmem(text.data, text.len, "household", 9));
	forget(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(notes_come_in_the_kernels_order),
		test_case(mapped_files_are_listed_in_pages),
		test_case(a_buffer_too_small_is_an_error),
		test_case(gdb_shows_every_thread_with_its_backtrace),
		test_case(every_kept_page_is_in_the_core_as_it_was),
		test_case(readelf_knows_the_notes_and_secrets_are_masked),
	};
	return test_run(tests);
}
