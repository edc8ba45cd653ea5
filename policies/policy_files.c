#include "policies/policy_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "policies/document.h"
#include "policies/finding.h"
#include "policies/nearest.h"

#define MAIN "policy.yaml"
#define DROP_INS "policy.d"

static void complain(struct gd_findings *findings, const char *path, const char *what)
{
	gd_findings_add(findings, GD_SEVERITY_ERROR, path, 0, 0, "%s", what);
}

/* A folder may be sticky: then others can add files, but those are not ours and are refused. */
static void check_owner(const char *path, const struct stat *st, struct gd_findings *findings)
{
	bool safe_folder = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;
	if (st->st_uid != 0 && st->st_uid != geteuid())
		gd_findings_add(findings, GD_SEVERITY_ERROR, path, 0, 0,
		                "belongs to uid %u, who could then have any memory captured; chown "
		                "root",
		                (unsigned)st->st_uid);
	if ((st->st_mode & S_IWOTH) != 0 && !safe_folder)
		complain(findings, path,
		         "everybody may write it, and so have any memory captured; chmod o-w");
	else if ((st->st_mode & S_IWGRP) != 0 && st->st_gid != 0 && st->st_gid != getegid())
		gd_findings_add(findings, GD_SEVERITY_WARNING, path, 0, 0,
		                "group %u may write it, and so have any memory captured",
		                (unsigned)st->st_gid);
}

/* Links are followed: that is how configuration is mounted into containers. */
static bool read_file(int dirfd, const char *name, struct gd_policy_file *file,
                      struct gd_findings *findings)
{
	GD_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	struct gd_error err = { 0 };
	if (fd < 0 || fstat(fd, &st) < 0) {
		complain(findings, file->path, strerror(errno));
		return false;
	}
	if (!S_ISREG(st.st_mode)) {
		complain(findings, file->path, "not a file");
		return false;
	}
	check_owner(file->path, &st, findings);
	if (gd_io_read_all(fd, &file->text, &err) < 0) {
		complain(findings, file->path, err.msg);
		return false;
	}
	return true;
}

static struct gd_policy_file *add(struct gd_policy_files *files)
{
	struct gd_policy_file *list = realloc(files->list, (files->n + 1) * sizeof(*list));
	if (list == NULL)
		return NULL;
	files->list = list;
	list[files->n] =
		(struct gd_policy_file){ .text = GD_BUF_INIT(GD_DOCUMENT_BYTES_MAX) };
	return &list[files->n++];
}

void gd_policy_files_deinit(struct gd_policy_files *files)
{
	for (size_t i = 0; i < files->n; i++)
		gd_buf_deinit(&files->list[i].text);
	free(files->list);
	*files = (struct gd_policy_files){ 0 };
}

/* "DIR/NAME"; -ENAMETOOLONG when no finding could name it. */
static int join(char to[GD_POLICY_PATH_MAX], const char *dir, const char *name,
                struct gd_error *err)
{
	size_t n = strlen(dir);
	const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
	int w = snprintf(to, GD_POLICY_PATH_MAX, "%s%s%s", dir, slash, name);
	if (w < 0 || w >= GD_POLICY_PATH_MAX)
		return gd_fail(err, -ENAMETOOLONG, "%s/%s: longer than %d bytes", dir, name,
		               GD_POLICY_PATH_MAX - 1);
	return 0;
}

static int add_file(struct gd_policy_files *files, int dirfd, const char *dir, const char *name,
                    struct gd_findings *findings, struct gd_error *err)
{
	struct gd_policy_file *file = add(files);
	if (file == NULL)
		return gd_fail(err, -ENOMEM, "no memory for %s", name);
	int r = dir != NULL ? join(file->path, dir, name, err) : 0;
	if (r < 0)
		return r;
	if (dir == NULL) {
		if (strlen(name) >= sizeof(file->path))
			return gd_fail(err, -ENAMETOOLONG, "%s: longer than %d bytes", name,
			               GD_POLICY_PATH_MAX - 1);
		(void)snprintf(file->path, sizeof(file->path), "%s", name);
	}
	file->readable = read_file(dirfd, name, file, findings);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name);
	size_t n_end = strlen(end);
	return n > n_end && strcmp(name + n - n_end, end) == 0;
}

struct names {
	char *list[GD_POLICY_FILES_MAX];
	size_t n;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
}

/* The *.yaml of an open folder, sorted; -E2BIG for too many. */
static int list_drop_ins(DIR *folder, const char *path, struct names *ret,
                         struct gd_findings *findings)
{
	const struct dirent *entry;
	while ((entry = readdir(folder)) != NULL) {
		const char *name = entry->d_name;
		if (name[0] != '.' && ends_with(name, ".yml"))
			gd_findings_add(findings, GD_SEVERITY_WARNING, path, 0, 0,
			                "%s is not read: drop-ins end in .yaml", name);
		if (name[0] == '.' || !ends_with(name, ".yaml"))
			continue;
		if (ret->n == GD_POLICY_FILES_MAX) {
			gd_findings_add(findings, GD_SEVERITY_ERROR, path, 0, 0,
			                "more than %d drop-ins", GD_POLICY_FILES_MAX);
			return 0;
		}
		ret->list[ret->n] = strdup(name);
		if (ret->list[ret->n] == NULL)
			return -ENOMEM;
		ret->n++;
	}
	qsort(ret->list, ret->n, sizeof(*ret->list), by_name);
	return 0;
}

static int add_drop_ins(struct gd_policy_files *files, int dirfd, const char *dir,
                        struct gd_findings *findings, struct gd_error *err)
{
	__attribute__((cleanup(free_names))) struct names names = { 0 };
	char path[GD_POLICY_PATH_MAX];
	struct stat st;
	int r = join(path, dir, DROP_INS, err);
	if (r < 0)
		return r;
	GD_CLOSE int fd = openat(dirfd, DROP_INS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		complain(findings, path, strerror(errno));
		files->incomplete = true;
		return 0;
	}
	check_owner(path, &st, findings);
	GD_CLOSEDIR DIR *folder = fdopendir(fd);
	if (folder == NULL)
		return gd_fail_errno(err, -errno, "%s", path);
	int folder_fd = gd_steal_fd(&fd);
	r = list_drop_ins(folder, path, &names, findings);
	if (r < 0)
		return gd_fail_errno(err, r, "%s", path);
	for (size_t i = 0; r == 0 && i < names.n; i++)
		r = add_file(files, folder_fd, path, names.list[i], findings, err);
	return r;
}

static int read_folder(int dirfd, const char *dir, const struct stat *st,
                       struct gd_policy_files *files, struct gd_findings *findings,
                       struct gd_error *err)
{
	check_owner(dir, st, findings);
	struct stat main_st;
	int r = 0;
	if (fstatat(dirfd, MAIN, &main_st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
		r = add_file(files, dirfd, dir, MAIN, findings, err);
	if (r == 0)
		r = add_drop_ins(files, dirfd, dir, findings, err);
	if (r == 0 && files->n == 0 && !files->incomplete)
		r = gd_fail(err, -ENOENT, "%s: neither " MAIN " nor " DROP_INS "/*.yaml in it", dir);
	return r;
}

int gd_policy_files_read(const char *path, struct gd_policy_files *ret,
                         struct gd_findings *findings, struct gd_error *err)
{
	struct gd_policy_files files = { 0 };
	struct stat st;
	int r;
	GD_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return gd_fail_errno(err, -errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		r = read_folder(fd, path, &st, &files, findings, err);
	else
		r = add_file(&files, AT_FDCWD, NULL, path, findings, err);
	if (r < 0) {
		gd_policy_files_deinit(&files);
		return r;
	}
	*ret = files;
	return 0;
}
