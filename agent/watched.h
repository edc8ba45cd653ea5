#pragma once
/*
 * The processes the watcher reported, as the agent remembers them: who they are, what their last
 * samples were, and for ten minutes after their end what led up to it.  By slot of the watcher
 * while they live.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/timeline.h"
#include "agent/watcher.h"

#define GD_WATCHED_GONE_KEPT_NS (INT64_C(600) * 1000000000)
#define GD_WATCHED_GONE_MAX 64

struct gd_process {
	struct gd_watched info;
	struct gd_timeline *timeline;
	double last[GD_METRICS];
	int64_t seen_ns;           /* CLOCK_BOOTTIME */
	int64_t gone_ns;           /* 0: it lives */
	bool wanted;               /* SIGUSR1 came: captured as soon as the queue has room */
	struct gd_process *next;   /* newest first */
};

struct gd_watched_table {
	struct gd_process *by_slot[GD_WATCHED_MAX];
	struct gd_process *first;
	unsigned n_alive, n_gone;
};

/*
 * One that is remembered already keeps its timeline.  -ENOMEM, -EINVAL for a slot that cannot be; an
 * old one of that slot is gone now.
 */
int gd_watched_add(struct gd_watched_table *table, const struct gd_watched *info, int64_t now_ns,
                   struct gd_process **ret);
struct gd_process *gd_watched_at(const struct gd_watched_table *table, uint32_t slot);
void gd_watched_gone(struct gd_watched_table *table, uint32_t slot, int64_t now_ns);
/* All are gone (the watcher has ended or looks for others now). */
void gd_watched_all_gone(struct gd_watched_table *table, int64_t now_ns);
/* Forgets what has been gone for long. */
void gd_watched_expire(struct gd_watched_table *table, int64_t now_ns);
void gd_watched_deinit(struct gd_watched_table *table);

/* Of a service: the living one with the largest RSS (a server among its helpers); NULL none. */
struct gd_process *gd_watched_main_of(const struct gd_watched_table *table, uint32_t service);
/* Of a service: the one that ended last, not before `since_ns`; NULL none. */
struct gd_process *gd_watched_last_gone(const struct gd_watched_table *table, uint32_t service,
                                        int64_t since_ns);
struct gd_process *gd_watched_find(const struct gd_watched_table *table,
                                   const struct gd_subject_id *id);
