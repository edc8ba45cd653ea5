#pragma once
/*
 * What broker and uploader say to each other (base/message.h).  The uploader asks, the broker gives one
 * archive at a time, the uploader says how it went and asks again.  Texts are NUL-terminated;
 * whoever receives checks that.
 */
#include <stdint.h>

#define GD_UPLOAD_VERSION 1

enum gd_upload_type {
	GD_UPLOAD_ASK = 1, /* uploader: what is next?  Stays open until there is something */
	GD_UPLOAD_IDLE,    /* broker: nothing now; where things will go */
	GD_UPLOAD_GIVE,    /* broker: this, with a read-only descriptor */
	GD_UPLOAD_DONE,    /* uploader: stored and verified */
	GD_UPLOAD_FAILED,  /* uploader: not stored, it will ask again later */
	GD_UPLOAD_RETURN,  /* uploader: was told to end before it was through */
};

struct gd_upload_ask {
	uint32_t version;
	uint32_t fresh_only; /* 1: not those that failed before; it asks again for them later */
};

struct gd_upload_idle {
	char url[2048]; /* "" archives stay in the spool */
};

/* The record's seq names the transfer; the three answers carry it. */
struct gd_upload_give {
	char id[64], name[256], url[2048];
	uint64_t bytes, bytes_per_s;
};

struct gd_upload_done {
	char id[64], location[1024];
};

struct gd_upload_failed {
	char id[64], why[200];
	uint64_t retry_ns; /* it asks again in so much time */
	uint8_t permanent, circuit_open;
	uint8_t unused[6];
};

struct gd_upload_return {
	char id[64];
};
