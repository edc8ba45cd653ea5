#pragma once
/*
 * A bounded cursor over foreign bytes (ELF, pclntab, notes, target memory).  It never reads outside
 * its range: a read past the end yields 0 and sets `bad`, which sticks, so that a parser checks once
 * at the end of a record.  Integers are little endian and read by memcpy, never through a cast.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gd_bytes {
	const uint8_t *data;
	size_t len;
	size_t pos;
	bool bad;
};

static inline struct gd_bytes gd_bytes_of(const void *data, size_t len)
{
	return (struct gd_bytes){ .data = data, .len = len };
}

/* The next n bytes, or NULL (then bad is set and nothing is consumed). */
static inline const uint8_t *gd_bytes_take(struct gd_bytes *b, size_t n)
{
	if (b->bad || n > b->len - b->pos) {
		b->bad = true;
		return NULL;
	}
	/* No bytes of an empty range are somewhere too: NULL would mean bad. */
	const uint8_t *p = b->data != NULL ? b->data + b->pos : (const uint8_t *)"";
	b->pos += n;
	return p;
}

static inline void gd_bytes_seek(struct gd_bytes *b, size_t pos)
{
	if (pos > b->len)
		b->bad = true;
	else
		b->pos = pos;
}

static inline uint8_t gd_bytes_u8(struct gd_bytes *b)
{
	const uint8_t *p = gd_bytes_take(b, 1);
	return p != NULL ? *p : 0;
}

#define GD_BYTES_READ_(type, name)                                                                 \
	static inline type gd_bytes_##name(struct gd_bytes *b)                                     \
	{                                                                                          \
		const uint8_t *p = gd_bytes_take(b, sizeof(type));                                 \
		type v = 0;                                                                        \
		if (p != NULL)                                                                     \
			memcpy(&v, p, sizeof(v));                                                  \
		return v;                                                                          \
	}
GD_BYTES_READ_(uint16_t, u16)
GD_BYTES_READ_(uint32_t, u32)
GD_BYTES_READ_(uint64_t, u64)
GD_BYTES_READ_(int32_t, i32)
#undef GD_BYTES_READ_

/* Unsigned LEB128 of at most 10 bytes and 64 bits, as Go's pc-value tables and build info use it. */
static inline uint64_t gd_bytes_uvarint(struct gd_bytes *b)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t c = gd_bytes_u8(b);
		if (b->bad || (shift == 63 && c > 1))
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if ((c & 0x80) == 0)
			return v;
	}
	b->bad = true;
	return 0;
}

/* Little-endian loads from memory that the caller has already bounded. */
static inline uint64_t gd_load_u64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t gd_load_u32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}
