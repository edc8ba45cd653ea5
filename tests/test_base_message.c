/*
 * Records between processes: whole, with their descriptors, or not at all.
 */
#include "base/message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/test.h"

static char body[GD_MESSAGE_MAX];

static void a_record_arrives_with_its_descriptors(void **state)
{
	(void)state;
	int ends[2];
	int pipe_fds[2];
	struct gd_error err = { 0 };
	assert_ok(gd_message_pair(ends, &err), &err);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_ok(gd_message_send(ends[0], 7, 42, "words", 6, pipe_fds, 2, &err), &err);
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	assert_int_equal(gd_message_recv(ends[1], &m, body, sizeof(body), &err), 1);
	assert_int_equal(m.type, 7);
	assert_int_equal(m.seq, 42);
	assert_string_equal(body, "words");
	assert_int_equal(m.n_fds, 2);
	assert_int_equal(fcntl(m.fds[0], F_GETFD), FD_CLOEXEC);
	/* They are the pipe. */
	assert_int_equal(write(pipe_fds[1], "x", 1), 1);
	assert_int_equal(read(m.fds[0], body, 1), 1);
	assert_ok(gd_message_body(&m, 6, &err), &err);
	assert_fails(gd_message_body(&m, 7, &err), -EBADMSG, &err);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void the_largest_fits_and_one_more_does_not(void **state)
{
	(void)state;
	static char large[GD_MESSAGE_MAX + 1];
	int ends[2];
	struct gd_error err = { 0 };
	assert_ok(gd_message_pair(ends, &err), &err);
	memset(large, 'y', sizeof(large));
	assert_ok(gd_message_send(ends[0], 1, 1, large, GD_MESSAGE_MAX, NULL, 0, &err), &err);
	struct gd_message m = { .n_fds = 0 };
	assert_int_equal(gd_message_recv(ends[1], &m, body, sizeof(body), &err), 1);
	assert_int_equal(m.len, GD_MESSAGE_MAX);
	assert_memory_equal(body, large, GD_MESSAGE_MAX);
	assert_fails(gd_message_send(ends[0], 1, 1, large, sizeof(large), NULL, 0, &err), -E2BIG,
	             &err);
	int many[GD_MESSAGE_FDS + 1] = { 0 };
	assert_fails(gd_message_send(ends[0], 1, 1, NULL, 0, many, GD_MESSAGE_FDS + 1, &err),
	             -E2BIG, &err);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void what_is_none_of_ours_is_refused_and_its_descriptors_closed(void **state)
{
	(void)state;
	int ends[2];
	struct gd_error err = { 0 };
	struct gd_message m = { .n_fds = 0 };
	assert_ok(gd_message_pair(ends, &err), &err);
	assert_int_equal(send(ends[0], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	assert_fails(gd_message_recv(ends[1], &m, body, sizeof(body), &err), -EBADMSG, &err);
	/* One of ours, but larger than the receiver expects; its descriptor must not stay. */
	assert_ok(gd_message_send(ends[0], 1, 1, "0123456789", 10, &ends[0], 1, &err), &err);
	int before = test_count_fds();
	err = (struct gd_error){ 0 };
	assert_fails(gd_message_recv(ends[1], &m, body, 4, &err), -EBADMSG, &err);
	assert_int_equal(test_count_fds(), before);
	assert_int_equal(m.n_fds, 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void a_full_socket_says_so_and_a_closed_one_too(void **state)
{
	(void)state;
	int ends[2];
	struct gd_error err = { 0 };
	struct gd_message m = { .n_fds = 0 };
	assert_ok(gd_message_pair(ends, &err), &err);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(gd_message_recv(ends[0], &m, body, sizeof(body), NULL), -EAGAIN);
	int r = 0;
	for (int i = 0; i < 1000 && r == 0; i++)
		r = gd_message_send(ends[0], 1, 1, body, sizeof(body), NULL, 0, NULL);
	assert_int_equal(r, -EAGAIN);
	(void)close(ends[1]);
	/* Not a SIGPIPE: we are here to see it. */
	assert_fails(gd_message_send(ends[0], 1, 1, "x", 1, NULL, 0, &err), -EPIPE, &err);
	assert_int_equal(gd_message_recv(ends[0], &m, body, sizeof(body), &err), 0);
	(void)close(ends[0]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_record_arrives_with_its_descriptors),
		test_case(the_largest_fits_and_one_more_does_not),
		test_case(what_is_none_of_ours_is_refused_and_its_descriptors_closed),
		test_case(a_full_socket_says_so_and_a_closed_one_too),
	};
	return test_run(tests);
}
