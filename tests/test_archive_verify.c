#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "archive/documents.h"
#include "archive/verify.h"
#include "base/cleanup.h"

static struct gd_buf said;

static void remember(void *arg, const char *sentence)
{
	(void)arg;
	gd_buf_puts(&said, sentence);
	gd_buf_putc(&said, '\n');
}

/* Opens and verifies; 0 or the error of opening. */
static int look(const char *path, struct gd_verdict *verdict)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	if (said.ceiling == 0)
		said = GD_BUF_INIT(1U << 20);
	gd_buf_reset(&said);
	*verdict = (struct gd_verdict){ 0 };
	int r = gd_reader_open(path, &reader, &err);
	if (r < 0) {
		assert_int_equal(err.code, r);
		assert_true(err.msg[0] != '\0');
		return r;
	}
	assert_ok(gd_verify(&reader, remember, NULL, verdict, &err), &err);
	return 0;
}

static void a_sealed_archive_is_complete(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	struct gd_verdict v;
	assert_int_equal(look(sealed.path, &v), 0);
	assert_string_equal(gd_buf_str(&said), "");
	assert_true(v.complete);
	assert_int_equal(v.blobs_good, 7);
	assert_int_equal(v.blobs_bad + v.blobs_missing, 0);
}

static void content_comes_back_as_it_was_written(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = GD_READER_INIT;
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1U << 20);
	GD_FREE char *text = archive_text(700000);
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	assert_true(reader.has_index && reader.has_manifest && reader.has_snapshot);
	assert_string_equal(reader.manifest_digest, sealed.digest);
	assert_string_equal(reader.snapshot.comm, "checkout");
	assert_int_equal(reader.snapshot.n_artifacts, 6);
	assert_ok(gd_reader_load(&reader, "goroutines.txt", &buf, &err), &err);
	assert_int_equal(buf.len, 700000);
	assert_memory_equal(buf.data, text, 700000);
	gd_buf_reset(&buf);
	assert_ok(gd_reader_load(&reader, "proc/status", &buf, &err), &err);
	assert_string_equal(gd_buf_str(&buf), "Name:\tcheckout\n");
	assert_fails(gd_reader_load(&reader, "proc/environ", &buf, &err), -ENOENT, &err);
	assert_contains(err.msg, "not allowed");
	assert_fails(gd_reader_load(&reader, "nothing", &buf, &err), -ENOENT, &err);
}

/* Every byte of the file, flipped in turn: found, and named as far as it can be. */
static void every_flipped_byte_is_found(void **state)
{
	(void)state;
	GD_FREE char *text = archive_text(5000);
	const struct made made[] = {
		{ "proc/status", "text/plain", "proc", "Name:\tcheckout\n", 15, true },
		{ "goroutines.txt", "text/plain", "goroutines", text, 5000, true },
	};
	struct gd_sealed sealed = archive_make("a.tar", made, 2);
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	const char *path = test_path("flipped.tar");
	for (size_t i = 0; i < file.len; i++) {
		struct gd_verdict v;
		char was = file.data[i];
		file.data[i] = (char)(was ^ (1 << (i % 8)));
		archive_write(path, file.data, file.len);
		if (look(path, &v) == 0 && v.complete)
			fail_msg("byte %zu (%#x): not found", i, was);
		file.data[i] = was;
	}
}

static void a_flipped_byte_names_its_artifact(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	char offset[32];
	struct gd_verdict v;
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		struct gd_error err = { 0 };
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, "heap.pb.gz");
		const struct gd_blob *blob = gd_reader_blob(&reader, row->digest);
		file.data[blob->offset + 200000] ^= 1;
		(void)snprintf(offset, sizeof(offset), "blob %.12s: ", blob->hex);
	}
	archive_write(test_path("b.tar"), file.data, file.len);
	assert_int_equal(look(test_path("b.tar"), &v), 0);
	assert_contains(gd_buf_str(&said), offset);
	assert_contains(gd_buf_str(&said),
	                "artifact heap.pb.gz: content does not match its digest\n");
	assert_int_equal(v.blobs_bad, 1);
	assert_int_equal(v.blobs_good, 6);
}

/* Cut anywhere: either no archive, or one whose repair verifies and keeps every whole artifact. */
static void an_archive_cut_anywhere_is_repaired(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	size_t last_kept = 0;
	for (size_t cut = 1; cut < file.len; cut += cut < 4096 || cut > file.len - 16384 ? 97 : 9973) {
		struct gd_verdict v;
		struct gd_error err = { 0 };
		const char *path = test_path("cut.tar");
		const char *fixed = test_path("fixed.tar");
		archive_write(path, file.data, cut);
		int r = look(path, &v);
		if (r < 0) {
			assert_true(cut < GD_TARFILE_BLOCK);
			assert_int_equal(r, -EBADMSG);
			continue;
		}
		if (cut <= sealed.bytes - GD_TARFILE_BLOCK)
			assert_false(v.complete);
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(path, &reader, &err), &err);
		assert_ok(gd_verify_repair(&reader, fixed, &v, &err), &err);
		assert_true(v.blobs_good >= last_kept);
		last_kept = v.blobs_good;
		GD_READER struct gd_reader again = GD_READER_INIT;
		assert_ok(gd_reader_open(fixed, &again, &err), &err);
		assert_true(again.has_index && again.has_manifest && again.has_snapshot);
		if (again.snapshot.repaired) {
			assert_int_equal(look(fixed, &v), 0);
			assert_int_equal(v.problems, 1);
			assert_contains(gd_buf_str(&said), "the archive was repaired: ");
		} else {
			assert_string_equal(again.manifest_digest, sealed.digest);
			assert_int_equal(look(fixed, &v), 0);
			assert_true(v.complete);
		}
		assert_int_equal(unlink(fixed), 0);
	}
	assert_int_equal(last_kept, 5); /* plan.json and four artifacts */
}

static void a_truncated_archive_still_knows_its_artifacts(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1U << 20);
	struct gd_verdict v;
	struct gd_error err = { 0 };
	archive_write(test_path("cut.tar"), file.data, file.len - 300000); /* inside heap.pb.gz */
	assert_int_equal(look(test_path("cut.tar"), &v), 0);
	assert_true(v.truncated);
	assert_contains(gd_buf_str(&said), "artifact heap.pb.gz: cut off after ");
	assert_contains(gd_buf_str(&said), "index.json is missing");
	GD_READER struct gd_reader reader = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("cut.tar"), &reader, &err), &err);
	assert_false(reader.has_snapshot);
	assert_int_equal(reader.snapshot.pid, 4711); /* from plan.json */
	assert_ok(gd_reader_load(&reader, "goroutines.txt", &buf, &err), &err);
	assert_int_equal(buf.len, 700000);
	assert_fails(gd_reader_load(&reader, "heap.pb.gz", &buf, &err), -EBADMSG, &err);
	assert_ok(gd_verify_repair(&reader, test_path("fixed.tar"), &v, &err), &err);
	assert_int_equal(v.blobs_good, 4);
	assert_int_equal(v.blobs_missing, 1);
	GD_READER struct gd_reader fixed = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("fixed.tar"), &fixed, &err), &err);
	const struct gd_artifact_row *row = gd_reader_artifact(&fixed, "goroutines.txt");
	assert_non_null(row);
	assert_int_equal(row->bytes, 700000);
	assert_string_equal(row->collector, "goroutines");
	assert_string_equal(row->media_type, "text/plain+zstd");
	row = gd_reader_artifact(&fixed, "heap.pb.gz");
	assert_int_equal(row->outcome.grade, GD_GRADE_FAILED);
	assert_string_equal(row->digest, "");
}

static void repair_never_overwrites(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict v;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	assert_fails(gd_verify_repair(&reader, sealed.path, &v, &err), -EEXIST, &err);
	assert_fails(gd_verify_repair(&reader, test_path("no/where.tar"), &v, &err), -ENOENT, &err);
}

/* A damaged header hides a blob, which is found by its digest; so are the others behind it. */
static void a_damaged_header_costs_nothing(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	struct gd_verdict v;
	struct gd_error err = { 0 };
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, "goroutines.txt");
		file.data[gd_reader_blob(&reader, row->digest)->offset - 400] ^= 4;
	}
	archive_write(test_path("b.tar"), file.data, file.len);
	assert_int_equal(look(test_path("b.tar"), &v), 0);
	assert_int_equal(v.blobs_missing + v.blobs_bad, 0);
	assert_int_equal(v.blobs_good, 7);
	assert_int_equal(v.problems, 1);
	assert_contains(gd_buf_str(&said), "a damaged tar header and what followed it");
	GD_READER struct gd_reader reader = GD_READER_INIT;
	GD_BUF struct gd_buf content = GD_BUF_INIT(1U << 20);
	assert_ok(gd_reader_open(test_path("b.tar"), &reader, &err), &err);
	assert_ok(gd_reader_load(&reader, "goroutines.txt", &content, &err), &err);
	assert_int_equal(content.len, 700000);
	assert_ok(gd_verify_repair(&reader, test_path("fixed.tar"), &v, &err), &err);
	assert_true(v.complete);
	assert_int_equal(look(test_path("fixed.tar"), &v), 0);
	assert_true(v.complete);
}

/* When its content is damaged as well, only that one is lost. */
static void a_damaged_header_and_blob_cost_only_themselves(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	GD_BUF struct gd_buf file = archive_read(sealed.path);
	struct gd_verdict v;
	struct gd_error err = { 0 };
	{
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, "goroutines.txt");
		uint64_t at = gd_reader_blob(&reader, row->digest)->offset;
		file.data[at - 400] ^= 4;
		file.data[at + 40] ^= 4;
	}
	archive_write(test_path("b.tar"), file.data, file.len);
	assert_int_equal(look(test_path("b.tar"), &v), 0);
	assert_int_equal(v.blobs_missing, 1);
	assert_int_equal(v.blobs_bad, 0);
	assert_contains(gd_buf_str(&said), "artifact goroutines.txt: listed, but not in the file");
	assert_contains(gd_buf_str(&said), "a damaged tar header and what followed it");
}

/* --- hostile archives, made by hand ----------------------------------------------------------- */

struct maker {
	struct gd_output output;
	struct gd_tarfile_writer *tar;
};

static struct maker maker_begin(void)
{
	struct maker m = { .output = GD_OUTPUT_INIT };
	struct gd_error err = { 0 };
	assert_ok(gd_output_create(test_dir(), false, &m.output, &err), &err);
	return m;
}

static void maker_tar(struct maker *m)
{
	struct gd_error err = { 0 };
	assert_ok(gd_tarfile_create(&m->output, 0, &m->tar, &err), &err);
	assert_ok(gd_documents_append(m->tar, GD_LAYOUT_FILE, GD_LAYOUT_FILE_TEXT,
	                              strlen(GD_LAYOUT_FILE_TEXT), NULL, &err), &err);
}

static struct gd_layer maker_blob(struct maker *m, const void *bytes, size_t n)
{
	struct gd_error err = { 0 };
	struct gd_layer layer = { 0 };
	GD_BUF struct gd_buf buf = GD_BUF_INIT(1U << 24);
	gd_buf_append(&buf, bytes, n);
	assert_ok(gd_documents_blob(m->tar, &buf, "x", &layer, &err), &err);
	return layer;
}

static void maker_end(struct maker *m, const char *snapshot, const struct gd_layer *layer,
                      const char *file)
{
	static char empty[] = "";
	static char title[] = "bomb.txt";
	struct gd_error err = { 0 };
	struct gd_layer layers[1] = { *layer };
	layers[0].title = title;
	layers[0].media_type = empty;
	struct gd_manifest manifest = { .id = empty, .created = empty, .complete = true,
		                        .layers = layers, .n_layers = 1 };
	GD_BUF struct gd_buf json = GD_BUF_INIT(1U << 20);
	manifest.config = maker_blob(m, snapshot, strlen(snapshot));
	manifest.config.title = manifest.config.media_type = empty;
	gd_layout_put_manifest(&manifest, &json);
	struct gd_layer blob = maker_blob(m, json.data, json.len);
	gd_buf_reset(&json);
	gd_layout_put_index(&manifest, blob.digest, blob.stored_bytes, &json);
	assert_ok(gd_documents_append(m->tar, GD_LAYOUT_INDEX, json.data, json.len, NULL, &err),
	          &err);
	assert_ok(gd_tarfile_close(m->tar, &err), &err);
	assert_ok(gd_output_publish(&m->output, file, &err), &err);
	gd_output_deinit(&m->output);
}

static void maker_snapshot(char to[1024], const char *name, const struct gd_layer *layer,
                           const char *bytes)
{
	(void)snprintf(to, 1024, "{\"format\":1,\"outcome\":{\"grade\":\"complete\"},\"artifacts\":"
	               "[{\"name\":\"%s\",\"media_type\":\"text/plain+zstd\",\"grade\":\"complete\","
	               "\"digest\":\"%s\",\"bytes\":%s}]}", name, layer->digest, bytes);
}

/* zstd frames of zeros: 4 bytes for each 128 KiB. */
static size_t make_bomb(char *to, size_t size, size_t zeros)
{
	ZSTD_CCtx *cctx = ZSTD_createCCtx();
	GD_FREE char *piece = calloc(1, 1 << 20);
	assert_non_null(piece);
	ZSTD_outBuffer out = { .dst = to, .size = size };
	for (size_t done = 0; done < zeros; done += 1 << 20) {
		ZSTD_inBuffer in = { .src = piece, .size = 1 << 20 };
		assert_false(ZSTD_isError(ZSTD_compressStream2(cctx, &out, &in, ZSTD_e_continue)));
	}
	ZSTD_inBuffer in = { 0 };
	assert_int_equal(ZSTD_compressStream2(cctx, &out, &in, ZSTD_e_end), 0);
	(void)ZSTD_freeCCtx(cctx);
	return out.pos;
}

static uint64_t taken;
static int count(void *arg, const void *bytes, size_t n)
{
	(void)arg;
	(void)bytes;
	taken += n;
	return 0;
}

static void a_zstd_bomb_is_stopped(void **state)
{
	(void)state;
	/* honest about its size, and lying */
	static const char *const claims[] = { "1073741824", "1000", "9223372036854775807" };
	GD_FREE char *bomb = malloc(1 << 20);
	assert_non_null(bomb);
	size_t n = make_bomb(bomb, 1 << 20, 1U << 30);
	for (size_t i = 0; i < 3; i++) {
		char snapshot[1024];
		char file[16];
		struct gd_verdict v;
		struct gd_error err = { 0 };
		struct maker m = maker_begin();
		maker_tar(&m);
		struct gd_layer layer = maker_blob(&m, bomb, n);
		maker_snapshot(snapshot, "bomb.txt", &layer, claims[i]);
		(void)snprintf(file, sizeof(file), "%zu.tar", i);
		maker_end(&m, snapshot, &layer, file);
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(test_path(file), &reader, &err), &err);
		const struct gd_artifact_row *row = gd_reader_artifact(&reader, "bomb.txt");
		assert_non_null(row);
		taken = 0;
		assert_fails(gd_reader_content(&reader, row, count, NULL, &err), -E2BIG, &err);
		assert_contains(err.msg, "bomb");
		assert_true(taken <= (64U << 20) + (uint64_t)n * 8192);
		assert_int_equal(look(test_path(file), &v), 0);
		assert_false(v.complete);
		assert_contains(gd_buf_str(&said), "artifact bomb.txt: content is larger than");
	}
}

static void a_huge_window_is_refused(void **state)
{
	(void)state;
	/* RFC 8878 3.1.1.1.2: a window descriptor of 1 GiB, then one raw block of three bytes */
	static const unsigned char frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3,
		                               0x19, 0x00, 0x00, 'a', 'b', 'c' };
	char snapshot[1024];
	struct gd_error err = { 0 };
	struct maker m = maker_begin();
	maker_tar(&m);
	struct gd_layer layer = maker_blob(&m, frame, sizeof(frame));
	maker_snapshot(snapshot, "bomb.txt", &layer, "3");
	maker_end(&m, snapshot, &layer, "a.tar");
	GD_READER struct gd_reader reader = GD_READER_INIT;
	assert_ok(gd_reader_open(test_path("a.tar"), &reader, &err), &err);
	const struct gd_artifact_row *row = gd_reader_artifact(&reader, "bomb.txt");
	assert_fails(gd_reader_content(&reader, row, count, NULL, &err), -EBADMSG, &err);
	assert_contains(err.msg, "zstd: Frame requires too much memory");
}

static void names_that_leave_the_directory_are_not_taken(void **state)
{
	(void)state;
	static const char *const names[] = { "../../etc/passwd", "/etc/passwd", "a/../../b", "" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char snapshot[1024];
		char file[16];
		struct gd_verdict v;
		struct gd_error err = { 0 };
		struct maker m = maker_begin();
		maker_tar(&m);
		struct gd_layer layer = maker_blob(&m, "x", 1);
		maker_snapshot(snapshot, names[i], &layer, "1");
		(void)snprintf(file, sizeof(file), "%zu.tar", i);
		maker_end(&m, snapshot, &layer, file);
		GD_READER struct gd_reader reader = GD_READER_INIT;
		assert_ok(gd_reader_open(test_path(file), &reader, &err), &err);
		assert_false(reader.has_snapshot);
		for (size_t k = 0; k < reader.snapshot.n_artifacts; k++)
			assert_true(gd_layout_name_ok(reader.snapshot.artifacts[k].name));
		assert_int_equal(look(test_path(file), &v), 0);
		assert_contains(gd_buf_str(&said), "artifact 0 has no usable name");
	}
}

static void foreign_members_are_named_and_ignored(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	struct gd_verdict v;
	(void)archive_run("cd '%s' && mkdir w && cd w && tar xf ../a.tar && ln -s /etc/passwd link && "
	                  "ln oci-layout hard && mkfifo fifo && printf x > ../evil && "
	                  "tar -P --no-recursion --format=ustar -cf ../b.tar oci-layout blobs/sha256/* "
	                  "link hard fifo blobs ../evil /etc/hostname index.json", test_dir());
	assert_int_equal(look(test_path("b.tar"), &v), 0);
	static const char *const found[] = { "member link (type 2)", "member hard (type 1)",
		                             "member fifo (type 6)", "member blobs/ (type 5)",
		                             "member ../evil (type 0)",
		                             "member /etc/hostname (type 0)" };
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		assert_contains(gd_buf_str(&said), found[i]);
	assert_int_equal(v.problems, 6);
	assert_int_equal(v.blobs_good, 7);
	(void)sealed;
}

static void what_tar_makes_of_the_same_files_is_the_same_archive(void **state)
{
	(void)state;
	struct gd_sealed sealed = archive_usual("a.tar");
	struct gd_verdict v;
	(void)archive_run("cd '%s' && mkdir w && cd w && tar xf ../a.tar && tar --format=ustar -cf "
	                  "../b.tar oci-layout blobs/sha256/* index.json && tar --format=gnu -cf "
	                  "../c.tar oci-layout blobs/sha256/* index.json", test_dir());
	assert_int_equal(look(test_path("b.tar"), &v), 0);
	assert_string_equal(gd_buf_str(&said), "");
	assert_int_equal(look(test_path("c.tar"), &v), 0);
	assert_string_equal(gd_buf_str(&said), "");
	(void)sealed;
}

static void a_blob_stored_twice_or_unlisted_is_named(void **state)
{
	(void)state;
	char snapshot[1024];
	struct gd_verdict v;
	struct maker m = maker_begin();
	maker_tar(&m);
	struct gd_layer layer = maker_blob(&m, "x", 1);
	(void)maker_blob(&m, "x", 1);
	(void)maker_blob(&m, "unlisted", 8);
	maker_snapshot(snapshot, "bomb.txt", &layer, "1");
	maker_end(&m, snapshot, &layer, "a.tar");
	assert_int_equal(look(test_path("a.tar"), &v), 0);
	assert_contains(gd_buf_str(&said), "artifact bomb.txt: stored twice\n");
	assert_contains(gd_buf_str(&said), "not listed in the manifest\n");
}

static void what_is_no_archive_is_ebadmsg(void **state)
{
	(void)state;
	struct gd_reader reader;
	struct gd_error err = { 0 };
	GD_FREE char *text = archive_text(100000);
	static const char *const names[] = { "empty", "text", "zeros", "foreign.tar" };
	(void)test_file("empty", "", 0);
	(void)test_file("text", text, 100000);
	memset(text, 0, 100000);
	(void)test_file("zeros", text, 100000);
	(void)archive_run("cd '%s' && tar cf foreign.tar text zeros", test_dir());
	for (size_t i = 0; i < 4; i++) {
		assert_fails(gd_reader_open(test_path(names[i]), &reader, &err), -EBADMSG, &err);
		assert_contains(err.msg, "not a godiag archive");
	}
	assert_fails(gd_reader_open(test_dir(), &reader, &err), -EISDIR, &err);
	assert_fails(gd_reader_open("/dev/null", &reader, &err), -EINVAL, &err);
	assert_fails(gd_reader_open(test_path("missing"), &reader, &err), -ENOENT, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_sealed_archive_is_complete),
		test_case(content_comes_back_as_it_was_written),
		test_case(every_flipped_byte_is_found),
		test_case(a_flipped_byte_names_its_artifact),
		test_case(an_archive_cut_anywhere_is_repaired),
		test_case(a_truncated_archive_still_knows_its_artifacts),
		test_case(repair_never_overwrites),
		test_case(a_damaged_header_costs_nothing),
		test_case(a_damaged_header_and_blob_cost_only_themselves),
		test_case(a_zstd_bomb_is_stopped),
		test_case(a_huge_window_is_refused),
		test_case(names_that_leave_the_directory_are_not_taken),
		test_case(foreign_members_are_named_and_ignored),
		test_case(what_tar_makes_of_the_same_files_is_the_same_archive),
		test_case(a_blob_stored_twice_or_unlisted_is_named),
		test_case(what_is_no_archive_is_ebadmsg),
	};
	int failed = test_run(tests);
	gd_buf_deinit(&said);
	return failed;
}
