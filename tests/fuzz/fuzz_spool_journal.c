/*
 * Any bytes as the spool's journal, beside one archive that is really there: opening ends in a consistent
 * state, keeps the archive or puts it aside, and has nothing left to mend when it is opened again.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uploader/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];

static void remove_all(void)
{
	char command[200];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		abort();
}

/* In memory when there is such a place: a sync for every line would be all that is measured. */
static void make_dir(void)
{
	(void)snprintf(dir, sizeof(dir), "%s/godiag-fuzz-%d",
	               access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", getpid());
	remove_all();
	(void)atexit(remove_all);
}

static void put(const char *name, const void *bytes, size_t n)
{
	char path[200];
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	(void)close(fd);
}

static void check_items(const struct gd_spool *spool)
{
	const struct gd_spool_item *items;
	size_t n = gd_spool_items(spool, &items);
	for (size_t i = 0; i < n; i++) {
		char path[500];
		struct stat st;
		(void)snprintf(path, sizeof(path), "%s/%s/%s", dir,
		               items[i].uploaded ? "done" : "ready", items[i].name);
		if (lstat(path, &st) < 0 || (uint64_t)st.st_size != items[i].bytes)
			abort();
		if (i > 0 && items[i].sealed_realtime_ns < items[i - 1].sealed_realtime_ns)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[200];
	struct gd_spool *spool;
	struct gd_spool_recovery recovery;
	struct gd_error err = { 0 };
	if (dir[0] == '\0')
		make_dir();
	if (gd_spool_open(dir, &spool, NULL, &err) < 0)
		abort();
	gd_spool_close(spool);
	put("journal", data, size);
	put("ready/godiag-x.tar", "0123456789", 10);
	if (gd_spool_open(dir, &spool, &recovery, &err) < 0)
		abort();
	check_items(spool);
	gd_spool_close(spool);
	if (gd_spool_open(dir, &spool, &recovery, &err) < 0)
		abort();
	if (recovery.adopted + recovery.quarantined + recovery.aborted + recovery.lost > 0 ||
	    recovery.torn_tail || recovery.rebuilt)
		abort();
	check_items(spool);
	gd_spool_close(spool);
	static const char *const leftovers[] = { "ready/godiag-x.tar", "done/godiag-x.tar",
		                                 "quarantine/godiag-x.tar" };
	unsigned found = 0;
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, leftovers[i]);
		found += unlink(path) == 0;
	}
	/* Deleted only when the journal says so; a damaged journal leaves a copy of itself. */
	if (found == 0 && memmem(data, size, "D ", 2) == NULL)
		abort();
	(void)snprintf(path, sizeof(path), "%s/quarantine", dir);
	if (recovery.rebuilt || rmdir(path) < 0)
		remove_all();
	return 0;
}
