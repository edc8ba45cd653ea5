#include "target/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/test.h"

static uint64_t inode_of(int fd)
{
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static bool among(const uint64_t *inodes, ssize_t n, uint64_t inode)
{
	for (ssize_t i = 0; i < n; i++)
		if (inodes[i] == inode)
			return true;
	return false;
}

static void sockets_are_found_among_other_descriptors(void **state)
{
	(void)state;
	uint64_t inodes[64];
	uint64_t n_fds = 0;
	struct gd_error err = { 0 };
	int ends[2];
	int pipes[2];
	GD_CLOSE int proc_fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	ssize_t n = gd_sockets_read(proc_fd, inodes, 64, &n_fds, &err);
	assert_ok(n, &err);
	assert_true(n >= 2 && n_fds >= 5);
	assert_true(among(inodes, n, inode_of(ends[0])) && among(inodes, n, inode_of(ends[1])));
	assert_false(among(inodes, n, inode_of(pipes[0])));
	/* Beyond the maximum descriptors are only counted. */
	uint64_t again = 0;
	assert_int_equal(gd_sockets_read(proc_fd, inodes, 0, &again, &err), 0);
	assert_int_equal(again, n_fds);
	for (int i = 0; i < 2; i++) {
		(void)close(ends[i]);
		(void)close(pipes[i]);
	}
}

static void who_is_gone_has_none(void **state)
{
	(void)state;
	uint64_t inodes[4];
	struct gd_error err = { 0 };
	GD_CLOSE int dir = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_fails(gd_sockets_read(dir, inodes, 4, NULL, &err), -ENOENT, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(sockets_are_found_among_other_descriptors),
		test_case(who_is_gone_has_none),
	};
	return test_run(tests);
}
