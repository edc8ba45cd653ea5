#pragma once
/*
 * Small kernel files (/proc, cgroup), read the cheap way: kept descriptors are read again from
 * their start, others are opened for one read.  A file longer than the buffer is cut, never an
 * error: whoever minds reads the parts it needs from the front.  Texts are NUL-terminated.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens `path` below dir_fd for reading: no links, no waiting.  Descriptor or negative errno. */
int gd_watch_file_open(int dir_fd, const char *path);

/* Length of the text, or negative errno. */
ssize_t gd_watch_file_read(int dir_fd, const char *path, char *to, size_t size);

/* The same of a kept descriptor, one read; -EBADF for -1. */
ssize_t gd_watch_file_again(int fd, char *to, size_t size);

/* The number after "key" and blanks at the beginning of a line; false: not there. */
bool gd_watch_file_key(const char *text, const char *key, uint64_t *ret);

/* The only number of a file like memory.current; false for "max" and other words. */
bool gd_watch_file_number(const char *text, uint64_t *ret);

/* Closes *fd, if any, and makes it -1. */
void gd_watch_file_close(int *fd);
