#pragma once
/*
 * Broker and uploader for tests: the real uploader process (forked, in its jail when we are root), its
 * connection, and the broker's end of it run by the test.
 */
#include "tests/spools.h"

#include "agent/upload.h"

struct uploads {
	struct gd_spool *spool;
	struct gd_policy policy;
	struct gd_upload_peer *peer; /* NULL: not connected */
	struct gd_upload_options options;
	int listener;
	unsigned uid; /* the uploader's from its start; 0: as we are */
	pid_t pid; /* of the uploader; -1: none */
};

/* Opens test_path("spool") and the socket; nothing runs yet. */
struct uploads uploads_open(const char *url);
void uploads_start(struct uploads *u);
/* SIGKILL and wait. */
void uploads_kill(struct uploads *u);
/* SIGTERM and wait: its exit status. */
int uploads_end(struct uploads *u);
void uploads_close(struct uploads *u);

/* Runs the broker's end for `ms`, or until `done` says so (NULL: never); whether it did. */
bool uploads_run(struct uploads *u, int ms, bool (*done)(struct uploads *u));

/* Nothing is left to upload. */
bool uploads_all_sent(struct uploads *u);

/* Ids of the U lines in the journal, sorted, each followed by a blank.  Valid until the next call. */
const char *uploads_journal(void);
