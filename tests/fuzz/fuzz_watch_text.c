/*
 * The kernel's texts as the watcher reads them: memberships, pressure, limits, listeners, status, and
 * the arguments of a process.  Names in them are the process's own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch_cgroup.h"
#include "agent/watch_facts.h"
#include "agent/watch_file.h"
#include "agent/watch_ports.h"
#include "agent/watch_process.h"
#include "agent/watch_psi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_membership(const char *text)
{
	char path[64];
	struct gd_watch_cgroups *cgroups = NULL;
	struct gd_watch_group *group = NULL;
	double values[GD_METRICS] = { 0 };
	memset(path, 'x', sizeof(path));
	gd_watch_cgroup_path(text, path, sizeof(path));
	if (memchr(path, '\0', sizeof(path)) == NULL || (path[0] != '/' && path[0] != '\0'))
		abort();
	if (gd_watch_cgroups_create("/nonexistent", -1, true, &cgroups, NULL) < 0)
		return;
	if (gd_watch_cgroups_get(cgroups, text, &group) == 0) {
		gd_watch_cgroups_tick(cgroups, 1);
		gd_watch_group_values(group, values);
		if (!gd_watch_group_is(group, text) || gd_watch_group_events(group) != 0)
			abort();
		gd_watch_cgroups_put(cgroups, group);
	}
	gd_watch_cgroups_destroy(cgroups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	uint64_t some;
	uint64_t full;
	struct gd_watch_listener listener;
	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	read_membership(text);
	gd_watch_psi_parse(text, &some, &full);
	(void)gd_watch_ports_parse(text, &listener);
	(void)gd_watch_process_parse_nofile(text);
	(void)gd_watch_facts_parse_uid(text);
	(void)gd_watch_file_key(text, "oom_kill", &some);
	gd_watch_facts_join(text, size);
	if (strlen(text) > size)
		abort();
	free(text);
	return 0;
}
