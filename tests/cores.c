#include "tests/cores.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static const char plan[] = "{\"format\":1,\"id\":\"20261120T130507Z-1\",\"pid\":4711}\n";

struct core_chunk core_chunk(uint64_t addr, unsigned seed)
{
	struct core_chunk chunk = { .addr = addr, .bytes = calloc(1, GD_PACK_CHUNK) };
	unsigned state = seed;
	assert_non_null(chunk.bytes);
	for (size_t i = 0; i < GD_PACK_CHUNK; i += 8)
		chunk.bytes[i] = (uint8_t)(rand_r(&state) | 1);
	return chunk;
}

void core_keep(struct core_chunk *chunk, unsigned first_page, unsigned n)
{
	for (unsigned i = first_page; i < first_page + n; i++)
		chunk->pages[i / 64] |= 1ULL << (i % 64);
}

void core_free(struct core_chunk *chunks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(chunks[i].bytes);
}

static void put(struct gd_archive *archive, const char *name, const char *type, const void *bytes,
                size_t n, bool compress)
{
	const struct gd_artifact artifact = { .name = name, .media_type = type,
		                              .collector = "core", .compress = compress };
	struct gd_error err = { 0 };
	assert_ok(gd_sink_put(gd_archive_sink(archive), &artifact, bytes, n, &GD_OUTCOME_COMPLETE,
	                      &err), &err);
}

static void default_notes(struct gd_buf *out)
{
	struct elf_prstatus status = { .pr_pid = 4711 };
	const Elf64_Nhdr head = { .n_namesz = 5, .n_descsz = sizeof(status),
		                  .n_type = NT_PRSTATUS };
	gd_buf_append(out, &head, sizeof(head));
	gd_buf_append(out, "CORE\0\0\0", 8);
	gd_buf_append(out, &status, sizeof(status));
}

/* Closes the pack at hand; the map's lines for its chunks get its digest. */
static void put_pack(struct gd_archive *archive, struct gd_pack_writer *writer, unsigned *n_packs,
                     struct gd_core_chunk *chunks, size_t n)
{
	const void *bytes;
	size_t size;
	char name[32];
	struct gd_error err = { 0 };
	assert_ok(gd_pack_close(writer, &bytes, &size, &err), &err);
	(void)snprintf(name, sizeof(name), GD_CORE_PACK_NAME, (*n_packs)++);
	put(archive, name, GD_PACK_MEDIA_TYPE, bytes, size, false);
	size_t n_rows;
	const struct gd_artifact_row *rows = gd_archive_rows(archive, &n_rows);
	for (size_t i = 0; i < n; i++)
		if (!chunks[i].in_base)
			memcpy(chunks[i].pack, rows[n_rows - 1].digest, sizeof(chunks[i].pack));
}

/* As the capture does it: a reference when nothing changed, else against what lay there before. */
static void pack_chunk(struct gd_pack_writer *writer, const struct gd_core_base *base,
                       const struct core_chunk *from, struct gd_core_chunk *to)
{
	GD_FREE uint8_t *prefix = NULL;
	struct gd_packed_chunk packed;
	struct gd_error err = { 0 };
	const struct gd_core_chunk *before =
		base != NULL ? gd_core_base_chunk(base, from->addr) : NULL;
	to->addr = from->addr;
	memcpy(to->pages, from->pages, sizeof(to->pages));
	if (before != NULL) {
		prefix = malloc(GD_PACK_CHUNK);
		assert_non_null(prefix);
		assert_ok(gd_core_base_read(base, from->addr, prefix, &err), &err);
	}
	if (before != NULL && memcmp(prefix, from->bytes, GD_PACK_CHUNK) == 0) {
		memcpy(to->pack, before->pack, sizeof(to->pack));
		to->offset = before->offset;
		to->stored_bytes = before->stored_bytes;
		to->in_base = true;
		return;
	}
	to->prefix = before != NULL;
	assert_ok(gd_pack_add(writer, from->bytes, prefix, &packed, &err), &err);
	to->offset = packed.offset;
	to->stored_bytes = packed.stored_bytes;
}

static void put_core(struct gd_archive *archive, const struct core_made *made)
{
	GD_BUF struct gd_buf map = GD_BUF_INIT(64U << 20);
	GD_FREE struct gd_core_chunk *chunks = calloc(made->n_chunks + 1, sizeof(*chunks));
	struct gd_pack_writer *writer = NULL;
	struct gd_core_head head = { .pid = 4711, .threads = 1, .method = "copy" };
	struct gd_error err = { 0 };
	unsigned n_packs = 0;
	size_t first = 0;
	assert_non_null(chunks);
	assert_ok(gd_pack_writer_create(&writer, &err), &err);
	for (size_t i = 0; i < made->n_chunks; i++) {
		pack_chunk(writer, made->base, &made->chunks[i], &chunks[i]);
		if (gd_pack_is_full(writer) ||
		    (made->per_pack != 0 && gd_pack_chunks(writer) == made->per_pack) ||
		    (i + 1 == made->n_chunks && gd_pack_chunks(writer) > 0)) {
			put_pack(archive, writer, &n_packs, chunks + first, i + 1 - first);
			first = i + 1;
		}
	}
	gd_pack_writer_destroy(writer);
	(void)snprintf(head.scope, sizeof(head.scope), "%s",
	               made->scope != NULL ? made->scope : "full");
	head.has_base = made->base != NULL;
	if (head.has_base) {
		(void)snprintf(head.base_id, sizeof(head.base_id), "%s",
		               gd_core_base_snapshot(made->base)->id);
		(void)snprintf(head.base_digest, sizeof(head.base_digest), "%s",
		               gd_core_base_digest(made->base));
	}
	gd_core_map_put_head(&head, &map);
	for (size_t i = 0; i < made->n_areas; i++)
		gd_core_map_put_area(&made->areas[i], &map);
	for (size_t i = 0; i < made->n_chunks; i++)
		gd_core_map_put_chunk(&chunks[i], &map);
	assert_ok(gd_buf_check(&map, "map", &err), &err);
	put(archive, GD_CORE_MAP_NAME, GD_CORE_MAP_TYPE, map.data, map.len, true);
}

struct gd_sealed core_make(const char *file, const struct core_made *made)
{
	GD_BUF struct gd_buf notes = GD_BUF_INIT(4096);
	struct gd_archive *archive = NULL;
	struct gd_snapshot snapshot = { .pid = 4711 };
	struct gd_sealed sealed;
	struct gd_error err = { 0 };
	assert_ok(gd_archive_create(test_dir(), plan, strlen(plan), &archive, &err), &err);
	if (made->notes == NULL)
		default_notes(&notes);
	put(archive, GD_CORE_NOTES_NAME, GD_CORE_NOTES_TYPE,
	    made->notes != NULL ? made->notes : notes.data,
	    made->notes != NULL ? made->n_notes : notes.len, true);
	put_core(archive, made);
	if (made->exe != NULL)
		put(archive, GD_CORE_EXE_NAME, "application/x-executable", made->exe, made->n_exe,
		    true);
	(void)snprintf(snapshot.id, sizeof(snapshot.id), "id-of-%.40s", file);
	snapshot.comm = strdup("checkout");
	snapshot.trigger = strdup("manual");
	snapshot.exe = strdup(made->exe_path != NULL ? made->exe_path : "");
	assert_ok(gd_archive_seal(archive, &snapshot, file, &sealed, &err), &err);
	gd_snapshot_deinit(&snapshot);
	return sealed;
}

struct gd_core_base *core_base(const char *archive)
{
	struct gd_core_base *base = NULL;
	struct gd_error err = { 0 };
	int fd = open(archive, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_ok(gd_core_base_open(fd, &base, &err), &err);
	return base;
}

static void remember(void *arg, const char *sentence)
{
	struct gd_buf *said = arg;
	if (said != NULL) {
		gd_buf_puts(said, sentence);
		gd_buf_putc(said, '\n');
	}
}

int core_extract(const char *archive, const struct gd_core_base *base, const char *to,
                 struct gd_core_elf_result *result, struct gd_buf *said, struct gd_error *err)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	GD_CLOSE int fd = open(test_path(to), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_ok(gd_reader_open(archive, &reader, err), err);
	return gd_core_elf_write(&reader, base, fd, remember, said, result, err);
}

bool core_peek(const char *elf, uint64_t addr, uint8_t page[4096])
{
	GD_CLOSE int fd = open(elf, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr head;
	Elf64_Shdr section;
	struct gd_error err = { 0 };
	assert_ok(gd_io_pread_all(fd, &head, sizeof(head), 0, &err), &err);
	assert_memory_equal(head.e_ident, ELFMAG, 4);
	size_t n = head.e_phnum;
	if (n == PN_XNUM) {
		assert_ok(gd_io_pread_all(fd, &section, sizeof(section), (off_t)head.e_shoff,
		                          &err), &err);
		n = section.sh_info;
	}
	for (size_t i = 0; i < n; i++) {
		Elf64_Phdr p;
		assert_ok(gd_io_pread_all(fd, &p, sizeof(p),
		                          (off_t)(head.e_phoff + i * sizeof(p)), &err), &err);
		if (p.p_type != PT_LOAD || addr < p.p_vaddr || addr - p.p_vaddr >= p.p_filesz)
			continue;
		assert_int_equal(p.p_offset % 4096, 0);
		assert_ok(gd_io_pread_all(fd, page, 4096, (off_t)(p.p_offset + addr - p.p_vaddr),
		                          &err), &err);
		return true;
	}
	return false;
}

char *core_gdb(const char *exe, const char *core, const char *command)
{
	if (archive_run("command -v gdb || true")[0] == '\0')
		test_skip("gdb is not installed");
	return archive_run("gdb -nx -batch -iex 'set debuginfod enabled off' -ex '%s' -c %s %s 2>&1 "
	                   "|| true", command, core, exe);
}
