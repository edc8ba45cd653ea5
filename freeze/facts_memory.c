/*
 * How much memory of which kind.  What the kernel counts anyway is in status; the rest takes a
 * walk over the page tables, during which whoever maps or unmaps in the target waits: 16 ms a GiB
 * of one mapping for smaps and smaps_rollup (measured, 4 KiB pages); 0.4 ms for a PAGEMAP_SCAN
 * that looks for huge pages only, and it can be cut into slices.  So smaps only for what is small.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "freeze/facts.h"
#include "freeze/kernel.h"

#define MAPS_LOOKED_AT 8192
#define SMAPS_BYTES_MAX (UINT64_C(128) << 20)
#define CHUNK (64u << 10)

struct sums {
	uint64_t maps, rss, anon, huge, hugetlb, dontdump;
	uint64_t anon_here; /* of the mapping whose lines are being read */
};

/* The part of the text that is here and not yet understood. */
struct window {
	char *text;
	size_t n;
};

static bool is(const char *line, size_t n, const char *name, uint64_t *ret_bytes)
{
	size_t len = strlen(name);
	uint64_t number;
	if (n <= len || memcmp(line, name, len) != 0 || line[len] != ':')
		return false;
	line += len + 1;
	line += strspn(line, " ");
	if (!gd_text_u64(line, NULL, 10, &number))
		return false;
	*ret_bytes = number << 10;
	return true;
}

/* " rd wr mr mw me dd ac " */
static bool has_flag(const char *line, size_t n, const char *flag)
{
	for (const char *p = line; p + 3 <= line + n; p++)
		if (p[0] == ' ' && p[1] == flag[0] && p[2] == flag[1])
			return true;
	return false;
}

/* One line, NUL-terminated. */
static void take_line(struct sums *sums, const char *line, size_t n)
{
	uint64_t bytes = 0;
	if (n == 0)
		return;
	if (line[0] < 'A' || line[0] > 'Z') { /* "7f00-7f01 rw-p ..." */
		sums->maps++;
		sums->anon_here = 0;
	} else if (is(line, n, "Rss", &bytes)) {
		sums->rss += bytes;
	} else if (is(line, n, "Anonymous", &bytes)) {
		sums->anon += bytes;
		sums->anon_here = bytes;
	} else if (is(line, n, "AnonHugePages", &bytes)) {
		sums->huge += bytes;
	} else if (is(line, n, "Shared_Hugetlb", &bytes) ||
	           is(line, n, "Private_Hugetlb", &bytes)) {
		sums->hugetlb += bytes;
	} else if (strncmp(line, "VmFlags:", 8) == 0 && has_flag(line, n, "dd")) {
		sums->dontdump += sums->anon_here;
	}
}

static int take_lines(struct window *w, struct sums *sums, const char *path, struct gd_error *err)
{
	char *line = w->text;
	char *end;
	while ((end = memchr(line, '\n', w->n - (size_t)(line - w->text))) != NULL) {
		*end = '\0';
		take_line(sums, line, (size_t)(end - line));
		line = end + 1;
	}
	w->n -= (size_t)(line - w->text);
	memmove(w->text, line, w->n);
	if (sums->maps > MAPS_LOOKED_AT)
		return gd_fail(err, -E2BIG, "%s: more than %d mappings", path, MAPS_LOOKED_AT);
	if (w->n == CHUNK)
		return gd_fail(err, -EBADMSG, "%s: a line without end", path);
	return 0;
}

static int read_sums(struct gd_target *target, const char *name, struct sums *ret,
                     struct gd_error *err)
{
	char path[sizeof(target->via) + 16];
	struct sums sums = { 0 };
	GD_CLOSE int fd = -1;
	GD_FREE char *text = malloc(CHUNK);
	struct window w = { .text = text };
	(void)snprintf(path, sizeof(path), "%s%s", target->via, name);
	if (text == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", path);
	int r = gd_target_open_file(target, path, &fd, err);
	while (r == 0) {
		ssize_t n = read(fd, w.text + w.n, CHUNK - w.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return gd_fail_errno(err, -errno, "%s", path);
		if (n == 0)
			break;
		w.n += (size_t)n;
		r = take_lines(&w, &sums, path, err);
	}
	if (r == 0)
		*ret = sums;
	return r;
}

/* Mappings far larger than what is in use are reservations; they cost nothing where nothing is. */
static void scan_huge(struct gd_target *target, struct gd_freeze_facts *facts)
{
	GD_CLOSE int fd = -1;
	struct gd_error err = { 0 };
	char path[sizeof(target->via) + 8];
	(void)snprintf(path, sizeof(path), "%spagemap", target->via);
	if (gd_target_open_file(target, path, &fd, &err) < 0) {
		gd_freeze_facts_miss(facts, &err);
		return;
	}
	for (size_t i = 0; i < target->maps.n; i++) {
		const struct gd_map *map = &target->maps.list[i];
		if (map->write && !map->shared)
			facts->huge_bytes += gd_freeze_kernel_huge(fd, map->start, map->end);
	}
}

void gd_freeze_facts_memory(struct gd_target *target, struct gd_freeze_facts *facts)
{
	struct sums sums = { 0 };
	struct gd_error err = { 0 };
	if (target->maps.n == 0)
		(void)gd_target_refresh_maps(target, NULL);
	facts->maps = target->maps.n;
	if (facts->rss_bytes > SMAPS_BYTES_MAX) {
		scan_huge(target, facts);
		return;
	}
	int r = facts->maps > MAPS_LOOKED_AT ? -E2BIG : read_sums(target, "smaps", &sums, &err);
	if (r < 0)
		r = read_sums(target, "smaps_rollup", &sums, &err);
	if (r < 0) {
		/* What status counts is there; that nothing is huge makes fork look slow. */
		gd_freeze_facts_miss(facts, &err);
		return;
	}
	if (facts->maps == 0)
		facts->maps = sums.maps;
	facts->rss_bytes = sums.rss;
	facts->anon_bytes = sums.anon;
	facts->huge_bytes = sums.huge;
	facts->hugetlb_bytes = sums.hugetlb;
	facts->dontdump_bytes = sums.dontdump;
}
