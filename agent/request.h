#pragma once
/*
 * What a jailed reader of a target may ask its broker for, as a table: in which state, how large, how
 * often, and which names.  Pure checks without a system call, so that they can be fuzzed; ask.h is
 * the asking side, grant.h the granting one.
 *
 * Names are matched against a closed list of patterns ("task/N/stack", N decimal); a free path does
 * not exist, nor one that leads through a link of the target's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sink.h"
#include "target/memory.h"
#include "target/perf_event.h"

/* Types of messages from the reader. */
enum gd_request {
	GD_REQUEST_OPEN = 1, /* a file; answered with a descriptor */
	GD_REQUEST_READ,     /* a file; answered with its bytes when they are few */
	GD_REQUEST_LINK,     /* the text of a link */
	GD_REQUEST_LIST,     /* the numbers in "task" or "fd" */
	GD_REQUEST_GROUP,    /* a file of a control group */
	GD_REQUEST_PERF,     /* a perf event on a thread of the target */
	GD_REQUEST_SAMPLER,  /* one that samples it; also answered with a struct gd_perf_opened */
	/* told, not asked: no answer */
	GD_REQUEST_SUBJECT,  /* who the target is */
	GD_REQUEST_RUNTIME,  /* the Go runtime has been opened, or not */
	GD_REQUEST_FORKED,   /* the reader that was ordered has this pid */
	GD_REQUEST_BEGUN,    /* the window's collector is at work */
	GD_REQUEST_DONE,     /* how a collector came out */
	GD_REQUEST_IMAGED,   /* the image that was ordered is what is read from now on, or why not */
	/* Up to GD_REQUEST_MANY_MAX questions at once, each a struct gd_request_part and its body,
	 * padded to 8; each is checked and counted as if it had come alone. */
	GD_REQUEST_MANY,
	GD_REQUESTS,
};

/* Types of messages to the reader. */
enum gd_answer {
	GD_ANSWER = 1,
	GD_ANSWER_MANY,   /* to as many, in their order: each an answer, padded to 8 */
	GD_ORDER_COLLECT, /* struct gd_order_collect; descriptors: its questions, its records */
	/* Descriptors: file and index of an image.  From then on it is read, not the process. */
	GD_ORDER_IMAGE,
};

struct gd_request_part {
	uint32_t type;
	uint32_t n;
};
#define GD_REQUEST_MANY_MAX 32

/* Who asks; each has a socket of its own, so the broker knows without being told. */
enum gd_asker {
	GD_ASKER_OPENING,   /* the reader that opens the runtime, until it is open */
	GD_ASKER_FORKING,   /* the same afterwards */
	GD_ASKER_COLLECTOR, /* the child of one collector, until it is done */
	GD_ASKER_DONE,      /* nobody any more */
};

/* How a file is handed out. */
enum gd_request_way {
	GD_REQUEST_NO,      /* not on the list */
	GD_REQUEST_PLAIN,   /* opened: the descriptor.  Read: the bytes */
	/* The kernel asks who reads, not who opened: always bytes, read by the broker. */
	GD_REQUEST_CHECKED,
	/* Long, or read with the target's memory map locked: only ever the descriptor. */
	GD_REQUEST_LARGE,
};

#define GD_REQUEST_PATH 96
#define GD_REQUEST_GROUP_PATH 1024 /* Kubernetes and systemd together need a quarter */

struct gd_request_path { /* OPEN, READ, LINK, LIST */
	uint32_t max;    /* READ: so many bytes are wanted at most; LIST: numbers */
	char path[GD_REQUEST_PATH];
};

struct gd_request_group {
	bool exists; /* `name` is "" : is there such a group? */
	char mount[128];
	char name[64];
	char relative[GD_REQUEST_GROUP_PATH];
};

struct gd_request_perf {
	int32_t tid;
};

struct gd_request_subject {
	int32_t pid_in_container;
	bool exe_deleted;
	char exe[4097], cmdline[2049], build_id[300];
	char container_id[65], pod_uid[40], cgroup[1025];
};

struct gd_request_runtime {
	struct gd_error why; /* code 0: there is a Go runtime */
	char version[128], note[248];
	struct gd_memory_stats memory;
};

struct gd_request_forked {
	int32_t pid;
};

struct gd_request_done {
	struct gd_outcome outcome;
	uint64_t torn_reads, torn_repeated;
	struct gd_memory_stats memory;
};

/* What a forked reader is to do. */
enum gd_order_work {
	GD_WORK_COLLECT, /* a collector of the plan */
	/* Ranges, into a memory file in the place of its records (ranges.h): */
	GD_WORK_SKIP,   /* what a thin image leaves out */
	GD_WORK_NOSCAN, /* what of the heap has no pointers */
	GD_WORKS,
};

struct gd_order_collect {
	uint32_t work; /* enum gd_order_work */
	uint32_t item; /* COLLECT: index in the plan */
};

/* An answer's body: this, then `n` bytes (of a file, of a link) when code is 0. */
struct gd_answer_head {
	int32_t code;
	uint32_t n;
	uint64_t has_fd; /* 1: the next descriptor of the message belongs to it */
	char why[248];   /* code < 0 */
};
#define GD_ANSWER_BYTES_MAX (48u << 10)
/* Of one among many; what is longer comes as a file.  One for which the message has no descriptor
 * left is answered with -EAGAIN: it is asked again by itself. */
#define GD_ANSWER_PART_MAX 1776u

struct gd_request_info {
	const char *name;
	size_t size;      /* of its body, exactly */
	uint32_t askers;  /* bits of enum gd_asker */
	bool once;        /* per asker */
	uint32_t max;     /* how often, per asker */
};
extern const struct gd_request_info gd_requests[GD_REQUESTS];

/* What one asker has asked so far; zeroed at first. */
struct gd_request_count {
	uint32_t n[GD_REQUESTS];
};

/*
 * 0 and counted when `asker` may send this now; -EBADMSG names what is wrong with it.  The body's
 * texts end within it, its grade is one, its numbers are in range: it may be used as the struct.
 */
int gd_request_check(enum gd_asker asker, struct gd_request_count *count, uint16_t type,
                     const void *body, size_t len, struct gd_error *err);

/*
 * Goes through the body of MANY: *at and *len are what is left of it, `n` how many have been taken.
 * 1: *ret_type, *ret_body (in place, aligned as the body is) and *ret_n are the next question, not yet
 * checked; 0: the end; -EBADMSG.
 */
int gd_request_next_part(const char **at, size_t *len, size_t n, uint16_t *ret_type,
                         const void **ret_body, size_t *ret_n, struct gd_error *err);

/* How the file of that name is handed out. */
enum gd_request_way gd_request_file(const char *path);
bool gd_request_link(const char *path);
bool gd_request_list(const char *path);

/*
 * Is `name` a file of control groups that collectors read, `mount` where those are mounted, and
 * `relative` a path that goes only down?
 */
bool gd_request_group(const struct gd_request_group *group);

/*
 * Does `memberships` (the target's cgroup file) name `relative` or something below it?  A reader sees
 * its target's groups and their ancestors, nobody else's.
 */
bool gd_request_group_is_its(const char *memberships, const char *relative);
