#include "tests/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/extract.h"
#include "base/cleanup.h"

static struct gd_reader open_archive(const char *path)
{
	struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(path, &reader, &err), &err);
	return reader;
}

static int open_out(void)
{
	(void)mkdir(test_path("out"), 0700);
	int fd = open(test_path("out"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void artifacts_become_private_files_in_directories(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = open_archive(sealed.path);
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	for (size_t i = 0; i < reader.snapshot.n_artifacts; i++)
		if (reader.snapshot.artifacts[i].digest[0] != '\0')
			assert_ok(gd_extract_below(&reader, &reader.snapshot.artifacts[i], out,
			                           false, &err), &err);
	assert_string_equal(archive_run("cd '%s' && find . -type f -printf '%%m %%s %%P\\n' | LC_ALL=C sort",
	                                test_path("out")),
	                    "600 15 proc/status\n600 400000 heap.pb.gz\n600 50 plan.json\n"
	                    "600 700000 goroutines.txt\n600 9000 goroutines.jsonl\n");
}

static void an_existing_file_is_not_touched(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = open_archive(sealed.path);
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	(void)archive_run("cd '%s' && printf mine > plan.json && ln -s /nonexistent heap.pb.gz && "
	                  "mkdir goroutines.txt", test_path("out"));
	static const char *const names[] = { "plan.json", "heap.pb.gz", "goroutines.txt" };
	for (size_t i = 0; i < 3; i++)
		assert_fails(gd_extract_below(&reader, gd_reader_artifact(&reader, names[i]), out,
		                              false, &err), -EEXIST, &err);
	assert_string_equal(archive_run("cat '%s/plan.json'", test_path("out")), "mine");
	assert_int_equal(access("/nonexistent", F_OK), -1);
}

static void links_in_the_way_are_not_followed(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = open_archive(sealed.path);
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	(void)archive_run("mkdir '%s/elsewhere' && ln -s ../elsewhere '%s/out/proc'", test_dir(),
	                  test_dir());
	const struct gd_artifact_row *row = gd_reader_artifact(&reader, "proc/status");
	int r = gd_extract_below(&reader, row, out, false, &err);
	assert_true(r == -ELOOP || r == -ENOTDIR);
	assert_string_equal(archive_run("ls -A '%s'", test_path("elsewhere")), "");
	assert_int_equal(unlink(test_path("out/proc")), 0);
	assert_int_equal(symlink("/tmp", test_path("out/proc")), 0);
	assert_true(gd_extract_below(&reader, row, out, false, &err) < 0);
	assert_int_equal(access("/tmp/status", F_OK), -1);
}

static void names_from_elsewhere_are_checked_again(void **state)
{
	(void)state;
	static char bad[] = "../escaped";
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = open_archive(sealed.path);
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	struct gd_artifact_row row = *gd_reader_artifact(&reader, "proc/status");
	row.name = bad;
	assert_fails(gd_extract_below(&reader, &row, out, false, &err), -EINVAL, &err);
	assert_int_equal(access(test_path("escaped"), F_OK), -1);
}

static void a_damaged_artifact_is_removed_unless_it_is_wanted(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	const char *cut = test_file("cut.tar", file.data, file.len - 300000);
	GD_READER struct gd_reader reader = open_archive(cut);
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	const struct gd_artifact_row *row = gd_reader_artifact(&reader, "heap.pb.gz");
	assert_fails(gd_extract_below(&reader, row, out, false, &err), -EBADMSG, &err);
	assert_int_equal(access(test_path("out/heap.pb.gz"), F_OK), -1);
	assert_fails(gd_extract_below(&reader, row, out, true, &err), -EBADMSG, &err);
	struct stat st;
	assert_int_equal(stat(test_path("out/heap.pb.gz"), &st), 0);
	assert_true(st.st_size > 90000 && st.st_size < 400000);
}

static void documents_can_be_asked_for(void **state)
{
	(void)state;
	static char names[3][16] = { "snapshot.json", "manifest.json", "other.json" };
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = open_archive(sealed.path);
	GD_CLOSE int out = open_out();
	struct gd_artifact_row row;
	struct gd_error err = { 0 };
	for (int i = 0; i < 2; i++) {
		assert_true(gd_extract_document(&reader, names[i], &row));
		assert_ok(gd_extract_below(&reader, &row, out, false, &err), &err);
	}
	assert_false(gd_extract_document(&reader, names[2], &row));
	assert_string_equal(archive_run("jq -r .target.comm '%s'", test_path("out/snapshot.json")),
	                    "checkout\n");
}

static void too_little_room_is_said_before(void **state)
{
	(void)state;
	GD_CLOSE int out = open_out();
	struct gd_error err = { 0 };
	assert_ok(gd_extract_room(out, 1, &err), &err);
	assert_fails(gd_extract_room(out, UINT64_MAX, &err), -ENOSPC, &err);
	assert_contains(err.msg, " needed, ");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(artifacts_become_private_files_in_directories),
		test_case(an_existing_file_is_not_touched),
		test_case(links_in_the_way_are_not_followed),
		test_case(names_from_elsewhere_are_checked_again),
		test_case(a_damaged_artifact_is_removed_unless_it_is_wanted),
		test_case(documents_can_be_asked_for),
		test_case(too_little_room_is_said_before),
	};
	return test_run(tests);
}
