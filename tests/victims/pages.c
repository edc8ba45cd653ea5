/*
 * A process whose memory is never at rest: pages [MIB] [MB_PER_S] [thp|4k] [calm|wild].  Threads dirty random
 * pages at that rate; a wild one also gives pages back and touches them again, replaces and moves
 * mappings, grows stacks, starts and ends threads.  Maps one of each odd kind: shared, DONTFORK,
 * WIPEONFORK, DONTDUMP, PROT_NONE with content, a written private file.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define DROP_MIB 8ul

static unsigned char *heap;
static size_t heap_pages;
static double bytes_per_s;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void nap(long ns)
{
	struct timespec t = { ns / 1000000000, ns % 1000000000 };
	nanosleep(&t, NULL);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *write_pages(void *arg)
{
	uint64_t state = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
	double start = now();
	for (double written = 0;; written += PAGE) {
		uint64_t *page = (uint64_t *)(void *)(heap + next(&state) % heap_pages * PAGE);
		for (int i = 0; i < 4; i++)
			page[next(&state) % (PAGE / 8)] = state;
		while (written > (now() - start) * bytes_per_s)
			nap(1000000);
	}
	return NULL;
}

static void *be_there_for_a_moment(void *arg)
{
	volatile char stack[32768];
	for (size_t i = 0; i < sizeof(stack); i += 512)
		stack[i] = (char)(uintptr_t)arg;
	nap(3000000);
	return NULL;
}

static unsigned grow(unsigned depth)
{
	volatile char room[8192];
	room[0] = (char)depth;
	room[sizeof(room) - 1] = (char)depth;
	return depth == 0 ? (unsigned)room[0] : grow(depth - 1) + (unsigned)room[0];
}

static unsigned char *map(size_t bytes, int prot, int flags)
{
	unsigned char *p = mmap(NULL, bytes, prot, flags | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* Everything that can happen to a mapping between two looks at it. */
static void *rearrange(void *arg)
{
	(void)arg;
	uint64_t state = 88172645463325252u;
	size_t bytes = DROP_MIB << 20;
	unsigned char *area = map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	unsigned char *moved = map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (uint64_t n = 0;; n++) {
		size_t at = next(&state) % (bytes / PAGE - 64) * PAGE;
		memset(area + at, (int)n, 64 * PAGE);
		if (n % 3 == 0)
			madvise(area + next(&state) % (bytes / PAGE - 64) * PAGE, 64 * PAGE,
			        MADV_DONTNEED);
		if (n % 7 == 0)
			mmap(area + at, 16 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (n % 5 == 0) {
			memset(moved, (int)n, 1 << 20);
			unsigned char *to = mremap(moved, 1 << 20, 1 << 20,
			                           MREMAP_MAYMOVE | MREMAP_FIXED,
			                           map(1 << 20, PROT_NONE, MAP_PRIVATE));
			moved = to != MAP_FAILED ? to : moved;
		}
		if (n % 4 == 0) {
			pthread_t thread;
			if (pthread_create(&thread, NULL, be_there_for_a_moment,
			                   (void *)(uintptr_t)n) == 0)
				pthread_detach(thread);
		}
		if (n % 11 == 0)
			(void)grow((unsigned)(next(&state) % 200));
		nap(1000000);
	}
	return NULL;
}

static void have_odd_mappings(void)
{
	size_t bytes = 64 * PAGE;
	unsigned char *p = map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(p, 's', bytes / 2);
	printf("shared %p\n", (void *)p);
	p = map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(p, 'f', bytes);
	madvise(p, bytes, MADV_DONTFORK);
	printf("dontfork %p\n", (void *)p);
	p = map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(p, 'w', bytes);
	madvise(p, bytes, MADV_WIPEONFORK);
	printf("wipeonfork %p\n", (void *)p);
	p = map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(p, 'd', bytes);
	madvise(p, bytes, MADV_DONTDUMP);
	printf("dontdump %p\n", (void *)p);
	p = map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(p, 'n', bytes);
	mprotect(p, bytes, PROT_NONE);
	printf("none %p\n", (void *)p);
	int fd = open("/proc/self/exe", O_RDONLY);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED)
		p[PAGE] = 'p';
	printf("file %p\n", (void *)p);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
	bytes_per_s = (argc > 2 ? strtod(argv[2], NULL) : 0) * 1e6;
	int huge = argc > 3 && strcmp(argv[3], "thp") == 0;
	int wild = argc > 4 && strcmp(argv[4], "wild") == 0;
	heap_pages = (mib << 20) / PAGE;
	heap = map((mib << 20) + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE);
	heap = (unsigned char *)(((uintptr_t)heap + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
	madvise(heap, mib << 20, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	uint64_t state = 1;
	for (size_t i = 0; i < mib << 20; i += 512)
		memcpy(heap + i, &(uint64_t){ next(&state) }, 8);
	have_odd_mappings();
	pthread_t thread;
	if (bytes_per_s > 0)
		pthread_create(&thread, NULL, write_pages, (void *)1);
	for (uintptr_t i = 0; wild && i < 2; i++)
		pthread_create(&thread, NULL, rearrange, NULL);
	printf("ready\n");
	fflush(stdout);
	char line[64];
	while (fgets(line, sizeof(line), stdin) != NULL)
		if (strcmp(line, "exec\n") == 0)
			execl("/bin/sleep", "sleep", "100", (char *)NULL);
	return 0;
}
