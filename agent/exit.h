#pragma once
/*
 * How a capture ended, as the exit status of godiag-capture.  Scripts depend on these numbers.
 */
enum gd_exit {
	GD_EXIT_COMPLETE = 0,
	GD_EXIT_USAGE = 1,         /* usage or configuration */
	GD_EXIT_GONE = 2,          /* the target was gone before anything was captured */
	GD_EXIT_PERMISSION = 3,
	GD_EXIT_PARTIAL = 4,       /* sealed; the manifest says what is missing */
	GD_EXIT_SPACE = 5,         /* no space, no place or no budget */
	GD_EXIT_NOT_UPLOADED = 6,  /* sealed here, not at the remote place */
	GD_EXIT_REFUSED = 7,       /* by cooldown or limit */
	GD_EXIT_INTERRUPTED = 130, /* what was finished is sealed */
};
