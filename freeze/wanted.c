#include "freeze/wanted.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define HEADERS_MAX (64u << 20)

/* What smaps says about one mapping, beside its line of maps. */
struct facts {
	uint64_t huge_bytes;
	bool dontdump, device, hugetlb, unforked;
};

struct smaps {
	struct gd_buf headers; /* the lines of maps in it */
	struct gd_buf facts;   /* struct facts, one for each */
};

static bool starts(const char *text, size_t len, const char *with)
{
	size_t n = strlen(with);
	return len >= n && memcmp(text, with, n) == 0;
}

enum gd_wanted_kind gd_wanted_kind_of(const char *path, size_t len, bool shared, bool of_file,
                                      bool deleted)
{
	if (starts(path, len, "[vvar") || starts(path, len, "[vsyscall"))
		return GD_WANTED_NEVER;
	if (starts(path, len, "[vdso"))
		return GD_WANTED_SHARED;
	bool memory = starts(path, len, "/dev/zero") || starts(path, len, "/dev/shm/") ||
	              starts(path, len, "/memfd:") || starts(path, len, "/SYSV");
	if (starts(path, len, "/dev/") && !memory)
		return GD_WANTED_NEVER;
	if (!shared)
		return GD_WANTED_OWN;
	/* A deleted file is gone with the process, too. */
	if (!of_file || memory || deleted)
		return GD_WANTED_SHARED;
	return starts(path, len, "/") ? GD_WANTED_FILE : GD_WANTED_NEVER;
}

static void take_flags(struct facts *facts, const char *p)
{
	for (; *p != '\0'; p++) {
		if (p[0] == ' ' || p[1] == '\0')
			continue;
		facts->dontdump |= memcmp(p, "dd", 2) == 0;
		facts->device |= memcmp(p, "io", 2) == 0 || memcmp(p, "pf", 2) == 0;
		facts->hugetlb |= memcmp(p, "ht", 2) == 0;
		facts->unforked |= memcmp(p, "dc", 2) == 0 || memcmp(p, "wf", 2) == 0;
		p++;
	}
}

/* Of the 25 lines of a mapping three are wanted. */
static void take_line(struct smaps *smaps, const char *line)
{
	struct facts *last = smaps->facts.len == 0 ? NULL
		: (struct facts *)(void *)(smaps->facts.data + smaps->facts.len) - 1;
	if ((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f')) {
		struct facts none = { 0 };
		gd_buf_puts(&smaps->headers, line);
		gd_buf_putc(&smaps->headers, '\n');
		gd_buf_append(&smaps->facts, &none, sizeof(none));
	} else if (last != NULL && strncmp(line, "AnonHugePages:", 14) == 0) {
		last->huge_bytes = strtoull(line + 14, NULL, 10) * 1024;
	} else if (last != NULL && strncmp(line, "VmFlags:", 8) == 0) {
		take_flags(last, line + 8);
	}
}

static int read_smaps(struct gd_target *target, struct smaps *smaps, struct gd_error *err)
{
	char path[sizeof(target->via) + 8];
	GD_CLOSE int fd = -1;
	(void)snprintf(path, sizeof(path), "%ssmaps", target->via);
	int r = gd_target_open_file(target, path, &fd, err);
	if (r < 0)
		return r;
	GD_FCLOSE FILE *file = fdopen(fd, "re");
	if (file == NULL)
		return gd_fail_errno(err, -errno, "smaps");
	(void)gd_steal_fd(&fd);
	GD_FREE char *line = NULL;
	size_t size = 0;
	ssize_t n;
	while ((n = getline(&line, &size, file)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		take_line(smaps, line);
	}
	if (ferror(file))
		return gd_fail_errno(err, -EIO, "smaps");
	r = gd_buf_check(&smaps->headers, "smaps", err);
	return r == 0 ? gd_buf_check(&smaps->facts, "smaps", err) : r;
}

/* The memory of a shared mapping as the file it is, found by its addresses and by no path. */
static int open_shared(const struct gd_target *target, const struct gd_map *map)
{
	char path[80];
	(void)snprintf(path, sizeof(path), "map_files/%" PRIx64 "-%" PRIx64, map->start, map->end);
	return openat(target->fds.proc_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void add(struct gd_wanted_range *ranges, size_t *n, const struct gd_map *map,
                enum gd_image_why why)
{
	ranges[(*n)++] = (struct gd_wanted_range){ map->start, map->end, why };
}

static void sort_map(struct gd_target *target, const struct gd_freeze_options *options,
                     struct gd_wanted *w, const struct gd_map *map, const struct facts *facts)
{
	enum gd_wanted_kind kind = gd_wanted_kind_of(map->path, strlen(map->path), map->shared,
	                                             map->inode != 0, map->deleted);
	if (facts->hugetlb)
		add(w->skip, &w->n_skip, map, GD_IMAGE_HUGETLB);
	else if (facts->device || kind == GD_WANTED_NEVER)
		add(w->skip, &w->n_skip, map, GD_IMAGE_DEVICE);
	else if (facts->dontdump && !options->secret && kind != GD_WANTED_FILE)
		add(w->skip, &w->n_skip, map, GD_IMAGE_DONTDUMP);
	else if (kind == GD_WANTED_SHARED && w->n_shared < GD_WANTED_SHARED_MAX) {
		w->shared[w->n_shared++] = (struct gd_wanted_shared){
			map->start, map->end, map->offset, open_shared(target, map), false,
			strcmp(map->path, "[vdso]") == 0,
		};
		w->shared_bytes += map->end - map->start;
	} else if (kind == GD_WANTED_SHARED)
		add(w->skip, &w->n_skip, map, GD_IMAGE_SHARED_BIG);
	else if (facts->unforked)
		add(w->unforked, &w->n_unforked, map, GD_IMAGE_KEPT);
	if (facts->huge_bytes > 0)
		add(w->huge, &w->n_huge, map, GD_IMAGE_KEPT);
	w->huge_bytes += facts->huge_bytes;
}

/* The caller's ranges between ours; both sorted, ours win where they meet. */
static void merge_thin(struct gd_wanted *w, const struct gd_freeze_options *options,
                       struct gd_wanted_range *own, size_t n_own)
{
	size_t n = 0;
	size_t k = 0;
	for (size_t i = 0; i < options->n_skip; i++) {
		uint64_t at = options->skip[i].start;
		uint64_t end = options->skip[i].end;
		while (at < end) {
			while (k < n_own && own[k].end <= at)
				w->skip[n++] = own[k++];
			uint64_t until = k < n_own && own[k].start < end ? own[k].start : end;
			if (at < until)
				w->skip[n++] = (struct gd_wanted_range){ at, until,
					                                 GD_IMAGE_NOT_WANTED };
			at = k < n_own && own[k].start < end ? own[k].end : end;
		}
	}
	while (k < n_own)
		w->skip[n++] = own[k++];
	w->n_skip = n;
}

static int sort_maps(struct gd_target *target, const struct gd_freeze_options *options,
                     struct gd_wanted *w, const struct facts *facts, struct gd_error *err)
{
	static const struct facts unknown;
	size_t n = w->maps.n + 1;
	w->skip = calloc(n, sizeof(*w->skip));
	w->unforked = calloc(n, sizeof(*w->unforked));
	w->huge = calloc(n, sizeof(*w->huge));
	w->tracked = calloc(n, sizeof(*w->tracked));
	w->shared = calloc(GD_WANTED_SHARED_MAX, sizeof(*w->shared));
	if (w->skip == NULL || w->unforked == NULL || w->huge == NULL || w->shared == NULL ||
	    w->tracked == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu mappings", w->maps.n);
	for (size_t i = 0; i < w->maps.n; i++)
		sort_map(target, options, w, &w->maps.list[i], facts != NULL ? &facts[i] : &unknown);
	if (options->scope != GD_FREEZE_THIN || options->n_skip == 0)
		return 0;
	GD_FREE struct gd_wanted_range *own = w->skip;
	size_t n_own = w->n_skip;
	w->skip = calloc(2 * n_own + options->n_skip + 1, sizeof(*w->skip));
	if (w->skip == NULL)
		return gd_fail_errno(err, -ENOMEM, "%zu ranges to skip", options->n_skip);
	merge_thin(w, options, own, n_own);
	return 0;
}

int gd_wanted_read(struct gd_target *target, const struct gd_freeze_options *options,
                   struct gd_wanted *ret, struct gd_error *err)
{
	struct smaps smaps = { GD_BUF_INIT(HEADERS_MAX), GD_BUF_INIT(HEADERS_MAX) };
	struct gd_wanted w = { 0 };
	int r = read_smaps(target, &smaps, err);
	if (r == 0)
		r = gd_maps_parse(smaps.headers.data, smaps.headers.len, &w.maps, err);
	w.flags_known = r == 0 && w.maps.n * sizeof(struct facts) == smaps.facts.len;
	if (r == 0 && !w.flags_known)
		r = gd_fail(err, -EBADMSG, "smaps makes no sense");
	if (r == 0)
		r = sort_maps(target, options, &w, (const struct facts *)(const void *)smaps.facts.data,
		              err);
	gd_buf_deinit(&smaps.headers);
	gd_buf_deinit(&smaps.facts);
	if (r < 0) {
		gd_wanted_deinit(&w);
		return r;
	}
	*ret = w;
	return 0;
}

void gd_wanted_deinit(struct gd_wanted *wanted)
{
	for (size_t i = 0; i < wanted->n_shared; i++)
		if (wanted->shared[i].fd >= 0)
			(void)close(wanted->shared[i].fd);
	free(wanted->skip);
	free(wanted->unforked);
	free(wanted->huge);
	free(wanted->tracked);
	free(wanted->shared);
	gd_maps_deinit(&wanted->maps);
	*wanted = (struct gd_wanted){ 0 };
}

const struct gd_wanted_range *gd_wanted_find(const struct gd_wanted_range *ranges, size_t n,
                                             uint64_t addr)
{
	size_t low = 0;
	size_t high = n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (ranges[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < n ? &ranges[low] : NULL;
}

uint64_t gd_wanted_huge_bytes(struct gd_target *target)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(64 << 10);
	char path[sizeof(target->via) + 16];
	(void)snprintf(path, sizeof(path), "%ssmaps_rollup", target->via);
	if (gd_target_read_file(target, path, &text, NULL) < 0)
		return 0;
	const char *line = strstr(gd_buf_str(&text), "AnonHugePages:");
	return line != NULL ? strtoull(line + 14, NULL, 10) * 1024 : 0;
}
