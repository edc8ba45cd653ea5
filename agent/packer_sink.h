#pragma once
/*
 * The readers' end of the packer: a sink whose records go through a socket.  It hears nothing back but
 * what became of memory that was put: a name that is taken, a quota or a full disk show in what the
 * packer tells the broker, and here as a socket that takes no more (-EPIPE).
 */
#include <stdint.h>

#include "archive/layout.h"
#include "base/error.h"
#include "base/sink.h"

/*
 * The socket stays the caller's, `prefix` (borrowed) comes before all names.  `progress` is counted up
 * with every record.
 */
int gd_packer_sink_create(int fd, const char *prefix, volatile uint64_t *progress,
                          struct gd_sink **ret, struct gd_error *err);
/*
 * A whole artifact that lies at the beginning of a memfd; waits until the packer has its copy.
 * *ret is its digest.  -EPIPE: the packer takes no more.
 */
int gd_packer_sink_put_memory(struct gd_sink *sink, const struct gd_artifact *artifact,
                              int memory_fd, uint64_t bytes, char ret[GD_LAYOUT_DIGEST],
                              struct gd_error *err);
void gd_packer_sink_destroy(struct gd_sink *sink); /* NULL allowed; streams must be closed */
