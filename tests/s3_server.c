#include "tests/s3_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

/* Port 0: any. */
static int try_loopback_socket(uint16_t port, int *ret_port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(address);
	int one = 1;
	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&address, len) < 0) {
		(void)close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int loopback_socket(int *ret_port)
{
	int fd = try_loopback_socket(0, ret_port);
	assert_true(fd >= 0);
	return fd;
}

/*
 * For a server that opens its port itself: below those that the kernel gives to whoever wants any, so
 * that none of the tests beside us has got it by then.
 */
static int free_port(void)
{
	int port = 0;
	for (uint16_t i = 0; i < 1000; i++) {
		int fd = try_loopback_socket((uint16_t)(20000 + (getpid() + i) % 10000), &port);
		if (fd >= 0) {
			(void)close(fd);
			return port;
		}
	}
	fail_msg("no free port");
	return 0;
}

static void wait_for_port(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	for (int tries = 0; tries < 200; tries++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
		(void)close(fd);
		if (r == 0)
			return;
		(void)usleep(50000);
	}
	fail_msg("nothing listens on port %d after 10 s", port);
}

static const char *versitygw(void)
{
	const char *program = getenv("GODIAG_TEST_VERSITYGW");
	return program != NULL && access(program, X_OK) == 0 ? program : victim_path("versitygw");
}

static void start_versitygw(struct s3_server *server)
{
	const char *program = versitygw();
	const char *root = test_path("s3");
	char listen_at[32];
	char key[4096] = "";
	char cert[4096] = "";
	(void)snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%d", server->port);
	(void)snprintf(key, sizeof(key), "%s", test_path("key.pem"));
	(void)snprintf(cert, sizeof(cert), "%s", test_path("cert.pem"));
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		int null = open("/dev/null", O_RDWR);
		(void)dup2(null, 0);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)setenv("ROOT_ACCESS_KEY", "godiagtest", 1);
		(void)setenv("ROOT_SECRET_KEY", "godiag/test+secret", 1);
		if (server->tls)
			(void)execl(program, "versitygw", "--port", listen_at, "--key", key,
			            "--cert", cert, "posix", root, (char *)NULL);
		else
			(void)execl(program, "versitygw", "--port", listen_at, "posix", root,
			            (char *)NULL);
		_exit(127);
	}
	wait_for_port(server->port);
}

void s3_server_restart(struct s3_server *server)
{
	if (server->pid > 0)
		s3_server_stop(server);
	start_versitygw(server);
}

static struct s3_server versitygw_new(bool tls)
{
	const char *program = versitygw();
	if (access(program, X_OK) < 0)
		test_skip("versitygw was not built (needs Go 1.25 or newer): no S3 server that "
		          "verifies signatures");
	struct s3_server server = { .pid = -1, .tls = tls };
	server.port = free_port();
	const char *root = test_path("s3");
	assert_int_equal(mkdir(root, 0700), 0);
	assert_int_equal(mkdir(test_path("s3/evidence"), 0700), 0);
	start_versitygw(&server);
	(void)setenv("AWS_ACCESS_KEY_ID", "godiagtest", 1);
	(void)setenv("AWS_SECRET_ACCESS_KEY", "godiag/test+secret", 1);
	(void)unsetenv("AWS_SESSION_TOKEN");
	(void)setenv("AWS_REGION", "us-east-1", 1);
	return server;
}

struct s3_server s3_server_versitygw(void)
{
	return versitygw_new(false);
}

struct s3_server s3_server_versitygw_tls(void)
{
	char command[9000];
	char key[4096];
	(void)snprintf(key, sizeof(key), "%s", test_path("key.pem"));
	(void)snprintf(command, sizeof(command),
	               "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=store "
	               "-addext subjectAltName=IP:127.0.0.1 -keyout '%s' -out '%s' 2>/dev/null",
	               key, test_path("cert.pem"));
	if (system(command) != 0)
		test_skip("openssl cannot make a certificate here");
	return versitygw_new(true);
}

/* Reads one request: header, then as much body as Content-Length says. */
static void read_request(int fd)
{
	char text[65536];
	size_t have = 0;
	const char *end = NULL;
	while (end == NULL && have < sizeof(text) - 1) {
		ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);
		if (n <= 0)
			return;
		have += (size_t)n;
		text[have] = '\0';
		end = strstr(text, "\r\n\r\n");
	}
	const char *length = strcasestr(text, "\r\ncontent-length:");
	long left = length != NULL ? strtol(length + 17, NULL, 10) : 0;
	if (end != NULL)
		left -= (long)(text + have - end) - 4;
	while (left > 0) {
		ssize_t n = read(fd, text, sizeof(text));
		if (n <= 0)
			return;
		left -= n;
	}
}

struct s3_server s3_server_canned(const char *const *answers, size_t n)
{
	struct s3_server server = { .pid = -1 };
	int listening = loopback_socket(&server.port);
	assert_int_equal(listen(listening, 8), 0);
	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0;; i += i + 1 < n) {
			int fd = accept(listening, NULL, NULL);
			read_request(fd);
			if (strcmp(answers[i], S3_SILENCE) == 0)
				(void)pause();
			ssize_t w = write(fd, answers[i], strlen(answers[i]));
			(void)w;
			(void)shutdown(fd, SHUT_RDWR);
			(void)close(fd);
		}
	}
	(void)close(listening);
	(void)setenv("AWS_ACCESS_KEY_ID", "key", 1);
	(void)setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	return server;
}

void s3_server_stop(struct s3_server *server)
{
	(void)kill(server->pid, SIGKILL);
	(void)waitpid(server->pid, NULL, 0);
	server->pid = -1;
}
