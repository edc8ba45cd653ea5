/*
 * heap.pb.gz of a victim that samples every object, against its own /debug/pprof/heap: some hundred
 * samples with their values, sizes and stacks down to addresses and inlined functions; that Go's
 * tool takes it; and that of a program without the profile.  truth_heap.c has ordinary sampling and
 * growth.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "tests/loopback.h"
#include "tests/pprof_lines.h"
#include "tests/truth.h"

enum { TEXT_MAX = 64 << 20 };

static const struct pprof_view everything;

/* Asking allocates: that makes buckets which nothing has been published of yet. */
static bool made_by_asking(const char *line, bool there)
{
	size_t n = strlen(line);
	return there && n > 10 && strcmp(line + n - 10, " : 0 0 0 0") == 0;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;
	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

/* Both of the same state of the process: it collects only when told to. */
static void compare(struct truth *t)
{
	GD_BUF struct gd_buf body = GD_BUF_INIT(TEXT_MAX);
	GD_BUF struct gd_buf theirs = GD_BUF_INIT(TEXT_MAX);
	GD_BUF struct gd_buf ours = GD_BUF_INIT(TEXT_MAX);
	truth_collect(t, &gd_collector_heap);
	(void)truth_text(t, "heap.pb.gz");
	if (t->outcome.grade != GD_GRADE_COMPLETE)
		fail_msg("go%s %s: %s: %s", t->release, t->variant,
		         gd_grade_name(t->outcome.grade), t->outcome.why.msg);
	const struct kept_artifact *artifact = kept_find(&t->kept, "heap.pb.gz");
	pprof_lines(artifact->bytes.data, artifact->bytes.len, &everything, &ours);
	loopback_get(t->port, "/debug/pprof/heap", &body);
	pprof_lines(body.data, body.len, &everything, &theirs);
	assert_contains(ours.data, "alloc_objects/count alloc_space/bytes inuse_objects/count "
	                           "inuse_space/bytes period=");
	assert_contains(ours.data, "main.allocateForever");
	size_t lines = count_lines(ours.data);
	assert_true(lines > 200);
	size_t n = pprof_compare(theirs.data, ours.data, made_by_asking);
	if (n > 0)
		fail_msg("go%s %s: %zu samples differ", t->release, t->variant, n);
	print_message("# go%s %s: %zu samples equal\n", t->release, t->variant, lines - 1);
}

/* Go's own tool reads it, with the executable's name, and has nothing to complain about. */
static void check_tool(struct truth *t)
{
	const struct kept_artifact *artifact = kept_find(&t->kept, "heap.pb.gz");
	GD_BUF struct gd_buf text = GD_BUF_INIT(TEXT_MAX);
	struct gd_error err = { 0 };
	char command[8192];
	if (system("command -v go >/dev/null 2>&1") != 0) {
		print_message("# there is no go command: go tool pprof was not asked\n");
		return;
	}
	(void)test_file("heap.pb.gz", artifact->bytes.data, artifact->bytes.len);
	(void)snprintf(command, sizeof(command),
	               "cd %s && go tool pprof -top -nodecount=8 heap.pb.gz >top 2>complaints",
	               test_dir());
	assert_int_equal(system(command), 0);
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("complaints"), &text, &err), &err);
	assert_string_equal(gd_buf_str(&text), "");
	assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("top"), &text, &err), &err);
	assert_contains(gd_buf_str(&text), "File: states-go");
	assert_contains(gd_buf_str(&text), "Type: inuse_space");
	assert_contains(gd_buf_str(&text), "main.newLarge");
}

static void heap_equals_the_endpoint(void **state)
{
	struct truth *t = truth_begin(state, "-memprofilerate=1");
	compare(t);
	if (strcmp(t->variant, "plain") == 0)
		check_tool(t);
}

/* Nothing in that program asks for the profile: its linker turned it off. */
static void without_the_profile_it_says_so(void **state)
{
	struct truth *t = truth_begin(state, NULL);
	truth_collect(t, &gd_collector_heap);
	assert_int_equal(t->outcome.grade, GD_GRADE_SKIPPED);
	const struct kept_artifact *artifact = kept_find(&t->kept, "heap.pb.gz");
	assert_non_null(artifact);
	assert_true(artifact->absent);
	assert_string_equal(artifact->outcome.why.msg,
	                    "disabled: runtime.MemProfile is not linked in");
}

int main(void)
{
	int r = truth_run(__FILE__, "states", heap_equals_the_endpoint);
	return truth_run(__FILE__, "quiet", without_the_profile_it_says_so) + r;
}
