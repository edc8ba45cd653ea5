/* The maps text: whatever it parses must be ordered, and every mapping findable by its ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GD_MAPS struct gd_maps maps = { 0 };
	struct gd_error err = { 0 };
	if (gd_maps_parse((const char *)data, size, &maps, &err) < 0) {
		if (maps.list != NULL || err.code == 0 || err.msg[0] == '\0')
			abort();
		return 0;
	}
	for (size_t i = 0; i < maps.n; i++) {
		const struct gd_map *m = &maps.list[i];
		if (m->start >= m->end || gd_maps_find(&maps, m->start) != m ||
		    gd_maps_find(&maps, m->end - 1) != m || strlen(m->path) > size)
			abort();
	}
	return 0;
}
