#include "uploader/credentials.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"

#define VALUE_MAX 8192
#define FILE_MAX 16384

enum secret { ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, SECRETS };
static const char *const names[SECRETS] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
	                                    "AWS_SESSION_TOKEN" };

/* No secrets, and read from the environment by place.c and transfer.c. */
static const char *const settings[] = { "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
	                                "AWS_ENDPOINT_URL_S3" };

/* All of it in locked pages, the file as well. */
struct pages {
	char values[SECRETS][VALUE_MAX];
	char file[FILE_MAX + 1];
};

static int allocate(struct gd_credentials *to, struct gd_error *err)
{
	void *pages = mmap(NULL, sizeof(struct pages), PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return gd_fail_errno(err, -errno, "memory for credentials");
	/* Both are wishes: a small RLIMIT_MEMLOCK must not keep archives from being uploaded. */
	(void)mlock(pages, sizeof(struct pages));
	(void)madvise(pages, sizeof(struct pages), MADV_DONTDUMP);
	*to = (struct gd_credentials){ .pages = pages, .size = sizeof(struct pages) };
	return 0;
}

void gd_credentials_deinit(struct gd_credentials *credentials)
{
	if (credentials->pages != NULL) {
		explicit_bzero(credentials->pages, credentials->size);
		(void)munmap(credentials->pages, credentials->size);
	}
	*credentials = (struct gd_credentials){ .pages = NULL };
}

/* A header line is made of it, so it must stay one. */
static int set(struct pages *pages, enum secret which, const char *value, size_t n,
               struct gd_error *err)
{
	if (n >= VALUE_MAX)
		return gd_fail(err, -EINVAL, "%s is too long", names[which]);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
			return gd_fail(err, -EINVAL, "%s holds an unprintable character",
			               names[which]);
	memcpy(pages->values[which], value, n);
	pages->values[which][n] = '\0';
	return 0;
}

/* 1: read; 0: there is none. */
static int read_file(int dir_fd, const char *name, struct pages *pages, struct gd_error *err)
{
	GD_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return gd_fail_errno(err, -errno, "credential %s", name);
	size_t n = 0;
	for (;;) {
		ssize_t got = read(fd, pages->file + n, FILE_MAX - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return gd_fail_errno(err, -errno, "credential %s", name);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (n == FILE_MAX)
		return gd_fail(err, -EINVAL, "credential %s is larger than %d bytes", name,
		               FILE_MAX - 1);
	pages->file[n] = '\0';
	return 1;
}

static char *trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	return text;
}

static int take_pair(struct pages *pages, const char *name, const char *value,
                     struct gd_error *err)
{
	for (unsigned i = 0; i < SECRETS; i++)
		if (strcasecmp(name, names[i]) == 0)
			return set(pages, (enum secret)i, value, strlen(value), err);
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		if (strcasecmp(name, settings[i]) == 0 && setenv(settings[i], value, 0) < 0)
			return gd_fail_errno(err, -errno, "%s", settings[i]);
	return 0; /* output, role_arn: other tools' business */
}

static int parse(struct pages *pages, const char *file, struct gd_error *err)
{
	char *rest = pages->file;
	unsigned number = 0;
	while (rest != NULL) {
		char *line = trim(strsep(&rest, "\n"));
		number++;
		if (line[0] == '\0' || line[0] == '#' || line[0] == ';' || line[0] == '[')
			continue;
		char *equals = strchr(line, '=');
		/* The line itself may be the secret: only its number is told. */
		if (equals == NULL)
			return gd_fail(err, -EINVAL, "credential %s, line %u: not NAME=VALUE", file,
			               number);
		*equals = '\0';
		int r = take_pair(pages, trim(line), trim(equals + 1), err);
		if (r < 0)
			return gd_error_wrap(err, r, "credential %s, line %u", file, number);
	}
	return 0;
}

static int load_directory(const char *path, struct pages *pages, struct gd_error *err)
{
	static const char *const lists[] = { "s3", "aws-credentials" };
	static const char *const single[SECRETS] = { "aws_access_key_id", "aws_secret_access_key",
		                                     "aws_session_token" };
	GD_CLOSE int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return gd_fail_errno(err, -errno, "$CREDENTIALS_DIRECTORY %.100s", path);
	int r = 0;
	for (size_t i = 0; i < 2 && r >= 0; i++) {
		r = read_file(dir_fd, lists[i], pages, err);
		if (r > 0)
			r = parse(pages, lists[i], err);
	}
	for (unsigned i = 0; i < SECRETS && r >= 0; i++) {
		r = read_file(dir_fd, single[i], pages, err);
		if (r > 0) {
			const char *value = trim(pages->file);
			r = set(pages, (enum secret)i, value, strlen(value), err);
		}
	}
	explicit_bzero(pages->file, sizeof(pages->file));
	return r < 0 ? r : 0;
}

static int load_environment(struct pages *pages, struct gd_error *err)
{
	for (unsigned i = 0; i < SECRETS; i++) {
		const char *value = getenv(names[i]);
		int r = value != NULL ? set(pages, (enum secret)i, value, strlen(value), err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int load(struct gd_credentials *to, struct gd_error *err)
{
	struct pages *pages = (struct pages *)(void *)to->pages;
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	bool has_directory = directory != NULL && directory[0] != '\0';
	int r = has_directory ? load_directory(directory, pages, err) : 0;
	/* Never half from here and half from there. */
	if (r == 0 && pages->values[ACCESS_KEY][0] == '\0' && pages->values[SECRET_KEY][0] == '\0')
		r = load_environment(pages, err);
	for (unsigned i = ACCESS_KEY; i <= SECRET_KEY && r == 0; i++)
		if (pages->values[i][0] == '\0')
			r = gd_fail(err, -ENOKEY, "no S3 credentials: %s is not %s", names[i],
			            has_directory
			                    ? "in $CREDENTIALS_DIRECTORY/s3 nor in the environment"
			                    : "set (sudo drops it; use sudo --preserve-env="
			                      "AWS_ACCESS_KEY_ID,AWS_SECRET_ACCESS_KEY)");
	to->access_key = pages->values[ACCESS_KEY];
	to->secret_key = pages->values[SECRET_KEY];
	to->session_token = pages->values[SESSION_TOKEN][0] != '\0' ? pages->values[SESSION_TOKEN]
	                                                            : NULL;
	return r;
}

int gd_credentials_load(struct gd_credentials *ret, struct gd_error *err)
{
	GD_CREDENTIALS struct gd_credentials loaded = { .pages = NULL };
	int r = allocate(&loaded, err);
	if (r == 0)
		r = load(&loaded, err);
	if (r < 0)
		return r;
	*ret = loaded;
	loaded = (struct gd_credentials){ .pages = NULL };
	return 0;
}

void gd_credentials_forget_environment(void)
{
	for (unsigned i = SECRET_KEY; i < SECRETS; i++) {
		char *value = getenv(names[i]);
		if (value == NULL)
			continue;
		explicit_bzero(value, strlen(value));
		(void)unsetenv(names[i]);
	}
}
