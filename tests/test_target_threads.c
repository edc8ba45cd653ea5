#include "tests/test.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/target.h"

#define N_THREADS 20

static pthread_barrier_t started, finish;
static pid_t tids_said[N_THREADS];

static void *wait_for_the_end(void *arg)
{
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	(void)pthread_barrier_wait(&started);
	(void)pthread_barrier_wait(&finish);
	return NULL;
}

static bool holds(const pid_t *list, size_t n, pid_t tid)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == tid)
			return true;
	return false;
}

static void all_threads_are_listed_in_ascending_order(void **state)
{
	(void)state;
	pthread_t threads[N_THREADS];
	GD_TARGET struct gd_target *t = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_target_open(getpid(), &t, &err), &err);
	assert_int_equal(pthread_barrier_init(&started, NULL, N_THREADS + 1), 0);
	assert_int_equal(pthread_barrier_init(&finish, NULL, N_THREADS + 1), 0);
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_the_end, &tids_said[i]),
		                 0);
	(void)pthread_barrier_wait(&started);

	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	int r = gd_target_threads(t, &tids, &n, &err);
	(void)pthread_barrier_wait(&finish);
	for (size_t i = 0; i < N_THREADS; i++)
		(void)pthread_join(threads[i], NULL);

	assert_ok(r, &err);
	assert_int_equal(n, N_THREADS + 1);
	for (size_t i = 1; i < n; i++)
		assert_true(tids[i - 1] < tids[i]);
	for (size_t i = 0; i < N_THREADS; i++)
		assert_true(holds(tids, n, tids_said[i]));
	assert_true(holds(tids, n, getpid()));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(all_threads_are_listed_in_ascending_order),
	};
	return test_run(tests);
}
