/*
 * The stat line, twice: as it comes, and with the input as the comm of a well-formed line, which
 * must never change what the other fields say.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "target/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char tail[] =
		") S 1 2 3 4 -1 5 6 7 8 0 11 12 0 0 20 0 5 0 123456 1048576 321\n";
	struct gd_stat stat = { 0 };
	(void)gd_stat_parse((const char *)data, size, &stat, NULL);
	if (memchr(stat.comm, '\0', sizeof(stat.comm)) == NULL)
		abort();

	GD_BUF struct gd_buf line = GD_BUF_INIT(size + 256);
	gd_buf_puts(&line, "42 (");
	gd_buf_append(&line, data, size);
	gd_buf_puts(&line, tail);
	if (gd_stat_parse(line.data, line.len, &stat, NULL) < 0 || stat.pid != 42 ||
	    stat.state != 'S' || stat.start_ticks != 123456 || stat.rss_pages != 321)
		abort();
	return 0;
}
