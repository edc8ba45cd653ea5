/* What was found in the stop becomes the image; the target runs again. */
#include "freeze/stopped.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/image_index.h"

#define PAGE ((uint64_t)GD_IMAGE_PAGE)

static const struct gd_wanted_shared *shared_at(const struct gd_wanted *w, uint64_t addr)
{
	for (size_t i = 0; i < w->n_shared; i++)
		if (addr >= w->shared[i].start && addr < w->shared[i].end)
			return &w->shared[i];
	return NULL;
}

void gd_stopped_judge_map(const struct gd_wanted *w, struct gd_image_map *map, const char *path)
{
	const struct gd_wanted_range *skip = gd_wanted_find(w->skip, w->n_skip, map->start);
	const struct gd_wanted_shared *shared = shared_at(w, map->start);
	enum gd_wanted_kind kind = gd_wanted_kind_of(path, strlen(path), map->shared,
	                                             map->inode != 0, map->deleted);
	if (skip != NULL && skip->start < map->end) {
		map->missing = GD_IMAGE_LOST;
		map->why = (uint8_t)skip->why;
	} else if (kind == GD_WANTED_NEVER) {
		map->missing = GD_IMAGE_LOST;
		map->why = GD_IMAGE_DEVICE;
	} else if (kind == GD_WANTED_SHARED) {
		/* Page tables show what this process has touched, and others may have touched more. */
		map->missing = shared != NULL && shared->fd >= 0 ? GD_IMAGE_ZERO : GD_IMAGE_LOST;
		map->why = shared != NULL && shared->in_pause ? GD_IMAGE_KEPT : GD_IMAGE_LATER;
		if (shared == NULL)
			map->why = GD_IMAGE_SHARED_BIG;
	} else if (!map->read && !map->write && !map->exec && map->inode == 0) {
		map->missing = GD_IMAGE_LOST;
		map->why = GD_IMAGE_UNREADABLE;
	}
}

int gd_stopped_apply_shape(const struct gd_stopped *s, struct gd_image *image, struct gd_error *err)
{
	GD_MAPS struct gd_maps maps = { 0 };
	int r = gd_maps_parse(s->maps, s->maps_len, &maps, err);
	if (r == 0)
		r = gd_image_set_maps(image, &maps, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->wanted->n_shared; i++)
		s->wanted->shared[i].in_pause = s->shared_read[i];
	size_t n;
	struct gd_image_map *list = gd_image_maps_mut(image, &n);
	for (size_t i = 0; i < n; i++)
		gd_stopped_judge_map(s->wanted, &list[i], maps.list[i].path);
	for (size_t i = 0; r == 0 && i < s->n_threads; i++)
		r = gd_image_add_thread(image, &s->threads[i], s->xstates + i * s->xstate_each, err);
	return r;
}

/*
 * The regions and what is skipped are walked together: whatever is not in a region that is wanted goes.
 * Shared memory is not looked at here, its pages are put afterwards.
 */
void gd_stopped_drop_others(const struct gd_wanted *w, const struct gd_pagemap_region *regions,
                            size_t n, struct gd_image *image)
{
	uint64_t kept_until = 0;
	for (size_t i = 0; i < n; i++) {
		if (regions[i].start > kept_until)
			gd_image_drop(image, kept_until, regions[i].start);
		kept_until = regions[i].end;
	}
	gd_image_drop(image, kept_until, UINT64_C(1) << 47);
	for (size_t i = 0; i < w->n_skip; i++)
		gd_image_drop(image, w->skip[i].start, w->skip[i].end);
}

static int put_items(const struct gd_stopped *s, struct gd_image *image, struct gd_error *err)
{
	const uint8_t *from = s->arena;
	for (size_t i = 0; i < s->n_items; i++) {
		int r = gd_image_put(image, s->items[i].addr, from, s->items[i].n_pages, err);
		if (r < 0)
			return r;
		from += s->items[i].n_pages * PAGE;
	}
	return 0;
}

/* Of a mapping that was read in part, what is missing is not known. */
static void mark_truncated(struct gd_image *image)
{
	size_t n;
	struct gd_image_map *list = gd_image_maps_mut(image, &n);
	for (size_t i = 0; i < n; i++)
		if (list[i].why == GD_IMAGE_KEPT && (list[i].write || list[i].inode == 0)) {
			list[i].missing = GD_IMAGE_LOST;
			list[i].why = GD_IMAGE_BEYOND;
		}
}

int gd_stopped_apply(const struct gd_stopped *s, struct gd_image *image, struct gd_error *err)
{
	gd_stopped_drop_others(s->wanted, s->regions, s->n_regions, image);
	int r = gd_stopped_apply_shape(s, image, err);
	if (r == 0)
		r = put_items(s, image, err);
	if (r == 0 && s->truncated)
		mark_truncated(image);
	return r;
}

static int read_now(const struct gd_stopped *s, struct gd_image *image, uint64_t start, uint64_t end,
                    uint64_t *bytes, struct gd_error *err)
{
	while (start < end) {
		/* The arena has been put by now. */
		uint64_t len = end - start < s->arena_max ? end - start : s->arena_max;
		ssize_t n = pread(s->mem_fd, s->arena, len, (off_t)start);
		if (n < 0 && errno == EINTR)
			continue;
		uint64_t whole = n > 0 ? (uint64_t)n & ~(PAGE - 1) : 0;
		int r = whole > 0 ? gd_image_put(image, start, s->arena, whole / PAGE, err) : 0;
		if (r < 0)
			return r;
		*bytes += whole;
		start += whole > 0 ? whole : PAGE;
	}
	return 0;
}

int gd_stopped_read_later(const struct gd_stopped *s, struct gd_image *image, uint64_t *bytes,
                          struct gd_error *err)
{
	for (size_t i = 0; i < s->wanted->n_shared; i++) {
		const struct gd_wanted_shared *shared = &s->wanted->shared[i];
		off_t last = (off_t)(shared->offset + (shared->end - shared->start));
		if (shared->whole && !shared->in_pause) {
			int r = read_now(s, image, shared->start, shared->end, bytes, err);
			if (r < 0)
				return r;
		}
		if (shared->in_pause || shared->fd < 0)
			continue;
		for (off_t at = (off_t)shared->offset; at < last;) {
			off_t data = lseek(shared->fd, at, SEEK_DATA);
			if (data < 0 || data >= last)
				break;
			off_t hole = lseek(shared->fd, data, SEEK_HOLE);
			at = hole < 0 || hole > last ? last : hole;
			uint64_t from = ((uint64_t)data & ~(PAGE - 1)) - shared->offset;
			uint64_t to = (((uint64_t)at + PAGE - 1) & ~(PAGE - 1)) - shared->offset;
			int r = read_now(s, image, shared->start + from, shared->start + to, bytes,
			                 err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
