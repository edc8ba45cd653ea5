#include "agent/footprint.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/text.h"

#define SMAPS_MAX (4u << 20)

struct mapping {
	uint64_t start, end;
	bool file; /* of a file, and we may not write to it */
};

/* "55d0c0000000-55d0c0021000 r-xp 00000000 fe:01 1234   /usr/bin/x"; false: not such a line. */
static bool parse_head(const char *line, struct mapping *ret)
{
	const char *p;
	struct mapping m;
	if (!gd_text_u64(line, &p, 16, &m.start) || *p != '-' ||
	    !gd_text_u64(p + 1, &p, 16, &m.end) || *p != ' ')
		return false;
	const char *path = strchr(p, '/');
	const char *end = strchrnul(p, '\n');
	m.file = p[1] == 'r' && p[2] == '-' && path != NULL && path < end;
	*ret = m;
	return true;
}

/* "Anonymous: 0 kB": no page of it is a copy of our own, which would be lost. */
static bool says_none(const char *line)
{
	static const char key[] = "Anonymous:";
	uint64_t kib;
	if (strncmp(line, key, sizeof(key) - 1) != 0)
		return false;
	line += sizeof(key) - 1;
	line += strspn(line, " ");
	return gd_text_u64(line, NULL, 10, &kib) && kib == 0;
}

void gd_footprint_shrink(void)
{
	GD_BUF struct gd_buf smaps = GD_BUF_INIT(SMAPS_MAX);
	struct mapping m = { .file = false };
	if (gd_io_read_file_at(AT_FDCWD, "/proc/self/smaps", &smaps, NULL) < 0)
		return;
	for (const char *line = gd_buf_str(&smaps); *line != '\0';) {
		/* Not writable, so no copy has been made since the kernel counted them. */
		if (!parse_head(line, &m) && m.file && says_none(line))
			(void)madvise((void *)(uintptr_t)m.start, m.end - m.start, MADV_DONTNEED);
		line = strchrnul(line, '\n');
		line += *line == '\n';
	}
	(void)malloc_trim(0);
}
