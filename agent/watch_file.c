#include "agent/watch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

int gd_watch_file_open(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 ? fd : -errno;
}

ssize_t gd_watch_file_read(int dir_fd, const char *path, char *to, size_t size)
{
	int opened = gd_watch_file_open(dir_fd, path);
	if (opened < 0)
		return opened;
	GD_CLOSE int fd = opened;
	ssize_t n;
	/* These files are written whole into their reader's buffer: a second read would only say
	 * that this was all. */
	do {
		n = read(fd, to, size - 1);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	to[n] = '\0';
	return n;
}

ssize_t gd_watch_file_again(int fd, char *to, size_t size)
{
	ssize_t n;
	do {
		n = pread(fd, to, size - 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	to[n] = '\0';
	return n;
}

bool gd_watch_file_key(const char *text, const char *key, uint64_t *ret)
{
	size_t n = strlen(key);
	for (const char *line = text; line != NULL && *line != '\0';) {
		if (strncmp(line, key, n) == 0 && (line[n] == ' ' || line[n] == '\t')) {
			const char *value = line + n + strspn(line + n, " \t");
			return gd_text_u64(value, NULL, 10, ret);
		}
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return false;
}

bool gd_watch_file_number(const char *text, uint64_t *ret)
{
	return gd_text_u64(text, NULL, 10, ret);
}

void gd_watch_file_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}
