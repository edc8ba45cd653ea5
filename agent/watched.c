#include "agent/watched.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* After a reload or a new watcher the same process is found again, and its past is still here. */
static struct gd_process *take_back(struct gd_watched_table *table, const struct gd_subject_id *id)
{
	struct gd_process *p = gd_watched_find(table, id);
	if (p == NULL || p->gone_ns == 0)
		return NULL;
	p->gone_ns = 0;
	table->n_gone--;
	return p;
}

static struct gd_process *make(struct gd_watched_table *table, int64_t now_ns)
{
	struct gd_process *p = calloc(1, sizeof(*p));
	if (p == NULL || gd_timeline_create(&p->timeline, NULL) < 0) {
		free(p);
		return NULL;
	}
	p->seen_ns = now_ns;
	for (int i = 0; i < GD_METRICS; i++)
		p->last[i] = NAN;
	p->next = table->first;
	table->first = p;
	return p;
}

int gd_watched_add(struct gd_watched_table *table, const struct gd_watched *info, int64_t now_ns,
                   struct gd_process **ret)
{
	if (info->slot >= GD_WATCHED_MAX)
		return -EINVAL;
	gd_watched_gone(table, info->slot, now_ns);
	struct gd_process *p = take_back(table, &info->id);
	if (p == NULL)
		p = make(table, now_ns);
	if (p == NULL)
		return -ENOMEM;
	p->info = *info;
	table->by_slot[info->slot] = p;
	table->n_alive++;
	*ret = p;
	return 0;
}

struct gd_process *gd_watched_at(const struct gd_watched_table *table, uint32_t slot)
{
	return slot < GD_WATCHED_MAX ? table->by_slot[slot] : NULL;
}

void gd_watched_gone(struct gd_watched_table *table, uint32_t slot, int64_t now_ns)
{
	struct gd_process *p = gd_watched_at(table, slot);
	if (p == NULL)
		return;
	p->gone_ns = now_ns > 0 ? now_ns : 1;
	table->by_slot[slot] = NULL;
	table->n_alive--;
	table->n_gone++;
}

void gd_watched_all_gone(struct gd_watched_table *table, int64_t now_ns)
{
	for (uint32_t slot = 0; slot < GD_WATCHED_MAX; slot++)
		gd_watched_gone(table, slot, now_ns);
}

static void forget(struct gd_watched_table *table, struct gd_process **at)
{
	struct gd_process *p = *at;
	*at = p->next;
	table->n_gone--;
	gd_timeline_destroy(p->timeline);
	free(p);
}

void gd_watched_expire(struct gd_watched_table *table, int64_t now_ns)
{
	unsigned kept = 0;
	for (struct gd_process **at = &table->first; *at != NULL;) {
		struct gd_process *p = *at;
		bool old = p->gone_ns != 0 && (now_ns - p->gone_ns > GD_WATCHED_GONE_KEPT_NS ||
		                               kept >= GD_WATCHED_GONE_MAX);
		kept += p->gone_ns != 0;
		if (old)
			forget(table, at);
		else
			at = &p->next;
	}
}

void gd_watched_deinit(struct gd_watched_table *table)
{
	gd_watched_all_gone(table, 1);
	while (table->first != NULL)
		forget(table, &table->first);
}

struct gd_process *gd_watched_main_of(const struct gd_watched_table *table, uint32_t service)
{
	struct gd_process *best = NULL;
	for (struct gd_process *p = table->first; p != NULL; p = p->next) {
		if (p->gone_ns != 0 || p->info.service != service)
			continue;
		double rss = p->last[GD_METRIC_RSS];
		if (best == NULL || rss > best->last[GD_METRIC_RSS] ||
		    isnan(best->last[GD_METRIC_RSS]))
			best = p;
	}
	return best;
}

struct gd_process *gd_watched_last_gone(const struct gd_watched_table *table, uint32_t service,
                                        int64_t since_ns)
{
	struct gd_process *best = NULL;
	for (struct gd_process *p = table->first; p != NULL; p = p->next)
		if (p->gone_ns >= since_ns && p->gone_ns != 0 && p->info.service == service &&
		    (best == NULL || p->gone_ns > best->gone_ns))
			best = p;
	return best;
}

struct gd_process *gd_watched_find(const struct gd_watched_table *table,
                                   const struct gd_subject_id *id)
{
	for (struct gd_process *p = table->first; p != NULL; p = p->next)
		if (p->info.id.pid == id->pid && p->info.id.start_ticks == id->start_ticks)
			return p;
	return NULL;
}
