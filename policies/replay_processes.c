#include "policies/replay_processes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void gd_replay_processes_deinit(struct gd_replay_processes *processes)
{
	free(processes->list);
	*processes = (struct gd_replay_processes){ 0 };
}

struct gd_replay_process *gd_replay_processes_find(const struct gd_replay_processes *processes,
                                                   int32_t pid)
{
	for (size_t i = 0; i < processes->n; i++)
		if (processes->list[i].id.pid == pid)
			return &processes->list[i];
	return NULL;
}

const struct gd_replay_process *
gd_replay_processes_oldest(const struct gd_replay_processes *processes, size_t service)
{
	for (size_t i = 0; i < processes->n; i++)
		if (processes->list[i].service == service)
			return &processes->list[i];
	return NULL;
}

int gd_replay_processes_add(struct gd_replay_processes *processes,
                            const struct gd_replay_process *process, struct gd_error *err)
{
	if (processes->n >= GD_ENGINE_PROCESSES_MAX)
		return gd_fail(err, -E2BIG, "more than %d processes; \"gone\" events say which ended",
		               GD_ENGINE_PROCESSES_MAX);
	if (processes->n == processes->room) {
		size_t room = processes->room == 0 ? 16 : processes->room * 2;
		void *list = realloc(processes->list, room * sizeof(*processes->list));
		if (list == NULL)
			return gd_fail_errno(err, -ENOMEM, "%zu processes", room);
		processes->list = list;
		processes->room = room;
	}
	processes->list[processes->n++] = *process;
	return 0;
}

void gd_replay_processes_remove(struct gd_replay_processes *processes,
                                const struct gd_replay_process *process)
{
	size_t place = (size_t)(process - processes->list);
	processes->n--;
	memmove(&processes->list[place], &processes->list[place + 1],
	        (processes->n - place) * sizeof(*processes->list));
}
