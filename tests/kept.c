#include "tests/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT_BYTES_MAX = 256 << 20 };

struct kept_stream {
	struct gd_stream stream; /* first */
	struct kept_artifact *artifact;
};

static int keep_bytes(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	struct kept_artifact *artifact = ((struct kept_stream *)stream)->artifact;
	gd_buf_append(&artifact->bytes, bytes, n);
	return gd_buf_check(&artifact->bytes, artifact->name, err);
}

static int keep_close(struct gd_stream *stream, const struct gd_outcome *outcome,
                      struct gd_error *err)
{
	struct kept_artifact *artifact = ((struct kept_stream *)stream)->artifact;
	(void)err;
	(void)gd_buf_str(&artifact->bytes);
	artifact->outcome = *outcome;
	artifact->open = false;
	free(stream);
	return 0;
}

static struct kept_artifact *keep_new(struct kept *kept, const struct gd_artifact *artifact)
{
	assert_true(kept->n < KEPT_MAX);
	if (kept_find(kept, artifact->name) != NULL)
		fail_msg("artifact %s is recorded twice", artifact->name);
	struct kept_artifact *a = &kept->list[kept->n++];
	(void)snprintf(a->name, sizeof(a->name), "%s", artifact->name);
	a->bytes = GD_BUF_INIT(KEPT_BYTES_MAX);
	return a;
}

static int keep_open(struct gd_sink *sink, const struct gd_artifact *artifact,
                     struct gd_stream **ret, struct gd_error *err)
{
	struct kept_stream *stream = calloc(1, sizeof(*stream));
	(void)err;
	assert_non_null(stream);
	stream->stream = (struct gd_stream){ .write = keep_bytes, .close = keep_close };
	stream->artifact = keep_new((struct kept *)sink, artifact);
	stream->artifact->open = true;
	*ret = &stream->stream;
	return 0;
}

static int keep_absent(struct gd_sink *sink, const struct gd_artifact *artifact,
                       const struct gd_outcome *outcome, struct gd_error *err)
{
	struct kept_artifact *a = keep_new((struct kept *)sink, artifact);
	(void)err;
	(void)gd_buf_str(&a->bytes);
	a->outcome = *outcome;
	a->absent = true;
	return 0;
}

void kept_init(struct kept *kept)
{
	memset(kept, 0, sizeof(*kept));
	kept->sink = (struct gd_sink){ .open = keep_open, .absent = keep_absent };
}

void kept_deinit(struct kept *kept)
{
	for (size_t i = 0; i < kept->n; i++)
		gd_buf_deinit(&kept->list[i].bytes);
	kept->n = 0;
}

const struct kept_artifact *kept_find(const struct kept *kept, const char *name)
{
	for (size_t i = 0; i < kept->n; i++)
		if (strcmp(kept->list[i].name, name) == 0)
			return &kept->list[i];
	return NULL;
}
