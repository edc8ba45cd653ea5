#include "uploader/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* All addresses as 16 bytes, IPv4 mapped, so that both families are judged by the same rules. */
struct address {
	uint8_t b[16];
};

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b };                /* RFC 6052 */
static const uint8_t metadata6[16] = { 0xfd, 0, 0x0e, 0xc2, [14] = 2, [15] = 0x54 }; /* fd00:ec2::254 */

static void set_v4(struct address *to, const void *bytes)
{
	memcpy(to->b, mapped, sizeof(mapped));
	memcpy(to->b + 12, bytes, 4);
}

/* The literal in the URL; false when it is a name. */
static bool parse_literal(const char *host, struct address *ret)
{
	char text[64];
	uint8_t bytes[16];
	bool brackets = host[0] == '[';
	size_t n = strcspn(host + brackets, brackets ? "]" : ":");
	if (n >= sizeof(text))
		return false;
	memcpy(text, host + brackets, n);
	text[n] = '\0';
	if (brackets && inet_pton(AF_INET6, text, bytes) == 1) {
		memcpy(ret->b, bytes, 16);
		return true;
	}
	if (brackets || inet_pton(AF_INET, text, bytes) != 1)
		return false;
	set_v4(ret, bytes);
	return true;
}

/* The four bytes of an IPv4 address in whatever dress; NULL: it is none. */
static const uint8_t *as_v4(const struct address *a)
{
	static const uint8_t compatible[12];
	if (memcmp(a->b, mapped, 12) == 0 || memcmp(a->b, nat64, 12) == 0)
		return a->b + 12;
	/* ::a.b.c.d, but not :: and ::1 */
	if (memcmp(a->b, compatible, 12) == 0 && (a->b[12] | a->b[13] | a->b[14]) != 0)
		return a->b + 12;
	return NULL;
}

static bool is_link_local(const struct address *a)
{
	const uint8_t *v4 = as_v4(a);
	if (v4 != NULL)
		return v4[0] == 169 && v4[1] == 254;
	return (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) || memcmp(a->b, metadata6, 16) == 0;
}

/* Also "any", which connects to this host. */
static bool is_loopback(const struct address *a)
{
	static const uint8_t zeros[15];
	const uint8_t *v4 = as_v4(a);
	if (v4 != NULL)
		return v4[0] == 127 || v4[0] == 0;
	return memcmp(a->b, zeros, 15) == 0 && a->b[15] <= 1;
}

static bool names_loopback(const char *host)
{
	static const char localhost[] = "localhost";
	struct address literal;
	if (parse_literal(host, &literal))
		return is_loopback(&literal);
	size_t n = strcspn(host, ":");
	n -= n > 0 && host[n - 1] == '.';
	size_t tail = sizeof(localhost) - 1;
	return n >= tail && strncasecmp(host + n - tail, localhost, tail) == 0 &&
	       (n == tail || host[n - tail - 1] == '.');
}

int gd_address_check(const struct sockaddr *address, const char *host, struct gd_error *err)
{
	struct address a;
	struct address literal;
	char text[INET6_ADDRSTRLEN] = "?";
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		set_v4(&a, &in.sin_addr);
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
	} else if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, address, sizeof(in6));
		memcpy(a.b, &in6.sin6_addr, 16);
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
	} else {
		return gd_fail(err, -EACCES, "neither an IPv4 nor an IPv6 address");
	}
	if (is_link_local(&a) && !(parse_literal(host, &literal) &&
	                           memcmp(literal.b, a.b, sizeof(a.b)) == 0))
		return gd_fail(err, -EACCES,
		               "%.100s resolves to %s, a link-local address (metadata services "
		               "live there): refused", host, text);
	if (is_loopback(&a) && !names_loopback(host))
		return gd_fail(err, -EACCES, "%.100s resolves to %s, this host itself: refused",
		               host, text);
	return 0;
}
