/*
 * Native is busy with code whose call chains are known, built as production code is: without frame
 * pointers.  Its arguments say with what ("native deep sort"), each in a thread of its own; "main" is in
 * the main thread.  None means all.  Prints "ready".
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile uint64_t sink;

/* More values at once than there are registers, the frame pointer's included. */
static NOINLINE uint64_t mix(uint64_t n)
{
	uint64_t a = n, b = n ^ 1, c = n ^ 2, d = n ^ 3, e = n ^ 4, f = n ^ 5, g = n ^ 6, h = n ^ 7;
	uint64_t i = n ^ 8, j = n ^ 9, k = n ^ 10, l = n ^ 11, m = n ^ 12;
	for (int turn = 0; turn < 200; turn++) {
		a = a * 31 + (b >> 7), b ^= c << 3, c += d * 17, d ^= e >> 5, e += f * 13;
		f ^= g << 9, g += h * 11, h ^= i >> 3, i += j * 7, j ^= k << 5, k += l * 5;
		l ^= m >> 11, m += a * 3;
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j ^ k ^ l ^ m;
}

/* The frame pointer's register holds what no frame pointer ever is. */
static NOINLINE uint64_t smash(uint64_t n)
{
	for (int i = 0; i < 300; i++)
		__asm__ volatile("mov %0, %%rbp\n\timul $31, %%rbp\n\tlea 7(%%rbp), %0"
		                 : "+r"(n) : : "rbp", "cc");
	return n;
}

static NOINLINE uint64_t deep(int level, uint64_t n)
{
	volatile uint64_t room[3] = { n, n + 1, n + 2 };
	if (level == 0)
		return mix(n) + smash(n);
	return deep(level - 1, n + room[level % 3]) + room[1];
}

static NOINLINE void run_deep(void)
{
	for (;;)
		sink += deep(30, sink);
}

/* A callback of the C library's. */
static NOINLINE int compare(const void *a, const void *b)
{
	uint64_t x = mix(*(const uint32_t *)a) & 0xff, y = *(const uint32_t *)b & 0xff;
	return x < y ? -1 : x > y;
}

static NOINLINE void run_sort(void)
{
	static uint32_t list[512];
	for (;;) {
		for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
			list[i] = (uint32_t)(i * 2654435761u);
		qsort(list, sizeof(list) / sizeof(list[0]), sizeof(list[0]), compare);
	}
}

/* Deep in a library. */
static NOINLINE void run_deflate(void)
{
	static unsigned char from[1 << 16], to[1 << 17];
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i * i >> 5);
	for (;;) {
		uLongf n = sizeof(to);
		sink += (uint64_t)compress(to, &n, from, sizeof(from));
	}
}

/* In a handler, over the frame that the kernel makes. */
static NOINLINE void on_signal(int number)
{
	for (int i = 0; i < 20; i++)
		sink += deep(3, sink + (uint64_t)number);
}

static NOINLINE void run_signal(void)
{
	for (;;)
		sink += (uint64_t)raise(SIGUSR1);
}

/* Through the PLT, to a function of no length. */
static NOINLINE void run_plt(void)
{
	for (;;)
		sink += (uint64_t)(uintptr_t)zlibVersion();
}

/* The clock of the vdso. */
static NOINLINE void run_clock(void)
{
	struct timespec now;
	for (;;) {
		sink += (uint64_t)clock_gettime(CLOCK_MONOTONIC, &now);
		sink += (uint64_t)now.tv_nsec;
	}
}

static NOINLINE void run_main(void)
{
	for (;;)
		sink += deep(5, sink);
}

static struct {
	const char *name;
	void (*run)(void);
} kinds[] = {
	{ "deep", run_deep },     { "sort", run_sort }, { "deflate", run_deflate },
	{ "signal", run_signal }, { "plt", run_plt },   { "clock", run_clock },
};

static NOINLINE void *begin(void *run)
{
	void (*const *kind)(void) = run;
	(*kind)();
	return NULL;
}

/* Whoever started us says when it is over. */
static void *wait_for_end(void *nothing)
{
	char c;
	while (read(0, &c, 1) > 0)
		;
	_exit(nothing != NULL);
}

static bool is_wanted(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc < 2;
}

static void start(void *(*run)(void *), void *argument)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, argument) != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	if (signal(SIGUSR1, on_signal) == SIG_ERR)
		return 1;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (is_wanted(argc, argv, kinds[i].name))
			start(begin, &kinds[i].run);
	printf("ready\n");
	fflush(stdout);
	if (!is_wanted(argc, argv, "main"))
		return wait_for_end(NULL) != NULL;
	start(wait_for_end, NULL);
	run_main();
}
