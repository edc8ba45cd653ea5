/*
 * A process with one of everything that the proc collector lists: ten more threads, fifty
 * descriptors, sockets of all families.  Prints "<name> <fd>" for each descriptor and "port <n>" for
 * the TCP listener, then "ready".  Its arguments are for others to read.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

static int say(const char *name, int fd)
{
	if (fd < 0) {
		perror(name);
		exit(1);
	}
	printf("%s %d\n", name, fd);
	return fd;
}

static pthread_barrier_t named;

static void *live(void *arg)
{
	prctl(PR_SET_NAME, (const char *)arg);
	pthread_barrier_wait(&named);
	for (;;)
		pause();
	return NULL;
}

static void have_tcp(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	socklen_t len = sizeof(here);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int listener = say("tcp-listener", socket(AF_INET, SOCK_STREAM, 0));
	if (bind(listener, (struct sockaddr *)&here, len) != 0 || listen(listener, 7) != 0 ||
	    getsockname(listener, (struct sockaddr *)&here, &len) != 0)
		exit(2);
	printf("port %d\n", ntohs(here.sin_port));
	int client = say("tcp-client", socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	(void)connect(client, (struct sockaddr *)&here, len);
	int server = say("tcp-server", accept(listener, NULL, NULL));
	/* Three bytes nobody reads: a receive queue. */
	if (write(client, "abc", 3) != 3)
		exit(3);
	say("tcp-duplicate", dup(server));
}

static void have_unix(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int pair[2];
	int abstract = say("unix-abstract", socket(AF_UNIX, SOCK_STREAM, 0));
	/* A path that would forge a line of the table, if somebody believed it. */
	int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "godiag-%d\n\"x", getpid());
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	if (bind(abstract, (struct sockaddr *)&name, len) != 0 || listen(abstract, 1) != 0)
		exit(4);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
		exit(5);
	say("unix-pair", pair[0]);
}

static void have_others(void)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in any = { .sin_family = AF_INET };
	any6.sin6_addr = in6addr_loopback;
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int six = socket(AF_INET6, SOCK_STREAM, 0);
	if (six >= 0 && bind(six, (struct sockaddr *)&any6, sizeof(any6)) == 0 &&
	    listen(six, 1) == 0)
		say("tcp6-listener", six);
	int udp = say("udp", socket(AF_INET, SOCK_DGRAM, 0));
	if (bind(udp, (struct sockaddr *)&any, sizeof(any)) != 0)
		exit(6);
	struct sockaddr_nl nobody = { .nl_family = AF_NETLINK };
	int netlink = say("netlink", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	if (bind(netlink, (struct sockaddr *)&nobody, sizeof(nobody)) != 0)
		exit(11);
	/* Of a family that no table lists. */
	int odd = socket(AF_ALG, SOCK_SEQPACKET, 0);
	say("odd", odd >= 0 ? odd : socket(AF_VSOCK, SOCK_STREAM, 0));
}

static void have_files(void)
{
	char path[] = "/tmp/godiag-household-XXXXXX";
	int file = say("deleted", mkstemp(path));
	unlink(path);
	if (write(file, "0123456789", 10) != 10)
		exit(7);
	say("append", open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC));
	say("path", open("/", O_PATH));
	say("memfd", memfd_create("a\nb", 0));
	say("eventfd", eventfd(1, EFD_NONBLOCK));
	say("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	int epoll = say("epoll", epoll_create1(0));
	struct epoll_event event = { .events = EPOLLIN };
	(void)epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
	say("namespace", open("/proc/self/ns/net", O_RDONLY));
	int pipes[2];
	if (pipe(pipes) != 0)
		exit(8);
	say("pipe", pipes[0]);
}

int main(void)
{
	have_tcp();
	have_unix();
	have_others();
	have_files();
	for (int fd = 0; fd < 50; fd = dup(0))
		if (fd < 0)
			return 9;
	pthread_barrier_init(&named, NULL, 11);
	for (int i = 0; i < 10; i++) {
		pthread_t thread;
		static char name[] = "a) R \"\n";
		if (pthread_create(&thread, NULL, live, name) != 0)
			return 10;
	}
	pthread_barrier_wait(&named);
	printf("ready\n");
	fflush(stdout);
	char c;
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
