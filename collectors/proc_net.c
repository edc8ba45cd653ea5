#include "collectors/proc_net.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* What is left of a line. */
struct rest {
	const char *p, *end;
	bool bad;
};

static void skip_blanks(struct rest *r)
{
	while (r->p < r->end && *r->p == ' ')
		r->p++;
}

static void expect(struct rest *r, char c)
{
	if (r->p < r->end && *r->p == c)
		r->p++;
	else
		r->bad = true;
}

static uint64_t number(struct rest *r, unsigned base)
{
	uint64_t value = 0;
	const char *from = r->p;
	for (; r->p < r->end; r->p++) {
		unsigned digit;
		if (*r->p >= '0' && *r->p <= '9')
			digit = (unsigned)(*r->p - '0');
		else if (base == 16 && *r->p >= 'A' && *r->p <= 'F')
			digit = (unsigned)(*r->p - 'A') + 10;
		else if (base == 16 && *r->p >= 'a' && *r->p <= 'f')
			digit = (unsigned)(*r->p - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			r->bad = true;
	}
	if (r->p == from)
		r->bad = true;
	return value;
}

/* Exactly eight hex digits: one 32-bit word as the CPU sees it, so memory holds network order. */
static uint32_t word(struct rest *r)
{
	if (r->end - r->p < 8) {
		r->bad = true;
		return 0;
	}
	struct rest one = { r->p, r->p + 8, false };
	uint32_t value = (uint32_t)number(&one, 16);
	if (one.bad || one.p != one.end)
		r->bad = true;
	r->p += 8;
	return value;
}

static void address(struct rest *r, bool v6, struct gd_proc_net_address *ret, char *to, size_t size)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint32_t words[4] = { 0 };
	char host[INET6_ADDRSTRLEN] = "";
	for (int i = 0; i < (v6 ? 4 : 1); i++)
		words[i] = word(r);
	expect(r, ':');
	ret->port = (uint16_t)number(r, 16);
	memcpy(ret->bytes, v6 ? (const void *)words : mapped, v6 ? 16 : 12);
	if (!v6)
		memcpy(ret->bytes + 12, words, 4);
	(void)inet_ntop(v6 ? AF_INET6 : AF_INET, words, host, sizeof(host));
	(void)snprintf(to, size, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ret->port);
}

bool gd_proc_net_parse_inet(const char *line, size_t len, bool v6, struct gd_proc_net_inet *ret)
{
	struct rest r = { line, line + len, false };
	struct gd_proc_net_inet s = { 0 };
	skip_blanks(&r);
	(void)number(&r, 10); /* "sl" */
	expect(&r, ':');
	skip_blanks(&r);
	address(&r, v6, &s.from, s.local, sizeof(s.local));
	skip_blanks(&r);
	address(&r, v6, &s.to, s.remote, sizeof(s.remote));
	skip_blanks(&r);
	s.state = (unsigned)number(&r, 16);
	skip_blanks(&r);
	s.tx_queue = number(&r, 16);
	expect(&r, ':');
	s.rx_queue = number(&r, 16);
	skip_blanks(&r);
	s.timer = (unsigned)number(&r, 16);
	expect(&r, ':');
	(void)number(&r, 16); /* when it fires */
	skip_blanks(&r);
	s.retransmits = number(&r, 16);
	skip_blanks(&r);
	(void)number(&r, 10); /* uid */
	skip_blanks(&r);
	(void)number(&r, 10); /* probes not yet answered */
	skip_blanks(&r);
	s.inode = number(&r, 10);
	if (r.bad)
		return false;
	*ret = s;
	return true;
}

bool gd_proc_net_parse_unix(const char *line, size_t len, struct gd_proc_net_unix *ret)
{
	struct rest r = { line, line + len, false };
	struct gd_proc_net_unix s = { 0 };
	(void)number(&r, 16); /* address, hashed */
	expect(&r, ':');
	skip_blanks(&r);
	(void)number(&r, 16); /* references */
	skip_blanks(&r);
	(void)number(&r, 16); /* protocol */
	skip_blanks(&r);
	uint64_t flags = number(&r, 16);
	skip_blanks(&r);
	s.type = (unsigned)number(&r, 16);
	skip_blanks(&r);
	s.state = (unsigned)number(&r, 16);
	skip_blanks(&r);
	s.inode = number(&r, 10);
	if (r.bad)
		return false;
	s.listening = (flags & 0x10000) != 0; /* __SO_ACCEPTCON */
	if (r.p < r.end)
		r.p++; /* the one blank before a path */
	s.path = r.p;
	s.path_len = (size_t)(r.end - r.p);
	*ret = s;
	return true;
}

const char *gd_proc_net_state(unsigned state)
{
	static const char *const names[] = {
		[TCP_ESTABLISHED] = "ESTABLISHED", [TCP_SYN_SENT] = "SYN_SENT",
		[TCP_SYN_RECV] = "SYN_RECV",       [TCP_FIN_WAIT1] = "FIN_WAIT1",
		[TCP_FIN_WAIT2] = "FIN_WAIT2",     [TCP_TIME_WAIT] = "TIME_WAIT",
		[TCP_CLOSE] = "CLOSE",             [TCP_CLOSE_WAIT] = "CLOSE_WAIT",
		[TCP_LAST_ACK] = "LAST_ACK",       [TCP_LISTEN] = "LISTEN",
		[TCP_CLOSING] = "CLOSING",
	};
	return state < sizeof(names) / sizeof(names[0]) ? names[state] : NULL;
}
