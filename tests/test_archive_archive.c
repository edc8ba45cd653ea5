#include "tests/archives.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/staging.h"
#include "archive/tarfile.h"
#include "base/cleanup.h"

static const char plan[] = "{\"id\":\"20261120T130507Z-1\"}\n";

static struct gd_archive *begin(void)
{
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	assert_ok(gd_archive_create(test_dir(), plan, strlen(plan), &archive, &err), &err);
	return archive;
}

static void put(struct gd_archive *archive, const char *name, const void *bytes, size_t n,
                int compress)
{
	struct gd_artifact artifact = { .name = name, .media_type = "text/plain",
		                        .collector = "proc", .compress = compress };
	struct gd_error err = { 0 };
	assert_ok(gd_sink_put(gd_archive_sink(archive), &artifact, bytes, n,
	                      &GD_OUTCOME_COMPLETE, &err), &err);
}

static void snapshot_init(struct gd_snapshot *s)
{
	*s = (struct gd_snapshot){ .pid = 4711 };
	(void)snprintf(s->id, sizeof(s->id), "20261120T130507Z-1");
	s->comm = strdup("x) S 1\n\xff");
}

static struct gd_sealed seal(struct gd_archive *archive, const char *name)
{
	struct gd_snapshot snapshot;
	struct gd_sealed sealed;
	struct gd_error err = { 0 };
	snapshot_init(&snapshot);
	assert_ok(gd_archive_seal(archive, &snapshot, name, &sealed, &err), &err);
	gd_snapshot_deinit(&snapshot);
	return sealed;
}

static size_t entries(const char *dir)
{
	return strtoul(archive_run("ls -A '%s' | wc -l", dir), NULL, 10);
}

static void members_come_in_the_documented_order(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	put(archive, "proc/status", "Name: x\n", 8, 1);
	put(archive, "proc/limits", "none\n", 5, 1);
	struct gd_sealed sealed = seal(archive, "a.tar");
	assert_string_equal(archive_run("tar tf '%s' | sed -n '1p;$p'", sealed.path),
	                    "oci-layout\nindex.json\n");
	char *listing = archive_run("tar tvf '%s' | awk '{print $1, $2}'", sealed.path);
	assert_string_equal(listing, "-rw------- 0/0\n-rw------- plan.json/godiag\n"
	                             "-rw------- proc/status/proc\n-rw------- proc/limits/proc\n"
	                             "-rw------- snapshot.json/0\n-rw------- manifest.json/0\n"
	                             "-rw------- 0/0\n");
	struct stat st;
	assert_int_equal(stat(sealed.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, sealed.bytes);
	assert_int_equal(entries(test_dir()), 1);
}

static void every_blob_has_the_digest_of_its_name(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	GD_FREE char *big = archive_text(3000000);
	put(archive, "small", "abc", 3, 0);
	put(archive, "middle", big, 20000, 1);
	put(archive, "large", big, 3000000, 1);
	put(archive, "plain", big, 3000000, 0);
	struct gd_sealed sealed = seal(archive, "a.tar");
	char *ok = archive_run("cd '%s' && tar xf '%s' && cd blobs/sha256 && for f in *; do echo \"$f  $f\"; "
	               "done | sha256sum -c | grep -c OK",
	               test_dir(), sealed.path);
	assert_string_equal(ok, "7\n"); /* plan, four artifacts, snapshot, manifest */
	GD_FREE char *digest = strdup(archive_run("jq -r '.manifests[0].digest' '%s/index.json' | tr -d '\\n'",
	                                  test_dir()));
	assert_string_equal(digest, sealed.digest);
}

static void what_is_large_is_compressed_and_what_is_small_is_not(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	GD_FREE char *big = archive_text(1000000);
	put(archive, "a", big, GD_STAGING_PLAIN_BYTES, 1);
	put(archive, "b", big, GD_STAGING_PLAIN_BYTES + 1, 1);
	put(archive, "c", big, GD_STAGING_RAW_BYTES, 1);
	put(archive, "d", big, GD_STAGING_RAW_BYTES + 1, 1);
	put(archive, "e", big, 1000000, 1);
	put(archive, "f", big, 1000000, 0);
	size_t n;
	const struct gd_artifact_row *rows = gd_archive_rows(archive, &n);
	assert_int_equal(n, 7);
	assert_string_equal(rows[1].media_type, "text/plain");
	for (size_t i = 2; i <= 5; i++) {
		assert_string_equal(rows[i].media_type, "text/plain+zstd");
		assert_true(rows[i].stored_bytes < rows[i].bytes / 2);
	}
	assert_string_equal(rows[6].media_type, "text/plain");
	assert_int_equal(rows[6].stored_bytes, 1000000);
	struct gd_sealed sealed = seal(archive, "a.tar");
	/* The names zstd and tar see: every compressed blob decodes to what was written. */
	(void)archive_run("cd '%s' && tar xf '%s'", test_dir(), sealed.path);
	char *sizes = archive_run("cd '%s' && for d in $(jq -r '.layers[]|select(.mediaType|endswith(\"+zstd\"))"
	                  "|.digest[7:]' blobs/sha256/%s); do zstd -dqc blobs/sha256/$d | wc -c; done",
	                  test_dir(), sealed.digest + 7);
	assert_string_equal(sizes, "4097\n65536\n65537\n1000000\n");
}

static void equal_content_is_stored_once(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	put(archive, "one", "the same", 8, 0);
	put(archive, "two", "the same", 8, 0);
	put(archive, "none", "", 0, 0);
	struct gd_sealed sealed = seal(archive, "a.tar");
	assert_string_equal(archive_run("tar tf '%s' | grep -c blobs/", sealed.path), "5\n");
	assert_string_equal(archive_run("tar xOf '%s' blobs/sha256/%s | jq -c '[.layers[].annotations"
	                        "[\"org.opencontainers.image.title\"]]'",
	                        sealed.path, sealed.digest + 7),
	                    "[\"plan.json\",\"one\",\"two\",\"none\"]\n");
}

static void several_streams_are_open_at_once(void **state)
{
	(void)state;
	enum { STREAMS = 6, PIECE = 50000 };
	static const char *const names[STREAMS] = { "a", "b", "c", "d", "e", "f" };
	struct gd_archive *archive = begin();
	struct gd_sink *sink = gd_archive_sink(archive);
	struct gd_stream *streams[STREAMS];
	struct gd_error err = { 0 };
	GD_FREE char *bytes = archive_text(PIECE);
	for (int i = 0; i < STREAMS; i++) {
		struct gd_artifact artifact = { .name = names[i], .media_type = "text/plain",
			                        .collector = "goroutines", .compress = i % 2 };
		assert_ok(sink->open(sink, &artifact, &streams[i], &err), &err);
	}
	for (int round = 0; round < 20; round++)
		for (int i = 0; i < STREAMS; i++) {
			bytes[0] = (char)('a' + i);
			assert_ok(streams[i]->write(streams[i], bytes, PIECE, &err), &err);
		}
	for (int i = STREAMS - 1; i >= 0; i--)
		assert_ok(streams[i]->close(streams[i], &GD_OUTCOME_COMPLETE, &err), &err);
	size_t n;
	const struct gd_artifact_row *rows = gd_archive_rows(archive, &n);
	assert_int_equal(n, 1 + STREAMS);
	for (int i = 0; i < STREAMS; i++) {
		assert_string_equal(rows[1 + i].name, names[STREAMS - 1 - i]);
		assert_int_equal(rows[1 + i].bytes, 20 * PIECE);
	}
	(void)seal(archive, "a.tar");
}

static void a_failed_artifact_keeps_its_row_and_drops_its_bytes(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	struct gd_artifact artifact = { .name = "heap.pb.gz", .media_type = "application/gzip",
		                        .collector = "heap" };
	struct gd_outcome failed = gd_outcome(GD_GRADE_FAILED, -EFAULT, "buckets unreadable");
	struct gd_error err = { 0 };
	assert_ok(gd_sink_put(gd_archive_sink(archive), &artifact, "junk", 4, &failed, &err), &err);
	artifact.name = "mutex.pb.gz";
	struct gd_outcome skipped = gd_outcome(GD_GRADE_SKIPPED, -ENOTSUP, "profile is off");
	struct gd_sink *sink = gd_archive_sink(archive);
	assert_ok(sink->absent(sink, &artifact, &skipped, &err), &err);
	struct gd_sealed sealed = seal(archive, "a.tar");
	char *rows = archive_run("d=$(tar xOf '%s' blobs/sha256/%s | jq -r .config.digest[7:]); "
	                 "tar xOf '%s' blobs/sha256/$d | jq -c '.artifacts[]|[.name,.grade,.digest,"
	                 ".why]'", sealed.path, sealed.digest + 7, sealed.path);
	assert_contains(rows, "[\"heap.pb.gz\",\"failed\",\"\",\"buckets unreadable\"]");
	assert_contains(rows, "[\"mutex.pb.gz\",\"skipped\",\"\",\"profile is off\"]");
}

/* 400 MB through two streams cost what their buffers and zstd's tables take. */
static void memory_stays_bounded_whatever_is_written(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	struct gd_sink *sink = gd_archive_sink(archive);
	struct gd_artifact artifacts[2] = {
		{ .name = "a", .media_type = "text/plain", .collector = "x", .compress = 1 },
		{ .name = "b", .media_type = "text/plain", .collector = "x", .compress = 0 },
	};
	struct gd_stream *streams[2];
	struct gd_error err = { 0 };
	struct rusage before;
	struct rusage after;
	GD_FREE char *bytes = archive_text(1 << 20);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	for (int i = 0; i < 2; i++)
		assert_ok(sink->open(sink, &artifacts[i], &streams[i], &err), &err);
	for (int round = 0; round < 400; round++)
		assert_ok(streams[0]->write(streams[0], bytes, 1 << 20, &err), &err);
	for (int round = 0; round < 50; round++)
		assert_ok(streams[1]->write(streams[1], bytes, 1 << 20, &err), &err);
	for (int i = 0; i < 2; i++)
		assert_ok(streams[i]->close(streams[i], &GD_OUTCOME_COMPLETE, &err), &err);
	(void)seal(archive, "a.tar");
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	print_message("%ld KiB more than before\n", after.ru_maxrss - before.ru_maxrss);
#ifndef __SANITIZE_ADDRESS__
	assert_true(after.ru_maxrss - before.ru_maxrss < 8 * 1024);
#endif
}

static void a_long_name_is_no_label_and_still_a_name(void **state)
{
	(void)state;
	char name[201];
	memset(name, 'n', 200);
	name[200] = '\0';
	struct gd_archive *archive = begin();
	put(archive, name, "x", 1, 0);
	struct gd_sealed sealed = seal(archive, "a.tar");
	assert_contains(archive_run("tar tvf '%s'", sealed.path), " 0/proc ");
	assert_contains(archive_run("tar xOf '%s' blobs/sha256/%s | jq -r '.layers[1].annotations"
	                            "[\"org.opencontainers.image.title\"]'", sealed.path,
	                            sealed.digest + 7), name);
}

static void unusable_and_repeated_names_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".x",
		                           "a b", "a\nb", "snapshot.json", "plan.json" };
	struct gd_archive *archive = begin();
	struct gd_sink *sink = gd_archive_sink(archive);
	struct gd_stream *stream = NULL;
	struct gd_error err = { 0 };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gd_artifact artifact = { .name = bad[i], .media_type = "text/plain",
			                        .collector = "proc" };
		int code = strchr(bad[i], 'n') != NULL && bad[i][0] != 'a' ? -EEXIST : -EINVAL;
		assert_fails(sink->open(sink, &artifact, &stream, &err), code, &err);
		assert_null(stream);
	}
	(void)seal(archive, "a.tar"); /* and none of it harmed the archive */
}

static void an_existing_file_is_not_overwritten(void **state)
{
	(void)state;
	(void)seal(begin(), "a.tar");
	GD_FREE char *before = strdup(archive_run("sha256sum '%s'", test_path("a.tar")));
	struct gd_archive *archive = begin();
	struct gd_snapshot snapshot;
	struct gd_sealed sealed;
	struct gd_error err = { 0 };
	put(archive, "x", "y", 1, 0);
	snapshot_init(&snapshot);
	assert_fails(gd_archive_seal(archive, &snapshot, "a.tar", &sealed, &err), -EEXIST, &err);
	assert_contains(err.msg, "a.tar exists already");
	assert_int_equal(snapshot.n_artifacts, 2); /* still told what was there */
	gd_snapshot_deinit(&snapshot);
	assert_string_equal(archive_run("sha256sum '%s'", test_path("a.tar")), before);
	assert_int_equal(entries(test_dir()), 1);
}

static void abandoned_archives_leave_nothing(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	struct gd_sink *sink = gd_archive_sink(archive);
	struct gd_artifact artifact = { .name = "open", .media_type = "text/plain",
		                        .collector = "proc", .compress = 1 };
	struct gd_stream *stream;
	struct gd_error err = { 0 };
	GD_FREE char *bytes = archive_text(1000000);
	put(archive, "x", bytes, 1000000, 0);
	assert_ok(sink->open(sink, &artifact, &stream, &err), &err);
	assert_ok(stream->write(stream, bytes, 1000000, &err), &err);
	gd_archive_abandon(archive);
	gd_archive_abandon(NULL);
	assert_int_equal(entries(test_dir()), 0);
}

static void seal_refuses_while_a_stream_is_open(void **state)
{
	(void)state;
	struct gd_archive *archive = begin();
	struct gd_sink *sink = gd_archive_sink(archive);
	struct gd_artifact artifact = { .name = "open", .media_type = "text/plain",
		                        .collector = "proc" };
	struct gd_stream *stream;
	struct gd_snapshot snapshot;
	struct gd_sealed sealed;
	struct gd_error err = { 0 };
	assert_ok(sink->open(sink, &artifact, &stream, &err), &err);
	snapshot_init(&snapshot);
	assert_fails(gd_archive_seal(archive, &snapshot, "a.tar", &sealed, &err), -EBUSY, &err);
	gd_snapshot_deinit(&snapshot);
	assert_int_equal(entries(test_dir()), 0);
}

static void a_directory_that_cannot_be_used_is_named_at_once(void **state)
{
	(void)state;
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	const char *missing = test_path("missing");
	assert_fails(gd_archive_create(missing, plan, strlen(plan), &archive, &err), -ENOENT, &err);
	assert_contains(err.msg, "missing: no such directory");
	const char *file = test_file("file", "x", 1);
	assert_fails(gd_archive_create(file, plan, strlen(plan), &archive, &err), -ENOTDIR, &err);
	assert_contains(err.msg, "file: not a directory");
	assert_fails(gd_archive_create("/proc", plan, strlen(plan), &archive, &err),
	             geteuid() == 0 ? -ENOENT : -EACCES, &err);
	assert_null(archive);
}

static void a_directory_without_permission_is_eacces(void **state)
{
	(void)state;
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	const char *dir = test_path("mine");
	assert_int_equal(mkdir(dir, 0500), 0);
	assert_int_equal(chmod(test_dir(), 0711), 0);
	if (getuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	int r = gd_archive_create(dir, plan, strlen(plan), &archive, &err);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_fails(r, -EACCES, &err);
	assert_contains(err.msg, "no permission to write there");
}

/* A file system of `options` on test_path("fs"), or a skip. */
static const char *mount_tmpfs(const char *options)
{
	const char *at = test_path("fs");
	assert_int_equal(mkdir(at, 0700), 0);
	/* In a namespace of our own, so that a failing test leaves no mount on the machine. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		test_skip("cannot make a mount namespace: %s", strerror(errno));
	if (mount("none", at, "tmpfs", 0, options) < 0)
		test_skip("cannot mount a tmpfs: %s", strerror(errno));
	return at;
}

static int fill_until_full(const char *dir, int compress, struct gd_error *err)
{
	struct gd_archive *archive = NULL;
	struct gd_snapshot snapshot;
	struct gd_sealed sealed;
	int r = gd_archive_create(dir, plan, strlen(plan), &archive, err);
	if (r < 0)
		return r;
	unsigned seed = 7;
	GD_FREE char *noise = malloc(100000);
	assert_non_null(noise);
	for (size_t i = 0; i < 100000; i++)
		noise[i] = (char)rand_r(&seed);
	struct gd_error first = { 0 };
	for (int i = 0; r == 0 && i < 40; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "a%d", i);
		noise[0] = (char)i;
		struct gd_artifact artifact = { .name = name, .media_type = "text/plain",
			                        .collector = "proc", .compress = compress };
		r = gd_sink_put(gd_archive_sink(archive), &artifact, noise, 100000,
		                &GD_OUTCOME_COMPLETE, &first);
	}
	assert_fails(r, -ENOSPC, &first);
	snapshot_init(&snapshot);
	r = gd_archive_seal(archive, &snapshot, "a.tar", &sealed, err);
	gd_snapshot_deinit(&snapshot);
	assert_string_equal(err->msg, first.msg); /* sticky */
	return r;
}

static void a_full_disk_is_enospc_with_figures_and_nothing_left_behind(void **state)
{
	(void)state;
	const char *fs = mount_tmpfs("size=1m");
	for (int compress = 0; compress < 2; compress++) {
		struct gd_error err = { 0 };
		assert_fails(fill_until_full(fs, compress, &err), -ENOSPC, &err);
		assert_contains(err.msg, "/fs: no space left: at least ");
		assert_contains(err.msg, " needed beyond the ");
		assert_int_equal(entries(fs), 0);
	}
	/* A disk that is full from the start is known before any work. */
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	(void)archive_run("head -c 900000 /dev/zero > '%s/ballast'", fs);
	assert_fails(gd_archive_create(fs, plan, strlen(plan), &archive, &err), -ENOSPC, &err);
	assert_contains(err.msg, "no space left: at least 256 KiB needed");
	assert_int_equal(umount(fs), 0);
}

static void no_free_inode_is_enospc_at_once(void **state)
{
	(void)state;
	const char *fs = mount_tmpfs("size=4m,nr_inodes=2");
	(void)archive_run("touch '%s/last'", fs);
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	int r = gd_archive_create(fs, plan, strlen(plan), &archive, &err);
	assert_int_equal(umount(fs), 0);
	assert_fails(r, -ENOSPC, &err);
	assert_contains(err.msg, "no inodes");
}

static void a_read_only_file_system_is_erofs(void **state)
{
	(void)state;
	const char *fs = mount_tmpfs("size=1m");
	struct gd_archive *archive = NULL;
	struct gd_error err = { 0 };
	assert_int_equal(mount("none", fs, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m"), 0);
	int r = gd_archive_create(fs, plan, strlen(plan), &archive, &err);
	assert_int_equal(umount(fs), 0);
	assert_fails(r, -EROFS, &err);
	assert_contains(err.msg, "read-only file system");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(members_come_in_the_documented_order),
		test_case(every_blob_has_the_digest_of_its_name),
		test_case(what_is_large_is_compressed_and_what_is_small_is_not),
		test_case(equal_content_is_stored_once),
		test_case(several_streams_are_open_at_once),
		test_case(a_failed_artifact_keeps_its_row_and_drops_its_bytes),
		test_case(memory_stays_bounded_whatever_is_written),
		test_case(a_long_name_is_no_label_and_still_a_name),
		test_case(unusable_and_repeated_names_are_refused),
		test_case(an_existing_file_is_not_overwritten),
		test_case(abandoned_archives_leave_nothing),
		test_case(seal_refuses_while_a_stream_is_open),
		test_case(a_directory_that_cannot_be_used_is_named_at_once),
		test_case(a_directory_without_permission_is_eacces),
		test_case(a_full_disk_is_enospc_with_figures_and_nothing_left_behind),
		test_case(no_free_inode_is_enospc_at_once),
		test_case(a_read_only_file_system_is_erofs),
	};
	return test_run(tests);
}
