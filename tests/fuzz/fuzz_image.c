/*
 * The index of an image, as a hostile writer would make it: whatever opens can be read at every place it
 * names, and memory made from it answers at all edges of its mappings.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/image.h"
#include "target/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned seen;

static void read_threads(const struct gd_image *image)
{
	size_t n;
	const struct gd_image_thread *threads = gd_image_threads(image, &n);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *x = gd_image_xstate(image, &threads[i]);
		for (uint32_t k = 0; k < threads[i].xstate_bytes; k++)
			seen += x[k];
		seen += threads[i].stopped;
	}
}

static void read_chunks(const struct gd_image *image)
{
	static uint8_t to[GD_IMAGE_CHUNK];
	size_t n;
	const struct gd_image_chunk *chunks = gd_image_chunks(image, &n);
	uint64_t bytes = gd_image_bytes(image);
	if (bytes < n * GD_IMAGE_PAGE || bytes > n * GD_IMAGE_CHUNK)
		abort();
	for (size_t i = 0; i < n; i++)
		if (gd_image_read_chunk(image, &chunks[i], to, NULL) < 0)
			abort();
}

static void read_maps(const struct gd_image *image)
{
	size_t n;
	const struct gd_image_map *maps = gd_image_maps(image, &n);
	struct gd_memory *memory = NULL;
	struct gd_maps shape = { 0 };
	if (gd_memory_image(image, NULL, &memory, NULL) < 0 ||
	    gd_image_to_maps(image, &shape, NULL) < 0)
		abort();
	for (size_t i = 0; i < n; i++) {
		char to[64];
		seen += (unsigned)strlen(gd_image_path(image, &maps[i]));
		(void)gd_memory_read_some(memory, maps[i].start - 32, to, sizeof(to));
		(void)gd_memory_read_some(memory, maps[i].end - 32, to, sizeof(to));
		if (gd_maps_find(&shape, maps[i].end - 1) != &shape.list[i])
			abort();
	}
	gd_memory_close(memory);
	gd_maps_deinit(&shape);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int index = memfd_create("index", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int file = memfd_create("pages", MFD_CLOEXEC);
	if (index < 0 || file < 0 || ftruncate(file, 4 << 20) != 0 ||
	    write(index, data, size) != (ssize_t)size ||
	    fcntl(index, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
		abort();
	struct gd_image *image = NULL;
	struct gd_error err = { 0 };
	if (gd_image_open(file, index, &image, &err) < 0) {
		if (image != NULL || err.code == 0 || err.msg[0] == '\0')
			abort();
		return 0;
	}
	read_threads(image);
	read_chunks(image);
	read_maps(image);
	gd_image_destroy(image);
	return 0;
}
