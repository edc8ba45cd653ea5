#include "uploader/retention.h"

const char *const gd_retention_why_texts[GD_RETENTION_WHYS] = {
	[GD_RETENTION_AGE] = "older than archives are kept",
	[GD_RETENTION_COUNT] = "more archives than are kept",
	[GD_RETENTION_BYTES] = "more bytes than are kept",
	[GD_RETENTION_SPOOL] = "the spool is above its ceiling",
	[GD_RETENTION_FLOOR] = "too little space is free",
};

struct choosing {
	const struct gd_spool_item *items;
	size_t n;
	const struct gd_spool_keep *keep;
	struct gd_retention_choice *chosen;
	size_t n_chosen;
	bool *gone;                      /* of each item */
	uint64_t kept_count, kept_bytes; /* of those under retention */
	uint64_t spool_bytes;            /* everything that is ours */
	uint64_t free_bytes, floor_bytes;
};

/* Whether age, count and bytes are its limits: it is safe elsewhere, or here is where it lives. */
static bool is_kept(const struct choosing *c, const struct gd_spool_item *item)
{
	return item->uploaded || c->keep->local;
}

static void choose(struct choosing *c, size_t i, enum gd_retention_why why)
{
	const struct gd_spool_item *item = &c->items[i];
	c->chosen[c->n_chosen++] = (struct gd_retention_choice){ .item = i, .why = why };
	c->gone[i] = true;
	c->spool_bytes -= item->bytes;
	c->free_bytes += item->bytes;
	if (is_kept(c, item)) {
		c->kept_count--;
		c->kept_bytes -= item->bytes;
	}
}

static bool is_too_old(const struct choosing *c, const struct gd_spool_item *item, int64_t now)
{
	return c->keep->age_ns > 0 && now > item->sealed_realtime_ns &&
	       (uint64_t)(now - item->sealed_realtime_ns) > c->keep->age_ns;
}

static void by_limits(struct choosing *c, int64_t now)
{
	for (size_t i = 0; i < c->n; i++) {
		if (!is_kept(c, &c->items[i]))
			continue;
		if (is_too_old(c, &c->items[i], now))
			choose(c, i, GD_RETENTION_AGE);
		else if (c->keep->count > 0 && c->kept_count > c->keep->count)
			choose(c, i, GD_RETENTION_COUNT);
		else if (c->keep->bytes > 0 && c->kept_bytes > c->keep->bytes)
			choose(c, i, GD_RETENTION_BYTES);
	}
}

static bool is_above_ceiling(const struct choosing *c)
{
	return c->keep->spool_bytes > 0 && c->spool_bytes > c->keep->spool_bytes;
}

static bool is_below_floor(const struct choosing *c)
{
	return c->free_bytes < c->floor_bytes;
}

static void done_for_space(struct choosing *c)
{
	for (size_t i = 0; i < c->n && (is_above_ceiling(c) || is_below_floor(c)); i++)
		if (!c->gone[i] && c->items[i].uploaded)
			choose(c, i, is_above_ceiling(c) ? GD_RETENTION_SPOOL : GD_RETENTION_FLOOR);
}

static void quarantine_for_space(struct choosing *c, uint64_t bytes)
{
	if (bytes == 0 || (!is_above_ceiling(c) && !is_below_floor(c)))
		return;
	c->chosen[c->n_chosen++] = (struct gd_retention_choice){
		.item = SIZE_MAX,
		.why = is_above_ceiling(c) ? GD_RETENTION_SPOOL : GD_RETENTION_FLOOR,
	};
	c->spool_bytes -= bytes;
	c->free_bytes += bytes;
}

static uint64_t unsent_bytes(const struct choosing *c)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < c->n; i++)
		bytes += !c->gone[i] && !c->items[i].uploaded ? c->items[i].bytes : 0;
	return bytes;
}

/* When somebody else has filled the disk, giving up evidence would help nobody. */
static void unsent_for_space(struct choosing *c)
{
	bool floor_helps = is_below_floor(c) && c->free_bytes + unsent_bytes(c) >= c->floor_bytes;
	for (unsigned class = GD_SPOOL_CLASSES; class > 0; class--)
		for (size_t i = 0; i < c->n; i++) {
			if (!is_above_ceiling(c) && !(floor_helps && is_below_floor(c)))
				return;
			if (!c->gone[i] && !c->items[i].uploaded && c->items[i].class == class - 1)
				choose(c, i, is_above_ceiling(c) ? GD_RETENTION_SPOOL
				                                 : GD_RETENTION_FLOOR);
		}
}

size_t gd_retention_choose(const struct gd_spool_item *items, size_t n,
                           const struct gd_spool_keep *keep,
                           const struct gd_retention_space *space, int64_t now_realtime_ns,
                           struct gd_retention_choice *ret, bool *gone)
{
	struct choosing c = { .items = items, .n = n, .keep = keep, .chosen = ret, .gone = gone,
		              .spool_bytes = space->quarantined_bytes,
		              .free_bytes = space->fs_free_bytes };
	if (keep->free_ratio > 0 && keep->free_ratio <= 1)
		c.floor_bytes = (uint64_t)(keep->free_ratio * (double)space->fs_bytes);
	for (size_t i = 0; i < n; i++) {
		gone[i] = false;
		c.spool_bytes += items[i].bytes;
		c.kept_count += is_kept(&c, &items[i]);
		c.kept_bytes += is_kept(&c, &items[i]) ? items[i].bytes : 0;
	}
	by_limits(&c, now_realtime_ns);
	done_for_space(&c);
	quarantine_for_space(&c, space->quarantined_bytes);
	unsent_for_space(&c);
	return c.n_chosen;
}
