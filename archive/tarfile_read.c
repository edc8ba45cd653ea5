#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "archive/layout.h"
#include "archive/tarfile.h"
#include "base/cleanup.h"
#include "base/io.h"

/* Offset and size of the fields that matter, POSIX.1-2017 pax(1), "ustar Interchange Format". */
enum {
	NAME = 0, NAME_SIZE = 100,
	SIZE = 124, MTIME = 136, SIZE_SIZE = 12,
	SUM = 148, SUM_SIZE = 8,
	TYPE = 156,
	MAGIC = 257,
	UNAME = 265, GNAME = 297, OWNER_SIZE = 32,
	PREFIX = 345,
};

static bool parse_octal(const unsigned char *p, size_t n, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;
	while (i < n && p[i] == ' ')
		i++;
	size_t from = i;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		if (__builtin_mul_overflow(value, 8U, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(p[i] - '0'), &value))
			return false;
	if (i == from || (i < n && p[i] != ' ' && p[i] != '\0'))
		return false;
	*ret = value;
	return true;
}

static unsigned checksum(const unsigned char *block)
{
	unsigned sum = 0;
	for (size_t i = 0; i < GD_TARFILE_BLOCK; i++)
		sum += i >= SUM && i < SUM + SUM_SIZE ? ' ' : block[i];
	return sum;
}

static bool is_empty(const unsigned char *block)
{
	return block[0] == 0 && memcmp(block, block + 1, GD_TARFILE_BLOCK - 1) == 0;
}

static void take_text(char *to, const unsigned char *from, size_t n)
{
	size_t len = strnlen((const char *)from, n);
	memcpy(to, from, len);
	to[len] = '\0';
}

/* The eight bytes as tar writers put them: the sum does not cover itself. */
static bool sum_is_canonical(const unsigned char *block, unsigned sum)
{
	for (int i = 5; i >= 0; i--, sum >>= 3)
		if (block[SUM + i] != '0' + (sum & 7))
			return false;
	return block[SUM + 6] == '\0' && block[SUM + 7] == ' ';
}

static bool parse_header(const unsigned char *block, struct gd_tarfile_member *ret)
{
	uint64_t sum;
	struct gd_tarfile_member m = { .type = (char)block[TYPE] };
	if (memcmp(block + MAGIC, "ustar", 5) != 0 ||
	    !parse_octal(block + SUM, SUM_SIZE, &sum) || sum != checksum(block) ||
	    !parse_octal(block + SIZE, SIZE_SIZE, &m.bytes))
		return false;
	if (!parse_octal(block + MTIME, SIZE_SIZE, &m.mtime_s))
		m.mtime_s = 0;
	take_text(m.name, block + NAME, NAME_SIZE);
	take_text(m.user, block + UNAME, OWNER_SIZE);
	take_text(m.group, block + GNAME, OWNER_SIZE);
	/* links, devices, directories and FIFOs have no data, whatever they claim */
	if (m.type >= '1' && m.type <= '6')
		m.bytes = 0;
	m.plain = (m.type == '0' || m.type == '\0') && block[PREFIX] == '\0' &&
	          sum_is_canonical(block, (unsigned)sum);
	*ret = m;
	return true;
}

static bool is_ours(const struct gd_tarfile_member *m)
{
	size_t n = strlen(GD_LAYOUT_BLOBS);
	if (strncmp(m->name, GD_LAYOUT_BLOBS, n) == 0)
		return gd_layout_hex_ok(m->name + n);
	return strcmp(m->name, GD_LAYOUT_FILE) == 0 || strcmp(m->name, GD_LAYOUT_INDEX) == 0;
}

/* After a damaged header at walk->at: the next one that belongs into an archive of ours. */
static int search(struct gd_tarfile_walk *walk, struct gd_tarfile_member *ret,
                  struct gd_error *err)
{
	enum { WINDOW = 128 * GD_TARFILE_BLOCK };
	GD_FREE unsigned char *window = malloc(WINDOW);
	if (window == NULL)
		return gd_fail_errno(err, -ENOMEM, "tar");
	uint64_t at = walk->at + GD_TARFILE_BLOCK;
	while (at <= walk->file_bytes && walk->file_bytes - at >= GD_TARFILE_BLOCK) {
		uint64_t left = (walk->file_bytes - at) / GD_TARFILE_BLOCK * GD_TARFILE_BLOCK;
		size_t n = left < WINDOW ? (size_t)left : WINDOW;
		int r = gd_io_pread_all(walk->fd, window, n, (off_t)at, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i += GD_TARFILE_BLOCK) {
			if (parse_header(window + i, ret) && is_ours(ret)) {
				ret->header_at = at + i;
				return 1;
			}
		}
		at += n;
	}
	walk->ended = true;
	walk->end_at = walk->at;
	return 0;
}

int gd_tarfile_next(struct gd_tarfile_walk *walk, struct gd_tarfile_member *ret,
                    struct gd_error *err)
{
	unsigned char block[GD_TARFILE_BLOCK];
	struct gd_tarfile_member m;
	if (walk->ended)
		return 0;
	if (walk->at > walk->file_bytes || walk->file_bytes - walk->at < GD_TARFILE_BLOCK) {
		walk->ended = true;
		walk->end_at = walk->at;
		return 0;
	}
	int r = gd_io_pread_all(walk->fd, block, sizeof(block), (off_t)walk->at, err);
	if (r < 0)
		return r;
	if (is_empty(block)) {
		walk->ended = walk->has_end = true;
		walk->end_at = walk->at;
		return 0;
	}
	if (parse_header(block, &m)) {
		m.header_at = walk->at;
	} else {
		r = search(walk, &m, err);
		if (r <= 0)
			return r;
	}
	m.gap_at = walk->at;
	m.data_at = m.header_at + GD_TARFILE_BLOCK;
	m.truncated = m.bytes > walk->file_bytes - m.data_at;
	uint64_t padded = (m.bytes + GD_TARFILE_BLOCK - 1) / GD_TARFILE_BLOCK * GD_TARFILE_BLOCK;
	walk->at = m.truncated ? walk->file_bytes : m.data_at + padded;
	*ret = m;
	return 1;
}
