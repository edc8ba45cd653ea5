#pragma once
/*
 * One line of /proc/net/{tcp,tcp6,udp,udp6,unix} taken apart.  Addresses come from strangers and
 * the path of a unix socket is the target's own choice, newlines included: a line is evidence, not
 * proof.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gd_proc_net_address {
	uint8_t bytes[16]; /* network order; an IPv4 one as IPv6 maps it: ::ffff:a.b.c.d */
	uint16_t port;
};

struct gd_proc_net_inet {
	struct gd_proc_net_address from, to; /* local and remote */
	char local[INET6_ADDRSTRLEN + 8]; /* "127.0.0.1:80", "[::1]:80" */
	char remote[INET6_ADDRSTRLEN + 8];
	unsigned state;     /* TCP_LISTEN, ... as in <netinet/tcp.h>; also of udp */
	uint64_t tx_queue;  /* bytes; of a listening socket: limit of the backlog */
	uint64_t rx_queue;  /* bytes; of a listening socket: connections not yet accepted */
	unsigned timer;     /* 0 none, 1 retransmit, 2 keepalive, 3 time-wait, 4 zero window probe */
	uint64_t retransmits;
	uint64_t inode;
};

struct gd_proc_net_unix {
	unsigned type;      /* SOCK_STREAM, ... */
	unsigned state;     /* SS_UNCONNECTED 1, connecting 2, connected 3 */
	bool listening;
	uint64_t inode;
	const char *path;   /* within the line, raw; "" when unnamed, '@' for the abstract NUL */
	size_t path_len;
};

/* False for the heading and for what makes no sense.  The line has no newline and need not end in
 * NUL. */
bool gd_proc_net_parse_inet(const char *line, size_t len, bool v6, struct gd_proc_net_inet *ret);
bool gd_proc_net_parse_unix(const char *line, size_t len, struct gd_proc_net_unix *ret);

/* "LISTEN", "ESTABLISHED", ...; NULL when unknown. */
const char *gd_proc_net_state(unsigned state);
