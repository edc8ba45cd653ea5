#pragma once
/*
 * Names of functions that are not Go's: of the main program from its symbol table, of libraries and the
 * vdso from what they export, as it lies in the process's memory (no file of theirs needs to be
 * opened).  Only names of addresses that were asked for are kept.  An address belongs to a symbol
 * only within its size: the nearest one below is a guess, and in a stripped program a wrong one.
 *
 * Foreign bytes throughout; files are read with libelf.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "target/target.h"

struct gd_native_names;

int gd_native_names_create(struct gd_native_names **ret, struct gd_error *err);
void gd_native_names_destroy(struct gd_native_names *names); /* NULL allowed */

/* False: there are too many. */
bool gd_native_names_want(struct gd_native_names *names, uint64_t pc);

/* Finds what can be found; by the target's maps as they are. */
void gd_native_names_read(struct gd_native_names *names, struct gd_target *target);

/* NULL: not known. */
const char *gd_native_names_find(const struct gd_native_names *names, uint64_t pc);
