#pragma once
/*
 * The broker's end of the parser: starts the process that opens the runtime, answers its questions and
 * its children's, waits for each collector, and ends who is silent, greedy or strange.  What dies costs
 * its artifacts, never the capture.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/grant.h"
#include "agent/packer_order.h"
#include "agent/parser.h"
#include "agent/plan.h"
#include "agent/ranges.h"
#include "base/error.h"
#include "base/sink.h"
#include "target/target.h"

struct gd_parser_order {
	/* set by the owner */
	struct gd_target *target;  /* borrowed */
	const struct gd_plan *plan; /* borrowed */
	const volatile sig_atomic_t *cancelled; /* borrowed, NULL allowed */
	uint64_t silent_ns;        /* without a question, a record or a read: it is ended; 0: 10 s */

	/* what is known */
	bool has_subject;
	struct gd_request_subject subject;
	struct gd_request_runtime runtime;
	struct gd_request_runtime image_runtime; /* as it lies in the image */
	struct gd_memory_stats memory; /* of all parsers that told */
	int64_t cpu_ns;
	uint64_t peak_rss_bytes; /* the first one's, and that of the largest child beside it */

	/* private */
	struct {
		size_t item;
		pid_t pid;             /* 0: none runs */
		struct gd_grant grant; /* its fd is -1 when it tells nothing any more */
		int record_fd;         /* -1 */
		bool begun, done;
		struct gd_grant_told told; /* done: how it came out */
		struct gd_error why;   /* code 0, or why it has to be ended */
	} window;
	volatile uint64_t *progress; /* which word of `shared` counts now */
	struct gd_parser_shared shared;
	pid_t pid; /* 0: none */
	struct gd_grant grant;
	unsigned deaths;
	struct gd_error why; /* the last one's */
	int image_fd, image_index_fd; /* borrowed; -1: the process itself is read */
	uint64_t peak_first, peak_child;
	struct gd_packer_order *packer; /* NULL, or who may want something while we wait */
	uint64_t progress_seen;
	int64_t progress_ns;
};
#define GD_PARSER_ORDER_INIT                                                                       \
	((struct gd_parser_order){ .shared.cancelled_fd = -1, .grant.fd = -1, .image_fd = -1,      \
	                           .image_index_fd = -1, .window.grant.fd = -1,                    \
	                           .window.record_fd = -1 })

/* Forks the first one and returns at once. */
int gd_parser_order_start(struct gd_parser_order *parser, struct gd_error *err);

/* Until it has said who the target is (has_subject), or as often as makes sense has died. */
void gd_parser_order_subject(struct gd_parser_order *parser);

/* Until the runtime is open or why it is not is known. */
void gd_parser_order_runtime(struct gd_parser_order *parser);

struct gd_parser_order_result {
	struct gd_outcome outcome;
	uint64_t torn_reads, torn_repeated;
	uint64_t bytes; /* of its artifacts */
};

/* Runs one collector of the plan. */
void gd_parser_order_collect(struct gd_parser_order *parser, size_t item,
                             struct gd_packer_order *packer, struct gd_parser_order_result *ret);

/*
 * Starts the plan's windowed collector, which runs beside the others until its window's end, and waits
 * until it is at work, or a moment.  What it asks is answered while others are waited for, and by
 * _serve, which waits at most so long; false: it has ended before its time.
 */
int gd_parser_order_window_begin(struct gd_parser_order *parser, size_t item, pid_t packer,
                                 struct gd_error *err);
bool gd_parser_order_window_serve(struct gd_parser_order *parser, int timeout_ms);
/* Its window is over, in which the target was stopped for `stop_ns` (0: not): it writes its artifacts. */
void gd_parser_order_window_end(struct gd_parser_order *parser, struct gd_packer_order *packer,
                                int64_t stopped_ns, int64_t stop_ns,
                                struct gd_parser_order_result *ret);

/*
 * From here on an image is read (its descriptors stay the caller's until the end), also by whoever takes
 * the place of one that dies.  Fails when none can open it.
 */
int gd_parser_order_image(struct gd_parser_order *parser, int file_fd, int index_fd,
                          struct gd_error *err);

/* SKIP or NOSCAN; `packer` is the pid of the one child that is not the parser's. */
int gd_parser_order_ranges(struct gd_parser_order *parser, enum gd_order_work work, pid_t packer,
                           struct gd_ranges *ret, struct gd_error *err);

/* Kills what is left without counting; safe after end and on INIT. */
void gd_parser_order_stop(struct gd_parser_order *parser);

/* Ends and counts what is left; the figures above are whole afterwards. */
void gd_parser_order_end(struct gd_parser_order *parser);
