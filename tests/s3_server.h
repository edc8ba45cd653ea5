#pragma once
/*
 * Two S3 servers for tests, both on loopback.  versitygw is real and verifies signatures; the canned
 * one answers whatever a test wants to see handled.
 */
#include <stdbool.h>
#include <sys/types.h>

struct s3_server {
	pid_t pid;
	int port;
	bool tls; /* with test_path("key.pem") and test_path("cert.pem"), made by openssl */
};

/*
 * Starts versitygw on a fresh directory with one bucket, "evidence", and sets AWS_* accordingly.
 * Skips the test with the reason when it cannot be had.
 */
struct s3_server s3_server_versitygw(void);
/* The same over TLS, for the name 127.0.0.1 and signed by itself. */
struct s3_server s3_server_versitygw_tls(void);

/* Killed, or killed a while ago: the same one again, on the same port and directory. */
void s3_server_restart(struct s3_server *server);

/*
 * Answers connection after connection with the given texts (whole HTTP answers), the last one
 * for ever, after having read the request and its body.  S3_SILENCE: reads, and says nothing more.
 */
#define S3_SILENCE "(silence)"
struct s3_server s3_server_canned(const char *const *answers, size_t n);

void s3_server_stop(struct s3_server *server);
