/*
 * A native program that notices when anything was done to it:
 *
 *	spinners     hold known values in every register (with AVX: all of ymm) and compare, over and over
 *	sleepers     nanosleep, poll, a futex, a read, a condition: none may fail or end early
 *	the watcher  sums up memory that nobody writes; SIGCHLD never comes; waitpid(-1) knows no child
 *
 * selfcheck [THREADS] [ring]: so many idle threads more, default 0; with "ring" it has an io_uring, so that nobody can
 * track what is written: whoever wants its memory has to fork it.  Prints "ready", then a line "beat N" for
 * each line on its stdin; "bad WHAT" and exit 3 when something was wrong.
 */
#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPINNERS 2
#define ROUNDS 20000u /* of the first; the others are in their loop more than they sleep */
#define STATIC_BYTES (1 << 20)

static atomic_ulong beats;
static atomic_int sigchld;
static unsigned char quiet[STATIC_BYTES];
static int never_fds[2];
static int word;

static void bad(const char *what, long value)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "bad %s %ld\n", what, value);
	if (write(1, text, (size_t)n) != n)
		_exit(4);
	_exit(3);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/*
 * Fills all general registers but rsp, and xmm0 to xmm15 (ymm when there is AVX), from *seed, spins, and
 * counts those that changed.  The flags (direction, carry, overflow) are compared through the loop.
 */
uint64_t spin(uint64_t seed, uint64_t rounds);
uint64_t spin_ymm(uint64_t seed, uint64_t rounds);

#define GENERAL_IN                                                                                 \
	"lea 1(%rdi),%rax\n lea 2(%rdi),%rbx\n lea 3(%rdi),%rdx\n lea 5(%rdi),%rbp\n"               \
	"lea 8(%rdi),%r8\n lea 9(%rdi),%r9\n lea 10(%rdi),%r10\n lea 11(%rdi),%r11\n"              \
	"lea 12(%rdi),%r12\n lea 13(%rdi),%r13\n lea 14(%rdi),%r14\n lea 15(%rdi),%r15\n"           \
	"mov %rsi,%rcx\n lea 6(%rdi),%rsi\n"
#define SAME(offset, reg)                                                                          \
	"lea " #offset "(%rdi),%rcx\n cmp %rcx," #reg "\n je 1f\n incq (%rsp)\n 1:\n"
#define GENERAL_OUT                                                                                \
	SAME(1, %rax) SAME(2, %rbx) SAME(3, %rdx) SAME(5, %rbp) SAME(6, %rsi) SAME(8, %r8)          \
	SAME(9, %r9) SAME(10, %r10) SAME(11, %r11) SAME(12, %r12) SAME(13, %r13) SAME(14, %r14)     \
	SAME(15, %r15)
#define ENTER                                                                                      \
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push $0\n"         \
	/* What lies in the red zone must stay as well. */                                         \
	"movq %rdi,-8(%rsp)\n movq %rdi,-120(%rsp)\n"
#define LEAVE                                                                                      \
	"cmp %rdi,-8(%rsp)\n je 1f\n incq (%rsp)\n 1: cmp %rdi,-120(%rsp)\n je 1f\n incq (%rsp)\n"   \
	"1: pop %rax\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
/* stc survives lea and jrcxz, which touch no flags. */
#define LOOP                                                                                       \
	"stc\n 2: lea -1(%rcx),%rcx\n jrcxz 3f\n jmp 2b\n 3: jc 1f\n incq (%rsp)\n 1:\n"

#define EACH16(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define XMM_IN(i) "lea 100+" #i "(%rdi),%rcx\n movq %rcx,%xmm" #i "\n punpcklqdq %xmm" #i ",%xmm" #i "\n"
#define XMM_OUT(i)                                                                                 \
	"lea 100+" #i "(%rdi),%rcx\n movq %xmm" #i ",%r11\n cmp %rcx,%r11\n je 1f\n incq (%rsp)\n 1:\n" \
	"psrldq $8,%xmm" #i "\n movq %xmm" #i ",%r11\n cmp %rcx,%r11\n je 1f\n incq (%rsp)\n 1:\n"
#define YMM_IN(i)                                                                                  \
	"lea 200+" #i "(%rdi),%rcx\n vmovq %rcx,%xmm" #i "\n"                                       \
	"vinsertf128 $1,%xmm" #i ",%ymm" #i ",%ymm" #i "\n"
#define YMM_OUT(i)                                                                                 \
	"lea 200+" #i "(%rdi),%rcx\n vmovq %xmm" #i ",%r11\n cmp %rcx,%r11\n je 1f\n incq (%rsp)\n 1:\n" \
	"vextractf128 $1,%ymm" #i ",%xmm" #i "\n vmovq %xmm" #i ",%r11\n cmp %rcx,%r11\n"          \
	"je 1f\n incq (%rsp)\n 1:\n"

__asm__(".text\n.globl spin\nspin:\n" ENTER "mov %rsi,%r15\n" EACH16(XMM_IN) "mov %r15,%rsi\n" GENERAL_IN
        LOOP GENERAL_OUT EACH16(XMM_OUT) LEAVE);
__asm__(".text\n.globl spin_ymm\nspin_ymm:\n" ENTER "mov %rsi,%r15\n" EACH16(YMM_IN)
        "mov %r15,%rsi\n" GENERAL_IN LOOP GENERAL_OUT EACH16(YMM_OUT) "vzeroupper\n" LEAVE);

static void *spinner(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * 1000003;
	uint64_t rounds = arg == (void *)1 ? ROUNDS : 20 * ROUNDS;
	int avx = __builtin_cpu_supports("avx");
	prctl(PR_SET_NAME, "spinner");
	for (;;) {
		uint64_t wrong = spin(seed, rounds) + (avx ? spin_ymm(seed, rounds) : 0);
		if (wrong != 0)
			bad("registers", (long)wrong);
		atomic_fetch_add(&beats, 1);
		seed++;
		/* Mostly asleep, so that a busy machine stays usable; the call itself is checked. */
		int64_t before = now_ns();
		struct timespec t = { .tv_nsec = 500000 };
		if (nanosleep(&t, NULL) != 0)
			bad("nanosleep errno", errno);
		if (now_ns() - before < 500000)
			bad("nanosleep ended early", (long)(now_ns() - before));
	}
	return NULL;
}

static void *poller(void *arg)
{
	(void)arg;
	for (;;) {
		struct pollfd fd = { .fd = never_fds[0], .events = POLLIN };
		int64_t before = now_ns();
		int r = poll(&fd, 1, 20);
		if (r != 0)
			bad("poll", r < 0 ? -errno : r);
		if (now_ns() - before < 20000000)
			bad("poll ended early", (long)(now_ns() - before));
		atomic_fetch_add(&beats, 1);
	}
	return NULL;
}

/* Waits that never end, each in its own thread. */
static void *endless_poller(void *arg)
{
	struct pollfd fd = { .fd = never_fds[0], .events = POLLIN };
	(void)arg;
	bad("endless poll", poll(&fd, 1, -1) < 0 ? -errno : 1);
	return NULL;
}

static void *reader(void *arg)
{
	char c;
	(void)arg;
	bad("read", read(never_fds[0], &c, 1) < 0 ? -errno : 1);
	return NULL;
}

static void *futexer(void *arg)
{
	(void)arg;
	bad("futex", syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) < 0 ? -errno : 1);
	return NULL;
}

static void *futexer_for_a_while(void *arg)
{
	(void)arg;
	for (;;) {
		struct timespec t = { .tv_nsec = 15000000 };
		int64_t before = now_ns();
		long r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
		if (r != -1 || errno != ETIMEDOUT)
			bad("futex with timeout", r < 0 ? -errno : r);
		if (now_ns() - before < 15000000)
			bad("futex ended early", (long)(now_ns() - before));
		atomic_fetch_add(&beats, 1);
	}
	return NULL;
}

static void on_sigchld(int signal)
{
	(void)signal;
	atomic_store(&sigchld, 1);
}

static void *watcher(void *arg)
{
	(void)arg;
	for (;;) {
		unsigned long sum = 0;
		for (size_t i = 0; i < sizeof(quiet); i++)
			sum += quiet[i];
		if (sum != (unsigned long)STATIC_BYTES / 256 * 255 * 128)
			bad("memory", (long)sum);
		if (atomic_load(&sigchld))
			bad("SIGCHLD", 1);
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid != -1 || errno != ECHILD)
			bad("child", pid);
		atomic_fetch_add(&beats, 1);
		struct timespec t = { .tv_nsec = 2000000 };
		if (nanosleep(&t, NULL) != 0)
			bad("nanosleep errno", errno);
	}
	return NULL;
}

static void start(void *(*run)(void *), uintptr_t arg)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	int r = pthread_create(&thread, &attr, run, (void *)arg);
	pthread_attr_destroy(&attr);
	if (r != 0)
		bad("pthread_create", r);
}

int main(int argc, char **argv)
{
	char line[64];
	long idle = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	struct io_uring_params ring = { 0 };
	if (argc > 2 && syscall(SYS_io_uring_setup, 1, &ring) < 0) {
		printf("no io_uring: %s\n", strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < sizeof(quiet); i++)
		quiet[i] = (unsigned char)i;
	if (pipe(never_fds) != 0)
		return 1;
	signal(SIGCHLD, on_sigchld);
	for (uintptr_t i = 1; i <= SPINNERS; i++)
		start(spinner, i);
	start(poller, 0);
	start(endless_poller, 0);
	start(reader, 0);
	start(futexer, 0);
	start(futexer_for_a_while, 0);
	start(watcher, 0);
	for (long i = 0; i < idle; i++)
		start(futexer, 0);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		printf("beat %lu\n", atomic_load(&beats));
		fflush(stdout);
	}
	if (ferror(stdin))
		bad("stdin errno", errno);
	return 0;
}
