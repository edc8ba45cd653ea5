#pragma once
/*
 * Which global variable a function of Go's runtime refers to: for the few that nothing else tells
 * and that are needed once (globals.h has the others).
 */
#include <stdint.h>

#include "golang/operands.h"
#include "golang/runtime.h"

/*
 * Address of the first operand of that kind and width in `function` ("runtime.gcMarkDone") that
 * lies in zeroed data without pointers; 0 when there is none, or no such function.
 */
uint64_t gd_reference_find(const struct gd_go *go, const char *function, enum gd_operand_kind kind,
                           uint8_t width);
