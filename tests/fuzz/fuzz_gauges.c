/*
 * Gauges of a record somebody may have made up, over hostile memory: the input is first the record,
 * or what differs from a real one, then what lies where it points; then the window over two readings.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/gauges_window.h"
#include "golang/go_version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x10000000, BYTES = 1 << 16, HEAD = 2 };

static uint8_t image[BYTES];

/* Repeats the input over the whole image; each word that could be an offset becomes an address. */
static void fill(const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < BYTES; at += 8) {
		uint64_t word = 0;
		for (size_t i = 0; i < 8; i++)
			word |= (uint64_t)data[(at + i) % size] << (8 * i);
		if (word >> 32 == 1)
			word = BASE + (uint32_t)word % BYTES;
		memcpy(image + at, &word, sizeof(word));
	}
}

static void check(const struct gd_gauges_values *v)
{
	const double values[] = { v->goroutines, v->goroutines_growth, v->heap_live, v->heap_goal,
		                  v->heap_of_goal, v->gc_pause_p99_s, v->sched_latency_p99_s,
		                  v->gc_cpu };
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (isinf(values[i]))
			abort();
}

static void read_twice(const struct gd_gauges_at *at)
{
	static struct gd_gauges_window window;
	struct gd_gauges_seen seen = { 0 };
	struct gd_memory *memory;
	struct gd_gauges gauges;
	struct gd_gauges_values values;
	memset(&window, 0, sizeof(window));
	for (int64_t i = 0; i < 3; i++) {
		if (gd_memory_bytes(BASE, image, BYTES, &memory, NULL) < 0)
			abort();
		unsigned wanted = gd_gauges_window_wants(&window, 20000000000 * i);
		if (gd_gauges_read_again(memory, at, &seen, i == 1, wanted, &gauges, NULL) == 0) {
			gd_gauges_window_add(&window, &gauges, 20000000000 * i, &values);
			check(&values);
		}
		gd_memory_close(memory);
		for (size_t b = 0; b < BYTES; b += 64)
			image[b] = (uint8_t)(image[b] * 5 + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_go_version version = { .patch = 3 };
	struct gd_gauges_at at = { 0 };
	if (size < HEAD + 8)
		return 0;
	version.minor = 18 + data[0] % 10;
	at.minor = version.minor;
	at.sched = BASE + 96;
	at.allgs = BASE + 24;
	at.allp = BASE + 48;
	at.memstats = BASE + 16384;
	at.gc_controller = BASE + 32768;
	if (gd_layout_of(&version, &at.layout, NULL) < 0)
		abort();
	/* Up to so many bytes of the record are the input's. */
	size_t own = (size_t)data[1] * 4 < sizeof(at) ? (size_t)data[1] * 4 : sizeof(at);
	own = own < size - HEAD - 8 ? own : size - HEAD - 8;
	memcpy((char *)&at + sizeof(at) - own, data + HEAD, own);
	fill(data + HEAD + own, size - HEAD - own);
	if (gd_gauges_at_check(&at, NULL) == 0)
		read_twice(&at);
	return 0;
}
