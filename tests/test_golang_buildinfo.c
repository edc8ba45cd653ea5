#include "golang/buildinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/go_image.h"
#include "tests/go_target.h"

/* ---- real programs -------------------------------------------------------------------------- */

/* What the victim says of itself, the first line being the version. */
static void said_build(const struct go_target *go, char *version, size_t size, struct gd_buf *lines)
{
	for (const char *line = go->victim->said.data; *line != '\0';) {
		size_t n = strcspn(line, "\n");
		if (strncmp(line, "build\tgo\t", 9) == 0) {
			assert_true(n - 9 < size);
			memcpy(version, line + 9, n - 9);
			version[n - 9] = '\0';
		} else if (strncmp(line, "build\t", 6) == 0) {
			gd_buf_append(lines, line + 6, n - 6);
			gd_buf_putc(lines, '\n');
		}
		line += n + (line[n] == '\n');
	}
}

static void check_block(struct go_target *go)
{
	struct gd_error err = { 0 };
	struct gd_buildinfo info, recovered;
	char version[128] = "";
	GD_BUF struct gd_buf lines = GD_BUF_INIT(1 << 20);
	said_build(go, version, sizeof(version), &lines);
	go_assert_ok(go, gd_buildinfo_find(go->target->memory, &go->target->maps, &info, &err),
	             &err);
	assert_string_equal(info.version, version);
	assert_string_equal(info.modinfo, gd_buf_str(&lines));
	assert_contains(info.modinfo, "mod\tgodiag.example/symbols\t");
	go_assert_ok(go, gd_buildinfo_recover(&go->modules, go->target->memory, &recovered, &err),
	             &err);
	assert_string_equal(recovered.version, version);
	assert_string_equal(recovered.modinfo, info.modinfo);
	gd_buildinfo_deinit(&info);
	gd_buildinfo_deinit(&recovered);
}

static void build_info_is_what_the_program_reads_itself(void **state)
{
	(void)state;
	go_target_each("symbols", check_block);
}

static void a_process_without_go_is_enoent(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	struct gd_buildinfo info;
	GD_TARGET struct gd_target *target = NULL;
	assert_ok(gd_target_open(getpid(), &target, &err), &err);
	assert_fails(gd_buildinfo_find(target->memory, &target->maps, &info, &err), -ENOENT, &err);
}

/* ---- made up -------------------------------------------------------------------------------- */

enum { BLOCK = GO_IMAGE_MODULEDATA + 0x1000 };

#define FRAME_START "\x30\x77\xaf\x0c\x92\x74\x08\x02\x41\xe1\xc1\x07\xe6\xd6\x18\xe6"
#define FRAME_END "\xf9\x32\x43\x31\x86\x18\x20\x72\x00\x82\x42\x10\x41\x16\xd8\xf2"
#define MAGIC "\xff Go buildinf:"

static size_t put_block(struct go_image *image, size_t at, const char *version, const char *modinfo,
                        size_t modinfo_len)
{
	size_t start = at;
	memcpy(image->bytes + at, MAGIC "\x08\x02", 16);
	at += 32;
	image->bytes[at++] = (uint8_t)strlen(version);
	memcpy(image->bytes + at, version, strlen(version));
	at += strlen(version);
	assert_true(modinfo_len < 128);
	image->bytes[at++] = (uint8_t)modinfo_len;
	if (modinfo_len > 0)
		memcpy(image->bytes + at, modinfo, modinfo_len);
	return at + modinfo_len - start;
}

static int find(struct go_image *image, struct gd_buildinfo *ret, struct gd_error *err)
{
	go_image_load(image);
	int r = gd_buildinfo_find(image->memory, &image->maps, ret, err);
	go_image_unload(image);
	return r;
}

static void assert_found(struct go_image *image, const char *version, const char *modinfo)
{
	struct gd_error err = { 0 };
	struct gd_buildinfo info;
	assert_ok(find(image, &info, &err), &err);
	assert_string_equal(info.version, version);
	assert_string_equal(info.modinfo, modinfo);
	gd_buildinfo_deinit(&info);
}

static void module_lines_are_taken_out_of_their_frame(void **state)
{
	(void)state;
	static const char framed[] = FRAME_START "path\tx\n" FRAME_END;
	struct go_image image;
	go_image_make(&image, 24);
	put_block(&image, BLOCK, "go1.24.1", framed, sizeof(framed) - 1);
	assert_found(&image, "go1.24.1", "path\tx\n");
	/* without a frame, and with nothing at all, there are none */
	go_image_make(&image, 24);
	put_block(&image, BLOCK, "go1.24.1", "path\tx\n", 7);
	assert_found(&image, "go1.24.1", "");
	go_image_make(&image, 24);
	put_block(&image, BLOCK, "go1.24.1-X:synctest", "", 0);
	assert_found(&image, "go1.24.1-X:synctest", "");
}

static void the_block_of_old_releases_names_their_version(void **state)
{
	(void)state;
	static const char framed[] = FRAME_START "path\ty\n" FRAME_END;
	struct go_image image;
	go_image_make(&image, 24);
	memcpy(image.bytes + BLOCK, MAGIC "\x08\x00", 16);
	uint64_t at = GO_IMAGE_BASE + BLOCK;
	go_image_put_u64(&image, BLOCK + 16, at + 0x100);
	go_image_put_u64(&image, BLOCK + 24, at + 0x110);
	go_image_put_u64(&image, BLOCK + 0x100, at + 0x200);
	go_image_put_u64(&image, BLOCK + 0x108, strlen("go1.16.4"));
	go_image_put_u64(&image, BLOCK + 0x110, at + 0x300);
	go_image_put_u64(&image, BLOCK + 0x118, sizeof(framed) - 1);
	memcpy(image.bytes + BLOCK + 0x200, "go1.16.4", 8);
	memcpy(image.bytes + BLOCK + 0x300, framed, sizeof(framed));
	assert_found(&image, "go1.16.4", "path\ty\n");
}

/* debug/buildinfo keeps the magic as a constant of its own, and copies of blocks lie about. */
static void what_only_looks_like_a_block_is_passed_over(void **state)
{
	(void)state;
	struct go_image image;
	go_image_make(&image, 24);
	put_block(&image, BLOCK + 8, "go1.1.1", "", 0);          /* not aligned */
	memcpy(image.bytes + BLOCK + 0x40, MAGIC "\x08\x02", 16); /* empty strings follow */
	put_block(&image, BLOCK + 0x80, "unknown", "", 0);
	put_block(&image, BLOCK + 0x100, "go1.24.2", "", 0);
	put_block(&image, BLOCK + 0x200, "go1.25.3", "", 0);
	assert_found(&image, "go1.24.2", "");
}

static void broken_blocks_are_refused_with_a_reason(void **state)
{
	(void)state;
	static const struct {
		size_t at; /* in the block */
		uint64_t value;
		const char *says;
	} changes[] = {
		{ 8, 0x03083a666e69646c, "big-endian" },
		{ 32, 0xffffffffffffffff, "a string of" },     /* a varint without end */
		{ 32, 0x01ffffffffffffff, "a string of" },     /* more than fits */
		{ 32, 0x00010000000f8080, "a string of" },
		{ 32, 0, "a version of 0 bytes" },
		{ 33, 0x312e7f322e316f67, "a version with byte 0x7f" },
		{ 33, 0x312e32322e316f68, "is no Go version" },
		{ 41, 0xffffffffffffff7f, "build info" },     /* modinfo ends outside of memory */
	};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_buildinfo info;
		go_image_make(&image, 24);
		size_t at = GO_IMAGE_BYTES - 0x40; /* the end of what can be read */
		put_block(&image, at, "go1.24.1", "", 0);
		go_image_put_u64(&image, at + changes[i].at, changes[i].value);
		assert_fails(find(&image, &info, &err), -EBADMSG, &err);
		assert_contains(err.msg, changes[i].says);
	}
}

static void a_long_version_is_cut(void **state)
{
	(void)state;
	char version[126];
	struct go_image image;
	go_image_make(&image, 24);
	memset(version, 'a', sizeof(version));
	memcpy(version, "go1.24.1-X:", 11);
	version[sizeof(version) - 1] = '\0';
	/* 300 bytes, with a length of two */
	put_block(&image, BLOCK, version, "", 0);
	size_t at = BLOCK + 32;
	image.bytes[at] = 0xac;
	image.bytes[at + 1] = 0x02;
	memset(image.bytes + at + 2, 'a', 300);
	memcpy(image.bytes + at + 2, version, 11);
	image.bytes[at + 302] = 0;
	struct gd_error err = { 0 };
	struct gd_buildinfo info;
	assert_ok(find(&image, &info, &err), &err);
	assert_int_equal(strlen(info.version), sizeof(info.version) - 1);
	assert_int_equal(strncmp(info.version, "go1.24.1-X:aaa", 14), 0);
	gd_buildinfo_deinit(&info);
}

/* schedinit's operands in a module without a block. */
static void recovering_survives_what_is_no_string(void **state)
{
	(void)state;
	static const uint64_t data = GO_IMAGE_BASE + BLOCK;
	static const struct {
		uint64_t ptr, len;
		const char *version; /* NULL: -ENOENT */
	} strings[] = {
		{ data + 0x100, 8, "go1.24.7" },
		{ data + 0x100, 7, NULL }, /* "go1.24." */
		{ data + 0x100, UINT64_MAX, NULL },
		{ data + 0x100, 1 << 20, NULL },
		{ UINT64_MAX - 7, 8, NULL },
		{ 0, 8, NULL },
		{ data + 0x200, 8, NULL },
	};
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
		struct go_image image;
		struct gd_error err = { 0 };
		struct gd_modules modules;
		struct gd_buildinfo info;
		go_image_make(&image, 24);
		/* cmpq $0, buildVersion+8(%rip), the rest int3 */
		size_t code = GO_IMAGE_TEXT + GO_IMAGE_SCHEDINIT;
		memset(image.bytes + code, 0xcc, GO_IMAGE_TEXT_END - GO_IMAGE_SCHEDINIT);
		memcpy(image.bytes + code + 5, "\x48\x83\x3d", 3);
		go_image_put_u32(&image, code + 8,
		                 (uint32_t)(data + 8 - (GO_IMAGE_BASE + code + 13)));
		image.bytes[code + 12] = 0;
		go_image_put_u64(&image, BLOCK, strings[i].ptr);
		go_image_put_u64(&image, BLOCK + 8, strings[i].len);
		memcpy(image.bytes + BLOCK + 0x100, "go1.24.7", 8);
		go_image_load(&image);
		assert_ok(gd_modules_find(image.memory, &image.maps, &modules, &err), &err);
		int r = gd_buildinfo_recover(&modules, image.memory, &info, &err);
		if (strings[i].version == NULL) {
			assert_fails(r, -ENOENT, &err);
		} else {
			assert_ok(r, &err);
			assert_string_equal(info.version, strings[i].version);
			assert_string_equal(info.modinfo, "");
			gd_buildinfo_deinit(&info);
		}
		gd_modules_deinit(&modules);
		go_image_unload(&image);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(build_info_is_what_the_program_reads_itself),
		test_case(a_process_without_go_is_enoent),
		test_case(module_lines_are_taken_out_of_their_frame),
		test_case(the_block_of_old_releases_names_their_version),
		test_case(what_only_looks_like_a_block_is_passed_over),
		test_case(broken_blocks_are_refused_with_a_reason),
		test_case(a_long_version_is_cut),
		test_case(recovering_survives_what_is_no_string),
	};
	return test_run(tests);
}
