#include "agent/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "archive/snapshot.h"
#include "base/io.h"

static char *copy(const char *text)
{
	return strdup(text);
}

void gd_host_identify(struct gd_snapshot *snapshot)
{
	struct utsname uts;
	if (uname(&uts) == 0) {
		snapshot->hostname = copy(uts.nodename);
		snapshot->kernel = copy(uts.release);
		snapshot->machine = copy(uts.machine);
	}
	GD_BUF struct gd_buf boot = GD_BUF_INIT(64);
	if (gd_io_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, NULL) == 0 &&
	    boot.len > 0) {
		if (boot.data[boot.len - 1] == '\n')
			boot.len--;
		snapshot->boot_id = copy(gd_buf_str(&boot));
	}
}

void gd_host_id(char to[GD_HOST_ID_SIZE])
{
	GD_BUF struct gd_buf id = GD_BUF_INIT(200);
	if (gd_io_read_file_at(AT_FDCWD, "/etc/machine-id", &id, NULL) == 0 && id.len >= 32)
		(void)snprintf(to, GD_HOST_ID_SIZE, "%.32s", gd_buf_str(&id));
	else if (gethostname(to, GD_HOST_ID_SIZE) < 0)
		(void)snprintf(to, GD_HOST_ID_SIZE, "unknown");
	to[GD_HOST_ID_SIZE - 1] = '\0';
}

uint64_t gd_host_seed(const char *id)
{
	uint64_t seed = UINT64_C(0xcbf29ce484222325);
	for (const char *c = id; *c != '\0'; c++)
		seed = (seed ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	return seed;
}
