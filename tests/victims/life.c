/*
 * A process that does with its own life what it is told on stdin, one line each:
 *
 *	exit        exit_group(0)
 *	exec        becomes this program anew ("life again")
 *	exec-fixed  the same with address space randomisation off
 *	thread      a second thread, which does the same from then on while main waits
 *	leave       ends the main thread only (say "thread" first)
 *	vfork       prints the pid of a vfork child that becomes this program at its first line
 *	rename X    comm = X, with \n for a newline
 *
 * It prints "at ADDR" (a u64 that holds 0x1122334455667788), then "ready", then "done" per line.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile uint64_t known = 0x1122334455667788;
static char self[4096];

static void again(void)
{
	execl(self, "life", "again", NULL);
	_exit(3);
}

static void do_rename(const char *name)
{
	char raw[64];
	size_t n = 0;
	for (; *name != '\0' && n < sizeof(raw) - 1; name++) {
		if (name[0] == '\\' && name[1] == 'n') {
			raw[n++] = '\n';
			name++;
		} else {
			raw[n++] = *name;
		}
	}
	raw[n] = '\0';
	prctl(PR_SET_NAME, raw);
}

static void do_vfork(void)
{
	pid_t pid = vfork();
	if (pid == 0) {
		/* The parent stands still and its memory is ours: nothing but system calls. */
		char text[32];
		char c = 0;
		int n = snprintf(text, sizeof(text), "%d\n", getpid());
		if (write(1, text, (size_t)n) != n)
			_exit(1);
		while (read(0, &c, 1) == 1 && c != '\n')
			;
		execl(self, "life", "again", NULL);
		_exit(3);
	}
}

static void *obey(void *arg)
{
	char line[256];
	(void)arg;
	/* Unbuffered: a program that takes over reads what is left. */
	setvbuf(stdin, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		pthread_t thread;
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "exit") == 0)
			_exit(0);
		if (strcmp(line, "exec") == 0)
			again();
		if (strcmp(line, "exec-fixed") == 0) {
			personality(ADDR_NO_RANDOMIZE);
			again();
		}
		if (strcmp(line, "thread") == 0) {
			printf("done\n");
			if (pthread_create(&thread, NULL, obey, NULL) != 0)
				_exit(4);
			/* Only "leave" ends main: it comes as a cancellation from the thread. */
			pause();
		}
		if (strcmp(line, "leave") == 0) {
			extern pthread_t main_thread;
			pthread_cancel(main_thread);
			pthread_join(main_thread, NULL);
		}
		if (strcmp(line, "vfork") == 0)
			do_vfork();
		if (strncmp(line, "rename ", 7) == 0)
			do_rename(line + 7);
		printf("done\n");
	}
	return NULL;
}

pthread_t main_thread;

int main(void)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return 1;
	main_thread = pthread_self();
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("at %p\nready\n", (void *)(uintptr_t)&known);
	obey(NULL);
	return 0;
}
