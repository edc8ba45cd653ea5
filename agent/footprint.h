#pragma once
/*
 * How much of the machine's memory a process of ours seems to take while it only waits.  A program
 * that is linked with forty libraries has touched ten MiB of their files before main, to relocate
 * them, and never looks there again.
 */

/*
 * Gives free heap back, and unmaps (not for good) the pages of files that were never written: they
 * come back from the page cache with the next touch.  For long-lived processes, when they have
 * started.  Does what it can, fails silently.
 */
void gd_footprint_shrink(void);
