#include "agent/host.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

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
