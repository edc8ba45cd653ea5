#include "target/btf.h"

#include <errno.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define NESTED_MAX 8   /* structs without names in each other */
#define LOOKUPS_MAX 64 /* of such structs: each goes through all types */

struct types {
	const uint8_t *bytes;
	size_t len;
	const char *strings;
	size_t strings_len;
};

/* One of them, as it is walked over. */
struct type {
	uint32_t id, name, kind, n;
	bool bits;             /* offsets of members say how many bits they have, too */
	struct gd_bytes rest;  /* members and the like */
};

static int take_header(struct types *types, const uint8_t *btf, size_t len, struct gd_error *err)
{
	struct btf_header h;
	if (len < sizeof(h))
		return gd_fail(err, -EBADMSG, "BTF of %zu bytes", len);
	memcpy(&h, btf, sizeof(h));
	/* Compared one by one: their sums overflow. */
	if (h.magic != BTF_MAGIC || h.version != BTF_VERSION || h.hdr_len < sizeof(h) ||
	    h.hdr_len > len || h.type_off > len - h.hdr_len ||
	    h.type_len > len - h.hdr_len - h.type_off || h.str_off > len - h.hdr_len ||
	    h.str_len > len - h.hdr_len - h.str_off || h.str_len == 0)
		return gd_fail(err, -EBADMSG, "a header of BTF that makes no sense");
	*types = (struct types){
		.bytes = btf + h.hdr_len + h.type_off, .len = h.type_len,
		.strings = (const char *)btf + h.hdr_len + h.str_off, .strings_len = h.str_len,
	};
	return 0;
}

static bool is_named(const struct types *types, uint32_t at, const char *name)
{
	size_t n = strlen(name) + 1;
	return at < types->strings_len && n <= types->strings_len - at &&
	       memcmp(types->strings + at, name, n) == 0;
}

/* What follows the common part of a type, in bytes; SIZE_MAX: not a kind we know. */
static size_t rest_bytes(uint32_t kind, uint32_t n)
{
	switch (kind) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return (size_t)n * 8;
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		return (size_t)n * 12;
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return SIZE_MAX;
	}
}

/* The next type; false: that was the last, or (b->bad) they make no sense. */
static bool next_type(struct gd_bytes *b, struct type *type)
{
	if (b->bad || b->pos == b->len)
		return false;
	type->id++;
	type->name = gd_bytes_u32(b);
	uint32_t info = gd_bytes_u32(b);
	(void)gd_bytes_u32(b);
	type->kind = BTF_INFO_KIND(info);
	type->n = BTF_INFO_VLEN(info);
	type->bits = BTF_INFO_KFLAG(info);
	size_t n = rest_bytes(type->kind, type->n);
	const uint8_t *rest = n != SIZE_MAX ? gd_bytes_take(b, n) : NULL;
	b->bad = b->bad || rest == NULL;
	if (b->bad)
		return false;
	type->rest = gd_bytes_of(rest, n);
	return true;
}

/* The struct of that name; or, NULL, what has that id.  -ENOENT, -EBADMSG. */
static int find_type(const struct types *types, const char *name, uint32_t id, struct type *ret)
{
	struct gd_bytes b = gd_bytes_of(types->bytes, types->len);
	struct type type = { .id = 0 };
	while (next_type(&b, &type))
		if (name != NULL ? type.kind == BTF_KIND_STRUCT && is_named(types, type.name, name)
		                 : type.id == id) {
			*ret = type;
			return 0;
		}
	return b.bad ? -EBADMSG : -ENOENT;
}

struct member {
	uint32_t name, type, bytes;
	bool whole; /* it begins with a byte */
};

static struct member take_member(struct type *type)
{
	uint32_t name = gd_bytes_u32(&type->rest);
	uint32_t id = gd_bytes_u32(&type->rest);
	uint32_t bits = gd_bytes_u32(&type->rest);
	if (type->bits)
		bits = BTF_MEMBER_BIT_OFFSET(bits);
	return (struct member){ name, id, bits / 8, bits % 8 == 0 };
}

static bool has_members(const struct type *type)
{
	return type->kind == BTF_KIND_STRUCT || type->kind == BTF_KIND_UNION;
}

/* Its own members first: those without a name cost a walk each.  *lookups: walks that are left. */
static int find_member(const struct types *types, const struct type *type, const char *name,
                       unsigned depth, unsigned *lookups, uint32_t *ret)
{
	struct type own = *type;
	for (uint32_t i = 0; has_members(type) && i < type->n; i++) {
		struct member m = take_member(&own);
		if (!is_named(types, m.name, name))
			continue;
		*ret = m.bytes;
		return m.whole ? 0 : -EBADMSG;
	}
	own = *type;
	for (uint32_t i = 0; has_members(type) && i < type->n && depth < NESTED_MAX; i++) {
		struct member m = take_member(&own);
		struct type unnamed;
		uint32_t inner = 0;
		if (!is_named(types, m.name, "") || *lookups == 0)
			continue;
		(*lookups)--;
		if (find_type(types, NULL, m.type, &unnamed) < 0 ||
		    find_member(types, &unnamed, name, depth + 1, lookups, &inner) < 0)
			continue;
		*ret = m.bytes + inner;
		return 0;
	}
	return -ENOENT;
}

int gd_btf_offset(const uint8_t *btf, size_t len, const char *name, const char *member,
                  uint32_t *ret, struct gd_error *err)
{
	struct types types;
	struct type type;
	uint32_t offset = 0;
	unsigned lookups = LOOKUPS_MAX;
	int r = take_header(&types, btf, len, err);
	if (r < 0)
		return r;
	r = find_type(&types, name, 0, &type);
	if (r < 0)
		return gd_fail(err, r, r == -ENOENT ? "BTF knows no struct %s"
		                                    : "BTF makes no sense, looking for struct %s", name);
	r = find_member(&types, &type, member, 0, &lookups, &offset);
	if (r < 0)
		return gd_fail(err, r, "BTF knows no %s in struct %s", member, name);
	*ret = offset;
	return 0;
}
