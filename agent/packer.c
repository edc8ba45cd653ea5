#include "agent/packer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/pack.h"
#include "base/io.h"

struct stream {
	struct gd_stream *sink; /* NULL: the number is free */
	uint64_t bytes;
	bool text; /* worth keeping when it is cut off */
};

struct gd_packer {
	struct gd_archive *archive;
	char collector[32];
	struct stream streams[GD_RECORD_STREAMS];
	uint64_t bytes;       /* of the reader at hand */
	uint64_t all_bytes;   /* of the capture, without its core */
	unsigned n_artifacts; /* of the reader at hand */
	bool core;            /* the reader at hand packs a core */
};

int gd_packer_create(struct gd_output *output, const char *plan_json, size_t plan_len,
                     struct gd_packer **ret, struct gd_error *err)
{
	struct gd_packer *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		gd_output_deinit(output);
		return gd_fail_errno(err, -ENOMEM, "packer");
	}
	int r = gd_archive_create_on(output, plan_json, plan_len, &p->archive, err);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void gd_packer_destroy(struct gd_packer *p)
{
	if (p == NULL)
		return;
	gd_archive_abandon(p->archive);
	free(p);
}

int gd_packer_attach(struct gd_packer *p, const struct gd_attachment *attachment,
                     struct gd_error *err)
{
	return gd_sink_put(gd_archive_sink(p->archive), &attachment->artifact, attachment->bytes,
	                   attachment->n, &GD_OUTCOME_COMPLETE, err);
}

void gd_packer_begin(struct gd_packer *p, const char *collector, bool core)
{
	size_t n = strnlen(collector, sizeof(p->collector) - 1);
	memcpy(p->collector, collector, n);
	p->collector[n] = '\0';
	p->bytes = 0;
	p->n_artifacts = 0;
	p->core = core;
}

/* ---- records --------------------------------------------------------------------------------- */

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* "text/plain": what a reader may call its bytes; it ends up in the manifest. */
static bool is_media_type(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789/.+-";
	size_t n = strspn(text, allowed);
	return n > 0 && text[n] == '\0';
}

static bool is_outcome(const struct gd_outcome *outcome)
{
	int grade;
	memcpy(&grade, &outcome->grade, sizeof(grade));
	return grade >= GD_GRADE_COMPLETE && grade <= GD_GRADE_FAILED &&
	       ends(outcome->why.msg, sizeof(outcome->why.msg)) && outcome->why.code <= 0;
}

static int bad(struct gd_error *err, const char *what)
{
	return gd_fail(err, -EBADMSG, "a record that makes no sense: %s", what);
}

static struct stream *stream_of(struct gd_packer *p, uint32_t number)
{
	if (number >= GD_RECORD_STREAMS || p->streams[number].sink == NULL)
		return NULL;
	return &p->streams[number];
}

static int count_artifact(struct gd_packer *p, struct gd_error *err)
{
	unsigned most = p->core ? GD_PACKER_CORE_ARTIFACTS : GD_PACKER_ARTIFACTS;
	if (++p->n_artifacts > most)
		return gd_fail(err, -E2BIG, "more than %u artifacts", most);
	return 0;
}

static int on_open(struct gd_packer *p, const struct gd_record_open *record, struct gd_error *err)
{
	unsigned char compress;
	memcpy(&compress, &record->compress, 1);
	if (record->stream >= GD_RECORD_STREAMS || p->streams[record->stream].sink != NULL)
		return bad(err, "the stream it opens");
	if (compress > 1 || !ends(record->name, sizeof(record->name)) ||
	    !ends(record->media_type, sizeof(record->media_type)) ||
	    !is_media_type(record->media_type))
		return bad(err, "what it opens");
	int r = count_artifact(p, err);
	if (r < 0)
		return r;
	const struct gd_artifact artifact = { .name = record->name,
		                              .media_type = record->media_type,
		                              .collector = p->collector,
		                              .compress = compress };
	struct stream *s = &p->streams[record->stream];
	struct gd_sink *sink = gd_archive_sink(p->archive);
	r = sink->open(sink, &artifact, &s->sink, err);
	if (r < 0)
		return r;
	s->bytes = 0;
	s->text = strncmp(record->media_type, "text/", 5) == 0 ||
	          strcmp(record->media_type, "application/jsonl") == 0;
	return 0;
}

static int on_write(struct gd_packer *p, const struct gd_record_write *record, size_t len,
                    struct gd_error *err)
{
	if (len != sizeof(*record) + record->n)
		return bad(err, "its length");
	struct stream *s = stream_of(p, record->stream);
	if (s == NULL)
		return bad(err, "the stream it writes to");
	uint64_t all_left = p->core ? GD_PACKER_CORE_BYTES - p->bytes
	                            : GD_PACKER_ALL_BYTES - p->all_bytes;
	if (record->n > GD_PACKER_ARTIFACT_BYTES - s->bytes || record->n > all_left)
		return gd_fail(err, -E2BIG, "more bytes than it may write");
	s->bytes += record->n;
	p->bytes += record->n;
	if (!p->core)
		p->all_bytes += record->n;
	return s->sink->write(s->sink, record + 1, record->n, err);
}

static int on_close(struct gd_packer *p, const struct gd_record_close *record,
                    struct gd_error *err)
{
	struct stream *s = stream_of(p, record->stream);
	if (s == NULL || !is_outcome(&record->outcome))
		return bad(err, "what it closes");
	struct gd_stream *sink = s->sink;
	s->sink = NULL;
	return sink->close(sink, &record->outcome, err);
}

static int on_absent(struct gd_packer *p, const struct gd_record_absent *record,
                     struct gd_error *err)
{
	if (!ends(record->name, sizeof(record->name)) ||
	    !ends(record->media_type, sizeof(record->media_type)) ||
	    !is_media_type(record->media_type) || !is_outcome(&record->outcome) ||
	    record->outcome.grade < GD_GRADE_SKIPPED)
		return bad(err, "what is absent");
	int r = count_artifact(p, err);
	if (r < 0)
		return r;
	const struct gd_artifact artifact = { .name = record->name,
		                              .media_type = record->media_type,
		                              .collector = p->collector };
	struct gd_sink *sink = gd_archive_sink(p->archive);
	return sink->absent(sink, &artifact, &record->outcome, err);
}

static int on_many(struct gd_packer *p, const char *body, size_t len, struct gd_error *err)
{
	int r = 0;
	while (r == 0 && len > 0) {
		struct gd_record_head head;
		if (len < sizeof(head))
			return bad(err, "its length");
		memcpy(&head, body, sizeof(head));
		size_t padded = ((size_t)head.n + 7) & ~(size_t)7;
		if (padded > len - sizeof(head) || head.type >= GD_RECORD_MANY)
			return bad(err, "one of many");
		r = gd_packer_record(p, (uint16_t)head.type, body + sizeof(head), head.n, err);
		body += sizeof(head) + padded;
		len -= sizeof(head) + padded;
	}
	return r;
}

int gd_packer_record(struct gd_packer *p, uint16_t type, const void *body, size_t len,
                     struct gd_error *err)
{
	switch (type) {
	case GD_RECORD_MANY:
		return on_many(p, body, len, err);
	case GD_RECORD_OPEN:
		return len == sizeof(struct gd_record_open) ? on_open(p, body, err)
		                                            : bad(err, "its length");
	case GD_RECORD_WRITE:
		return len >= sizeof(struct gd_record_write) ? on_write(p, body, len, err)
		                                             : bad(err, "its length");
	case GD_RECORD_CLOSE:
		return len == sizeof(struct gd_record_close) ? on_close(p, body, err)
		                                             : bad(err, "its length");
	case GD_RECORD_ABSENT:
		return len == sizeof(struct gd_record_absent) ? on_absent(p, body, err)
		                                              : bad(err, "its length");
	default:
		return bad(err, "its type");
	}
}

/* In pieces that are still in the cache when they are hashed. */
static int pour_memory(int fd, uint64_t n, struct gd_stream *to, struct gd_error *err)
{
	static uint8_t piece[128 << 10];
	int r = 0;
	for (uint64_t at = 0; r == 0 && at < n; at += sizeof(piece)) {
		size_t len = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);
		r = gd_io_pread_all(fd, piece, len, (off_t)at, err);
		if (r == 0)
			r = to->write(to, piece, len, err);
	}
	return r;
}

int gd_packer_put(struct gd_packer *p, const struct gd_record_put *record, int memory_fd,
                  struct gd_record_stored *ret, struct gd_error *err)
{
	struct gd_stream *to;
	size_t n;
	/* Only memory: reading from anything else could take as long as its owner likes. */
	if (!p->core || fcntl(memory_fd, F_GET_SEALS) < 0 ||
	    !ends(record->name, sizeof(record->name)) ||
	    !ends(record->media_type, sizeof(record->media_type)) ||
	    !is_media_type(record->media_type))
		return bad(err, "what it puts");
	int r = count_artifact(p, err);
	if (r == 0 && (record->bytes > GD_PACK_BYTES_MAX ||
	               record->bytes > GD_PACKER_CORE_BYTES - p->bytes))
		r = gd_fail(err, -E2BIG, "more bytes than it may write");
	if (r < 0)
		return r;
	const struct gd_artifact artifact = { .name = record->name,
		                              .media_type = record->media_type,
		                              .collector = p->collector };
	struct gd_sink *sink = gd_archive_sink(p->archive);
	r = sink->open(sink, &artifact, &to, err);
	if (r < 0)
		return r;
	p->bytes += record->bytes;
	r = pour_memory(memory_fd, record->bytes, to, err);
	struct gd_outcome outcome = r < 0 ? gd_outcome_of(GD_GRADE_FAILED, err)
	                                  : GD_OUTCOME_COMPLETE;
	int closed = to->close(to, &outcome, r < 0 ? NULL : err);
	if (r < 0 || closed < 0)
		return r < 0 ? r : closed;
	const struct gd_artifact_row *rows = gd_archive_rows(p->archive, &n);
	(void)snprintf(ret->digest, sizeof(ret->digest), "%s", rows[n - 1].digest);
	return 0;
}

uint64_t gd_packer_end(struct gd_packer *p, const struct gd_error *why)
{
	for (size_t i = 0; i < GD_RECORD_STREAMS; i++) {
		struct stream *s = &p->streams[i];
		if (s->sink == NULL)
			continue;
		bool keep = s->text && s->bytes > 0;
		struct gd_outcome outcome =
			gd_outcome_of(keep ? GD_GRADE_PARTIAL : GD_GRADE_FAILED, why);
		(void)s->sink->close(s->sink, &outcome, NULL);
		s->sink = NULL;
	}
	return p->bytes;
}

int gd_packer_finish(struct gd_packer *p, struct gd_snapshot *snapshot, struct gd_sealed *ret,
                     struct gd_error *err)
{
	struct gd_archive *archive = p->archive;
	p->archive = NULL;
	return gd_archive_finish(archive, snapshot, ret, err);
}
