/*
 * A whole archive: opened, verified, every artifact read, shown, and (where there is a file system
 * in memory to do it in) repaired; what repair wrote must verify.
 *
 * Random bytes never get past checksums and digests, so an input that begins with "B" is a recipe:
 *
 *	B  then members: <kind> <length, 2 bytes> <content>
 *	kind & 7   0 blob   1 blob under a wrong name   2 index.json   3 oci-layout   4 "../x"
 *	           5 a link   6 bytes as they are, no header   7 blob with a header one byte off
 *	content    "@0" to "@9" become the digests of the blobs so far, "@n" the last blob's size
 *
 * Anything else is the file itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/core_elf.h"
#include "archive/verify.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "report/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SHM "/dev/shm"

struct recipe {
	struct gd_buf tar;
	char digests[10][GD_LAYOUT_DIGEST];
	unsigned n;
	size_t last; /* size of the last blob */
};

static void put_member(struct gd_buf *tar, const char *name, char type, bool spoilt,
                       const char *bytes, size_t n)
{
	unsigned char h[GD_TARFILE_BLOCK] = { 0 };
	unsigned sum = 0;
	(void)snprintf((char *)h, 100, "%s", name);
	(void)snprintf((char *)h + 124, 12, "%011zo", n);
	memset(h + 148, ' ', 8);
	h[156] = (unsigned char)type;
	memcpy(h + 257, "ustar\00000", 8);
	(void)snprintf((char *)h + 265, 32, "label-%zu", n % 5);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += h[i];
	(void)snprintf((char *)h + 148, 8, "%06o", sum + spoilt);
	h[155] = ' ';
	gd_buf_append(tar, h, sizeof(h));
	gd_buf_append(tar, bytes, n);
	while (tar->len % GD_TARFILE_BLOCK != 0)
		gd_buf_putc(tar, '\0');
}

static void fill_in(const struct recipe *r, const char *from, size_t n, struct gd_buf *to)
{
	for (size_t i = 0; i < n; i++) {
		if (from[i] != '@' || i + 1 == n) {
			gd_buf_putc(to, from[i]);
		} else if (from[++i] == 'n') {
			gd_buf_printf(to, "%zu", r->last);
		} else if (from[i] >= '0' && from[i] <= '9') {
			gd_buf_puts(to, r->digests[from[i] - '0']);
		}
	}
}

static void put_blob(struct recipe *r, const struct gd_buf *content, bool wrong, bool spoilt)
{
	GD_DIGEST struct gd_digest *sha = NULL;
	char hex[GD_DIGEST_HEX];
	char name[100];
	if (gd_digest_create(&sha, NULL) < 0 || gd_digest_begin(sha, NULL) < 0 ||
	    gd_digest_update(sha, content->data, content->len, NULL) < 0 ||
	    gd_digest_end(sha, hex, NULL) < 0)
		abort();
	if (wrong)
		hex[0] = hex[0] == '0' ? '1' : '0';
	(void)snprintf(name, sizeof(name), GD_LAYOUT_BLOBS "%s", hex);
	put_member(&r->tar, name, '0', spoilt, content->data, content->len);
	gd_layout_digest(r->digests[r->n++ % 10], hex);
	r->last = content->len;
}

static void follow(struct recipe *r, const uint8_t *p, size_t size)
{
	while (size >= 3) {
		unsigned kind = p[0] & 7;
		size_t n = (size_t)p[1] | (size_t)p[2] << 8;
		p += 3;
		size -= 3;
		if (n > size)
			n = size;
		GD_BUF struct gd_buf content = GD_BUF_INIT(1U << 20);
		fill_in(r, (const char *)p, n, &content);
		(void)gd_buf_str(&content);
		switch (kind) {
		case 0:
		case 1:
		case 7:
			put_blob(r, &content, kind == 1, kind == 7);
			break;
		case 2:
			put_member(&r->tar, GD_LAYOUT_INDEX, '0', false, content.data, content.len);
			break;
		case 3:
			put_member(&r->tar, GD_LAYOUT_FILE, '0', false, content.data, content.len);
			break;
		case 4:
			put_member(&r->tar, "../x", '0', false, content.data, content.len);
			break;
		case 5:
			put_member(&r->tar, GD_LAYOUT_INDEX, '2', false, content.data, content.len);
			break;
		default:
			gd_buf_append(&r->tar, content.data, content.len);
		}
		p += n;
		size -= n;
	}
}

static int to_file(const void *bytes, size_t n)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd < 0 || gd_io_write_all(fd, bytes, n, NULL) < 0)
		abort();
	return fd;
}

static int swallow(void *arg, const void *bytes, size_t n)
{
	uint64_t *sum = arg;
	*sum += n > 0 ? ((const unsigned char *)bytes)[n - 1] : 0;
	return 0;
}

static void count_problem(void *arg, const char *sentence)
{
	++*(size_t *)arg;
	if (sentence[0] == '\0')
		abort();
	for (const char *p = sentence; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20)
			abort();
}

/* A core comes out of what calls itself one; the file is as large as it is said to be. */
static void check_core(const struct gd_reader *reader)
{
	struct gd_core_elf_result result;
	struct gd_error err = { 0 };
	struct stat st;
	size_t problems = 0;
	int fd = memfd_create("core", MFD_CLOEXEC);
	if (fd < 0)
		abort();
	int r = gd_core_elf_write(reader, NULL, fd, count_problem, &problems, &result, &err);
	if (r < 0 && (err.code == 0 || err.msg[0] == '\0'))
		abort();
	if (r == 0 && (fstat(fd, &st) < 0 || (uint64_t)st.st_size != result.file_bytes ||
	               problems != result.problems || result.chunks_bad > result.chunks))
		abort();
	(void)close(fd);
}

/* What repair wrote opens, is whole, and says itself what it is. */
static void check_repair(const struct gd_reader *reader)
{
	static char path[64];
	struct gd_verdict v;
	if (access(SHM, W_OK) < 0)
		return;
	(void)snprintf(path, sizeof(path), SHM "/godiag-fuzz-%d.tar", getpid());
	(void)unlink(path);
	if (gd_verify_repair(reader, path, &v, NULL) < 0) {
		if (access(path, F_OK) == 0)
			abort();
		return;
	}
	GD_READER struct gd_reader again = GD_READER_INIT;
	struct gd_verdict verdict;
	size_t problems = 0;
	if (gd_reader_open(path, &again, NULL) < 0 || !again.has_index || !again.has_manifest ||
	    gd_verify(&again, count_problem, &problems, &verdict, NULL) < 0 ||
	    verdict.blobs_bad + verdict.blobs_missing > 0)
		abort();
	(void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct recipe recipe = { .tar = GD_BUF_INIT(8U << 20) };
	int fd;
	if (size > 0 && data[0] == 'B') {
		follow(&recipe, data + 1, size - 1);
		for (int i = 0; i < 2 * GD_TARFILE_BLOCK; i++)
			gd_buf_putc(&recipe.tar, '\0');
		fd = to_file(recipe.tar.data, recipe.tar.len);
	} else {
		fd = to_file(data, size);
	}
	gd_buf_deinit(&recipe.tar);
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_error err = { 0 };
	if (gd_reader_open_fd(fd, &reader, &err) < 0) {
		if (err.code == 0 || err.msg[0] == '\0')
			abort();
		return 0;
	}
	struct gd_verdict verdict;
	size_t problems = 0;
	if (gd_verify(&reader, count_problem, &problems, &verdict, &err) < 0)
		return 0;
	if (verdict.complete != (problems == 0) || problems != verdict.problems)
		abort();
	if (verdict.complete && (!reader.has_index || !reader.has_manifest || reader.truncated))
		abort();
	uint64_t sum = 0;
	for (size_t i = 0; i < reader.snapshot.n_artifacts; i++) {
		const struct gd_artifact_row *row = &reader.snapshot.artifacts[i];
		if (!gd_layout_name_ok(row->name))
			abort();
		(void)gd_reader_content(&reader, row, swallow, &sum, NULL);
	}
	FILE *out = fopen("/dev/null", "w");
	if (out != NULL) {
		(void)gd_report_show(&reader, out, false, 80, NULL);
		(void)gd_report_show_json(&reader, out, NULL);
		(void)fclose(out);
	}
	check_core(&reader);
	check_repair(&reader);
	return 0;
}
