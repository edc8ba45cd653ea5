#pragma once
/* The processor's own name for itself, without asking the kernel. */
#include <stdbool.h>

#define GD_PROC_CPU_MODEL 64

/* False on machines that have none to ask for. */
bool gd_proc_cpu_model(char to[GD_PROC_CPU_MODEL]);
