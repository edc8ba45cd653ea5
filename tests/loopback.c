#include "tests/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/test.h"

static int dial(unsigned port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval patience = { .tv_sec = 120 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
		fail_msg("port %u of this machine does not answer", port);
	return fd;
}

void loopback_get(unsigned port, const char *path, struct gd_buf *body)
{
	struct gd_error err = { 0 };
	char request[512];
	/* 1.0: the server closes the connection after its answer, and sends it in one piece. */
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n",
	                 path);
	assert_true(n > 0 && (size_t)n < sizeof(request));
	int fd = dial(port);
	assert_ok(gd_io_write_all(fd, request, (size_t)n, &err), &err);
	gd_buf_reset(body);
	assert_ok(gd_io_read_all(fd, body, &err), &err);
	(void)close(fd);

	const char *text = gd_buf_str(body);
	const char *end = strstr(text, "\r\n\r\n");
	if (end == NULL || strncmp(text, "HTTP/1.0 200 ", 13) != 0)
		fail_msg("GET %s: %.200s", path, text);
	body->len -= (size_t)(end + 4 - text);
	memmove(body->data, end + 4, body->len);
	(void)gd_buf_str(body);
}
