/*
 * The main of a fuzzer that libFuzzer has no part in: gives each file of the named folders (or each
 * named file) to LLVMFuzzerTestOneInput once.  `make check` does this with every corpus, with our
 * ordinary compiler flags and under the sanitizers.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_replayed;

static int replay_file(int dirfd, const char *name)
{
	GD_BUF struct gd_buf input = GD_BUF_INIT(16 << 20);
	struct gd_error err = { 0 };
	if (gd_io_read_file_at(dirfd, name, &input, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	/* Exactly as large as the input, so that a read behind its end is one for the sanitizer. */
	GD_FREE uint8_t *bytes = malloc(input.len > 0 ? input.len : 1);
	if (bytes == NULL)
		return 1;
	if (input.len > 0)
		memcpy(bytes, input.data, input.len);
	printf("%s: %zu bytes\n", name, input.len);
	(void)LLVMFuzzerTestOneInput(bytes, input.len);
	n_replayed++;
	return 0;
}

static int replay_folder(const char *path)
{
	GD_CLOSEDIR DIR *folder = opendir(path);
	if (folder == NULL) {
		perror(path);
		return 1;
	}
	int bad = 0;
	struct dirent *entry;
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			bad |= replay_file(dirfd(folder), entry->d_name);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			bad |= replay_folder(argv[i]);
		else
			bad |= replay_file(AT_FDCWD, argv[i]);
	}
	/* A corpus that went missing must not look like one that held. */
	if (n_replayed == 0) {
		(void)fprintf(stderr, "nothing to replay\n");
		return 1;
	}
	printf("%u inputs\n", n_replayed);
	return bad;
}
