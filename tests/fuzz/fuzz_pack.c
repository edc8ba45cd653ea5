/*
 * One frame of a pack from a hostile archive, decoded alone and against a prefix.  Random bytes are
 * no frames, so an input that begins with "P" is a recipe: the rest is repeated into a chunk,
 * packed, and must come back; then its first byte says where the frame is damaged.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "archive/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t chunk[GD_PACK_CHUNK], back[GD_PACK_CHUNK], prefix[GD_PACK_CHUNK];

static void follow(const uint8_t *data, size_t size)
{
	static struct gd_pack_writer *writer;
	struct gd_packed_chunk packed;
	const void *bytes;
	size_t n;
	for (size_t i = 0; i < GD_PACK_CHUNK; i++)
		chunk[i] = (uint8_t)(data[i % size] + (i / size) / (1 + data[0] % 7));
	const uint8_t *against = data[0] % 2 != 0 ? prefix : NULL;
	if (writer == NULL && gd_pack_writer_create(&writer, NULL) < 0)
		abort();
	if (gd_pack_add(writer, chunk, against, &packed, NULL) < 0 ||
	    gd_pack_close(writer, &bytes, &n, NULL) < 0)
		abort();
	uint8_t *frame = malloc((size_t)packed.stored_bytes);
	if (frame == NULL)
		abort();
	memcpy(frame, bytes, (size_t)packed.stored_bytes);
	if (gd_pack_decode(frame, (size_t)packed.stored_bytes, against, back, NULL) < 0 ||
	    memcmp(chunk, back, GD_PACK_CHUNK) != 0)
		abort();
	frame[data[0] * packed.stored_bytes / 256] ^= 1;
	if (gd_pack_decode(frame, (size_t)packed.stored_bytes, against, back, NULL) == 0 &&
	    memcmp(chunk, back, GD_PACK_CHUNK) != 0)
		abort();
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_error err = { 0 };
	if (prefix[1] == 0)
		for (size_t i = 0; i < GD_PACK_CHUNK; i++)
			prefix[i] = (uint8_t)(i * 2654435761u >> 13);
	if (size > 1 && data[0] == 'P') {
		follow(data + 1, size - 1);
		return 0;
	}
	if (gd_pack_decode(data, size, NULL, back, &err) < 0 && err.msg[0] == '\0')
		abort();
	if (gd_pack_decode(data, size, prefix, back, &err) < 0 && err.msg[0] == '\0')
		abort();
	return 0;
}
