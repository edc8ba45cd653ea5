#include "archive/verify_core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gd_verify_core_init(struct gd_verify_core *core, const struct gd_reader *reader,
                         void (*say)(void *arg, const char *sentence), void *arg)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(GD_CORE_MAP_MAX);
	struct gd_error why = { 0 };
	*core = (struct gd_verify_core){ .reader = reader, .say = say, .arg = arg };
	if (gd_reader_artifact(reader, GD_CORE_MAP_NAME) != NULL &&
	    gd_reader_load(reader, GD_CORE_MAP_NAME, &text, NULL) == 0 &&
	    gd_core_map_parse(text.data, text.len, &core->map, &why) < 0)
		say(arg, why.msg);
}

void gd_verify_core_deinit(struct gd_verify_core *core)
{
	gd_core_map_deinit(&core->map);
	free(core->chunk);
	*core = (struct gd_verify_core){ 0 };
}

static void say_count(const struct gd_verify_core *core, const char *digest, uint64_t n,
                      const char *what)
{
	char sentence[160];
	(void)snprintf(sentence, sizeof(sentence), "pack %.12s: %" PRIu64 " of its chunks %s",
	               digest + strlen("sha256:"), n, what);
	if (n > 0)
		core->say(core->arg, sentence);
}

int gd_verify_core_pack(struct gd_verify_core *core, const char *digest, struct gd_error *err)
{
	struct gd_core_bad bad = { .reader = core->reader, .say = core->say, .arg = core->arg };
	uint64_t good = 0;
	uint64_t need_base = 0;
	if (core->chunk == NULL)
		core->chunk = malloc(GD_PACK_CHUNK);
	if (core->chunk == NULL)
		return gd_fail_errno(err, -ENOMEM, "verify");
	for (size_t i = 0; i < core->map.n_chunks; i++) {
		const struct gd_core_chunk *chunk = &core->map.chunks[i];
		struct gd_error why = { 0 };
		if (chunk->in_base || strcmp(chunk->pack, digest) != 0)
			continue;
		if (chunk->prefix)
			need_base++;
		else if (gd_core_read_chunk(core->reader, NULL, chunk, NULL, core->chunk, &why) < 0)
			gd_core_bad_add(&bad, chunk, why.msg);
		else
			good++;
	}
	gd_core_bad_end(&bad);
	say_count(core, digest, good, "are good");
	say_count(core, digest, need_base, "need the base capture to be looked at");
	return 0;
}

void gd_verify_core_lost(const struct gd_verify_core *core)
{
	struct gd_core_bad bad = { .reader = core->reader, .say = core->say, .arg = core->arg };
	for (size_t i = 0; i < core->map.n_chunks; i++) {
		const struct gd_core_chunk *chunk = &core->map.chunks[i];
		if (!chunk->in_base && gd_reader_blob(core->reader, chunk->pack) == NULL)
			gd_core_bad_add(&bad, chunk, "the pack is not in the archive");
	}
	gd_core_bad_end(&bad);
}
