/*
 * A process that stands still and has memory of every kind, each filled so that a page out of place
 * shows: kinds FILE HUGETLB-MIB [ring].  FILE is mapped, privately and shared; 0 MIB: no hugetlb pages; with "ring" it has
 * an io_uring, whose writes nobody could track.  Prints a line
 * "KIND START BYTES" for each, "rseq TID ADDRESS" for each thread, then "ready".  Beside the main thread, which
 * waits for a signal, four wait: for a lock, for input, for an hour in nanosleep and in poll.
 *
 * Any signal that dumps core does so: none is handled.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define HUGE (2ul << 20)

static unsigned char data[3 * PAGE] = { 1 };
static unsigned char bss[3 * PAGE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all_there;
static int never[2];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Of a page's own address, so that no two are alike. */
static void fill(void *at, size_t bytes)
{
	for (size_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t word = ((uint64_t)(uintptr_t)at + i) * 0x9e3779b97f4a7c15u;
		memcpy((char *)at + i, &word, 8);
	}
}

static void say(const char *kind, const void *at, size_t bytes)
{
	printf("%s %#lx %zu\n", kind, (unsigned long)(uintptr_t)at, bytes);
}

static unsigned char *map(const char *kind, size_t bytes, int flags, int fd)
{
	unsigned char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	                         flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (at == MAP_FAILED)
		fail(kind);
	say(kind, at, bytes);
	return at;
}

static void advise(void *at, size_t bytes, int advice)
{
	if (madvise(at, bytes, advice) != 0)
		fail("madvise");
}

static void map_anonymous(void)
{
	unsigned char *at = map("private", 64 * PAGE, MAP_PRIVATE, -1);
	for (size_t i = 0; i < 64; i += 3) /* between them nothing was ever there */
		fill(at + i * PAGE, PAGE);
	advise(at + 30 * PAGE, 6 * PAGE, MADV_DONTNEED);
	fill(map("shared", 64 * PAGE, MAP_SHARED, -1), 32 * PAGE);
	at = map("dontdump", 16 * PAGE, MAP_PRIVATE, -1);
	fill(at, 16 * PAGE);
	advise(at, 16 * PAGE, MADV_DONTDUMP);
	at = map("dontfork", 16 * PAGE, MAP_PRIVATE, -1);
	fill(at, 16 * PAGE);
	advise(at, 16 * PAGE, MADV_DONTFORK);
	at = map("wipeonfork", 16 * PAGE, MAP_PRIVATE, -1);
	fill(at, 16 * PAGE);
	advise(at, 16 * PAGE, MADV_WIPEONFORK);
	at = map("none", 16 * PAGE, MAP_PRIVATE, -1);
	fill(at, 16 * PAGE);
	if (mprotect(at, 16 * PAGE, PROT_NONE) != 0)
		fail("mprotect");
	at = map("huge", 3 * HUGE, MAP_PRIVATE, -1);
	advise(at, 3 * HUGE, MADV_HUGEPAGE);
	fill(at, 3 * HUGE);
	at = malloc(300000); /* a mapping of its own */
	if (at == NULL)
		fail("malloc");
	fill(at, 300000);
	for (size_t i = 0; i < 100; i++) { /* [heap] */
		unsigned char *small = malloc(1000);
		if (small != NULL)
			fill(small, 1000);
	}
}

static void map_files(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	unsigned char *at = map("written", 8 * PAGE, MAP_PRIVATE, fd);
	fill(at + 2 * PAGE, 2 * PAGE);
	(void)*(volatile unsigned char *)map("unwritten", 8 * PAGE, MAP_PRIVATE, fd);
	fill(map("file", 8 * PAGE, MAP_SHARED, fd), 2 * PAGE);
	int memory = memfd_create("kinds", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, 32 * PAGE) != 0)
		fail("memfd");
	fill(map("memfd", 32 * PAGE, MAP_SHARED, memory), 16 * PAGE);
}

static void map_hugetlb(size_t bytes)
{
	unsigned char *at = map("hugetlb", bytes, MAP_PRIVATE | MAP_HUGETLB, -1);
	fill(at, bytes);
}

/* The kernel writes there whenever the thread has been moved to another CPU. */
static void say_rseq(void)
{
	printf("rseq %ld %#lx\n", (long)syscall(SYS_gettid),
	       (unsigned long)((uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset));
}

static void *wait_somehow(void *arg)
{
	unsigned char stack[2 * PAGE];
	struct timespec hour = { 3600, 0 };
	char byte;
	fill(stack, sizeof(stack));
	__asm__ volatile("" : : "r"(stack) : "memory"); /* it is not to be left out */
	say_rseq();
	(void)pthread_barrier_wait(&all_there);
	switch ((int)(intptr_t)arg) {
	case 0:
		(void)pthread_mutex_lock(&lock);
		break;
	case 1:
		(void)!read(never[0], &byte, 1);
		break;
	case 2:
		(void)nanosleep(&hour, NULL);
		break;
	default:
		(void)poll(NULL, 0, 3600000);
	}
	_exit(2); /* none of it ends */
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	fill(data, sizeof(data));
	fill(bss, sizeof(bss));
	say("data", data, sizeof(data));
	say("bss", bss, sizeof(bss));
	map_anonymous();
	map_files(argv[1]);
	if (atoi(argv[2]) > 0)
		map_hugetlb((size_t)atoi(argv[2]) << 20);
	struct io_uring_params ring = { 0 };
	if (argc > 3 && syscall(SYS_io_uring_setup, 1, &ring) < 0)
		fail("io_uring");
	(void)pthread_mutex_lock(&lock);
	if (pipe(never) != 0 || pthread_barrier_init(&all_there, NULL, 5) != 0)
		fail("pipe, barrier");
	for (intptr_t i = 0; i < 4; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, wait_somehow, (void *)i) != 0)
			fail("pthread_create");
	}
	say_rseq();
	(void)pthread_barrier_wait(&all_there);
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL); /* they get from there to their waits */
	printf("ready\n");
	for (;;)
		pause();
}
