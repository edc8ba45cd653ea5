/*
 * Records of a hostile reader, as { u16 type, u16 length, bytes }: whatever comes, the archive that
 * is finished afterwards is whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/packer.h"
#include "archive/reader.h"
#include "archive/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *sentence)
{
	(void)arg;
	(void)sentence;
}

static void feed(struct gd_packer *packer, const uint8_t *data, size_t size)
{
	static union {
		uint64_t align;
		char bytes[65536];
	} body;
	gd_packer_begin(packer, "fuzz", false);
	while (size >= 4) {
		uint16_t type;
		uint16_t len;
		memcpy(&type, data, 2);
		memcpy(&len, data + 2, 2);
		data += 4;
		size -= 4;
		size_t n = len < size ? len : size;
		memset(&body, 0, sizeof(body));
		memcpy(body.bytes, data, n);
		(void)gd_packer_record(packer, type % GD_RECORDS, &body, n, NULL);
		data += n;
		size -= n;
	}
}

static int scratch(void *arg)
{
	(void)arg;
	return memfd_create("scratch", MFD_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct gd_output output = GD_OUTPUT_INIT;
	struct gd_packer *packer;
	struct gd_snapshot snapshot = { .id = "fuzz" };
	struct gd_sealed sealed = { .bytes = 0 };
	struct gd_error why = { .code = -5, .msg = "cut off" };
	output.fd = dup(fd);
	output.scratch = scratch;
	output.dir = strdup("fuzz");
	if (gd_packer_create(&output, "{}", 2, &packer, NULL) < 0)
		abort();
	feed(packer, data, size);
	(void)gd_packer_end(packer, &why);
	int r = gd_packer_finish(packer, &snapshot, &sealed, NULL);
	gd_packer_destroy(packer);
	gd_snapshot_deinit(&snapshot);
	if (r < 0) {
		(void)close(fd);
		return 0;
	}
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_verdict verdict;
	if (gd_reader_open_fd(fd, &reader, NULL) < 0 ||
	    gd_verify(&reader, ignore, NULL, &verdict, NULL) < 0 || !verdict.complete)
		abort();
	return 0;
}
