#include "golang/grecord.h"

#include "base/bytes.h"
#include "golang/goroutines.h"

static int32_t field_end(int32_t offset, int32_t size)
{
	return offset == GD_ABSENT ? 0 : offset + size;
}

size_t gd_grecord_bytes(const struct gd_layout *l)
{
	const int32_t words[] = {
		l->g_stack_lo,  l->g_stack_hi,  l->g_m,        l->g_lockedm,
		l->g_sched_sp,  l->g_sched_pc,  l->g_syscallsp, l->g_syscallpc,
		l->g_goid,      l->g_parent_goid, l->g_waitsince, l->g_gopc,
		l->g_startpc,   l->g_labels,    l->g_atomicstatus, l->g_waitreason,
		l->g_tracking_seq,
	};
	int32_t n = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (field_end(words[i], 8) > n)
			n = field_end(words[i], 8);
	return n > GD_GRECORD_BYTES_MAX ? GD_GRECORD_BYTES_MAX : (size_t)n;
}

static uint64_t word(const uint8_t *bytes, int32_t offset)
{
	return offset < 0 || offset > GD_GRECORD_BYTES_MAX - 8 ? 0 : gd_load_u64(bytes + offset);
}

void gd_grecord_parse(const struct gd_layout *l, const uint8_t *bytes, uint64_t addr,
                      struct gd_grecord *ret)
{
	*ret = (struct gd_grecord){
		.addr = addr,
		.stack_lo = word(bytes, l->g_stack_lo),
		.stack_hi = word(bytes, l->g_stack_hi),
		.m = word(bytes, l->g_m),
		.lockedm = word(bytes, l->g_lockedm),
		.sp = word(bytes, l->g_sched_sp),
		.pc = word(bytes, l->g_sched_pc),
		.syscallsp = word(bytes, l->g_syscallsp),
		.syscallpc = word(bytes, l->g_syscallpc),
		.goid = word(bytes, l->g_goid),
		.parent_goid = word(bytes, l->g_parent_goid),
		.waitsince = (int64_t)word(bytes, l->g_waitsince),
		.gopc = word(bytes, l->g_gopc),
		.startpc = word(bytes, l->g_startpc),
		.labels = word(bytes, l->g_labels),
		.status = (uint32_t)word(bytes, l->g_atomicstatus),
		.waitreason = (uint8_t)word(bytes, l->g_waitreason),
		/* a calibrated layout does not know where it is */
		.sequence = l->trust == GD_LAYOUT_EXACT ?
		                    (uint8_t)word(bytes, l->g_tracking_seq) : 0,
	};
}

bool gd_grecord_same(const struct gd_grecord *a, const struct gd_grecord *b)
{
	return a->goid == b->goid && a->sp == b->sp && a->pc == b->pc &&
	       ((a->status ^ b->status) & ~(uint32_t)GD_G_SCAN) == 0 &&
	       a->stack_lo == b->stack_lo && a->stack_hi == b->stack_hi &&
	       a->syscallsp == b->syscallsp && a->syscallpc == b->syscallpc &&
	       a->sequence == b->sequence;
}

bool gd_grecord_read(const struct gd_layout *layout, struct gd_memory *memory, uint64_t addr,
                     struct gd_grecord *ret)
{
	uint8_t bytes[GD_GRECORD_BYTES_MAX + 8] = { 0 };
	if (addr == 0 || addr % 8 != 0 || addr >> 47 != 0 ||
	    gd_memory_read(memory, addr, bytes, gd_grecord_bytes(layout), NULL) < 0)
		return false;
	gd_grecord_parse(layout, bytes, addr, ret);
	return ret->stack_lo < ret->stack_hi && ret->stack_hi >> 47 == 0;
}
