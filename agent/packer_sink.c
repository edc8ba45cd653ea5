#include "agent/packer_sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/packer.h"
#include "base/message.h"

/* With its heads still one message; the rest of the sockets' buffers holds two more. */
#define PIECE_BYTES 60000
#define PACKET_BYTES (PIECE_BYTES + 1024)

struct remote {
	struct gd_sink sink;
	int fd;
	const char *prefix; /* of all names */
	volatile uint64_t *progress;
	bool used[GD_RECORD_STREAMS];
	/* Records on their way: whatever ends an artifact sends them, so that one that is whole is
	 * never lost with the next, and a small one is a single message. */
	size_t n;
	_Alignas(8) char packet[PACKET_BYTES];
};

struct remote_stream {
	struct gd_stream stream;
	struct remote *remote;
	struct {
		struct gd_record_write head; /* n bytes are waiting */
		char bytes[PIECE_BYTES];
	} piece;
};

static int send_packet(struct remote *remote, struct gd_error *err)
{
	size_t n = remote->n;
	(*remote->progress)++;
	remote->n = 0;
	return n > 0 ? gd_message_send(remote->fd, GD_RECORD_MANY, 0, remote->packet, n, NULL, 0,
	                               err)
	             : 0;
}

/* Records are never longer than a packet. */
static int put_record(struct remote *remote, enum gd_record type, const void *body, size_t n,
                      struct gd_error *err)
{
	const struct gd_record_head head = { .type = type, .n = (uint32_t)n };
	size_t padded = (n + 7) & ~(size_t)7;
	int r = sizeof(head) + padded > PACKET_BYTES - remote->n ? send_packet(remote, err) : 0;
	if (r < 0)
		return r;
	char *to = remote->packet + remote->n;
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), body, n);
	memset(to + sizeof(head) + n, 0, padded - n);
	remote->n += sizeof(head) + padded;
	return 0;
}

static int flush(struct remote_stream *s, struct gd_error *err)
{
	if (s->piece.head.n == 0)
		return 0;
	int r = put_record(s->remote, GD_RECORD_WRITE, &s->piece,
	                   sizeof(s->piece.head) + s->piece.head.n, err);
	s->piece.head.n = 0;
	return r;
}

static int on_write(struct gd_stream *stream, const void *bytes, size_t n, struct gd_error *err)
{
	struct remote_stream *s = (struct remote_stream *)stream;
	const char *from = bytes;
	while (n > 0) {
		size_t room = PIECE_BYTES - s->piece.head.n;
		size_t part = n < room ? n : room;
		memcpy(s->piece.bytes + s->piece.head.n, from, part);
		s->piece.head.n += (uint32_t)part;
		from += part;
		n -= part;
		int r = s->piece.head.n == PIECE_BYTES ? flush(s, err) : 0;
		if (r == 0 && s->piece.head.n == 0)
			r = send_packet(s->remote, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int on_close(struct gd_stream *stream, const struct gd_outcome *outcome,
                    struct gd_error *err)
{
	struct remote_stream *s = (struct remote_stream *)stream;
	struct gd_record_close record = { .stream = s->piece.head.stream, .outcome = *outcome };
	int r = flush(s, err);
	if (r == 0)
		r = put_record(s->remote, GD_RECORD_CLOSE, &record, sizeof(record), err);
	if (r == 0)
		r = send_packet(s->remote, err);
	s->remote->used[record.stream] = false;
	free(s);
	return r;
}

static int name_it(const struct remote *remote, const struct gd_artifact *artifact, char *name,
                   size_t name_size, char *type, size_t type_size, struct gd_error *err)
{
	if ((size_t)snprintf(name, name_size, "%s%s", remote->prefix, artifact->name) >= name_size ||
	    (size_t)snprintf(type, type_size, "%s", artifact->media_type) >= type_size)
		return gd_fail(err, -ENAMETOOLONG, "artifact %.100s", artifact->name);
	return 0;
}

static int on_open(struct gd_sink *sink, const struct gd_artifact *artifact,
                   struct gd_stream **ret, struct gd_error *err)
{
	struct remote *remote = (struct remote *)sink;
	struct gd_record_open record = { .compress = artifact->compress != 0 };
	while (record.stream < GD_RECORD_STREAMS && remote->used[record.stream])
		record.stream++;
	if (record.stream == GD_RECORD_STREAMS)
		return gd_fail(err, -EMFILE, "artifact %s: %d are open already", artifact->name,
		               GD_RECORD_STREAMS);
	int r = name_it(remote, artifact, record.name, sizeof(record.name), record.media_type,
	                sizeof(record.media_type), err);
	if (r < 0)
		return r;
	struct remote_stream *s = malloc(sizeof(*s));
	if (s == NULL)
		return gd_fail_errno(err, -ENOMEM, "artifact %s", artifact->name);
	r = put_record(remote, GD_RECORD_OPEN, &record, sizeof(record), err);
	if (r < 0) {
		free(s);
		return r;
	}
	s->stream = (struct gd_stream){ .write = on_write, .close = on_close };
	s->remote = remote;
	s->piece.head = (struct gd_record_write){ .stream = record.stream };
	remote->used[record.stream] = true;
	*ret = (struct gd_stream *)s;
	return 0;
}

static int on_absent(struct gd_sink *sink, const struct gd_artifact *artifact,
                     const struct gd_outcome *outcome, struct gd_error *err)
{
	struct remote *remote = (struct remote *)sink;
	struct gd_record_absent record = { .outcome = *outcome };
	int r = name_it(remote, artifact, record.name, sizeof(record.name), record.media_type,
	                sizeof(record.media_type), err);
	if (r == 0)
		r = put_record(remote, GD_RECORD_ABSENT, &record, sizeof(record), err);
	return r < 0 ? r : send_packet(remote, err);
}

int gd_packer_sink_put_memory(struct gd_sink *sink, const struct gd_artifact *artifact,
                              int memory_fd, uint64_t bytes, char ret[GD_LAYOUT_DIGEST],
                              struct gd_error *err)
{
	struct remote *remote = (struct remote *)sink;
	struct gd_record_put record = { .bytes = bytes };
	struct gd_record_stored stored;
	GD_MESSAGE struct gd_message answer = { .n_fds = 0 };
	int r = name_it(remote, artifact, record.name, sizeof(record.name), record.media_type,
	                sizeof(record.media_type), err);
	if (r == 0)
		r = send_packet(remote, err);
	if (r == 0)
		r = gd_message_send(remote->fd, GD_RECORD_PUT, 0, &record, sizeof(record),
		                    &memory_fd, 1, err);
	if (r < 0)
		return r;
	r = gd_message_recv(remote->fd, &answer, &stored, sizeof(stored), err);
	if (r == 0)
		return gd_fail(err, -EPIPE, "the packer takes no more");
	if (r == 1)
		r = gd_message_body(&answer, sizeof(stored), err);
	if (r == 0)
		memcpy(ret, stored.digest, GD_LAYOUT_DIGEST);
	return r;
}

int gd_packer_sink_create(int fd, const char *prefix, volatile uint64_t *progress,
                          struct gd_sink **ret, struct gd_error *err)
{
	struct remote *remote = calloc(1, sizeof(*remote));
	if (remote == NULL)
		return gd_fail_errno(err, -ENOMEM, "packer's sink");
	remote->sink = (struct gd_sink){ .open = on_open, .absent = on_absent };
	remote->fd = fd;
	remote->prefix = prefix;
	remote->progress = progress;
	*ret = (struct gd_sink *)remote;
	return 0;
}

void gd_packer_sink_destroy(struct gd_sink *sink)
{
	free(sink);
}
