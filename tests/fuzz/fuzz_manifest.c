/*
 * The JSON documents of an archive.  What is accepted is written again, and must read back as the
 * same: a second writing that differs from the first means that something was lost or changed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "archive/layout.h"
#include "archive/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_snapshot(const char *text, size_t n)
{
	struct gd_snapshot first;
	struct gd_snapshot second;
	GD_BUF struct gd_buf once = GD_BUF_INIT(64U << 20);
	GD_BUF struct gd_buf twice = GD_BUF_INIT(64U << 20);
	struct gd_json a = GD_JSON_INIT(&once);
	struct gd_json b = GD_JSON_INIT(&twice);
	if (gd_snapshot_parse(text, n, &first, NULL) < 0)
		return;
	for (size_t i = 0; i < first.n_artifacts; i++)
		if (!gd_layout_name_ok(first.artifacts[i].name))
			abort();
	gd_snapshot_write(&first, &a);
	if (gd_snapshot_parse(once.data, once.len, &second, NULL) < 0)
		abort();
	gd_snapshot_write(&second, &b);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
	gd_snapshot_deinit(&first);
	gd_snapshot_deinit(&second);
}

static void check_manifest(const char *text, size_t n)
{
	struct gd_manifest first;
	struct gd_manifest second;
	GD_BUF struct gd_buf once = GD_BUF_INIT(64U << 20);
	GD_BUF struct gd_buf twice = GD_BUF_INIT(64U << 20);
	GD_BUF struct gd_buf index = GD_BUF_INIT(64U << 20);
	char digest[GD_LAYOUT_DIGEST];
	if (gd_layout_parse_manifest(text, n, &first, NULL) < 0)
		return;
	gd_layout_put_manifest(&first, &once);
	if (gd_layout_parse_manifest(once.data, once.len, &second, NULL) < 0)
		abort();
	gd_layout_put_manifest(&second, &twice);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
	gd_layout_put_index(&first, first.config.digest, 1, &index);
	if (gd_layout_parse_index(index.data, index.len, digest, NULL) < 0 ||
	    strcmp(digest, first.config.digest) != 0)
		abort();
	gd_manifest_deinit(&first);
	gd_manifest_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char digest[GD_LAYOUT_DIGEST];
	check_snapshot(text, size);
	check_manifest(text, size);
	if (gd_layout_parse_index(text, size, digest, NULL) == 0 && !gd_layout_digest_ok(digest))
		abort();
	return 0;
}
