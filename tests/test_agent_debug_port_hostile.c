/*
 * A client that was taken over by what a debug port answered: what the broker lets it have, and what becomes
 * of the capture.  The client of this program is not the real one.
 */
#include "agent/debug_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/packer_sink.h"
#include "base/message.h"
#include "tests/test.h"

enum manner {
	ASKS_FOR_WHAT_IS_NOT,  /* a listener beyond the list */
	ASKS_WITHOUT_END,
	ASKS_AFTER_READY,
	HANDS_IN_DESCRIPTORS,
	SAYS_NONSENSE,
	BOASTS,                /* an outcome that is none */
	DIES,
	LEAVES_OPEN,
	KEEPS_SILENT_ABOUT_IT, /* ends well, and has not said how it came out */
	MANNERS,
};

/* Set before the fork; what it got is seen from outside. */
static enum manner how;
static struct { _Atomic unsigned granted, refused; } *seen;

static int ask(int fd, uint32_t listener)
{
	GD_MESSAGE struct gd_message m = { .n_fds = 0 };
	struct gd_error why;
	if (gd_message_send(fd, GD_DEBUG_PORT_ASK, 0, &listener, sizeof(listener), NULL, 0, NULL) < 0 ||
	    gd_message_recv(fd, &m, &why, sizeof(why), NULL) <= 0)
		return -EPIPE;
	if (m.n_fds == 1)
		seen->granted++;
	else
		seen->refused++;
	return 0;
}

static void leave_open(int fd)
{
	static const struct gd_artifact artifact = { "own.trace", "application/octet-stream",
		                                     GD_DEBUG_PORT_COLLECTOR, 0 };
	volatile uint64_t progress = 0;
	struct gd_sink *sink = NULL;
	struct gd_stream *stream = NULL;
	static char bytes[100000];
	if (gd_packer_sink_create(fd, "", &progress, &sink, NULL) == 0 &&
	    sink->open(sink, &artifact, &stream, NULL) == 0)
		(void)stream->write(stream, bytes, sizeof(bytes), NULL);
}

int gd_debug_port_client_run(void *arg)
{
	const struct gd_debug_port_client *client = arg;
	struct gd_outcome outcome = GD_OUTCOME_COMPLETE;
	int fd = client->ask_fd;
	switch (how) {
	case ASKS_FOR_WHAT_IS_NOT:
		(void)ask(fd, (uint32_t)client->n);
		break;
	case ASKS_WITHOUT_END:
		while (ask(fd, 0) == 0)
			;
		break;
	case ASKS_AFTER_READY:
		(void)gd_message_send(fd, GD_DEBUG_PORT_READY, 0, NULL, 0, NULL, 0, NULL);
		(void)ask(fd, 0);
		(void)ask(fd, 0);
		break;
	case HANDS_IN_DESCRIPTORS:
		(void)gd_message_send(fd, GD_DEBUG_PORT_READY, 0, NULL, 0, &fd, 1, NULL);
		break;
	case SAYS_NONSENSE:
		(void)gd_message_send(fd, 4711, 0, &outcome, 5, NULL, 0, NULL);
		break;
	case BOASTS:
		memset(&outcome, 0x7f, sizeof(outcome));
		(void)gd_message_send(fd, GD_DEBUG_PORT_DONE, 0, &outcome, sizeof(outcome), NULL, 0, NULL);
		break;
	case DIES:
		abort();
	case LEAVES_OPEN:
		leave_open(client->sink_fd);
		(void)gd_message_send(fd, GD_DEBUG_PORT_DONE, 0, &outcome, sizeof(outcome), NULL, 0, NULL);
		return 0;
	case KEEPS_SILENT_ABOUT_IT:
	case MANNERS:
		return 0;
	}
	/* Whoever broke a rule is ended; the exit status would show that it was not. */
	char byte;
	while (read(fd, &byte, 1) > 0)
		;
	return 99;
}

/* A process that listens on loopback and accepts whoever comes. */
static pid_t start_listening(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 64), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			if (accept4(fd, NULL, NULL, SOCK_CLOEXEC) < 0)
				_exit(1);
	}
	(void)close(fd);
	return pid;
}

static enum gd_exit capture(pid_t pid, struct gd_capture_result *ret, struct gd_error *err)
{
	struct gd_plan plan;
	assert_ok(gd_plan_make(GD_PROFILE_LIGHT, "proc,debug_port", NULL, &plan, err), err);
	plan.window.duration_ns = INT64_C(200000000);
	const struct gd_capture_options options = { .pid = pid, .plan = &plan,
		                                    .output_dir = test_dir(), .trigger = "manual" };
	return gd_capture_run(&options, ret, err);
}

static struct gd_outcome outcome_of(const struct gd_capture_result *r, const char *name)
{
	for (size_t i = 0; i < r->snapshot.n_steps; i++)
		if (strcmp(r->snapshot.steps[i].name, name) == 0)
			return r->snapshot.steps[i].outcome;
	fail_msg("no step %s", name);
	return GD_OUTCOME_COMPLETE;
}

static void a_client_that_was_taken_over_costs_its_artifacts_alone(void **state)
{
	(void)state;
	static const struct {
		enum manner how;
		const char *says;
	} rows[] = {
		{ ASKS_FOR_WHAT_IS_NOT, "killed by signal 9" },
		{ ASKS_WITHOUT_END, "killed by signal 9" },
		{ ASKS_AFTER_READY, "killed by signal 9" },
		{ HANDS_IN_DESCRIPTORS, "killed by signal 9" },
		{ SAYS_NONSENSE, "killed by signal 9" },
		{ BOASTS, "killed by signal 9" },
		{ DIES, "killed by signal" }, /* abort raises by tgkill, which its filter does not know */
		{ LEAVES_OPEN, "left open" },
		{ KEEPS_SILENT_ABOUT_IT, "ended with status 0" },
	};
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(seen != MAP_FAILED);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gd_capture_result r;
		struct gd_error err = { 0 };
		pid_t pid = start_listening();
		how = rows[i].how;
		seen->granted = seen->refused = 0;
		enum gd_exit exit = capture(pid, &r, &err);
		struct gd_outcome outcome = outcome_of(&r, "collect:debug_port");
		print_message("# manner %d: %s\n", (int)how, outcome.why.msg);
		if (how == LEAVES_OPEN) {
			/* Of its own collector it may lie; of what is in the archive it cannot. */
			assert_int_equal(exit, GD_EXIT_COMPLETE);
			const struct gd_artifact_row *last =
				&r.snapshot.artifacts[r.snapshot.n_artifacts - 1];
			assert_string_equal(last->name, "own.trace");
			assert_int_equal(last->outcome.grade, GD_GRADE_FAILED);
			assert_contains(last->outcome.why.msg, rows[i].says);
		} else {
			assert_int_equal(exit, GD_EXIT_PARTIAL);
			assert_int_equal(outcome.grade, GD_GRADE_FAILED);
			assert_contains(outcome.why.msg, rows[i].says);
		}
		assert_true(outcome_of(&r, "collect:proc").grade <= GD_GRADE_PARTIAL);
		assert_true(r.sealed.path[0] != '\0');
		assert_true(seen->granted <= GD_DEBUG_PORT_ASKS_MAX);
		assert_int_equal(seen->granted > 0, how == ASKS_WITHOUT_END);
		gd_capture_result_deinit(&r);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	assert_int_equal(munmap(seen, sizeof(*seen)), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_client_that_was_taken_over_costs_its_artifacts_alone),
	};
	return test_run(tests);
}
