/*
 * An execution trace: whatever the bytes are, what is said of them lies within them, and their whole records
 * say the same by themselves.
 */
#include <stdint.h>
#include <stdlib.h>

#include "golang/exectrace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_exectrace t;
	struct gd_exectrace again;
	if (gd_exectrace_read(data, size, &t, NULL) < 0)
		return 0;
	if (t.generations > t.whole || t.whole > size || t.whole < 16 || t.batches == 0 || t.first > t.last)
		abort();
	if (gd_exectrace_read(data, t.whole, &again, NULL) < 0 || again.whole != t.whole ||
	    again.batches != t.batches || again.first != t.first || again.last != t.last ||
	    again.per_second != t.per_second || again.has_snapshot != t.has_snapshot)
		abort();
	return 0;
}
