#include "tests/hook_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/test.h"

const char hook_policy[] =
	"services:\n"
	"  - name: checkout\n"
	"    match: { comm: checkout }\n"
	"rules:\n"
	"  - name: p99-latency\n"
	"    service: checkout\n"
	"    when: { alert: HighRequestLatency }\n"
	"  - name: p99-page\n"
	"    service: checkout\n"
	"    when: { alert: HighRequestLatency, labels: { severity: page } }\n"
	"  - name: gc-pause\n"
	"    service: checkout\n"
	"    when: { alert: LongPauses }\n"
	"  - name: cpu-hot\n"
	"    service: checkout\n"
	"    when: { metric: cpu, above: 95% }\n";

static void put_sha256(char to[65], const char *text)
{
	unsigned char digest[32];
	(void)EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
	for (size_t i = 0; i < sizeof(digest); i++)
		(void)snprintf(to + 2 * i, 3, "%02x", digest[i]);
}

const char *hook_tokens(void)
{
	static char text[1024];
	char now[65];
	char old[65];
	put_sha256(now, HOOK_TOKEN);
	put_sha256(old, HOOK_OLD_TOKEN);
	(void)snprintf(text, sizeof(text),
	               "# tests\nam %s\nam %s\nnarrow %.62s%02x gc-pause\ndeploy hmac:%s\n", now,
	               old, old, 0, HOOK_KEY_HEX);
	put_sha256(now, "narrow-" HOOK_TOKEN);
	char *narrow = strstr(text, "narrow ");
	memcpy(narrow + 7, now, 64);
	return text;
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	(void)nanosleep(&ts, NULL);
}

/* What a failing test leaves behind. */
static struct hook_world *worlds[4];

/* ---- the broker ---- */

static void on_trigger(void *arg, const struct gd_hook_trigger *trigger,
                       struct gd_hook_verdict *ret)
{
	struct hook_seen *seen = arg;
	char key[128];
	pause_ms(seen->delay_ms);
	seen->last = *trigger;
	seen->n_triggers++;
	(void)snprintf(key, sizeof(key), "%u %.60s %s", trigger->rule, trigger->fingerprint,
	               trigger->starts_at);
	*ret = (struct gd_hook_verdict){ .verdict = (enum gd_verdict)seen->verdict };
	ret->retry_ns = seen->retry_ns;
	if (trigger->rule == seen->busy_rule)
		ret->verdict = GD_VERDICT_BUSY;
	for (unsigned i = 0; i < seen->n_keys; i++)
		if (strcmp(seen->keys[i], key) == 0) {
			ret->verdict = GD_VERDICT_DUPLICATE;
			(void)snprintf(ret->id, sizeof(ret->id), "capture-%u", i);
		}
	(void)snprintf(ret->why, sizeof(ret->why), "as the test says");
	if (ret->verdict != GD_VERDICT_ADMITTED)
		return;
	(void)snprintf(ret->id, sizeof(ret->id), "capture-%u", seen->n_keys);
	if (seen->n_keys < 64)
		memcpy(seen->keys[seen->n_keys++], key, sizeof(key));
}

static void on_operation(void *arg, const char *id, struct gd_hook_operation *ret)
{
	struct hook_seen *seen = arg;
	pause_ms(seen->delay_ms);
	seen->n_operations++;
	*ret = (struct gd_hook_operation){ .known = strcmp(id, "capture-0") == 0, .exit = 4 };
	memcpy(ret->state, "partial", sizeof("partial"));
	memcpy(ret->digest, "sha256:0123", sizeof("sha256:0123"));
}

static void on_metrics(void *arg, struct gd_buf *to)
{
	(void)arg;
	gd_buf_puts(to, "# TYPE godiag_test gauge\ngodiag_test 1\n");
}

static void on_http(void *arg, uint32_t service, double p99_s)
{
	struct hook_seen *seen = arg;
	(void)service;
	(void)p99_s;
	seen->n_samples++;
}

static volatile sig_atomic_t reload;

static void on_hup(int number)
{
	(void)number;
	reload = 1;
}

static struct gd_policy *load(const struct hook_seen *seen)
{
	struct gd_policy *policy = NULL;
	struct gd_findings findings = { .n = 0 };
	struct gd_error err = { 0 };
	if (gd_policy_parse("policy.yaml", seen->policy, strlen(seen->policy), &policy, &findings,
	                    &err) < 0) {
		for (size_t i = 0; i < findings.n; i++)
			(void)fprintf(stderr, "policy.yaml:%u: %s\n", findings.list[i].line,
			              findings.list[i].text);
		_exit(3);
	}
	gd_findings_deinit(&findings);
	return policy;
}

/* Until it is killed. */
static void be_broker(int listen_fd, struct hook_seen *seen)
{
	static const struct gd_hook_ops ops = { on_trigger, on_operation, on_metrics, on_http };
	struct gd_hook_peer *peer = NULL;
	struct gd_policy *policy = load(seen);
	struct gd_error err = { 0 };
	struct sigaction hup = { .sa_handler = on_hup };
	(void)sigaction(SIGHUP, &hup, NULL);
	for (;;) {
		struct pollfd fds[] = { { .fd = listen_fd, .events = POLLIN },
			                { .fd = peer != NULL ? gd_hook_peer_fd(peer) : -1,
			                  .events = POLLIN } };
		int n = poll(fds, 2, 100);
		if (reload) {
			reload = 0;
			struct gd_policy *old = policy;
			policy = load(seen);
			if (peer != NULL && gd_hook_peer_policy(peer, policy, &err) < 0)
				_exit(4);
			gd_policy_free(old);
		}
		if (n <= 0)
			continue;
		if (fds[1].revents != 0 && gd_hook_peer_handle(peer, &err) < 0) {
			if (err.code != -EPIPE)
				(void)fprintf(stderr, "broker: %s\n", err.msg);
			gd_hook_peer_destroy(peer);
			peer = NULL;
		}
		if (peer != NULL)
			(void)snprintf(seen->problem, sizeof(seen->problem), "%s",
			               gd_hook_peer_problem(peer));
		if ((fds[0].revents & POLLIN) == 0)
			continue;
		gd_hook_peer_destroy(peer);
		peer = NULL;
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 && gd_hook_peer_create(fd, policy, &ops, seen, &peer, &err) < 0)
			(void)fprintf(stderr, "broker: %s\n", err.msg);
		seen->n_connections++;
	}
}

void hook_world_start_broker(struct hook_world *world)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, world->agent, strlen(world->agent) + 1);
	(void)unlink(world->agent);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	world->broker = fork();
	assert_true(world->broker >= 0);
	if (world->broker == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_broker(fd, world->seen);
		_exit(0);
	}
	(void)close(fd);
}

static void end(pid_t *pid, int signal_number)
{
	if (*pid <= 0)
		return;
	(void)kill(*pid, signal_number);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

void hook_world_stop_broker(struct hook_world *world)
{
	end(&world->broker, SIGKILL);
}

/* ---- the hook ---- */

static int free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	GD_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin_port);
}

static void start_hook(struct hook_world *world, const char *listen)
{
	char place[300];
	struct gd_hook_options options = { .agent_socket = world->agent };
	options.tokens = world->tokens[0] != '\0' ? world->tokens : NULL;
	if (listen != NULL && world->port != 0)
		(void)snprintf(place, sizeof(place), "127.0.0.1:%d", world->port);
	else
		(void)snprintf(place, sizeof(place), "unix:%s", world->socket);
	options.listen = listen != NULL ? place : NULL;
	world->hook = fork();
	assert_true(world->hook >= 0);
	if (world->hook == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open(world->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
		(void)dup2(fd, 2);
		_exit(gd_hook_main(&options));
	}
}

struct hook_world *hook_world_start(const char *listen, const char *tokens, bool with_broker)
{
	struct hook_world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
		if (worlds[i] == NULL) {
			worlds[i] = world;
			break;
		}
	world->seen = mmap(NULL, sizeof(*world->seen), PROT_READ | PROT_WRITE,
	                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(world->seen != MAP_FAILED);
	world->seen->busy_rule = ~0U;
	(void)snprintf(world->seen->policy, sizeof(world->seen->policy), "%s", hook_policy);
	(void)snprintf(world->socket, sizeof(world->socket), "%s", test_path("hook.sock"));
	(void)snprintf(world->agent, sizeof(world->agent), "%s", test_path("agent.sock"));
	(void)snprintf(world->log, sizeof(world->log), "%s", test_path("hook.log"));
	if (listen == NULL) {
		char *end_of = world->seen->policy + strlen(hook_policy);
		(void)snprintf(end_of, sizeof(world->seen->policy) - strlen(hook_policy),
		               "hook: { listen: \"unix:%s\" }\n", world->socket);
	}
	if (tokens != NULL) {
		const char *path = test_file("tokens", tokens, strlen(tokens));
		assert_int_equal(chmod(path, 0600), 0);
		(void)snprintf(world->tokens, sizeof(world->tokens), "%s", path);
	}
	if (listen != NULL && strcmp(listen, "tcp") == 0)
		world->port = free_port();
	if (with_broker)
		hook_world_start_broker(world);
	start_hook(world, listen);
	if (with_broker)
		hook_world_wait(world, 200);
	return world;
}

int hook_world_after(void **state)
{
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
		if (worlds[i] != NULL)
			hook_world_stop(worlds[i]);
	return test_after(state);
}

void hook_world_stop(struct hook_world *world)
{
	for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
		if (worlds[i] == world)
			worlds[i] = NULL;
	end(&world->hook, SIGTERM);
	hook_world_stop_broker(world);
	(void)munmap(world->seen, sizeof(*world->seen));
	free(world);
}

static void print_log(const struct hook_world *world)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	(void)gd_io_read_file_at(AT_FDCWD, world->log, &text, NULL);
	print_error("the hook said:\n%s\n", gd_buf_str(&text));
}

void hook_world_wait(struct hook_world *world, int status)
{
	struct hook_answer *answer = calloc(1, sizeof(*answer));
	assert_non_null(answer);
	for (int tries = 0; tries < 200; tries++) {
		int fd = hook_connect(world);
		answer->status = 0;
		if (fd >= 0) {
			static const char text[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
			(void)send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
			hook_read(fd, answer);
			(void)close(fd);
		}
		if (answer->status == status) {
			free(answer);
			return;
		}
		pause_ms(50);
	}
	print_log(world);
	fail_msg("/healthz says %d, not %d", answer->status, status);
}

void hook_world_wait_log(const struct hook_world *world, const char *text)
{
	for (int tries = 0; tries < 200; tries++) {
		GD_BUF struct gd_buf log = GD_BUF_INIT(1 << 20);
		(void)gd_io_read_file_at(AT_FDCWD, world->log, &log, NULL);
		if (strstr(gd_buf_str(&log), text) != NULL)
			return;
		pause_ms(50);
	}
	print_log(world);
	fail_msg("the hook never said: %s", text);
}

static unsigned long read_number(const char *path, const char *key)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	(void)gd_io_read_file_at(AT_FDCWD, path, &text, NULL);
	const char *at = strstr(gd_buf_str(&text), key);
	return at != NULL ? strtoul(at + strlen(key), NULL, 10) : 0;
}

/* The launcher's children in the order of their start: the server has the listening socket. */
static pid_t child(const struct hook_world *world, size_t i)
{
	char path[64];
	GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)world->hook,
	               (int)world->hook);
	(void)gd_io_read_file_at(AT_FDCWD, path, &text, NULL);
	const char *at = gd_buf_str(&text);
	char *end_of = NULL;
	long pid = strtol(at, &end_of, 10);
	for (; i > 0 && end_of != at; i--) {
		at = end_of;
		pid = strtol(at, &end_of, 10);
	}
	return (pid_t)pid;
}

pid_t hook_world_server(const struct hook_world *world)
{
	return child(world, 0);
}

pid_t hook_world_scraper(const struct hook_world *world)
{
	return child(world, 1);
}

unsigned long hook_world_rss_kib(const struct hook_world *world)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)world->hook);
	unsigned long kib = read_number(path, "VmRSS:");
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)hook_world_server(world));
	return kib + read_number(path, "VmHWM:");
}

/* ---- clients ---- */

int hook_connect(const struct hook_world *world)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)world->port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	memcpy(un.sun_path, world->socket, strnlen(world->socket, sizeof(un.sun_path) - 1));
	bool tcp = world->port != 0;
	int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	struct timeval patience = { .tv_sec = 20 };
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	int r = tcp ? connect(fd, (const struct sockaddr *)&in, sizeof(in)) :
	              connect(fd, (const struct sockaddr *)&un, sizeof(un));
	if (r == 0)
		return fd;
	(void)close(fd);
	return -1;
}

void hook_read(int fd, struct hook_answer *ret)
{
	size_t n = 0;
	char text[sizeof(ret->head) + sizeof(ret->body)];
	for (;;) {
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	text[n] = '\0';
	ret->status = 0;
	ret->head[0] = ret->body[0] = '\0';
	if (strncmp(text, "HTTP/1.", 7) != 0 || n < 12)
		return;
	ret->status = (int)strtol(text + 9, NULL, 10);
	char *blank = strstr(text, "\r\n\r\n");
	if (blank == NULL)
		return;
	*blank = '\0';
	(void)snprintf(ret->head, sizeof(ret->head), "%.2040s", text);
	(void)snprintf(ret->body, sizeof(ret->body), "%s", blank + 4);
}

void hook_send(const struct hook_world *world, const void *bytes, size_t n,
               struct hook_answer *ret)
{
	int fd = hook_connect(world);
	if (fd < 0)
		fail_msg("nobody listens: %s", strerror(errno));
	for (size_t done = 0; done < n;) {
		ssize_t put = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);
		if (put <= 0)
			break;
		done += (size_t)put;
	}
	hook_read(fd, ret);
	(void)close(fd);
}

void hook_ask(const struct hook_world *world, const char *token, const char *path,
              const char *body, struct hook_answer *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	gd_buf_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n", body != NULL ? "POST" : "GET",
	              path);
	if (token != NULL)
		gd_buf_printf(&text, "Authorization: Bearer %s\r\n", token);
	if (body != NULL)
		gd_buf_printf(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
		              strlen(body));
	gd_buf_puts(&text, "\r\n");
	if (body != NULL)
		gd_buf_puts(&text, body);
	hook_send(world, text.data, text.len, ret);
}
