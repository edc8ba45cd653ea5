#pragma once
/*
 * What travels between the hook's processes, as bodies of base/message.h records.
 *
 *	broker <-> server    the policy's table, questions and their answers (an answer carries the
 *	                     number of its question)
 *	launcher <-> server  descriptors and token files in; "connect again" and heartbeats out
 *
 * The server reads what strangers send, so the other two believe nothing it says; strings are
 * NUL-terminated within their arrays or the record is refused.
 */
#include <stdint.h>

#include "agent/hook.h"

/* The table is a blob in a sealed memfd; see hook_table.h. */
#define GD_HOOK_TABLE_MAX (4U << 20)
/* So is the text of /metrics. */
#define GD_HOOK_METRICS_MAX (4U << 20)
/* What the broker says of a rule index that belongs to an older policy. */
#define GD_HOOK_STALE (-1)

enum gd_hook_record {
	/* broker to server */
	GD_HOOK_POLICY = 1,     /* gd_hook_blob, with the memfd; no question precedes it */
	GD_HOOK_VERDICT,        /* gd_hook_answer */
	GD_HOOK_OPERATION,      /* gd_hook_operation_answer */
	GD_HOOK_METRICS,        /* gd_hook_blob, with the memfd */
	/* server to broker */
	GD_HOOK_ASK_TRIGGER,    /* gd_hook_question */
	GD_HOOK_ASK_OPERATION,  /* gd_hook_id */
	GD_HOOK_ASK_METRICS,    /* nothing */
	GD_HOOK_HTTP_SAMPLE,    /* gd_hook_sample; no answer */
	GD_HOOK_SAYS,           /* gd_hook_text: what keeps it from its work; no answer */
	/* launcher to server */
	GD_HOOK_LISTEN,         /* uint32_t count, with the listening sockets */
	GD_HOOK_BROKER,         /* nothing, with the connection to the broker */
	GD_HOOK_SCRAPER,        /* nothing, with the socket to the scraper */
	GD_HOOK_TOKENS,         /* the text of the tokens file */
	GD_HOOK_PROBLEM,        /* gd_hook_text: why it does not listen */
	/* server to launcher */
	GD_HOOK_ASK_LISTEN,     /* gd_hook_place: once, before READY */
	GD_HOOK_ASK_BROKER,     /* nothing: the connection is gone */
	GD_HOOK_ASK_SCRAPER,    /* nothing: there is something to scrape */
	GD_HOOK_ALIVE,          /* gd_hook_alive: every second or so */
};

struct gd_hook_blob {
	uint32_t generation; /* of the policy; 0 for metrics */
	uint32_t size;
};

struct gd_hook_question {
	uint32_t generation;
	struct gd_hook_trigger trigger;
};

struct gd_hook_answer {
	int32_t verdict; /* enum gd_verdict or GD_HOOK_STALE */
	char id[64];
	char why[248];
	int64_t retry_ns;
};

struct gd_hook_id {
	char id[64];
};

struct gd_hook_operation_answer {
	uint32_t known;
	int32_t exit;
	char state[16];
	char digest[72];
};

struct gd_hook_sample {
	uint32_t generation;
	uint32_t service;
	double p99_s; /* NaN: no request in the window */
};

struct gd_hook_text {
	char text[248]; /* printable ASCII; "" none */
};

struct gd_hook_place {
	char listen[256];
	char tokens[1024]; /* "": $CREDENTIALS_DIRECTORY/tokens */
};

struct gd_hook_alive {
	uint32_t listening; /* sockets */
	uint32_t connected; /* to the broker, and the table has arrived */
};
