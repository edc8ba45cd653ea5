#include "collectors/samples_syscalls.h"

#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "target/perf_program.h"

struct counted {
	uint32_t number;
	uint64_t n;
};

static int most_first(const void *a, const void *b)
{
	const struct counted *x = a;
	const struct counted *y = b;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* The kernel and this program are of one architecture; the library may be older than the kernel. */
static void put_one(const struct counted *counted, struct gd_json *json)
{
	GD_FREE char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)counted->number);
	gd_json_object(json, NULL);
	gd_json_u64(json, "number", counted->number);
	gd_json_string(json, "name", name);
	gd_json_u64(json, "n", counted->n);
	gd_json_object_end(json);
}

void gd_samples_syscalls_put(const uint64_t *counts, const char *why_not, struct gd_json *json)
{
	struct counted list[GD_PERF_SYSCALLS_NUMBERS];
	size_t n = 0;
	gd_json_object(json, "syscalls");
	gd_json_string(json, "why_not", why_not);
	if (why_not == NULL) {
		uint64_t all = counts[GD_PERF_SYSCALLS_OTHER] + counts[GD_PERF_SYSCALLS_COMPAT];
		for (uint32_t i = 0; i < GD_PERF_SYSCALLS_NUMBERS; i++) {
			all += counts[i];
			if (counts[i] > 0)
				list[n++] = (struct counted){ i, counts[i] };
		}
		if (n > 0)
			qsort(list, n, sizeof(list[0]), most_first);
		gd_json_u64(json, "all", all);
		gd_json_u64(json, "other", counts[GD_PERF_SYSCALLS_OTHER]);
		gd_json_u64(json, "compat", counts[GD_PERF_SYSCALLS_COMPAT]);
		gd_json_array(json, "counts");
		for (size_t i = 0; i < n; i++)
			put_one(&list[i], json);
		gd_json_array_end(json);
	}
	gd_json_object_end(json);
}
