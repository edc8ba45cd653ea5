#include "agent/debug_listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "target/sockets.h"

#define FOUND_MAX 1024 /* listeners of one namespace that are looked at */
#define DEBUG_PORT 6060 /* where net/http/pprof's documentation puts it */
/* A host may have millions of connections; listeners come before them. */
#define TABLE_MAX_NS INT64_C(500000000)

static const struct {
	const char *path;
	bool v6;
} tables[] = { { "net/tcp", false }, { "net/tcp6", true } };

/* Calls for each line until told to stop (not 0). */
typedef int line_fn(void *arg, const struct gd_proc_net_inet *line, bool v6);

static int walk(int proc_fd, line_fn *fn, void *arg)
{
	int64_t until_ns = gd_clock_monotonic_ns() + TABLE_MAX_NS;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		int fd = openat(proc_fd, tables[i].path, O_RDONLY | O_CLOEXEC);
		GD_FCLOSE FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
		char line[512];
		if (file == NULL) {
			if (fd >= 0)
				(void)close(fd);
			continue; /* a kernel without IPv6 */
		}
		while (fgets(line, sizeof(line), file) != NULL &&
		       gd_clock_monotonic_ns() < until_ns) {
			struct gd_proc_net_inet s;
			if (!gd_proc_net_parse_inet(line, strcspn(line, "\n"), tables[i].v6, &s))
				continue; /* the heading */
			int r = fn(arg, &s, tables[i].v6);
			if (r < 0)
				return r;
			if (r > 0)
				break;
		}
	}
	return 0;
}

/* ---- finding -------------------------------------------------------------------------------- */

struct search {
	uint16_t port;
	struct gd_debug_listener list[FOUND_MAX];
	size_t n;
};

static int take_listener(void *arg, const struct gd_proc_net_inet *line, bool v6)
{
	struct search *s = arg;
	if (line->state != TCP_LISTEN)
		return 1; /* no more of them follow */
	if (s->n == FOUND_MAX || (s->port != 0 && line->from.port != s->port))
		return 0;
	struct gd_debug_listener *to = &s->list[s->n++];
	*to = (struct gd_debug_listener){ .at = line->from, .v6 = v6, .inode = line->inode };
	(void)snprintf(to->text, sizeof(to->text), "%s", line->local);
	return 0;
}

static bool is_mapped(const uint8_t bytes[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	return memcmp(bytes, mapped, sizeof(mapped)) == 0;
}

static bool is_loopback(const uint8_t bytes[16])
{
	return is_mapped(bytes) ? bytes[12] == 127
	                        : memcmp(bytes, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

static unsigned rank(const struct gd_debug_listener *l)
{
	return (is_loopback(l->at.bytes) ? 0u : 2u) + (l->at.port != DEBUG_PORT);
}

static bool among(const uint64_t *inodes, size_t n, uint64_t inode)
{
	for (size_t i = 0; i < n; i++)
		if (inodes[i] == inode)
			return true;
	return false;
}

static ssize_t read_own(int proc_fd, uint64_t **ret, struct gd_error *err)
{
	uint64_t *inodes = malloc(GD_SOCKETS_FDS_MAX * sizeof(*inodes));
	if (inodes == NULL) {
		(void)gd_fail_errno(err, -ENOMEM, "its sockets");
		return -ENOMEM;
	}
	*ret = inodes;
	return gd_sockets_read(proc_fd, inodes, GD_SOCKETS_FDS_MAX, NULL, err);
}

int gd_debug_listeners_find(int proc_fd, uint16_t port,
                            struct gd_debug_listener to[GD_DEBUG_LISTENERS_MAX], size_t *ret_n_all,
                            struct gd_error *err)
{
	GD_FREE uint64_t *own = NULL;
	GD_FREE struct search *s = calloc(1, sizeof(*s));
	size_t n = 0;
	size_t n_all = 0;
	ssize_t n_own = read_own(proc_fd, &own, err);
	if (n_own < 0)
		return (int)n_own;
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "its sockets");
	s->port = port;
	(void)walk(proc_fd, take_listener, s);
	for (unsigned best = 0; best < 4; best++) {
		for (size_t i = 0; i < s->n; i++) {
			const struct gd_debug_listener *l = &s->list[i];
			if (rank(l) != best || !among(own, (size_t)n_own, l->inode))
				continue;
			n_all++;
			if (n < GD_DEBUG_LISTENERS_MAX)
				to[n++] = *l;
		}
	}
	if (ret_n_all != NULL)
		*ret_n_all = n_all;
	return (int)n;
}

/* ---- reaching ------------------------------------------------------------------------------- */

static void set_v4(struct sockaddr_storage *to, uint32_t address, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	in.sin_addr.s_addr = address;
	*to = (struct sockaddr_storage){ 0 };
	memcpy(to, &in, sizeof(in));
}

static void set_v6(struct sockaddr_storage *to, const void *address, uint16_t port)
{
	struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	memcpy(&in.sin6_addr, address, sizeof(in.sin6_addr));
	*to = (struct sockaddr_storage){ 0 };
	memcpy(to, &in, sizeof(in));
}

size_t gd_debug_listeners_reach(const struct gd_debug_listener *l, struct sockaddr_storage to[2])
{
	uint32_t v4;
	memcpy(&v4, l->at.bytes + 12, sizeof(v4));
	if (is_mapped(l->at.bytes)) {
		set_v4(&to[0], v4 == INADDR_ANY ? htonl(INADDR_LOOPBACK) : v4, l->at.port);
		return 1;
	}
	if (memcmp(l->at.bytes, &in6addr_any, sizeof(in6addr_any)) != 0) {
		set_v6(&to[0], l->at.bytes, l->at.port);
		return 1;
	}
	/* Bound to all of IPv6, and unless it says otherwise to all of IPv4. */
	set_v4(&to[0], htonl(INADDR_LOOPBACK), l->at.port);
	set_v6(&to[1], &in6addr_loopback, l->at.port);
	return 2;
}

/* ---- whose end it is ------------------------------------------------------------------------ */

struct ends {
	struct gd_proc_net_address ours, theirs;
	uint64_t inode; /* of their end; 0: not accepted */
};

static struct gd_proc_net_address address_of(const struct sockaddr_storage *from)
{
	struct gd_proc_net_address a = { .bytes = { [10] = 0xff, [11] = 0xff } };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	if (from->ss_family == AF_INET) {
		memcpy(&in, from, sizeof(in));
		memcpy(a.bytes + 12, &in.sin_addr, 4);
		a.port = ntohs(in.sin_port);
	} else {
		memcpy(&in6, from, sizeof(in6));
		memcpy(a.bytes, &in6.sin6_addr, 16);
		a.port = ntohs(in6.sin6_port);
	}
	return a;
}

static bool same(const struct gd_proc_net_address *a, const struct gd_proc_net_address *b)
{
	return a->port == b->port && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static int take_end(void *arg, const struct gd_proc_net_inet *line, bool v6)
{
	struct ends *e = arg;
	(void)v6;
	if (same(&line->to, &e->ours) && same(&line->from, &e->theirs))
		e->inode = line->inode;
	return 0;
}

/* 1 or 0, or why it is not known. */
static int owns(int proc_fd, uint64_t inode, struct gd_error *err)
{
	GD_FREE uint64_t *own = NULL;
	ssize_t n = read_own(proc_fd, &own, err);
	if (n < 0)
		return (int)n;
	return among(own, (size_t)n, inode) ? 1 : 0;
}

int gd_debug_listeners_took(int proc_fd, int fd, struct gd_error *err)
{
	struct sockaddr_storage ours = { 0 };
	struct sockaddr_storage theirs = { 0 };
	socklen_t len = sizeof(ours);
	if (getsockname(fd, (struct sockaddr *)&ours, &len) < 0)
		return gd_fail_errno(err, -errno, "our end");
	len = sizeof(theirs);
	if (getpeername(fd, (struct sockaddr *)&theirs, &len) < 0)
		return gd_fail_errno(err, -errno, "its end");
	struct ends e = { .ours = address_of(&ours), .theirs = address_of(&theirs) };
	(void)walk(proc_fd, take_end, &e);
	if (e.inode == 0)
		return gd_fail(err, -EAGAIN, "nobody has accepted the connection");
	return owns(proc_fd, e.inode, err);
}
