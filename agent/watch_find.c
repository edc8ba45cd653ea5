#include "agent/watch_find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/watch_wire.h"
#include "base/io.h"
#include "base/message.h"
#include "golang/gauges.h"
#include "golang/runtime.h"
#include "target/maps.h"

#define MAPS_TEXT_MAX (64u << 20)

static int find(const struct gd_watch_find *find, struct gd_gauges_at *ret, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(MAPS_TEXT_MAX);
	GD_MAPS struct gd_maps maps = { .list = NULL };
	GD_MEMORY struct gd_memory *memory = NULL;
	GD_GO struct gd_go *go = NULL;
	int r = gd_io_read_all(find->maps_fd, &text, err);
	if (r >= 0)
		r = gd_maps_parse(text.data, text.len, &maps, err);
	if (r >= 0)
		r = gd_memory_live(find->mem_fd, &memory, err);
	if (r >= 0)
		r = gd_go_open(memory, &maps, find->tids, find->n_tids, &go, err);
	/* Here -ENOENT means: not Go.  A runtime without gauges is something else. */
	if (r < 0)
		return r;
	r = gd_gauges_find(go, ret, err);
	return r == -ENOENT ? -ENOTSUP : r;
}

int gd_watch_find_run(void *arg)
{
	struct gd_error err = { 0 };
	struct gd_watch_runtime found;
	memset(&found, 0, sizeof(found));
	const struct gd_watch_find *where = arg;
	found.code = find(where, &found.at, &err);
	if (found.code < 0)
		(void)snprintf(found.why, sizeof(found.why), "%.120s", err.msg);
	return gd_message_send(where->to_fd, GD_WATCH_RUNTIME, 0, &found, sizeof(found), NULL, 0,
	                       NULL) < 0;
}
