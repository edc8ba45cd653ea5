#pragma once
/*
 * Which mappings of a target are data of its executable, shared libraries and plugins: where the Go
 * linker's records (build info, moduledata) must lie.  Only the map list is looked at, no ELF file
 * is opened, so it works on deleted, replaced and unreachable files and on cores.
 */
#include <stdbool.h>

#include "target/maps.h"

/*
 * Writable data of a file which is also mapped executable.  The Go linker puts build info and
 * moduledata into the writable segment in all of Go 1.18 to 1.27, PIE or not (cmd/link data.go:
 * Segdata); read-only data, which can be hundreds of MiB, need not be touched.
 */
bool gd_program_is_data(const struct gd_maps *maps, const struct gd_map *map);

/*
 * Writable memory without a file, next to code: data of a program that a packer unpacked or that
 * was restored from a checkpoint.  Worth a look when there was nothing in the files' data.
 */
bool gd_program_is_unpacked(const struct gd_maps *maps, const struct gd_map *map);

/* How far mappings go on without a hole from addr; addr itself when nothing is mapped there. */
uint64_t gd_program_mapped_until(const struct gd_maps *maps, uint64_t addr);
