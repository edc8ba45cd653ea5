#pragma once
/*
 * Names of functions of the kernel, from /proc/kallsyms.  Only those that are asked for are kept: the
 * file has some 200,000.  Where the kernel hides its addresses (kptr_restrict, no CAP_SYSLOG) there are
 * no names, and none for what lies 64 KiB or more behind the nearest symbol.  The file is the kernel's, but modules name things in it, so it is parsed as foreign.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct gd_kernel_symbol {
	uint64_t pc;     /* asked for; set by the caller */
	char name[64];   /* "do_syscall_64", "[nf_tables] nft_do_chain"; "" not known */
};

/* Fills the names of symbols (sorted by pc here).  -ENOTSUP: the addresses are hidden. */
int gd_kernel_symbols_name(int kallsyms_fd, struct gd_kernel_symbol *symbols, size_t n,
                           struct gd_error *err);

/*
 * Names of many addresses, asked for first, then read in one pass over the file.
 */
struct gd_kernel_names;
int gd_kernel_names_create(struct gd_kernel_names **ret, struct gd_error *err);
void gd_kernel_names_destroy(struct gd_kernel_names *names); /* NULL allowed */
/* False: there are too many. */
bool gd_kernel_names_want(struct gd_kernel_names *names, uint64_t pc);
/* fd -1: there is no such file.  Without anything wanted it is not read. */
int gd_kernel_names_read(struct gd_kernel_names *names, int kallsyms_fd, struct gd_error *err);
/* NULL: not known. */
const char *gd_kernel_names_find(const struct gd_kernel_names *names, uint64_t pc);

/* The same from text in pieces, for tests and the fuzzer: begin, text, end. */
struct gd_kernel_symbols_reader {
	struct gd_kernel_symbol *symbols;
	uint64_t *starts; /* of the symbol found for each so far; owned */
	size_t n;
	char line[256];
	size_t line_len;
	bool skipping;    /* the rest of a line that is too long */
	bool any_address;
	uint64_t last;    /* the kernel's own come first and sorted, */
	bool sorted;
	bool done;        /* so that the rest may be of no interest */
};
int gd_kernel_symbols_begin(struct gd_kernel_symbols_reader *reader,
                            struct gd_kernel_symbol *symbols, size_t n, struct gd_error *err);
void gd_kernel_symbols_text(struct gd_kernel_symbols_reader *reader, const char *text, size_t len);
int gd_kernel_symbols_end(struct gd_kernel_symbols_reader *reader, struct gd_error *err);
