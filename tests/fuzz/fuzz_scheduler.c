/*
 * Scheduler, collector and heap totals read from hostile memory: the input is what lies where the
 * globals are; pointers in it mostly lead back into it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "golang/go_version.h"
#include "golang/memstats.h"
#include "golang/scheduler.h"
#include "golang/stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x10000000, BYTES = 1 << 17 };

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_go go = { 0 };
	struct gd_memory *memory;
	struct gd_stats stats;
	struct gd_memstats memstats;
	struct gd_scheduler scheduler;
	if (size < 8)
		return 0;
	go.version = (struct gd_go_version){ .minor = 18 + data[0] % 10, .patch = 3 };
	if (gd_layout_of(&go.version, &go.layout, NULL) < 0)
		abort();
	fill(data + 1, size - 1);
	if (gd_memory_bytes(BASE, image, BYTES, &memory, NULL) < 0)
		abort();
	go.memory = memory;
	go.globals = (struct gd_globals){
		.allgs = BASE + 24,
		.allm = BASE + 48,
		.allp = BASE + 56,
		.gomaxprocs = BASE + 80,
		.sched = BASE + 96,
		.memstats = BASE + 16384,
		.gc_controller = BASE + 32768,
		.mheap = BASE + 36864 - 80000,
	};
	if (gd_stats_read(&go, &stats, NULL) == 0 && stats.n_pauses > GD_STATS_PAUSES)
		abort();
	(void)gd_memstats_read(&go, &memstats, NULL);
	if (gd_scheduler_read(&go, &scheduler, NULL) == 0) {
		if (scheduler.n_ms > GD_SCHEDULER_MS_MAX || scheduler.n_ps > GD_SCHEDULER_PS_MAX)
			abort();
		(void)gd_histogram_quantile(&scheduler.latency, 0.99);
		gd_scheduler_deinit(&scheduler);
	}
	gd_memory_close(memory);
	return 0;
}
