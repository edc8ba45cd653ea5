#pragma once
/* When a tracer built with GD_FAULTS dies; set before gd_stop_run, whose tracer inherits it. */

extern long freeze_fault_at; /* so many steps from now; -1: never */
