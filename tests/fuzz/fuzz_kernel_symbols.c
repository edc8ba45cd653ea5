/*
 * The text of /proc/kallsyms: a name that is found ends within its field, and text in pieces says the
 * same as text in one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collectors/kernel_symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WANTED = 4 };

static int read_all(const char *text, size_t len, size_t piece,
                    struct gd_kernel_symbol symbols[WANTED])
{
	static const uint64_t pcs[WANTED] = { 0xffffffff81000010, 0x10, 0xffffffffc0001234,
		                              UINT64_MAX };
	struct gd_kernel_symbols_reader reader;
	memset(symbols, 0, WANTED * sizeof(*symbols));
	for (size_t i = 0; i < WANTED; i++)
		symbols[i].pc = pcs[i];
	if (gd_kernel_symbols_begin(&reader, symbols, WANTED, NULL) < 0)
		abort();
	for (size_t at = 0; at < len; at += piece)
		gd_kernel_symbols_text(&reader, text + at, len - at < piece ? len - at : piece);
	return gd_kernel_symbols_end(&reader, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_kernel_symbol whole[WANTED];
	struct gd_kernel_symbol pieces[WANTED];
	int r = read_all((const char *)data, size, size > 0 ? size : 1, whole);
	if (read_all((const char *)data, size, 7, pieces) != r)
		abort();
	for (size_t i = 0; i < WANTED; i++)
		if (memchr(whole[i].name, '\0', sizeof(whole[i].name)) == NULL ||
		    strcmp(whole[i].name, pieces[i].name) != 0)
			abort();
	return 0;
}
