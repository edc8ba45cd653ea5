#pragma once
/*
 * Arguments of a call as Go's tracebacks print them: "0xc000012345, {0x1, 0x2?}, ...".  The
 * compiler describes them for each function (FUNCDATA_ArgInfo), and for each pc which of those that
 * came in registers still have a good copy on the stack ("?" marks the others;
 * FUNCDATA_ArgLiveInfo).  Both are decoded once for a site, so that a dump of many goroutines only
 * fills in the values.
 *
 * Source: printArgs in runtime/traceback.go, the same from Go 1.18 to 1.27.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "golang/symbols.h"

/* The compiler stops at ten values nested five deep; the longest encoding is 171 bytes. */
#define GD_ARGUMENTS_ENCODED_MAX 171
#define GD_ARGUMENTS_VALUES_MAX (GD_ARGUMENTS_ENCODED_MAX / 2)
#define GD_ARGUMENTS_FORM_MAX (GD_ARGUMENTS_ENCODED_MAX * 5)

struct gd_argument {
	uint8_t offset; /* from the caller's sp */
	uint8_t size;
	bool dead;      /* its stack slot may be out of date: followed by "?" */
	uint16_t form;  /* bytes of form that stand before the value */
};

struct gd_arguments {
	const struct gd_argument *list;
	const char *form; /* everything but the values */
	unsigned n, form_len;
	unsigned text_max; /* no rendering is longer than this */
};

/* Where the lists of a struct gd_arguments lie that was just decoded. */
struct gd_arguments_room {
	struct gd_argument list[GD_ARGUMENTS_VALUES_MAX];
	char form[GD_ARGUMENTS_FORM_MAX];
};

/*
 * Those of the site's physical function.  None (n and form_len 0) when there is no description.
 * minor: of the Go release, which decides at which pc it asks for liveness where calls were
 * inlined.
 */
void gd_arguments_of(struct gd_memory *memory, struct gd_symbols *symbols, int minor,
                     const struct gd_site *site, bool exact, struct gd_arguments_room *room,
                     struct gd_arguments *ret);

/* Decodes the description itself; foreign bytes.  live may be NULL: all values are live. */
void gd_arguments_decode(const uint8_t *info, size_t info_len, const uint8_t *live,
                         size_t live_len, int32_t live_index, struct gd_arguments_room *room,
                         struct gd_arguments *ret);

/*
 * Writes them to `to`, which has room for text_max bytes, and returns the end.  stack: the bytes at
 * the caller's sp; a value that lies beyond len of them is written as "_".
 */
char *gd_arguments_put(const struct gd_arguments *arguments, const uint8_t *stack, size_t len,
                       char *to);

/* The longest number: "0x" and 16 digits. */
#define GD_ARGUMENTS_HEX_MAX 18
char *gd_arguments_put_hex(char *to, uint64_t value);
