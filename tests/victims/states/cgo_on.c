//go:build cgo

#include <pthread.h>
#include <unistd.h>

#include "_cgo_export.h"

void nap(int unused)
{
	(void)unused;
	for (;;)
		pause();
}

void call_back(int depth)
{
	goCalledBack(depth);
}

static void *foreign(void *unused)
{
	goOnForeignThread();
	return unused;
}

void start_foreign_thread(void)
{
	pthread_t thread;
	(void)pthread_create(&thread, NULL, foreign, NULL);
}
