#include "golang/stats.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "golang/reference.h"

#define READINGS_MAX 4
/* From last_gc_unix to gc_cpu_fraction; contiguous in all releases. */
#define BLOCK_BYTES_MAX 4352

const char *gd_stats_phase(enum gd_gc_phase phase)
{
	static const char *const names[] = { "off", "mark", "mark termination", "unknown" };
	return names[phase <= GD_GC_UNKNOWN ? phase : GD_GC_UNKNOWN];
}

/* --- counters and the ring --- */

static int known(const struct gd_layout *l, size_t *ret_len, struct gd_error *err)
{
	int32_t base = l->mstats_last_gc_unix;
	int32_t len = l->mstats_gc_cpu_fraction + 8 - base;
	const int32_t inside[] = { l->mstats_pause_total_ns, l->mstats_pause_ns,
		                   l->mstats_pause_end, l->mstats_numgc, l->mstats_numforcedgc };
	if (base < 0 || len < 8 || len > BLOCK_BYTES_MAX)
		return gd_fail(err, -ENOTSUP, "the layout of memstats is not known");
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		int32_t room = i == 1 || i == 2 ? 8 * GD_STATS_PAUSES : 8;
		if (inside[i] < base || inside[i] - base > len - room)
			return gd_fail(err, -ENOTSUP, "the layout of memstats is not known");
	}
	*ret_len = (size_t)len;
	return 0;
}

/* block: what lies at memstats.last_gc_unix and after it. */
static void take_counters(const struct gd_layout *l, const uint8_t *block, struct gd_stats *s)
{
	const int32_t base = l->mstats_last_gc_unix;
	uint64_t fraction = gd_load_u64(block + (l->mstats_gc_cpu_fraction - base));
	s->last_gc_ns = gd_load_u64(block);
	s->pause_total_ns = gd_load_u64(block + (l->mstats_pause_total_ns - base));
	s->num_gc = gd_load_u32(block + (l->mstats_numgc - base));
	s->num_forced_gc = gd_load_u32(block + (l->mstats_numforcedgc - base));
	memcpy(&s->gc_cpu_fraction, &fraction, sizeof(fraction));
	s->n_pauses = s->num_gc < GD_STATS_PAUSES ? s->num_gc : GD_STATS_PAUSES;
	/* Collection number n, counted from 0, is in slot n % 256. */
	for (size_t i = 0; i < s->n_pauses; i++) {
		size_t slot = (s->num_gc - s->n_pauses + i) % GD_STATS_PAUSES;
		s->pauses[i].pause_ns = gd_load_u64(block + (l->mstats_pause_ns - base) + 8 * slot);
		s->pauses[i].end_ns = gd_load_u64(block + (l->mstats_pause_end - base) + 8 * slot);
	}
}

/* The end of a collection writes time, ring and totals first and its number last. */
static bool whole(const struct gd_stats *s)
{
	if (s->num_gc == 0)
		return s->last_gc_ns == 0;
	return s->last_gc_ns == s->pauses[s->n_pauses - 1].end_ns;
}

static int read_counters(struct gd_go *go, struct gd_stats *s, struct gd_error *err)
{
	const struct gd_layout *l = &go->layout;
	uint8_t block[BLOCK_BYTES_MAX];
	uint8_t again[BLOCK_BYTES_MAX];
	size_t len = 0;
	if (go->globals.memstats == 0)
		return gd_fail(err, -ENOENT, "runtime.memstats was not found");
	int r = known(l, &len, err);
	if (r < 0)
		return r;
	uint64_t addr = go->globals.memstats + (uint64_t)l->mstats_last_gc_unix;
	for (unsigned i = 0; i < READINGS_MAX; i++) {
		r = gd_memory_read(go->memory, addr, block, len, err);
		if (r == 0)
			r = gd_memory_read(go->memory, addr, again, len, err);
		if (r < 0)
			return gd_error_wrap(err, r, "runtime.memstats");
		take_counters(l, block, s);
		s->torn = memcmp(block, again, len) != 0 || !whole(s);
		s->repeated = i;
		if (!s->torn)
			break;
	}
	return 0;
}

/* --- phase --- */

/* The first comparison of gcMarkDone with a global: is runtime.gcphase still _GCmark? */
static enum gd_gc_phase read_phase(struct gd_go *go)
{
	uint32_t phase;
	uint64_t addr = gd_reference_find(go, "runtime.gcMarkDone", GD_OPERAND_CMP, 4);
	if (addr == 0 || gd_memory_read_u32(go->memory, addr, &phase, NULL) < 0 ||
	    phase > GD_GC_MARK_TERMINATION)
		return GD_GC_UNKNOWN;
	return (enum gd_gc_phase)phase;
}

int gd_stats_read(struct gd_go *go, struct gd_stats *ret, struct gd_error *err)
{
	struct gd_stats s = { 0 };
	int r = read_counters(go, &s, err);
	if (r < 0)
		return r;
	s.phase = read_phase(go);
	if (gd_pacer_read(go->memory, &go->layout, go->globals.gc_controller, &s.pacer,
	                  &s.pacer_error) == 0) {
		s.heap_goal = gd_pacer_goal(&s.pacer, go->version.minor, 0);
		s.heap_trigger = gd_pacer_trigger(&s.pacer, go->version.minor);
	}
	*ret = s;
	return 0;
}
