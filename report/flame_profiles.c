#include <string.h>

#include "report/flame.h"
#include "report/instant.h"

/* What an incident is about first. */
static const char *const first[] = { "cpu.pb.gz",   "offcpu.pb.gz", "heap.pb.gz",     "block.pb.gz",
	                             "mutex.pb.gz", "goroutine.pb.gz", "own.cpu.pb.gz" };
#define N_FIRST (sizeof(first) / sizeof(*first))

static bool is_profile(const char *name)
{
	static const char end[] = ".pb.gz";
	size_t n = strlen(name);
	return n > sizeof(end) - 1 && strcmp(name + n - (sizeof(end) - 1), end) == 0;
}

static size_t rank(const char *name)
{
	size_t i = 0;
	while (i < N_FIRST && strcmp(name, first[i]) != 0)
		i++;
	return i;
}

static void add(const struct gd_reader *reader, const struct gd_artifact_row *row,
                struct gd_flame_profiles *to)
{
	char longer[208];
	const char *instant = gd_instant_name(reader, row->name, longer);
	/* Of what was read twice there are two rows: this one is the other's. */
	if (instant != row->name)
		return;
	if (row->digest[0] != '\0' && to->n < GD_FLAME_PROFILES_MAX)
		to->list[to->n++] = row;
	else if (row->digest[0] == '\0' && to->n_absent < GD_FLAME_PROFILES_MAX)
		to->absent[to->n_absent++] = row;
}

void gd_flame_profiles(const struct gd_reader *reader, struct gd_flame_profiles *ret)
{
	const struct gd_snapshot *s = &reader->snapshot;
	*ret = (struct gd_flame_profiles){ 0 };
	for (size_t at = 0; at <= N_FIRST; at++) {
		for (size_t i = 0; i < s->n_artifacts; i++) {
			const char *name = s->artifacts[i].name;
			const char *own = strncmp(name, "image/", 6) == 0 ? name + 6 : name;
			if (is_profile(name) && rank(own) == at)
				add(reader, &s->artifacts[i], ret);
		}
	}
}
