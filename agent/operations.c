#include "agent/operations.h"

#include <string.h>

const char *const gd_operation_state_names[] = {
	[GD_OPERATION_NONE] = "none",           [GD_OPERATION_QUEUED] = "queued",
	[GD_OPERATION_RUNNING] = "running",     [GD_OPERATION_SUCCEEDED] = "succeeded",
	[GD_OPERATION_PARTIAL] = "partial",     [GD_OPERATION_FAILED] = "failed",
};

static bool ended(const struct gd_operation *o)
{
	return o->state != GD_OPERATION_QUEUED && o->state != GD_OPERATION_RUNNING;
}

unsigned gd_operations_count(const struct gd_operations *operations, enum gd_operation_state state)
{
	unsigned n = 0;
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++)
		n += operations->list[i].state == state;
	return n;
}

struct gd_operation *gd_operations_add(struct gd_operations *operations)
{
	if (gd_operations_count(operations, GD_OPERATION_QUEUED) >= GD_OPERATIONS_QUEUE)
		return NULL;
	struct gd_operation *oldest = NULL;
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++) {
		struct gd_operation *o = &operations->list[i];
		if (ended(o) && (oldest == NULL || o->order < oldest->order))
			oldest = o;
	}
	if (oldest == NULL) /* there are more places than queue and runner can hold */
		return NULL;
	*oldest = (struct gd_operation){
		.state = GD_OPERATION_QUEUED,
		.order = ++operations->order,
	};
	return oldest;
}

struct gd_operation *gd_operations_next(struct gd_operations *operations)
{
	struct gd_operation *best = NULL;
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++) {
		struct gd_operation *o = &operations->list[i];
		if (o->state != GD_OPERATION_QUEUED)
			continue;
		if (best == NULL || o->class < best->class ||
		    (o->class == best->class && o->order < best->order))
			best = o;
	}
	return best;
}

struct gd_operation *gd_operations_running(struct gd_operations *operations)
{
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++)
		if (operations->list[i].state == GD_OPERATION_RUNNING)
			return &operations->list[i];
	return NULL;
}

struct gd_operation *gd_operations_find(struct gd_operations *operations, const char *id)
{
	for (unsigned i = 0; i < GD_OPERATIONS_MAX; i++)
		if (operations->list[i].state != GD_OPERATION_NONE &&
		    strcmp(operations->list[i].id, id) == 0)
			return &operations->list[i];
	return NULL;
}

const struct gd_operation *gd_operations_newest(const struct gd_operations *operations, unsigned i)
{
	/* Orders are consecutive numbers, and each place holds one: look for that number. */
	if (i >= GD_OPERATIONS_MAX || operations->order <= i)
		return NULL;
	uint64_t order = operations->order - i;
	for (unsigned at = 0; at < GD_OPERATIONS_MAX; at++)
		if (operations->list[at].order == order &&
		    operations->list[at].state != GD_OPERATION_NONE)
			return &operations->list[at];
	return NULL;
}
