#include "collectors/proc_sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "collectors/proc_net.h"

/* Reading these tables takes the kernel's locks bucket by bucket; nobody waits longer for them. */
#define TABLES_MAX_NS INT64_C(1000000000)

struct search {
	struct gd_proc *proc;
	struct gd_proc_sockets *sockets;
	struct gd_buf lines;
	size_t n_left; /* distinct inodes without a line so far */
	int64_t deadline_ns;
};

struct table {
	const char *path, *protocol;
	bool (*match)(struct search *search, const struct table *table, const char *line, size_t n);
	bool v6;
};

int gd_proc_sockets_add(struct gd_proc_sockets *sockets, uint64_t inode, int fd,
                        struct gd_error *err)
{
	if (sockets->n == sockets->cap) {
		size_t cap = sockets->cap == 0 ? 64 : sockets->cap * 2;
		struct gd_proc_socket *list = reallocarray(sockets->list, cap, sizeof(*list));
		if (list == NULL)
			return gd_fail_errno(err, -ENOMEM, "sockets");
		sockets->list = list;
		sockets->cap = cap;
	}
	sockets->list[sockets->n++] = (struct gd_proc_socket){ .inode = inode, .fd = fd };
	return 0;
}

void gd_proc_sockets_deinit(struct gd_proc_sockets *sockets)
{
	free(sockets->list);
	*sockets = (struct gd_proc_sockets){ 0 };
}

static int by_inode(const void *a, const void *b)
{
	const struct gd_proc_socket *x = a;
	const struct gd_proc_socket *y = b;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

/* The first entry with that inode, or NULL. */
static struct gd_proc_socket *find(struct gd_proc_sockets *sockets, uint64_t inode)
{
	size_t low = 0;
	size_t high = sockets->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (sockets->list[mid].inode < inode)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == sockets->n || sockets->list[low].inode != inode)
		return NULL;
	return &sockets->list[low];
}

/* Begins the line of a socket; all descriptors that share it are next to each other. */
static struct gd_json begin_line(struct search *search, struct gd_proc_socket *first,
                                 const char *protocol)
{
	struct gd_json json = GD_JSON_INIT(&search->lines);
	const struct gd_proc_socket *end = search->sockets->list + search->sockets->n;
	gd_json_object(&json, NULL);
	gd_json_u64(&json, "inode", first->inode);
	gd_json_array(&json, "fds");
	for (struct gd_proc_socket *s = first; s < end && s->inode == first->inode; s++) {
		gd_json_i64(&json, NULL, s->fd);
		s->found = 1;
	}
	gd_json_array_end(&json);
	gd_json_string(&json, "protocol", protocol);
	return json;
}

static void end_line(struct gd_json *json)
{
	gd_json_object_end(json);
	gd_json_line_end(json);
}

static bool match_inet(struct search *search, const struct table *table, const char *line,
                       size_t n)
{
	static const char *const timers[] = { "none", "retransmit", "keepalive", "time_wait",
		                              "zero_window_probe" };
	struct gd_proc_net_inet inet;
	if (!gd_proc_net_parse_inet(line, n, table->v6, &inet) || inet.inode == 0)
		return false;
	struct gd_proc_socket *first = find(search->sockets, inet.inode);
	if (first == NULL || first->found)
		return false;
	struct gd_json json = begin_line(search, first, table->protocol);
	gd_json_string(&json, "local", inet.local);
	gd_json_string(&json, "remote", inet.remote);
	gd_json_string(&json, "state", gd_proc_net_state(inet.state));
	gd_json_u64(&json, "tx_queue", inet.tx_queue);
	gd_json_u64(&json, "rx_queue", inet.rx_queue);
	if (inet.timer > 0 && inet.timer < sizeof(timers) / sizeof(timers[0])) {
		gd_json_string(&json, "timer", timers[inet.timer]);
		gd_json_u64(&json, "retransmits", inet.retransmits);
	}
	end_line(&json);
	return true;
}

static bool match_unix(struct search *search, const struct table *table, const char *line,
                       size_t n)
{
	struct gd_proc_net_unix local;
	if (!gd_proc_net_parse_unix(line, n, &local) || local.inode == 0)
		return false;
	struct gd_proc_socket *first = find(search->sockets, local.inode);
	if (first == NULL || first->found)
		return false;
	struct gd_json json = begin_line(search, first, table->protocol);
	gd_json_string(&json, "type",
	               local.type == SOCK_STREAM  ? "stream"
	               : local.type == SOCK_DGRAM ? "datagram"
	                                          : "seqpacket");
	gd_json_string(&json, "state",
	               local.listening    ? "LISTEN"
	               : local.state == 3 ? "CONNECTED"
	                                  : "UNCONNECTED");
	gd_json_bytes(&json, "path", local.path, local.path_len);
	end_line(&json);
	return true;
}

/* Families of which only the inode is of interest, which is the last column. */
static bool match_last_word(struct search *search, const struct table *table, const char *line,
                            size_t n)
{
	uint64_t inode;
	while (n > 0 && line[n - 1] == ' ')
		n--;
	const char *blank = n > 0 ? memrchr(line, ' ', n) : NULL;
	if (blank == NULL || !gd_text_u64(blank + 1, NULL, 10, &inode) || inode == 0)
		return false;
	struct gd_proc_socket *first = find(search->sockets, inode);
	if (first == NULL || first->found)
		return false;
	struct gd_json json = begin_line(search, first, table->protocol);
	end_line(&json);
	return true;
}

/* Goes through one table in pieces; a longer line than the window cannot be the kernel's. */
static int search_table(struct search *search, const struct table *table, struct gd_error *err)
{
	GD_CLOSE int fd = -1;
	char window[8192];
	size_t have = 0;
	int r = gd_target_open_file(search->proc->target, table->path, &fd, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* a kernel without IPv6 */
	while (search->n_left > 0) {
		if (gd_clock_monotonic_ns() > search->deadline_ns)
			return gd_fail(err, -ETIME, "%s: longer than a second", table->path);
		ssize_t n = read(fd, window + have, sizeof(window) - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "%s", table->path);
		if (n == 0)
			break;
		have += (size_t)n;
		char *line = window;
		char *newline;
		while ((newline = memchr(line, '\n', have - (size_t)(line - window))) != NULL) {
			if (table->match(search, table, line, (size_t)(newline - line)))
				search->n_left--;
			line = newline + 1;
		}
		have -= (size_t)(line - window);
		memmove(window, line, have);
		if (have == sizeof(window))
			have = 0;
	}
	return 0;
}

/* The tables of connections last: the kernel goes through every bucket of its hash, twice, which
 * takes milliseconds on an idle host.  They are not read when all sockets were found before. */
static const struct table tables[] = {
	{ "net/unix", "unix", match_unix, false },
	{ "net/udp", "udp", match_inet, false },
	{ "net/udp6", "udp6", match_inet, true },
	{ "net/netlink", "netlink", match_last_word, false },
	{ "net/packet", "packet", match_last_word, false },
	{ "net/raw", "raw", match_inet, false },
	{ "net/raw6", "raw6", match_inet, true },
	{ "net/tcp", "tcp", match_inet, false },
	{ "net/tcp6", "tcp6", match_inet, true },
};

static struct gd_outcome search_tables(struct search *search)
{
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && search->n_left > 0; i++) {
		struct gd_error err = { 0 };
		if (gd_collect_cancelled(search->proc->collect))
			return gd_outcome(GD_GRADE_PARTIAL, -ECANCELED, "interrupted");
		if (search_table(search, &tables[i], &err) < 0)
			outcome = gd_outcome_worse(outcome,
			                           gd_outcome_of(GD_GRADE_PARTIAL, &err));
	}
	return outcome;
}

/* Of rarer families (vsock, ...), and those of other network namespaces. */
static void put_the_rest(struct search *search)
{
	for (size_t i = 0; i < search->sockets->n; i++) {
		struct gd_proc_socket *socket = &search->sockets->list[i];
		if (socket->found)
			continue;
		struct gd_json json = begin_line(search, socket, NULL);
		end_line(&json);
	}
}

static size_t count_distinct(const struct gd_proc_sockets *sockets)
{
	size_t n = 0;
	for (size_t i = 0; i < sockets->n; i++)
		n += i == 0 || sockets->list[i].inode != sockets->list[i - 1].inode;
	return n;
}

void gd_proc_sockets_collect(struct gd_proc *proc, struct gd_proc_sockets *sockets,
                             struct gd_outcome fds)
{
	if (fds.grade > GD_GRADE_PARTIAL) {
		gd_proc_absent(proc, GD_PROC_SOCKETS_NAME, GD_PROC_JSON_LINES, fds);
		return;
	}
	if (sockets->n > 0)
		qsort(sockets->list, sockets->n, sizeof(*sockets->list), by_inode);
	struct search search = {
		.proc = proc,
		.sockets = sockets,
		.lines = GD_BUF_INIT(GD_PROC_LIST_MAX),
		.n_left = count_distinct(sockets),
		.deadline_ns = gd_clock_monotonic_ns() + TABLES_MAX_NS,
	};
	struct gd_outcome outcome = search_tables(&search);
	put_the_rest(&search);
	gd_proc_put(proc, GD_PROC_SOCKETS_NAME, GD_PROC_JSON_LINES, &search.lines, outcome);
	gd_buf_deinit(&search.lines);
}
