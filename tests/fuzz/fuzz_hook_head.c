/*
 * Heads of requests as they trickle in: a status that we know, which more bytes do not make better.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/hook_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	int whole = gd_hook_head_check(text, size);
	if (whole != 0 && strncmp(gd_hook_head_status(whole), "500", 3) == 0)
		abort();
	if (whole == 200 && memmem(text, size, "\r\n\r\n", 4) == NULL)
		abort();
	for (size_t cut = size / 8; cut > 0 && cut < size; cut += size / 8) {
		int part = gd_hook_head_check(text, cut);
		if (part != 0 && part != whole && !(part == 431 && cut >= GD_HOOK_HEAD_MAX) &&
		    (part == 200 || whole == 200 || whole == 0))
			abort();
	}
	return 0;
}
