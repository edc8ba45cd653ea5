/*
 * Any bytes as a journal: every line that is given out can be written, nothing is both torn and
 * damaged, and where it was cut it is whole.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "!..." is nonsense to this owner. */
static int on_line(void *arg, char *text)
{
	size_t n = strlen(text);
	if (n == 0 || n > GD_JOURNAL_TEXT_MAX)
		abort();
	gd_journal_put(arg, text);
	bool sense = text[0] != '!';
	memset(text, 'x', n); /* it is ours */
	return sense ? 0 : -EBADMSG;
}

static void parse(const uint8_t *data, size_t n, struct gd_buf *lines, struct gd_journal_found *ret)
{
	gd_buf_reset(lines);
	gd_journal_parse((const char *)data, n, on_line, lines, ret);
	if (lines->failed != 0 || lines->len > n || ret->good_bytes > n)
		abort();
	if (ret->torn_tail && ret->damaged > 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(size + 1);
	struct gd_journal_found found;
	struct gd_journal_found again;
	parse(data, size, &lines, &found);
	bool whole = !found.torn_tail && found.damaged == 0;
	if (whole && (found.good_bytes != size || lines.len != size))
		abort();
	if (whole && size > 0 && memcmp(lines.data, data, size) != 0)
		abort();
	/* Cut where it says, only nonsense is left. */
	parse(data, found.good_bytes, &lines, &again);
	if (again.torn_tail || again.damaged > found.damaged || again.good_bytes != found.good_bytes)
		abort();
	if (lines.len != found.good_bytes)
		abort();
	return 0;
}
