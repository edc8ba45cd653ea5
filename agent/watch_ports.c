#include "agent/watch_ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch_file.h"
#include "base/cleanup.h"
#include "base/text.h"

#define LISTENERS_MAX 1024
#define TCP_LISTEN 0x0a

/* "  0: 0100007F:1F90 00000000:0000 0A tx:rx tr:when retrnsmt uid timeout inode ..." */
int gd_watch_ports_parse(const char *line, struct gd_watch_listener *ret)
{
	const char *p = line + strspn(line, " ");
	uint64_t number;
	uint64_t port;
	uint64_t inode;
	if (!gd_text_u64(p, &p, 10, &number) || *p != ':')
		return -1;
	p += 1 + strspn(p + 1, " ");
	p += strspn(p, "0123456789abcdefABCDEF"); /* address: too long for a number in tcp6 */
	if (*p != ':' || !gd_text_u64(p + 1, &p, 16, &port) || port > UINT16_MAX)
		return -1;
	p += strspn(p, " ");
	p += strcspn(p, " "); /* the other end */
	p += strspn(p, " ");
	uint64_t state;
	if (!gd_text_u64(p, &p, 16, &state))
		return -1;
	if (state != TCP_LISTEN)
		return 0;
	for (int skip = 0; skip < 5; skip++) {
		p += strspn(p, " ");
		p += strcspn(p, " ");
	}
	p += strspn(p, " ");
	if (!gd_text_u64(p, NULL, 10, &inode))
		return -1;
	*ret = (struct gd_watch_listener){ inode, (uint16_t)port };
	return 1;
}

/* Adds the listeners of one file; other sockets, of which there may be many, come after them. */
static size_t read_listeners(int proc_fd, int32_t pid, const char *file,
                             struct gd_watch_listener *list, size_t n)
{
	char path[40];
	(void)snprintf(path, sizeof(path), "%d/net/%s", pid, file);
	int fd = gd_watch_file_open(proc_fd, path);
	GD_FCLOSE FILE *lines = fd >= 0 ? fdopen(fd, "r") : NULL;
	if (lines == NULL) {
		gd_watch_file_close(&fd);
		return n;
	}
	char line[512];
	bool head = true;
	while (n < LISTENERS_MAX && fgets(line, sizeof(line), lines) != NULL) {
		int r = head ? 1 : gd_watch_ports_parse(line, &list[n]);
		if (r <= 0)
			break;
		n += !head;
		head = false;
	}
	return n;
}

int gd_watch_ports_read(int proc_fd, const struct gd_subject_id *id, struct gd_watch_ask *ask,
                        uint16_t *to, size_t max)
{
	struct gd_watch_listener listeners[LISTENERS_MAX];
	size_t n = read_listeners(proc_fd, id->pid, "tcp", listeners, 0);
	n = read_listeners(proc_fd, id->pid, "tcp6", listeners, n);
	if (n == 0)
		return 0;
	uint64_t inodes[GD_WATCH_SOCKETS_MAX];
	uint64_t n_fds;
	ssize_t sockets = gd_watch_ask_sockets(ask, id, inodes, GD_WATCH_SOCKETS_MAX, &n_fds);
	if (sockets < 0)
		return sockets == -EPIPE ? -EPIPE : 0;
	size_t found = 0;
	for (ssize_t s = 0; s < sockets; s++)
		for (size_t i = 0; i < n && found < max; i++)
			if (listeners[i].inode == inodes[s])
				to[found++] = listeners[i].port;
	return (int)found;
}
