#pragma once
/*
 * The readers' end of the packer: a sink whose records go through a socket.  It hears nothing back:
 * a name that is taken, a quota or a full disk show in what the packer tells the broker, and here as
 * a socket that takes no more (-EPIPE).
 */
#include <stdint.h>

#include "base/error.h"
#include "base/sink.h"

/*
 * The socket stays the caller's, `prefix` (borrowed) comes before all names.  `progress` is counted up
 * with every record.
 */
int gd_packer_sink_create(int fd, const char *prefix, volatile uint64_t *progress,
                          struct gd_sink **ret, struct gd_error *err);
void gd_packer_sink_destroy(struct gd_sink *sink); /* NULL allowed; streams must be closed */
