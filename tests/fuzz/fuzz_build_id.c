/* A hostile executable, whole through a descriptor; and its bytes as notes. */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "target/build_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_printable(const struct gd_build_id *ids)
{
	if (memchr(ids->gnu, '\0', sizeof(ids->gnu)) == NULL ||
	    memchr(ids->go, '\0', sizeof(ids->go)) == NULL ||
	    strspn(ids->gnu, "0123456789abcdef") != strlen(ids->gnu))
		abort();
	for (const char *p = ids->go; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_build_id ids = { 0 };
	gd_build_id_parse_notes(data, size, 4, &ids);
	gd_build_id_parse_notes(data, size, 8, &ids);
	must_be_printable(&ids);

	GD_CLOSE int fd = memfd_create("exe", MFD_CLOEXEC);
	struct gd_error err = { 0 };
	if (fd < 0 || gd_io_write_all(fd, data, size, NULL) < 0)
		return 0;
	memset(&ids, 0, sizeof(ids));
	if (gd_build_id_read(fd, &ids, &err) == 0)
		must_be_printable(&ids);
	else if (err.code == 0)
		abort();
	return 0;
}
