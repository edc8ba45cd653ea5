#include "collectors/proc_cpu.h"

#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

bool gd_proc_cpu_model(char to[GD_PROC_CPU_MODEL])
{
	/* Three leaves of 16 characters each (Intel SDM volume 2, CPUID, "brand string"). */
	unsigned words[12];
	for (unsigned i = 0; i < 3; i++) {
		unsigned *w = words + 4 * (size_t)i;
		if (__get_cpuid(0x80000002 + i, &w[0], &w[1], &w[2], &w[3]) == 0)
			return false;
	}
	memset(to, 0, GD_PROC_CPU_MODEL);
	memcpy(to, words, sizeof(words));
	return to[0] != '\0';
}
#else
bool gd_proc_cpu_model(char to[GD_PROC_CPU_MODEL])
{
	to[0] = '\0';
	return false;
}
#endif
