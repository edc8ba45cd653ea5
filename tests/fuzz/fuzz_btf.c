/*
 * Type information of a kernel.  Whatever comes: members are looked for in bounded time, and what is found
 * lies where a struct of 512 MiB could have it.
 */
#include <stdint.h>
#include <stdlib.h>

#include "target/btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[][2] = { { "task_struct", "tgid" }, { "task_struct", "thread_info" },
		                                { "thread_info", "status" }, { "", "" } };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct gd_error err = { 0 };
		uint32_t at = UINT32_MAX;
		int r = gd_btf_offset(data, size, names[i][0], names[i][1], &at, &err);
		if (r != err.code || (r < 0) != (at == UINT32_MAX))
			abort();
	}
	return 0;
}
