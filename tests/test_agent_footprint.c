#include "agent/footprint.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/test.h"

static long resident_kib(void)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 16);
	struct gd_error err = { 0 };
	long kib = 0;
	assert_ok(gd_io_read_file_at(AT_FDCWD, "/proc/self/status", &text, &err), &err);
	const char *line = strstr(gd_buf_str(&text), "RssFile:");
	if (line != NULL)
		(void)sscanf(line, "RssFile: %ld", &kib);
	return kib;
}

static void pages_of_files_come_back_as_they_were(void **state)
{
	(void)state;
	static char bytes[1 << 20];
	memset(bytes, 'x', sizeof(bytes));
	int fd = open(test_file("f", bytes, sizeof(bytes)), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	char *untouched = mmap(NULL, sizeof(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *written = mmap(NULL, sizeof(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(untouched != MAP_FAILED && written != MAP_FAILED);
	assert_int_equal(close(fd), 0);
	written[5000] = 'y';
	/* As the linker leaves relocated data: written once, then only to be read. */
	assert_int_equal(mprotect(untouched, sizeof(bytes), PROT_READ), 0);
	assert_int_equal(mprotect(written, sizeof(bytes), PROT_READ), 0);
	for (size_t i = 0; i < sizeof(bytes); i += 4096)
		assert_int_equal(untouched[i], 'x');
	long before = resident_kib();
	gd_footprint_shrink();
	if (before > 0)
		assert_true(resident_kib() < before - 500);
	assert_memory_equal(untouched, bytes, sizeof(bytes));
	assert_int_equal(written[5000], 'y');
	assert_int_equal(written[4999], 'x');
	assert_int_equal(munmap(untouched, sizeof(bytes)), 0);
	assert_int_equal(munmap(written, sizeof(bytes)), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(pages_of_files_come_back_as_they_were),
	};
	return test_run(tests);
}
