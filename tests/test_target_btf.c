/*
 * Type information made up here, whose structs are as deep and as broken as a kernel's could be; and the
 * running kernel's own.
 */
#include "target/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/test.h"

struct made {
	uint8_t types[4096];
	char strings[512];
	uint32_t types_len, strings_len;
};

static void begin(struct made *m)
{
	memset(m, 0, sizeof(*m));
	m->strings_len = 1; /* "" */
}

static uint32_t name(struct made *m, const char *text)
{
	uint32_t at = m->strings_len;
	if (text[0] == '\0')
		return 0;
	assert_true(at + strlen(text) + 1 <= sizeof(m->strings));
	memcpy(m->strings + at, text, strlen(text) + 1);
	m->strings_len += (uint32_t)strlen(text) + 1;
	return at;
}

static void put_u32(struct made *m, uint32_t value)
{
	assert_true(m->types_len + 4 <= sizeof(m->types));
	memcpy(m->types + m->types_len, &value, 4);
	m->types_len += 4;
}

static void put_type(struct made *m, const char *text, uint32_t kind, uint32_t n, bool bits)
{
	put_u32(m, name(m, text));
	put_u32(m, kind << 24 | n | (uint32_t)bits << 31);
	put_u32(m, 4);
}

static void put_member(struct made *m, const char *text, uint32_t id, uint32_t offset)
{
	put_u32(m, name(m, text));
	put_u32(m, id);
	put_u32(m, offset);
}

/* Exactly as long as it is, so that a sanitizer sees every step beyond. */
static uint8_t *finish(const struct made *m, size_t *ret_len)
{
	const struct btf_header h = { .magic = BTF_MAGIC, .version = BTF_VERSION,
		                      .hdr_len = sizeof(h), .type_len = m->types_len,
		                      .str_off = m->types_len, .str_len = m->strings_len };
	uint8_t *bytes = malloc(sizeof(h) + m->types_len + m->strings_len);
	assert_non_null(bytes);
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), m->types, m->types_len);
	memcpy(bytes + sizeof(h) + m->types_len, m->strings, m->strings_len);
	*ret_len = sizeof(h) + m->types_len + m->strings_len;
	return bytes;
}

static int offset_of(const struct made *m, const char *type, const char *member, uint32_t *ret)
{
	struct gd_error err = { 0 };
	size_t len;
	GD_FREE uint8_t *bytes = finish(m, &len);
	int r = gd_btf_offset(bytes, len, type, member, ret, &err);
	assert_int_equal(r, err.code);
	return r;
}

/* One of each kind, with as much behind it as belongs to it; then struct task_struct. */
static void put_kernel(struct made *m)
{
	begin(m);
	put_type(m, "int", BTF_KIND_INT, 0, false); /* 1 */
	put_u32(m, 32);
	put_type(m, "", BTF_KIND_PTR, 0, false);
	put_type(m, "", BTF_KIND_ARRAY, 0, false);
	put_u32(m, 1);
	put_u32(m, 1);
	put_u32(m, 9);
	put_type(m, "colour", BTF_KIND_ENUM, 2, false);
	for (uint32_t i = 0; i < 4; i++)
		put_u32(m, 0);
	put_type(m, "task_struct", BTF_KIND_FWD, 0, false);
	put_type(m, "pid_t", BTF_KIND_TYPEDEF, 0, false);
	put_type(m, "", BTF_KIND_FUNC_PROTO, 1, false);
	put_u32(m, 0);
	put_u32(m, 1);
	put_type(m, "f", BTF_KIND_FUNC, 0, false);
	put_type(m, "v", BTF_KIND_VAR, 0, false);
	put_u32(m, 0);
	put_type(m, ".data", BTF_KIND_DATASEC, 1, false);
	for (uint32_t i = 0; i < 3; i++)
		put_u32(m, 0);
	put_type(m, "big", BTF_KIND_ENUM64, 1, false);
	for (uint32_t i = 0; i < 3; i++)
		put_u32(m, 0);
	put_type(m, "tag", BTF_KIND_DECL_TAG, 0, false);
	put_u32(m, 0);
	/* 13: within 14, within task_struct, both without a name */
	put_type(m, "", BTF_KIND_STRUCT, 2, false);
	put_member(m, "pid", 6, 0);
	put_member(m, "tgid", 6, 32);
	put_type(m, "", BTF_KIND_UNION, 2, false);
	put_member(m, "other", 1, 0);
	put_member(m, "", 13, 64);
	put_type(m, "task_struct", BTF_KIND_STRUCT, 4, true);
	put_member(m, "flags", 1, 1 << 24 | 3);
	put_member(m, "state", 1, 32 << 24 | 64);
	put_member(m, "", 14, 128);
	put_member(m, "comm", 3, 512);
}

static void members_are_found_wherever_they_are(void **state)
{
	(void)state;
	struct made m;
	uint32_t at = 0;
	put_kernel(&m);
	assert_int_equal(offset_of(&m, "task_struct", "comm", &at), 0);
	assert_int_equal(at, 64);
	assert_int_equal(offset_of(&m, "task_struct", "state", &at), 0);
	assert_int_equal(at, 8);
	assert_int_equal(offset_of(&m, "task_struct", "tgid", &at), 0);
	assert_int_equal(at, 16 + 8 + 4);
	at = 7;
	/* Half of a name, more than a name, another kind of that name, a bit within a byte. */
	assert_int_equal(offset_of(&m, "task_struct", "tgi", &at), -ENOENT);
	assert_int_equal(offset_of(&m, "task_struct", "tgids", &at), -ENOENT);
	assert_int_equal(offset_of(&m, "task", "tgid", &at), -ENOENT);
	assert_int_equal(offset_of(&m, "pid_t", "tgid", &at), -ENOENT);
	assert_int_equal(offset_of(&m, "task_struct", "flags", &at), -EBADMSG);
	assert_int_equal(at, 7);
}

static void what_is_cut_or_unknown_makes_no_sense(void **state)
{
	(void)state;
	struct made m;
	struct gd_error err = { 0 };
	uint32_t at = 7;
	size_t len;
	put_kernel(&m);
	uint8_t *whole = finish(&m, &len);
	for (size_t n = 0; n < len; n++) {
		GD_FREE uint8_t *cut = malloc(n > 0 ? n : 1);
		assert_non_null(cut);
		memcpy(cut, whole, n);
		assert_int_equal(gd_btf_offset(cut, n, "task_struct", "tgid", &at, &err), -EBADMSG);
	}
	/* Every field of the header as large as can be. */
	for (size_t i = 4; i < sizeof(struct btf_header); i += 4) {
		GD_FREE uint8_t *bad = malloc(len);
		assert_non_null(bad);
		memcpy(bad, whole, len);
		memset(bad + i, 0xff, 4);
		assert_int_equal(gd_btf_offset(bad, len, "task_struct", "tgid", &at, &err), -EBADMSG);
	}
	free(whole);
	begin(&m);
	put_type(&m, "new", 31, 0, false);
	put_type(&m, "task_struct", BTF_KIND_STRUCT, 0, false);
	assert_int_equal(offset_of(&m, "task_struct", "tgid", &at), -EBADMSG);
	begin(&m);
	put_type(&m, "task_struct", BTF_KIND_STRUCT, 3, false);
	put_member(&m, "pid", 1, 0);
	assert_int_equal(offset_of(&m, "task_struct", "tgid", &at), -EBADMSG);
	assert_int_equal(at, 7);
}

/* Structs in themselves, and in each other. */
static void circles_end(void **state)
{
	(void)state;
	struct made m;
	uint32_t at = 7;
	begin(&m);
	put_type(&m, "task_struct", BTF_KIND_STRUCT, 100, false);
	for (uint32_t i = 0; i < 100; i++)
		put_member(&m, "", 1 + i % 3, 8 * i);
	put_type(&m, "", BTF_KIND_STRUCT, 100, false);
	for (uint32_t i = 0; i < 100; i++)
		put_member(&m, "", 1 + i % 2, 8 * i);
	assert_int_equal(offset_of(&m, "task_struct", "tgid", &at), -ENOENT);
	assert_int_equal(at, 7);
}

static void this_kernel_s_own_is_understood(void **state)
{
	(void)state;
	struct gd_error err = { 0 };
	uint32_t pid = 0, tgid = 0, at = 7;
	GD_BUF struct gd_buf btf = GD_BUF_INIT(GD_BTF_BYTES_MAX);
	int r = gd_io_read_file_at(AT_FDCWD, GD_BTF_VMLINUX, &btf, &err);
	if (r == -ENOENT)
		test_skip("this kernel has no BTF");
	assert_ok(r, &err);
	const uint8_t *bytes = (const uint8_t *)btf.data;
	assert_ok(gd_btf_offset(bytes, btf.len, "task_struct", "pid", &pid, &err), &err);
	assert_ok(gd_btf_offset(bytes, btf.len, "task_struct", "tgid", &tgid, &err), &err);
	assert_true(pid > 0 && pid % 4 == 0 && tgid % 4 == 0 && tgid != pid);
	/* Deep within a struct without a name: list_head is at its start. */
	assert_ok(gd_btf_offset(bytes, btf.len, "page", "flags", &at, &err), &err);
	assert_int_equal(at, 0);
	assert_fails(gd_btf_offset(bytes, btf.len, "task_struct", "godiag", &at, &err), -ENOENT, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(members_are_found_wherever_they_are),
		test_case(what_is_cut_or_unknown_makes_no_sense),
		test_case(circles_end),
		test_case(this_kernel_s_own_is_understood),
	};
	return test_run(tests);
}
