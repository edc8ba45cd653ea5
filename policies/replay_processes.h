#pragma once
/*
 * The processes that are alive as far as a recording says, in the order they came.
 */
#include "policies/engine.h"

struct gd_replay_process {
	struct gd_subject_id id;
	size_t service;
	bool sampled;
	int64_t last_ns; /* of its last sample, when there was one */
};

/* Zero is an empty list. */
struct gd_replay_processes {
	struct gd_replay_process *list;
	size_t n, room;
};

void gd_replay_processes_deinit(struct gd_replay_processes *processes);

/* NULL: there is none.  Valid until one is added or removed. */
struct gd_replay_process *gd_replay_processes_find(const struct gd_replay_processes *processes,
                                                   int32_t pid);
const struct gd_replay_process *
gd_replay_processes_oldest(const struct gd_replay_processes *processes, size_t service);

int gd_replay_processes_add(struct gd_replay_processes *processes,
                            const struct gd_replay_process *process, struct gd_error *err);
void gd_replay_processes_remove(struct gd_replay_processes *processes,
                                const struct gd_replay_process *process);
