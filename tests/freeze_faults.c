/*
 * A tracer that is killed between two of its steps: the freeze_fault_at-th from now, by SIGKILL, which is
 * what anybody else would send.  Linked only with tests that are built against a tracer with GD_FAULTS.
 */
#define GD_FAULTS
#include "freeze/faults.h"

#include <signal.h>

#include "tests/freeze_faults.h"

long freeze_fault_at = -1;

void gd_freeze_die(const char *step)
{
	(void)step; /* for a debugger */
	if (freeze_fault_at < 0)
		return;
	if (freeze_fault_at-- == 0)
		(void)raise(SIGKILL);
}
