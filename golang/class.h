#pragma once
/*
 * What a sample's time went to, told by the names of the functions on its stack: the program itself,
 * or which part of Go's runtime.  The first of the classes that a stack shows any sign of is its class,
 * in the order below: an assist during an allocation is the collector's time, not the allocator's.
 * Names: the runtime of Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stdint.h>

enum gd_go_class {
	GD_CLASS_GC_BACKGROUND, /* the collector's own workers */
	GD_CLASS_GC_ASSIST,     /* marking that a goroutine must do to be allowed to allocate */
	GD_CLASS_SWEEP,         /* sweeping, and giving memory back */
	GD_CLASS_SCHEDULER,     /* looking for work, parking, sysmon */
	GD_CLASS_STACK_GROWTH,
	GD_CLASS_MALLOC,
	GD_CLASS_KERNEL,        /* in the kernel, on the program's own account */
	GD_CLASS_USER,
	GD_CLASSES,
};

/* "gc background", "user", ...: as in the label `class`. */
const char *gd_go_class_name(enum gd_go_class class_);

/* Signs of classes, one bit each; a stack's are or-ed together. */
uint32_t gd_go_class_signs(const char *function);
enum gd_go_class gd_go_class_of(uint32_t signs, bool in_kernel);
