#pragma once
/*
 * A snapshot of what is mapped in a target: /proc/PID/maps parsed, in address order.  Immutable
 * once read; the process may have moved on since.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* More mappings than any sane process has (the kernel's default limit is 65,530). */
#define GD_MAPS_MAX 1000000

struct gd_map {
	uint64_t start; /* inclusive */
	uint64_t end;   /* exclusive */
	uint64_t offset;
	uint64_t inode;
	uint32_t dev_major, dev_minor;
	bool read, write, exec, shared;
	bool deleted;         /* the path ended in " (deleted)"; it is cut off in `path` */
	const char *path;     /* kernel's escaping undone; "" when anonymous; "[heap]", ... */
};

struct gd_maps {
	struct gd_map *list;
	size_t n;
	char *paths; /* backs list[].path */
};

/*
 * Parses the text of a maps file; foreign bytes.  -EBADMSG names the line.  Mappings never overlap
 * in the result, although those of a process that maps while it is read do in the text.
 */
int gd_maps_parse(const char *text, size_t len, struct gd_maps *ret, struct gd_error *err);
void gd_maps_deinit(struct gd_maps *maps);
#define GD_MAPS __attribute__((cleanup(gd_maps_deinit)))

/* The mapping that holds addr, or NULL. */
const struct gd_map *gd_maps_find(const struct gd_maps *maps, uint64_t addr);
