/*
 * SIGKILL at random moments of a life in the spool: begin, seal, commit, upload, prune, recovery.  What
 * the child was told is done it writes into shared memory; afterwards all of that must be true.
 * The writer that everybody writes first is the control: it must lose, or the test hits nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/spools.h"

#define KILLS 300
#define CAPTURES_MAX 20000
#define KEPT 10

enum told { NOTHING, BEGUN, COMMITTED, UPLOADING, UPLOADED };

struct shared {
	atomic_uint n; /* captures so far */
	atomic_uchar told[CAPTURES_MAX];
	atomic_uint failures; /* calls that failed although nothing was wrong */
	char failure[248];
};

static struct shared *shared;

static void tell_failure(const struct gd_error *err)
{
	if (atomic_fetch_add(&shared->failures, 1) == 0)
		memcpy(shared->failure, err->msg, sizeof(shared->failure));
}

static void make_id(char id[16], unsigned i)
{
	(void)snprintf(id, 16, "k%05u", i);
}

static int capture(struct gd_spool *spool, unsigned i, struct gd_error *err)
{
	struct spool_sealed sealed;
	char id[16];
	make_id(id, i);
	int r = gd_spool_begin(spool, id, (enum gd_spool_class)(i % GD_SPOOL_CLASSES), err);
	if (r < 0)
		return r;
	atomic_store(&shared->told[i], BEGUN);
	r = spool_seal(gd_spool_ready(spool), id, "rule", 3000 + i % 7 * 9000, &sealed, err);
	if (r == 0)
		r = gd_spool_commit(spool, id, sealed.name, sealed.digest, sealed.bytes, err);
	if (r == 0)
		atomic_store(&shared->told[i], COMMITTED);
	return r;
}

/* What the uploader would do with two of three. */
static int upload(struct gd_spool *spool, struct gd_error *err)
{
	struct gd_spool_item item;
	int r = 0;
	while (r == 0 && gd_spool_next(spool, NULL, &item)) {
		unsigned i = (unsigned)strtoul(item.id + 1, NULL, 10);
		if (item.attempts == 0 && i % 3 == 0) {
			r = gd_spool_failed(spool, item.id, "HTTP 503", err);
			continue;
		}
		unsigned char told = COMMITTED;
		/* One that was adopted is uploaded as well, without ever having been told of. */
		(void)atomic_compare_exchange_strong(&shared->told[i], &told, UPLOADING);
		r = gd_spool_uploaded(spool, item.id, "s3://b/x", err);
		if (r == 0)
			atomic_store(&shared->told[i], UPLOADED);
	}
	return r;
}

static void live(void)
{
	const struct gd_spool_keep keep = { .count = KEPT };
	struct gd_spool *spool = NULL;
	struct gd_error err = { 0 };
	int r = gd_spool_open(test_path("spool"), &spool, NULL, &err);
	while (r == 0) {
		unsigned i = atomic_fetch_add(&shared->n, 1);
		struct gd_clock now = gd_clock_now();
		if (i >= CAPTURES_MAX)
			_exit(2);
		r = capture(spool, i, &err);
		if (r == 0 && i % 4 == 3)
			r = upload(spool, &err);
		if (r == 0 && i % 8 == 7)
			r = gd_spool_prune(spool, &keep, &now, NULL, &err);
	}
	tell_failure(&err);
	_exit(3);
}

static void killed_after(unsigned us, void (*run)(void))
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(4);
	}
	(void)usleep(us);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

struct found {
	unsigned torn, lost, listed;
	struct gd_spool_recovery sum;
};

static void add_up(struct gd_spool_recovery *sum, const struct gd_spool_recovery *one)
{
	sum->adopted += one->adopted;
	sum->quarantined += one->quarantined;
	sum->aborted += one->aborted;
	sum->lost += one->lost;
	sum->torn_tail += one->torn_tail;
	sum->rebuilt |= one->rebuilt;
}

/* Everything told is there, or was uploaded and is old; everything listed verifies. */
static void look(struct found *found)
{
	struct gd_spool_recovery recovery;
	struct gd_spool *spool = spool_open(&recovery);
	const struct gd_spool_item *items;
	size_t n = gd_spool_items(spool, &items);
	add_up(&found->sum, &recovery);
	for (size_t i = 0; i < n; i++) {
		char path[300];
		(void)snprintf(path, sizeof(path), "spool/%s/%s",
		               items[i].uploaded ? "done" : "ready", items[i].name);
		found->torn += !spool_verifies(test_path(path));
		found->listed++;
	}
	unsigned uploaded = 0; /* newer ones */
	for (unsigned i = atomic_load(&shared->n); i-- > 0;) {
		char id[16];
		make_id(id, i);
		unsigned char told = atomic_load(&shared->told[i]);
		const struct gd_spool_item *item = spool_item(spool, id);
		uploaded += item != NULL && item->uploaded;
		if (item != NULL && told == UPLOADED && !item->uploaded)
			found->lost++; /* it would be uploaded again for ever */
		/* Killed in the call, it may have been done: then it may be old by now. */
		if (item == NULL &&
		    (told == COMMITTED || (told >= UPLOADING && uploaded < KEPT)))
			found->lost++;
	}
	gd_spool_close(spool);
}

static void nothing_torn_is_listed_and_nothing_told_is_lost(void **state)
{
	(void)state;
	struct found found = { 0 };
	unsigned seed = 20261120;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	              0);
	assert_true(shared != MAP_FAILED);
	(void)test_path("spool");
	for (unsigned round = 0; round < KILLS; round++) {
		killed_after((unsigned)rand_r(&seed) % 120000, live);
		/* Every other time the next child recovers, and may be killed at that. */
		if (round % 2 == 1)
			look(&found);
	}
	look(&found);
	unsigned told = 0;
	unsigned n = atomic_load(&shared->n);
	for (unsigned i = 0; i < n; i++)
		told += atomic_load(&shared->told[i]) >= COMMITTED;
	print_message("%d kills, %u captures, %u told committed, %u looked at: %u torn, %u lost; "
	              "%u adopted, %u aborted, %u torn tails\n",
	              KILLS, n, told, found.listed, found.torn, found.lost, found.sum.adopted,
	              found.sum.aborted, found.sum.torn_tail);
	if (atomic_load(&shared->failures) > 0)
		fail_msg("a call failed: %s", shared->failure);
	assert_int_equal(found.torn, 0);
	assert_int_equal(found.lost, 0);
	assert_int_equal(found.sum.lost, 0);
	assert_int_equal(found.sum.quarantined, 0);
	assert_false(found.sum.rebuilt);
	assert_true(told > KILLS / 2); /* it got something done */
	assert_true(found.sum.aborted > 0);
	(void)munmap(shared, sizeof(*shared));
}

/* open, write, close under the final name. */
static void write_naively(void)
{
	static char bytes[600000];
	for (unsigned i = 0;; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "naive/%d-%u", getpid(), i % 50);
		int fd = open(test_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		for (size_t at = 0; at < sizeof(bytes); at += 4096)
			if (write(fd, bytes + at, sizeof(bytes) - at < 4096 ? sizeof(bytes) - at
			                                                     : 4096) < 0)
				_exit(1);
		(void)close(fd);
	}
}

static void the_naive_writer_leaves_torn_files(void **state)
{
	(void)state;
	unsigned seed = 4711;
	unsigned torn = 0;
	assert_int_equal(mkdir(test_path("naive"), 0700), 0);
	for (unsigned round = 0; round < 60; round++)
		killed_after((unsigned)rand_r(&seed) % 8000, write_naively);
	GD_CLOSEDIR DIR *dir = opendir(test_path("naive"));
	assert_non_null(dir);
	unsigned all = 0;
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		struct stat st;
		if (entry->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
		torn += st.st_size != 600000;
		all++;
	}
	print_message("60 kills, %u files, %u torn\n", all, torn);
	assert_true(torn >= 3);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(nothing_torn_is_listed_and_nothing_told_is_lost),
		test_case(the_naive_writer_leaves_torn_files),
	};
	return test_run(tests);
}
