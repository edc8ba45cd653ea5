#include "collectors/collector.h"

#include <stddef.h>

const struct gd_collector *const gd_collectors[] = {
	&gd_collector_proc,
	&gd_collector_goroutines,
	&gd_collector_runtime,
	&gd_collector_heap,
	&gd_collector_block,
	&gd_collector_mutex,
	&gd_collector_samples,
	&gd_collector_debug_port,
	&gd_collector_core,
	NULL,
};
