#pragma once
/*
 * Makes the n-th memory allocation, read, write or the like fail.  Tests listed in fault_tests of the
 * Makefile are linked so that calls from our own objects (not from inside libraries) come by here;
 * unarmed they go straight through.
 *
 * The use of it: fail the first call, then the second, and so on until nothing fails any more, and
 * look each time whether what must always hold does.
 *
 *	for (unsigned n = 1;; n++) {
 *		fault_arm(FAULT_MEMORY | FAULT_FILES, n, ENOSPC);
 *		int r = gd_archive_seal(archive, &sealed, &err);
 *		if (!fault_disarm()) {
 *			assert_ok(r, &err);
 *			break;
 *		}
 *		assert_fails(r, -ENOSPC, &err);
 *		... either an archive that verifies, or none ...
 *	}
 *
 * Threads are counted together; arm from one of them.
 */
#include <stdbool.h>

enum fault_call {
	FAULT_MALLOC = 1 << 0, /* also strdup */
	FAULT_CALLOC = 1 << 1,
	FAULT_REALLOC = 1 << 2,
	FAULT_READ = 1 << 3,
	FAULT_PREAD = 1 << 4,
	FAULT_WRITE = 1 << 5,
	FAULT_OPENAT = 1 << 6, /* not open() */
	FAULT_FSYNC = 1 << 7,  /* also fdatasync */
	FAULT_LINKAT = 1 << 8,
	FAULT_NAMES = 1 << 9,  /* renameat, unlinkat, ftruncate */

	FAULT_MEMORY = FAULT_MALLOC | FAULT_CALLOC | FAULT_REALLOC,
	FAULT_FILES = FAULT_READ | FAULT_PREAD | FAULT_WRITE | FAULT_OPENAT | FAULT_FSYNC | FAULT_LINKAT,
};

/* Instead of an errno: read, pread or write move one byte only. */
#define FAULT_SHORT (-1)

/* The n-th of these calls from now on (the first is 1) fails with this errno, the others succeed. */
void fault_arm(unsigned calls, unsigned n, int error);

/* The n-th and all after it: a disk that stays full. */
void fault_arm_from(unsigned calls, unsigned n, int error);

/* Back to normal; whether a call failed since it was armed. */
bool fault_disarm(void);

/* How many of the armed calls came by since then. */
unsigned fault_count(void);
