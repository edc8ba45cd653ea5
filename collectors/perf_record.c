#include "collectors/perf_record.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* What sample_id_all puts at the end of all other records: pid, tid, time, cpu, identifier. */
#define TRAILER_BYTES 32

static void take_trailer(struct gd_bytes *b, struct gd_perf_record *r)
{
	if (b->len < TRAILER_BYTES) {
		b->bad = true;
		return;
	}
	gd_bytes_seek(b, b->len - TRAILER_BYTES);
	r->pid = gd_bytes_u32(b);
	r->tid = gd_bytes_u32(b);
	r->time_ns = (int64_t)gd_bytes_u64(b);
	r->cpu = gd_bytes_u32(b);
	(void)gd_bytes_u32(b);
	r->id = gd_bytes_u64(b);
}

static void take_user(struct gd_bytes *b, struct gd_perf_record *r)
{
	uint64_t abi = gd_bytes_u64(b);
	if (abi != PERF_SAMPLE_REGS_ABI_NONE) {
		const uint8_t *regs = gd_bytes_take(b, GD_PERF_N_REGS * sizeof(uint64_t));
		if (abi == PERF_SAMPLE_REGS_ABI_64)
			r->regs = regs; /* a 32-bit program's are not what unwinders know */
	}
	uint64_t size = gd_bytes_u64(b);
	if (size == 0)
		return;
	const uint8_t *stack = size <= b->len ? gd_bytes_take(b, (size_t)size) : NULL;
	uint64_t good = gd_bytes_u64(b);
	b->bad = b->bad || stack == NULL;
	r->stack = stack;
	r->stack_len = (size_t)(good < size ? good : size);
}

/* Raw data has its size before it, and is padded to 8 together with that. */
static void take_wakeup(struct gd_bytes *b, struct gd_perf_record *r)
{
	uint32_t size = gd_bytes_u32(b);
	r->kind = GD_PERF_WAKEUP;
	r->woken = gd_bytes_u32(b);
	b->bad = b->bad || size < sizeof(r->woken) || r->woken == 0;
}

static void take_sample(struct gd_bytes *b, uint16_t misc, const struct gd_perf_layout *layout,
                        struct gd_perf_record *r)
{
	unsigned mode = misc & PERF_RECORD_MISC_CPUMODE_MASK;
	r->kind = GD_PERF_SAMPLE;
	r->in_kernel = mode == PERF_RECORD_MISC_KERNEL;
	r->id = gd_bytes_u64(b);
	r->pc = gd_bytes_u64(b);
	r->pid = gd_bytes_u32(b);
	r->tid = gd_bytes_u32(b);
	r->time_ns = (int64_t)gd_bytes_u64(b);
	r->cpu = gd_bytes_u32(b);
	(void)gd_bytes_u32(b);
	if (layout->wakeups_id != 0 && r->id == layout->wakeups_id) {
		take_wakeup(b, r);
		return;
	}
	uint64_t n = gd_bytes_u64(b);
	if (n > b->len / sizeof(uint64_t)) {
		b->bad = true;
		return;
	}
	r->n_chain = (size_t)n;
	r->chain = gd_bytes_take(b, r->n_chain * sizeof(uint64_t));
	if (layout->stack_bytes > 0)
		take_user(b, r);
}

int gd_perf_record_parse(const uint8_t *bytes, size_t len, const struct gd_perf_layout *layout,
                         struct gd_perf_record *ret, struct gd_error *err)
{
	struct perf_event_header header;
	struct gd_perf_record r = { .kind = GD_PERF_OTHER };
	if (len < sizeof(header))
		return gd_fail(err, -EBADMSG, "a perf record of %zu bytes", len);
	memcpy(&header, bytes, sizeof(header));
	struct gd_bytes b = gd_bytes_of(bytes, len);
	gd_bytes_seek(&b, sizeof(header));
	switch (header.type) {
	case PERF_RECORD_SAMPLE:
		take_sample(&b, header.misc, layout, &r);
		break;
	case PERF_RECORD_LOST:
		r.kind = GD_PERF_LOST;
		(void)gd_bytes_u64(&b); /* id */
		r.lost = gd_bytes_u64(&b);
		take_trailer(&b, &r);
		break;
	case PERF_RECORD_LOST_SAMPLES:
		r.kind = GD_PERF_LOST;
		r.lost = gd_bytes_u64(&b);
		take_trailer(&b, &r);
		break;
	case PERF_RECORD_SWITCH:
	case PERF_RECORD_SWITCH_CPU_WIDE:
		r.kind = GD_PERF_SWITCH;
		r.out = (header.misc & PERF_RECORD_MISC_SWITCH_OUT) != 0;
		r.preempted = (header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT) != 0;
		take_trailer(&b, &r);
		break;
	case PERF_RECORD_COMM:
		if ((header.misc & PERF_RECORD_MISC_COMM_EXEC) != 0)
			r.kind = GD_PERF_EXEC;
		take_trailer(&b, &r);
		break;
	case PERF_RECORD_THROTTLE:
		r.kind = GD_PERF_THROTTLE;
		take_trailer(&b, &r);
		break;
	default:
		break;
	}
	if (b.bad)
		return gd_fail(err, -EBADMSG, "a perf record of type %u and %zu bytes makes no sense",
		               header.type, len);
	*ret = r;
	return 0;
}

uint64_t gd_perf_record_reg(const struct gd_perf_record *record, enum gd_perf_reg which)
{
	return record->regs != NULL ? gd_load_u64(record->regs + 8 * (size_t)which) : 0;
}

size_t gd_perf_record_chain(const struct gd_perf_record *record, enum gd_perf_half half,
                            uint64_t *to, size_t max)
{
	size_t n = 0;
	uint64_t context = 0;
	uint64_t wanted = half == GD_PERF_KERNEL_HALF ? PERF_CONTEXT_KERNEL : PERF_CONTEXT_USER;
	for (size_t i = 0; i < record->n_chain && n < max; i++) {
		uint64_t ip = gd_load_u64(record->chain + 8 * i);
		if (ip >= PERF_CONTEXT_MAX)
			context = ip;
		else if (context == wanted)
			to[n++] = ip;
	}
	return n;
}
