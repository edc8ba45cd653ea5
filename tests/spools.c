#include "tests/spools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/archive.h"
#include "archive/verify.h"
#include "base/cleanup.h"

struct gd_spool *spool_open(struct gd_spool_recovery *recovery)
{
	struct gd_spool *spool = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_spool_open(test_path("spool"), &spool, recovery, &err), &err);
	return spool;
}

static int put_artifact(struct gd_archive *archive, size_t n, struct gd_error *err)
{
	const struct gd_artifact artifact = { .name = "goroutines.txt", .media_type = "text/plain",
		                              .collector = "goroutines" };
	GD_FREE char *bytes = malloc(n > 0 ? n : 1);
	if (bytes == NULL)
		return gd_fail(err, -1, "no memory");
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)('a' + (i * 7 + i / 251) % 26);
	return gd_sink_put(gd_archive_sink(archive), &artifact, bytes, n, &GD_OUTCOME_COMPLETE, err);
}

int spool_seal(const char *ready, const char *id, const char *trigger, size_t n,
               struct spool_sealed *ret, struct gd_error *err)
{
	static const char plan[] = "{\"format\":1,\"id\":\"x\"}\n";
	struct gd_archive *archive = NULL;
	struct gd_snapshot snapshot = { .pid = 1 };
	struct gd_sealed sealed;
	int r = gd_archive_create(ready, plan, strlen(plan), &archive, err);
	if (r < 0)
		return r;
	(void)put_artifact(archive, n, err);
	(void)snprintf(snapshot.id, sizeof(snapshot.id), "%s", id);
	(void)snprintf(ret->name, sizeof(ret->name), "godiag-%s.tar", id);
	snapshot.started = gd_clock_now();
	snapshot.trigger = strdup(trigger);
	r = gd_archive_seal(archive, &snapshot, ret->name, &sealed, err);
	gd_snapshot_deinit(&snapshot);
	if (r < 0)
		return r;
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", sealed.digest);
	ret->bytes = sealed.bytes;
	return 0;
}

int spool_capture(struct gd_spool *spool, const char *id, enum gd_spool_class class, size_t n,
                  struct gd_error *err)
{
	struct spool_sealed sealed;
	int r = gd_spool_begin(spool, id, class, err);
	if (r < 0)
		return r;
	r = spool_seal(gd_spool_ready(spool), id, "manual", n, &sealed, err);
	if (r < 0) {
		(void)gd_spool_abort(spool, id, err != NULL ? err->msg : "?", NULL);
		return r;
	}
	return gd_spool_commit(spool, id, sealed.name, sealed.digest, sealed.bytes, err);
}

void spool_add(struct gd_spool *spool, const char *id, enum gd_spool_class class, size_t n)
{
	struct gd_error err = { 0 };
	assert_ok(spool_capture(spool, id, class, n, &err), &err);
}

const struct gd_spool_item *spool_item(const struct gd_spool *spool, const char *id)
{
	const struct gd_spool_item *items;
	size_t n = gd_spool_items(spool, &items);
	for (size_t i = 0; i < n; i++)
		if (strcmp(items[i].id, id) == 0)
			return &items[i];
	return NULL;
}

const char *spool_ids(const struct gd_spool *spool)
{
	static char text[4096];
	const struct gd_spool_item *items;
	size_t n = gd_spool_items(spool, &items);
	size_t at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < n && at < sizeof(text) - 80; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s%s", i > 0 ? " " : "",
		                       items[i].id, items[i].uploaded ? "+" : "");
	return text;
}

bool spool_verifies(const char *path)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	return gd_reader_open(path, &reader, NULL) == 0 &&
	       gd_verify(&reader, NULL, NULL, &verdict, NULL) == 0 && verdict.complete;
}
