#include "tests/test.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/build_id.h"

/* A tiny ELF file: header, one PT_NOTE, the notes. */
struct tiny {
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	unsigned char notes[256];
};

static size_t put_note(unsigned char *to, const char name[4], uint32_t type, const void *desc,
                       uint32_t n)
{
	const uint32_t head[3] = { 4, n, type };
	memset(to, 0, 16 + (n + 3) / 4 * 4);
	memcpy(to, head, 12);
	memcpy(to + 12, name, 4);
	memcpy(to + 16, desc, n);
	return 16 + (n + 3) / 4 * 4;
}

static struct tiny make_tiny(void)
{
	struct tiny t = { 0 };
	memcpy(t.header.e_ident, ELFMAG, SELFMAG);
	t.header.e_ident[EI_CLASS] = ELFCLASS64;
	t.header.e_ident[EI_DATA] = ELFDATA2LSB;
	t.header.e_phoff = offsetof(struct tiny, segment);
	t.header.e_phentsize = sizeof(Elf64_Phdr);
	t.header.e_phnum = 1;
	t.segment.p_type = PT_NOTE;
	t.segment.p_offset = offsetof(struct tiny, notes);
	t.segment.p_align = 4;
	size_t n = put_note(t.notes, "Go\0", 4, "abc/def/ghi", 11);
	n += put_note(t.notes + n, "GNU", NT_GNU_BUILD_ID, "\x01\x23\xab\xcd\xef", 5);
	t.segment.p_filesz = n;
	return t;
}

static int read_file(const void *bytes, size_t n, struct gd_build_id *ids, struct gd_error *err)
{
	GD_CLOSE int fd = open(test_file("exe", bytes, n), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return gd_build_id_read(fd, ids, err);
}

static void both_ids_are_read(void **state)
{
	(void)state;
	struct tiny t = make_tiny();
	struct gd_build_id ids;
	struct gd_error err = { 0 };
	assert_ok(read_file(&t, sizeof(t), &ids, &err), &err);
	assert_string_equal(ids.gnu, "0123abcdef");
	assert_string_equal(ids.go, "abc/def/ghi");
}

static void a_32_bit_file_is_read_too(void **state)
{
	(void)state;
	struct {
		Elf32_Ehdr header;
		Elf32_Phdr segment;
		unsigned char notes[64];
	} t = { 0 };
	memcpy(t.header.e_ident, ELFMAG, SELFMAG);
	t.header.e_ident[EI_CLASS] = ELFCLASS32;
	t.header.e_ident[EI_DATA] = ELFDATA2LSB;
	t.header.e_phoff = sizeof(t.header);
	t.header.e_phentsize = sizeof(Elf32_Phdr);
	t.header.e_phnum = 1;
	t.segment.p_type = PT_NOTE;
	t.segment.p_offset = sizeof(t.header) + sizeof(t.segment);
	t.segment.p_filesz = (Elf32_Word)put_note(t.notes, "GNU", NT_GNU_BUILD_ID, "\xff", 1);
	struct gd_build_id ids;
	struct gd_error err = { 0 };
	assert_ok(read_file(&t, sizeof(t), &ids, &err), &err);
	assert_string_equal(ids.gnu, "ff");
	assert_string_equal(ids.go, "");
}

static void a_file_without_notes_has_no_ids(void **state)
{
	(void)state;
	struct tiny t = make_tiny();
	struct gd_build_id ids;
	t.header.e_phnum = 0;
	assert_ok(read_file(&t, sizeof(t), &ids, NULL), NULL);
	assert_string_equal(ids.gnu, "");
	assert_string_equal(ids.go, "");
}

static void what_is_no_elf_file_is_ebadmsg(void **state)
{
	(void)state;
	struct tiny t = make_tiny();
	struct gd_build_id ids = { .gnu = "keep" };
	struct gd_error err = { 0 };
	assert_fails(read_file("", 0, &ids, &err), -EBADMSG, &err);
	assert_fails(read_file(&t, 40, &ids, &err), -EBADMSG, &err);
	t.header.e_ident[0] = '#';
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -EBADMSG, &err);
	t = make_tiny();
	t.header.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -ENOTSUP, &err);
	assert_string_equal(ids.gnu, "keep");
}

static void hostile_headers_neither_crash_nor_succeed(void **state)
{
	(void)state;
	struct gd_build_id ids;
	struct gd_error err = { 0 };
	struct tiny t = make_tiny();
	t.header.e_phnum = 0xffff;
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -EBADMSG, &err);
	t = make_tiny();
	t.header.e_phentsize = 1;
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -EBADMSG, &err);
	t = make_tiny();
	t.header.e_phoff = UINT64_MAX - 8;
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -EBADMSG, &err);
	t = make_tiny();
	t.header.e_phoff = sizeof(t) - 8;
	assert_fails(read_file(&t, sizeof(t), &ids, &err), -EBADMSG, &err);
}

static void hostile_segments_and_notes_yield_nothing(void **state)
{
	(void)state;
	struct gd_build_id ids;
	for (int i = 0; i < 7; i++) {
		struct tiny t = make_tiny();
		uint32_t *head = (uint32_t *)(void *)t.notes;
		switch (i) {
		case 0:
			t.segment.p_filesz = UINT64_MAX;
			break;
		case 1:
			t.segment.p_offset = UINT64_MAX;
			break;
		case 2:
			t.segment.p_offset = 1 << 20;
			break;
		case 3:
			head[0] = UINT32_MAX;
			break;
		case 4:
			head[1] = UINT32_MAX;
			break;
		case 5:
			head[0] = UINT32_MAX - 2;
			head[1] = UINT32_MAX - 2;
			break;
		default:
			t.segment.p_filesz = 11;
			break;
		}
		assert_ok(read_file(&t, sizeof(t), &ids, NULL), NULL);
		assert_string_equal(ids.gnu, "");
		assert_string_equal(ids.go, "");
	}
}

static void a_go_id_that_is_not_printable_is_dropped(void **state)
{
	(void)state;
	unsigned char notes[64];
	struct gd_build_id ids = { 0 };
	size_t n = put_note(notes, "Go\0", 4, "a\x1b[2J", 5);
	gd_build_id_parse_notes(notes, n, 4, &ids);
	assert_string_equal(ids.go, "");
}

static void an_id_that_does_not_fit_is_dropped(void **state)
{
	(void)state;
	unsigned char notes[512];
	unsigned char desc[300];
	struct gd_build_id ids = { 0 };
	memset(desc, 'a', sizeof(desc));
	gd_build_id_parse_notes(notes, put_note(notes, "GNU", NT_GNU_BUILD_ID, desc, 65), 4, &ids);
	gd_build_id_parse_notes(notes, put_note(notes, "Go\0", 4, desc, 256), 4, &ids);
	assert_string_equal(ids.gnu, "");
	assert_string_equal(ids.go, "");
}

static void our_own_id_is_what_readelf_says(void **state)
{
	(void)state;
	GD_CLOSE int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct gd_build_id ids;
	struct gd_error err = { 0 };
	char line[512];
	char said[256] = "";
	FILE *p = popen("readelf -n /proc/$PPID/exe 2>&1", "r");
	assert_non_null(p);
	while (fgets(line, sizeof(line), p) != NULL)
		(void)sscanf(line, " Build ID: %255s", said);
	(void)pclose(p);
	if (said[0] == '\0')
		test_skip("readelf is missing, or we have no build id");
	assert_ok(gd_build_id_read(fd, &ids, &err), &err);
	assert_string_equal(ids.gnu, said);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(both_ids_are_read),
		test_case(a_32_bit_file_is_read_too),
		test_case(a_file_without_notes_has_no_ids),
		test_case(what_is_no_elf_file_is_ebadmsg),
		test_case(hostile_headers_neither_crash_nor_succeed),
		test_case(hostile_segments_and_notes_yield_nothing),
		test_case(a_go_id_that_is_not_printable_is_dropped),
		test_case(an_id_that_does_not_fit_is_dropped),
		test_case(our_own_id_is_what_readelf_says),
	};
	return test_run(tests);
}
