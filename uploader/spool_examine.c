/* An archive that lies in the spool without a line in the journal: what is it? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "archive/verify.h"
#include "uploader/spool_state.h"

gd_spool_examiner *gd_spool_examiner_now = gd_spool_examine;

void gd_spool_examine_by(gd_spool_examiner *examiner)
{
	gd_spool_examiner_now = examiner != NULL ? examiner : gd_spool_examine;
}

/* The first sentence of the verifier, for the message. */
static void keep_first(void *arg, const char *sentence)
{
	char *first = arg;
	if (first[0] == '\0')
		(void)snprintf(first, 160, "%.159s", sentence);
}

int gd_spool_examine(int fd, struct gd_spool_facts *ret, struct gd_error *err)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	char first[160] = "";
	int r = gd_reader_open_fd(fd, &reader, err);
	if (r == 0)
		r = gd_verify(&reader, keep_first, first, &verdict, err);
	if (r < 0)
		return r;
	if (!verdict.complete)
		return gd_fail(err, -EBADMSG, "does not verify: %s",
		               first[0] != '\0' ? first : "it is not complete");
	if (!reader.has_snapshot || !gd_spool_is_id(reader.snapshot.id))
		return gd_fail(err, -EBADMSG, "has no capture id");
	struct gd_spool_facts facts = {
		.started_realtime_ns = reader.snapshot.started.realtime_ns,
	};
	const char *trigger = reader.snapshot.trigger;
	(void)snprintf(facts.id, sizeof(facts.id), "%s", reader.snapshot.id);
	(void)snprintf(facts.digest, sizeof(facts.digest), "%s", reader.manifest_digest);
	(void)snprintf(facts.trigger, sizeof(facts.trigger), "%s", trigger != NULL ? trigger : "");
	*ret = facts;
	return 0;
}
