#pragma once
/*
 * Where a tracer can be killed between two of its steps, for tests only: this is nothing unless
 * GD_FAULTS is defined, which no build of the programs does (tests/test_freeze_kill.c looks).
 */
#ifdef GD_FAULTS
void gd_freeze_die(const char *step); /* see tests/freeze_faults.c */
#define gd_freeze_fault gd_freeze_die
#else
static inline void gd_freeze_fault(const char *step)
{
	(void)step;
}
#endif
