#include "agent/id.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

void gd_id_make(char to[GD_ID_SIZE], int64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000);
	unsigned ms = (unsigned)(realtime_ns % 1000000000 / 1000000) % 1000;
	struct tm tm;
	char instant[20] = "";
	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(instant, sizeof(instant), "%Y%m%dT%H%M%S", &tm);

	uint32_t random = 0;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint32_t)realtime_ns; /* early boot: still unique on this host */
	(void)snprintf(to, GD_ID_SIZE, "%s.%03uZ-%08x", instant, ms, random);
}
