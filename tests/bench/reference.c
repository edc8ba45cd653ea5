/*
 * reference FILE DIRECTORY: how fast zstd -1 and SHA-256 go over the content of that file, on the processors
 * this process may use: the floor of what packing a core costs; and how fast when the result is written to a
 * file in that directory.  Prints "MiB SECONDS THREADS SECONDS_WITH_WRITING".
 *
 * The file is read into memory before, in pieces of 1 MiB; holes and zeros are left out, as a core
 * leaves them out.  Each piece is hashed and compressed by itself, with a content checksum.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#define PIECE ((size_t)1 << 20)
#define THREADS_MAX 8

static unsigned char **pieces;
static size_t n_pieces;
static atomic_size_t next_piece;
static atomic_size_t written;
static int to_fd = -1; /* -1: not written */

static void read_pieces(int fd)
{
	size_t room = 0;
	unsigned char *piece = malloc(PIECE);
	ssize_t n;
	for (off_t at = 0; (n = pread(fd, piece, PIECE, at)) > 0; at += (off_t)PIECE) {
		memset(piece + n, 0, PIECE - (size_t)n);
		if (piece[0] == 0 && memcmp(piece, piece + 1, PIECE - 1) == 0)
			continue;
		if (n_pieces == room) {
			room = room > 0 ? 2 * room : 1024;
			pieces = realloc(pieces, room * sizeof(*pieces));
		}
		if (pieces == NULL || piece == NULL)
			abort();
		pieces[n_pieces++] = piece;
		piece = malloc(PIECE);
	}
}

static void *work(void *arg)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	size_t size = ZSTD_compressBound(PIECE);
	void *to = malloc(size);
	unsigned char digest[EVP_MAX_MD_SIZE];
	(void)arg;
	(void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
	(void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	for (size_t i; (i = atomic_fetch_add(&next_piece, 1)) < n_pieces;) {
		size_t n = ZSTD_compress2(context, to, size, pieces[i], PIECE);
		if (ZSTD_isError(n) || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
		    EVP_DigestUpdate(hash, pieces[i], PIECE) != 1 ||
		    EVP_DigestFinal_ex(hash, digest, NULL) != 1)
			abort();
		if (to_fd >= 0 && pwrite(to_fd, to, n, (off_t)atomic_fetch_add(&written, n)) != (ssize_t)n)
			abort();
	}
	free(to);
	EVP_MD_CTX_free(hash);
	(void)ZSTD_freeCCtx(context);
	return NULL;
}

/* Seconds for all pieces by n threads. */
static double run(int n)
{
	pthread_t threads[THREADS_MAX];
	struct timespec began, ended;
	next_piece = 0;
	(void)clock_gettime(CLOCK_MONOTONIC, &began);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, work, NULL) != 0)
			abort();
	for (int i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	(void)clock_gettime(CLOCK_MONOTONIC, &ended);
	return (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
	cpu_set_t set;
	if (argc != 3) {
		(void)fprintf(stderr, "usage: reference FILE DIRECTORY\n");
		return 2;
	}
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		perror(argv[1]);
		return 2;
	}
	read_pieces(fd);
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	n = n > THREADS_MAX ? THREADS_MAX : n;
	double alone = run(n);
	to_fd = open(argv[2], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (to_fd < 0) {
		perror(argv[2]);
		return 2;
	}
	(void)printf("%zu %.6f %d %.6f\n", n_pieces, alone, n, run(n));
	return 0;
}
