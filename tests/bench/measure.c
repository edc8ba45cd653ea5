/*
 * measure CPU FILE COMMAND [ARGUMENT...]: runs the command on that CPU (-1: anywhere) and writes
 * "exit N wall S cpu S peak_kib N" to FILE.  A program of its own, because the peak which Linux
 * reports for a child begins at the size of the process that forked it: this one is small.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("sched_setaffinity");
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		(void)fprintf(stderr, "usage: measure CPU FILE COMMAND [ARGUMENT...]\n");
		return 2;
	}
	int cpu = atoi(argv[1]);
	struct timespec began, ended;
	struct rusage usage;
	int status = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &began);
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		return 2;
	}
	if (pid == 0) {
		if (cpu >= 0)
			pin(cpu);
		(void)execvp(argv[3], argv + 3);
		(void)fprintf(stderr, "%s: %s\n", argv[3], strerror(errno));
		_exit(127);
	}
	while (wait4(pid, &status, 0, &usage) < 0) {
		if (errno != EINTR)
			return 2;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &ended);

	FILE *out = fopen(argv[2], "we");
	if (out == NULL) {
		perror(argv[2]);
		return 2;
	}
	double wall = (double)(ended.tv_sec - began.tv_sec) +
	              (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	(void)fprintf(out, "exit %d wall %.6f cpu %.6f peak_kib %ld\n", code, wall,
	              seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss);
	return fclose(out) == 0 ? code : 2;
}
