#pragma once
/* Protocol buffers' wire format, read where it lies: one field after the other. */
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct gd_protobuf_field {
	uint32_t number;
	uint64_t value;         /* of a varint */
	struct gd_bytes bytes;  /* of anything with a length, else empty */
};

/* False at the end or when the bytes make no sense (then message->bad). */
static inline bool gd_protobuf_next(struct gd_bytes *message, struct gd_protobuf_field *ret)
{
	if (message->bad || message->pos == message->len)
		return false;
	uint64_t tag = gd_bytes_uvarint(message);
	struct gd_protobuf_field f = { .number = (uint32_t)(tag >> 3) };
	uint64_t n;
	switch (tag & 7) {
	case 0:
		f.value = gd_bytes_uvarint(message);
		break;
	case 1:
		(void)gd_bytes_take(message, 8);
		break;
	case 2:
		n = gd_bytes_uvarint(message);
		if (n > message->len - message->pos) {
			message->bad = true;
			break;
		}
		f.bytes = gd_bytes_of(gd_bytes_take(message, (size_t)n), (size_t)n);
		break;
	case 5:
		(void)gd_bytes_take(message, 4);
		break;
	default:
		message->bad = true;
	}
	*ret = f;
	return !message->bad;
}

/*
 * The numbers of a repeated field, packed or one by one: calls with each field of that number, and
 * takes what is in it.  False when this field has no more.
 */
static inline bool gd_protobuf_number(struct gd_protobuf_field *field, bool *single, uint64_t *ret)
{
	if (field->bytes.data == NULL) {
		*ret = field->value;
		return (*single = !*single);
	}
	if (field->bytes.bad || field->bytes.pos == field->bytes.len)
		return false;
	*ret = gd_bytes_uvarint(&field->bytes);
	return !field->bytes.bad;
}
