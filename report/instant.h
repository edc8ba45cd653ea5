#pragma once
/*
 * An archive with an image has what was read from memory twice: from the running process, and below
 * image/ from one instant.  The latter is what a report is about.
 */
#include "archive/reader.h"

/* The longer of the two names, when it is there and has content; else `name`. */
const char *gd_instant_name(const struct gd_reader *reader, const char *name, char to[208]);
