#include "golang/arguments.h"

#include <string.h>

#include "base/bytes.h"
#include "golang/inltree.h"

/* The encoding: cmd/compile emitArgInfo, internal/abi TraceArgs*. */
enum {
	END_SEQUENCE = 0xff,
	START_AGGREGATE = 0xfe,
	END_AGGREGATE = 0xfd,
	DOT_DOT_DOT = 0xfc,
	OFFSET_TOO_LARGE = 0xfb,
};

enum {
	FUNCDATA_ARG_INFO = 5,
	FUNCDATA_ARG_LIVE_INFO = 6,
	PCDATA_INLTREE_INDEX = 2,
	PCDATA_ARG_LIVE_INDEX = 3,
};

static void put_form(struct gd_arguments *a, struct gd_arguments_room *room, const char *text)
{
	size_t n = strlen(text);
	if (n > sizeof(room->form) - a->form_len)
		return;
	memcpy(room->form + a->form_len, text, n);
	a->form_len += (unsigned)n;
}

/*
 * A live info begins with the smallest offset that needs it; bit sets follow, one bit for each such
 * value, and live_index says where the set for this pc begins.
 */
static bool is_live(const uint8_t *live, size_t live_len, int32_t live_index, uint8_t offset,
                    unsigned slot)
{
	if (live == NULL || live_len == 0 || live_index <= 0 || offset < live[0])
		return true;
	size_t at = (size_t)live_index + slot / 8;
	return at >= live_len || (live[at] >> (slot % 8) & 1) != 0;
}

void gd_arguments_decode(const uint8_t *info, size_t info_len, const uint8_t *live,
                         size_t live_len, int32_t live_index, struct gd_arguments_room *room,
                         struct gd_arguments *ret)
{
	struct gd_bytes b = gd_bytes_of(info, info_len);
	uint8_t first_checked = live != NULL && live_len > 0 ? live[0] : 0xff;
	unsigned slot = 0;
	bool comma = false;
	unsigned form_before = 0;
	*ret = (struct gd_arguments){ .list = room->list, .form = room->form };
	for (;;) {
		uint8_t op = gd_bytes_u8(&b);
		if (b.bad || op == END_SEQUENCE)
			break;
		if (comma && op != END_AGGREGATE)
			put_form(ret, room, ", ");
		comma = op != START_AGGREGATE;
		if (op == START_AGGREGATE) {
			put_form(ret, room, "{");
		} else if (op == END_AGGREGATE) {
			put_form(ret, room, "}");
		} else if (op == DOT_DOT_DOT) {
			put_form(ret, room, "...");
		} else if (op == OFFSET_TOO_LARGE) {
			put_form(ret, room, "_");
		} else {
			uint8_t size = gd_bytes_u8(&b);
			if (b.bad || ret->n == GD_ARGUMENTS_VALUES_MAX)
				break;
			room->list[ret->n++] = (struct gd_argument){
				.offset = op,
				.size = size,
				.dead = !is_live(live, live_len, live_index, op, slot),
				.form = (uint16_t)(ret->form_len - form_before),
			};
			form_before = ret->form_len;
			if (op >= first_checked)
				slot = (slot + 1) & 0xff;
		}
	}
	ret->text_max = ret->form_len + ret->n * (GD_ARGUMENTS_HEX_MAX + 1);
}

/*
 * The pc whose liveness the release asks for.  Until 1.20 that is where the walk through inlined
 * calls ended: the outermost call.
 */
static uint64_t liveness_pc(struct gd_memory *memory, int minor, const struct gd_site *site,
                            bool exact)
{
	const struct gd_pclntab *tab = &site->module->pclntab;
	uint64_t pc = exact || site->pc == site->entry ? site->pc : site->pc - 1;
	for (unsigned i = 1; i < site->n_lines && minor < 21; i++) {
		struct gd_inlined call;
		int32_t index = gd_pclntab_pcdata(tab, &site->func, PCDATA_INLTREE_INDEX, pc);
		if (index < 0 || gd_inltree_read(memory, site->module->gofunc, tab, &site->func,
		                                 index, &call, NULL) < 0)
			break;
		pc = site->entry + (uint64_t)(int64_t)call.parent_pc;
	}
	return pc;
}

void gd_arguments_of(struct gd_memory *memory, struct gd_symbols *symbols, int minor,
                     const struct gd_site *site, bool exact, struct gd_arguments_room *room,
                     struct gd_arguments *ret)
{
	uint8_t info[GD_ARGUMENTS_ENCODED_MAX];
	int n = gd_symbols_funcdata(symbols, site, FUNCDATA_ARG_INFO, info, sizeof(info), NULL);
	if (n < 0)
		n = 0;
	int32_t index = gd_pclntab_pcdata(&site->module->pclntab, &site->func,
	                                  PCDATA_ARG_LIVE_INDEX,
	                                  liveness_pc(memory, minor, site, exact));
	/* 32 bytes hold the bits of all values an uint8_t can count */
	uint8_t live[4096];
	size_t want = index > 0 ? (size_t)index + 32 : 1;
	int n_live = -1;
	if (want <= sizeof(live))
		n_live = gd_symbols_funcdata(symbols, site, FUNCDATA_ARG_LIVE_INFO, live, want,
		                             NULL);
	gd_arguments_decode(info, (size_t)n, n_live > 0 ? live : NULL,
	                    n_live > 0 ? (size_t)n_live : 0, index, room, ret);
}

char *gd_arguments_put_hex(char *to, uint64_t value)
{
	static const char digits[] = "0123456789abcdef";
	*to++ = '0';
	*to++ = 'x';
	int shift = value == 0 ? 0 : (63 - __builtin_clzll(value)) & ~3;
	for (; shift >= 0; shift -= 4)
		*to++ = digits[value >> shift & 15];
	return to;
}

char *gd_arguments_put(const struct gd_arguments *arguments, const uint8_t *stack, size_t len,
                       char *to)
{
	const char *form = arguments->form;
	for (unsigned i = 0; i < arguments->n; i++) {
		const struct gd_argument *a = &arguments->list[i];
		memcpy(to, form, a->form);
		form += a->form;
		to += a->form;
		if (a->offset + 8u > len) {
			*to++ = '_';
			continue;
		}
		uint64_t value = gd_load_u64(stack + a->offset);
		if (a->size == 0)
			value = 0;
		else if (a->size < 8)
			value &= (UINT64_C(1) << (a->size * 8)) - 1;
		to = gd_arguments_put_hex(to, value);
		if (a->dead)
			*to++ = '?';
	}
	size_t rest = (size_t)(arguments->form + arguments->form_len - form);
	memcpy(to, form, rest);
	return to + rest;
}
