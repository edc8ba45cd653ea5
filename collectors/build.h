#pragma once
/*
 * What `go version -m` prints of a program, as JSON: package path, main module, dependencies,
 * build settings.  The text comes from the target and is foreign.
 */
#include <stdbool.h>

#include "base/json.h"

/*
 * Writes one object.  modinfo: tab-separated lines as the linker stores them, "" allowed.  Without
 * `dependencies` only their number is told.
 */
void gd_build_write(struct gd_json *json, const char *key, const char *modinfo, bool dependencies);
