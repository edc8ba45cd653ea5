#include "target/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

/* The kernel's own words: a file's link begins with '/'. */
static bool take_link(int dir_fd, const char *name, uint64_t *ret)
{
	static const char socket[] = "socket:[";
	char link[64];
	ssize_t n = readlinkat(dir_fd, name, link, sizeof(link) - 1);
	if (n < (ssize_t)sizeof(socket) || memcmp(link, socket, sizeof(socket) - 1) != 0)
		return false;
	link[n] = '\0';
	return gd_text_u64(link + sizeof(socket) - 1, NULL, 10, ret);
}

ssize_t gd_sockets_read(int proc_fd, uint64_t *inodes, size_t max, uint64_t *ret_n_fds,
                        struct gd_error *err)
{
	GD_CLOSE int dir_fd = openat(proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	GD_CLOSEDIR DIR *dir = dir_fd >= 0 ? fdopendir(dir_fd) : NULL;
	if (dir == NULL)
		return gd_fail_errno(err, -errno, "its descriptors");
	dir_fd = -1;
	struct dirent *entry;
	uint64_t n_fds = 0;
	size_t n = 0;
	while (n_fds < GD_SOCKETS_FDS_MAX && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		/* Beyond they are only counted. */
		if (++n_fds <= max && take_link(dirfd(dir), entry->d_name, &inodes[n]))
			n++;
	}
	if (ret_n_fds != NULL)
		*ret_n_fds = n_fds;
	return (ssize_t)n;
}
