/*
 * godiag upload, godiag prune and godiag-upload as people and units run them: what they say, their exit
 * status, what is where afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exit.h"
#include "base/io.h"
#include "tests/s3_server.h"
#include "tests/uploads.h"

static char said[65536]; /* by the last command, stdout and stderr */

static const char *program(const char *name)
{
	static char path[4096];
	const char *build = getenv("BUILD");
	(void)snprintf(path, sizeof(path), "%s/%s", build != NULL ? build : "build", name);
	if (access(path, X_OK) < 0)
		fail_msg("%s is not built", path);
	return path;
}

/* "godiag upload --spool %s": its exit status. */
static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char arguments[2000];
	char command[7000];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(arguments, sizeof(arguments), fmt, args);
	va_end(args);
	(void)snprintf(command, sizeof(command), "'%s' %s 2>&1 </dev/null", program("godiag"),
	               arguments);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	size_t n = fread(said, 1, sizeof(said) - 1, pipe);
	said[n] = '\0';
	int status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void make_spool(unsigned uploaded, unsigned ready)
{
	struct gd_spool *spool = spool_open(NULL);
	struct gd_error err = { 0 };
	char id[16];
	for (unsigned i = 0; i < uploaded + ready; i++) {
		(void)snprintf(id, sizeof(id), "a%02u", i);
		spool_add(spool, id, i % 2 == 0 ? GD_SPOOL_CRASH : GD_SPOOL_PERIODIC, 20000);
		if (i < uploaded)
			assert_ok(gd_spool_uploaded(spool, id, "s3://b/x", &err), &err);
	}
	gd_spool_close(spool);
}

static const char *spool_now(void)
{
	struct gd_spool *spool = spool_open(NULL);
	const char *ids = spool_ids(spool);
	gd_spool_close(spool);
	return ids;
}

static void a_spool_goes_into_a_directory(void **state)
{
	(void)state;
	make_spool(0, 3);
	assert_int_equal(run("upload --spool '%s' --to 'file://%s'", test_path("spool"),
	                     test_path("store")), GD_EXIT_COMPLETE);
	assert_contains(said, "/store/godiag-a00.tar\n");
	assert_string_equal(spool_now(), "a00+ a01+ a02+");
	assert_true(spool_verifies(test_path("store/godiag-a02.tar")));
	/* again: nothing to do */
	assert_int_equal(run("upload --spool '%s' --to 'file://%s'", test_path("spool"),
	                     test_path("store")), GD_EXIT_COMPLETE);
	assert_string_equal(said, "");
}

static void a_spool_goes_into_a_bucket(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	make_spool(1, 3);
	assert_int_equal(run("upload --spool '%s' --to http://127.0.0.1:%d/evidence/by-hand "
	                     "--rate 20MiB", test_path("spool"), server.port), GD_EXIT_COMPLETE);
	assert_string_equal(spool_now(), "a00+ a01+ a02+ a03+");
	assert_true(spool_verifies(test_path("s3/evidence/by-hand/godiag-a03.tar")));
	s3_server_stop(&server);
}

static void what_is_not_uploaded_stays_and_shows_in_the_status(void **state)
{
	(void)state;
	make_spool(0, 2);
	(void)setenv("AWS_ACCESS_KEY_ID", "key", 1);
	(void)setenv("AWS_SECRET_ACCESS_KEY", "verysecret", 1);
	assert_int_equal(run("upload --spool '%s' --to http://127.0.0.1:1/evidence",
	                     test_path("spool")), GD_EXIT_NOT_UPLOADED);
	assert_contains(said, "2 archives were not uploaded");
	assert_null(strstr(said, "verysecret"));
	assert_string_equal(spool_now(), "a00 a01");
	(void)unsetenv("AWS_ACCESS_KEY_ID");
	assert_int_equal(run("upload --spool '%s' --to s3://evidence", test_path("spool")),
	                 GD_EXIT_USAGE);
	assert_contains(said, "AWS_ACCESS_KEY_ID");
}

static void wrong_words_are_usage(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"upload --to file:///x",     "upload --spool /x",   "upload --spool /x --to file:///y z",
		"upload --rate fast",        "upload --wait never", "upload --nonsense",
		"prune x",                   "prune --age old",     "prune --count 0",
		"prune --free 101",          "prune --nonsense",
		"upload --spool /nonexistent/x --to file:///y",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		if (run("%s", wrong[i]) != GD_EXIT_USAGE)
			fail_msg("%s: not a usage error: %s", wrong[i], said);
	assert_int_equal(run("upload --help"), 0);
	assert_contains(said, "--spool DIR --to URL");
	assert_int_equal(run("prune --help"), 0);
	assert_contains(said, "--dry-run");
}

static void prune_foretells_and_then_does(void **state)
{
	(void)state;
	make_spool(4, 2);
	assert_int_equal(run("prune --spool '%s' --count 1 --dry-run", test_path("spool")), 0);
	assert_contains(said, "godiag-a00.tar");
	assert_contains(said, "more archives than are kept");
	assert_null(strstr(said, "godiag-a03.tar"));
	assert_string_equal(spool_now(), "a00+ a01+ a02+ a03+ a04 a05");
	assert_int_equal(run("prune --spool '%s' --count 1", test_path("spool")), 0);
	assert_contains(said, "3 archives deleted");
	assert_string_equal(spool_now(), "a03+ a04 a05");
	assert_int_equal(run("prune --spool '%s' --total 1 --dry-run", test_path("spool")), 0);
	assert_contains(said, "never uploaded");
	assert_int_equal(run("prune --spool '%s' --total 40KiB", test_path("spool")), 0);
	assert_string_equal(spool_now(), "a04"); /* the crash */
	assert_int_equal(run("prune --spool '%s' --age 0.000001s --all", test_path("spool")), 0);
	assert_string_equal(spool_now(), "");
}

static void a_spool_that_is_open_elsewhere_is_left_alone(void **state)
{
	(void)state;
	make_spool(1, 1);
	struct gd_spool *spool = spool_open(NULL);
	assert_int_equal(run("prune --spool '%s' --count 1", test_path("spool")), GD_EXIT_USAGE);
	assert_contains(said, "has the spool open");
	assert_int_equal(run("upload --spool '%s' --to file:///x", test_path("spool")),
	                 GD_EXIT_USAGE);
	gd_spool_close(spool);
	assert_int_equal(chmod(test_path("spool"), 0777), 0);
	assert_int_equal(run("prune --spool '%s'", test_path("spool")), GD_EXIT_PERMISSION);
}

/* The program under its own name, with credentials as systemd passes them. */
static void godiag_upload_serves_the_agent(void **state)
{
	(void)state;
	struct s3_server server = s3_server_versitygw();
	char url[100];
	char credentials[4096];
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/evidence/unit", server.port);
	struct uploads u = uploads_open(url);
	assert_int_equal(mkdir(test_path("credentials"), 0755), 0);
	static const char lines[] = "AWS_ACCESS_KEY_ID=godiagtest\n"
				    "AWS_SECRET_ACCESS_KEY=godiag/test+secret\n";
	(void)test_file("credentials/s3", lines, strlen(lines));
	(void)snprintf(credentials, sizeof(credentials), "%s", test_path("credentials"));
	const char *path = program("godiag-upload");
	spool_add(u.spool, "one", GD_SPOOL_CRASH, 50000);
	u.pid = fork();
	assert_true(u.pid >= 0);
	if (u.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)setenv("CREDENTIALS_DIRECTORY", credentials, 1);
		(void)unsetenv("AWS_ACCESS_KEY_ID");
		(void)unsetenv("AWS_SECRET_ACCESS_KEY");
		(void)execl(path, "godiag-upload", "--agent", u.options.agent_socket, (char *)NULL);
		_exit(127);
	}
	assert_true(uploads_run(&u, 20000, uploads_all_sent));
	assert_true(spool_verifies(test_path("s3/evidence/unit/godiag-one.tar")));
	assert_int_equal(uploads_end(&u), 0);
	uploads_close(&u);
	s3_server_stop(&server);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_spool_goes_into_a_directory),
		test_case(a_spool_goes_into_a_bucket),
		test_case(what_is_not_uploaded_stays_and_shows_in_the_status),
		test_case(wrong_words_are_usage),
		test_case(prune_foretells_and_then_does),
		test_case(a_spool_that_is_open_elsewhere_is_left_alone),
		test_case(godiag_upload_serves_the_agent),
	};
	return test_run(tests);
}
