#pragma once
/*
 * One profile of an archive, added up for people: the tree of its stacks and, for each stack, what of
 * it was seen by class, thread, goroutine, state and labels.  Written as a page (flame graph), as
 * folded stacks and as speedscope's JSON.  The profile is foreign: parsed by report/pprof_read.h,
 * texts may hold anything and are escaped by whoever writes them.
 *
 * What it knows of labels is docs/archive-format.md's: class, thread, tid, goroutine and state have
 * places of their own, every other label is kept as it is.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "archive/reader.h"
#include "report/pprof_read.h"
#include "report/tuples.h"

/* A frame's marks. */
#define GD_FLAME_INLINED 1U
#define GD_FLAME_KERNEL 2U
#define GD_FLAME_LOST 4U   /* stands for samples that were lost */
#define GD_FLAME_UNKNOWN 8U /* no function's name is known: an address */

struct gd_flame_type {
	const char *type, *unit;
};

/* Rows of the tables below; text is an index for gd_flame_text. */
enum { GD_FLAME_FRAME_NAME, GD_FLAME_FRAME_FILE, GD_FLAME_FRAME_LINE, GD_FLAME_FRAME_MARKS };
enum { GD_FLAME_NODE_PARENT, GD_FLAME_NODE_FRAME };
enum { GD_FLAME_THREAD_NAME, GD_FLAME_THREAD_TID };
enum { GD_FLAME_GOROUTINE_NUMBER, GD_FLAME_GOROUTINE_NAME };
enum { GD_FLAME_LABEL_KEY, GD_FLAME_LABEL_TEXT, GD_FLAME_LABEL_NUMBER, GD_FLAME_LABEL_UNIT };
enum { GD_FLAME_SET_REST, GD_FLAME_SET_LABEL };
enum {
	GD_FLAME_ROW_NODE, GD_FLAME_ROW_CLASS, GD_FLAME_ROW_THREAD, GD_FLAME_ROW_GOROUTINE,
	GD_FLAME_ROW_STATE, GD_FLAME_ROW_SET,
};

struct gd_flame {
	struct gd_flame_type types[GD_PPROF_READ_TYPES];
	uint32_t n_types, default_type;
	struct gd_flame_type period_type;
	int64_t period, time_ns, duration_ns; /* 0 unknown */
	bool classes_derived; /* by golang/class.h: the profile has no such label */
	uint64_t bad;         /* samples that made no sense */
	uint64_t cut;         /* samples whose stack was too deep: its outermost frames are missing */

	struct gd_words *words;
	struct gd_tuples texts; /* addresses of words; 0 is "" */
	struct gd_tuples frames;
	struct gd_tuples nodes; /* parents come before children; 0 is the root */
	/* Of the following, row 0 stands for unknown or none. */
	struct gd_tuples classes, threads, goroutines, states;
	struct gd_tuples labels;
	struct gd_tuples sets; /* of labels: the rest of the set and one more */
	struct gd_tuples rows;
	int64_t *values; /* n_types of each row */
};

int gd_flame_parse(const char *artifact, const void *profile, size_t n, struct gd_flame *ret,
                   struct gd_error *err);
int gd_flame_read(const struct gd_reader *reader, const char *artifact, struct gd_flame *ret,
                  struct gd_error *err);
void gd_flame_deinit(struct gd_flame *flame);
#define GD_FLAME __attribute__((cleanup(gd_flame_deinit)))

const char *gd_flame_text(const struct gd_flame *flame, uint64_t text);

/* The type of that name; NULL: the default one; -ENOENT names what there is. */
int gd_flame_type(const struct gd_flame *flame, const char *name, uint32_t *ret,
                  struct gd_error *err);
/* The first type in that unit, else the default one. */
uint32_t gd_flame_type_in(const struct gd_flame *flame, const char *unit);

/* "name/tid", escaped; "" when the row is unknown. */
void gd_flame_put_thread(const struct gd_flame *flame, uint32_t thread, struct gd_buf *out);

/*
 * The profiles of an archive that a report is made of, those about time first: of what was read from
 * memory twice, what is of one instant.  Returns their number.
 */
#define GD_FLAME_PROFILES_MAX 16
struct gd_flame_profiles {
	const struct gd_artifact_row *list[GD_FLAME_PROFILES_MAX];
	size_t n;
	const struct gd_artifact_row *absent[GD_FLAME_PROFILES_MAX]; /* skipped or failed */
	size_t n_absent;
};
void gd_flame_profiles(const struct gd_reader *reader, struct gd_flame_profiles *ret);

/*
 * The page: one HTML file that needs nothing else.  `artifact` NULL: all profiles.  *n_unreadable gets
 * how many could not be read; the page says why.  Fails when none could.
 */
int gd_flame_page(const struct gd_reader *reader, const char *artifact, FILE *out,
                  size_t *n_unreadable, struct gd_error *err);

/*
 * "class;thread;frame;frame 12", a line for each different stack, innermost frame last, with _[k] on
 * kernel and _[i] on inlined functions.  Threads of one name are one, as in the collector's cpu.folded.
 * Without class or thread in the profile they are left out.
 */
int gd_flame_folded(const struct gd_flame *flame, uint32_t type, FILE *out, struct gd_error *err);

/* https://www.speedscope.app/file-format-schema.json: one sampled profile per thread. */
int gd_flame_speedscope(const struct gd_flame *flame, uint32_t type, const char *title, FILE *out,
                        struct gd_error *err);
