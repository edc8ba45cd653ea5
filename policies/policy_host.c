/*
 * What concerns the host and not one service: budget, upload, retention, hook, fleet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policies/policy_reader.h"

#define NS_PER_S UINT64_C(1000000000)

/* The sum of all stops is another key; say so to who writes one for the other. */
static void read_pause(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	if (node->kind == GD_NODE_TEXT && strchr(node->text, '/') != NULL) {
		gd_policy_reader_error(reader, node,
		                       "pause: is the longest single stop, such as 50ms; for their "
		                       "sum write pauses: %.40s",
		                       node->text);
		return;
	}
	gd_policy_read_duration(reader, node, field);
}

static void read_concurrent(struct gd_policy_reader *reader, const struct gd_node *node,
                            void *field)
{
	(void)field;
	const char *text = gd_policy_reader_text(reader, node, "1");
	if (text != NULL && strcmp(text, "1") != 0)
		gd_policy_reader_error(reader, node,
		                       "concurrent: always 1: one capture at a time, others wait");
}

static void read_host_budget(struct gd_policy_reader *reader, const struct gd_node *node,
                             void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "captures", gd_policy_read_counts, offsetof(struct gd_budget, captures) },
		{ "bytes", gd_policy_read_bytes_rate, offsetof(struct gd_budget, bytes) },
		{ "pauses", gd_policy_read_time_rate, offsetof(struct gd_budget, pause) },
		{ "pause", read_pause, offsetof(struct gd_budget, pause_ns) },
		{ "spool", gd_policy_read_bytes, offsetof(struct gd_budget, spool_bytes) },
		{ "free", gd_policy_read_ratio, offsetof(struct gd_budget, free_ratio) },
		{ "upload", gd_policy_read_bandwidth,
		  offsetof(struct gd_budget, upload_bytes_per_s) },
		{ "concurrent", read_concurrent, 0 },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "budget", keys, field);
}

/* Keys of the host's budget which no rule can have. */
static void read_host_only(struct gd_policy_reader *reader, const struct gd_node *node,
                           void *field)
{
	(void)field;
	gd_policy_reader_error_at_key(reader, node,
	                              "\"%s\" is the host's; write it in the budget at the top",
	                              node->key);
}

void gd_policy_read_rule_budget(struct gd_policy_reader *reader, const struct gd_node *node,
                                void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "captures", gd_policy_read_counts, offsetof(struct gd_budget, captures) },
		{ "bytes", gd_policy_read_bytes_rate, offsetof(struct gd_budget, bytes) },
		{ "pauses", gd_policy_read_time_rate, offsetof(struct gd_budget, pause) },
		{ "pause", read_pause, offsetof(struct gd_budget, pause_ns) },
		{ "spool", read_host_only, 0 },
		{ "free", read_host_only, 0 },
		{ "upload", read_host_only, 0 },
		{ "concurrent", read_host_only, 0 },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "the budget of a rule", keys, field);
}

/* Only the form: whoever uploads knows what it can do with it. */
static void read_upload(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const char *const schemes[] = { "file://", "s3://", "https://", "http://" };
	if (node->kind == GD_NODE_TEXT && strcmp(node->text, "none") == 0) {
		free(*(char **)field);
		*(char **)field = NULL;
		return;
	}
	gd_policy_read_text(reader, node, field);
	if (node->kind != GD_NODE_TEXT || node->text[0] == '\0')
		return;
	const char *rest = NULL;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (strncmp(node->text, schemes[i], strlen(schemes[i])) == 0)
			rest = node->text + strlen(schemes[i]);
	if (rest == NULL || *rest == '\0')
		gd_policy_reader_error(reader, node,
		                       "upload: \"%.60s\" is no place; write s3://BUCKET/PREFIX, "
		                       "https://HOST/BUCKET/PREFIX, file:///DIR or none",
		                       node->text);
	else if (memchr(rest, '@', strcspn(rest, "/?#")) != NULL)
		gd_policy_reader_error(reader, node,
		                       "upload: credentials do not belong into a URL, see "
		                       "godiag-upload's unit");
}

/* "none", or what `read` reads. */
static void none_or(struct gd_policy_reader *reader, const struct gd_node *node, uint64_t *field,
                    gd_policy_read_fn *read)
{
	if (node->kind == GD_NODE_TEXT && strcmp(node->text, "none") == 0)
		*field = 0;
	else
		read(reader, node, field);
}

static void read_age(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	none_or(reader, node, field, gd_policy_read_duration);
}

static void read_keep_count(struct gd_policy_reader *reader, const struct gd_node *node,
                            void *field)
{
	none_or(reader, node, field, gd_policy_read_count);
}

static void read_keep_bytes(struct gd_policy_reader *reader, const struct gd_node *node,
                            void *field)
{
	none_or(reader, node, field, gd_policy_read_bytes);
}

static void read_retention(struct gd_policy_reader *reader, const struct gd_node *node,
                           void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "age", read_age, offsetof(struct gd_retention, age_ns) },
		{ "count", read_keep_count, offsetof(struct gd_retention, count) },
		{ "bytes", read_keep_bytes, offsetof(struct gd_retention, bytes) },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "retention", keys, field);
}

/* "127.0.0.1" or "[::1]" taken apart; false: no address. */
static bool is_loopback(const char *host, bool *ret_is_address)
{
	struct in_addr v4;
	struct in6_addr v6;
	*ret_is_address = true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	*ret_is_address = false;
	return false;
}

static bool is_address_and_port(const char *text, bool *ret_loopback)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	const char *end;
	uint64_t port;
	bool is_address;
	if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(host) ||
	    !gd_text_u64(colon + 1, &end, 10, &port) || *end != '\0' || port == 0 ||
	    port > UINT16_MAX)
		return false;
	bool brackets = text[0] == '[' && colon[-1] == ']' && colon - text > 2;
	size_t n = (size_t)(colon - text) - (brackets ? 2 : 0);
	memcpy(host, text + (brackets ? 1 : 0), n);
	host[n] = '\0';
	*ret_loopback = is_loopback(host, &is_address);
	/* an IPv6 address without brackets runs into its port */
	return is_address && brackets == (strchr(host, ':') != NULL);
}

static void read_listen(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	gd_policy_read_text(reader, node, field);
	bool loopback = false;
	if (node->kind != GD_NODE_TEXT || node->text[0] == '\0' ||
	    strcmp(node->text, "off") == 0)
		return;
	if (strncmp(node->text, "unix:", 5) == 0) {
		/* sun_path has 108 bytes with its end */
		if (node->text[5] != '/' || strlen(node->text + 5) > 107)
			gd_policy_reader_error(reader, node,
			                       "listen: \"%.60s\" needs an absolute path of at most "
			                       "107 bytes, such as unix:/run/godiag-hook/hook.sock",
			                       node->text);
	} else if (!is_address_and_port(node->text, &loopback)) {
		gd_policy_reader_error(reader, node,
		                       "listen: \"%.60s\" is no place to listen; write unix:/PATH, "
		                       "127.0.0.1:7077, [::1]:7077 or off",
		                       node->text);
	} else if (!loopback) {
		gd_policy_reader_error(reader, node,
		                       "listen: \"%.60s\" is no loopback address, and the hook speaks "
		                       "no TLS; put a proxy that does in front of it",
		                       node->text);
	}
}

static void read_tokens(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	gd_policy_read_text(reader, node, field);
	if (node->kind == GD_NODE_TEXT && node->text[0] != '\0' && node->text[0] != '/')
		gd_policy_reader_error(reader, node, "tokens: \"%.60s\" is not an absolute path",
		                       node->text);
}

static void read_hook(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "listen", read_listen, offsetof(struct gd_hook_policy, listen) },
		{ "tokens", read_tokens, offsetof(struct gd_hook_policy, tokens) },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "hook", keys, field);
}

static void read_core(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "zero_noscan", gd_policy_read_bool, offsetof(struct gd_core_policy, zero_noscan) },
		{ "keep_huge", gd_policy_read_bool, offsetof(struct gd_core_policy, keep_huge) },
		{ "workers", gd_policy_read_count, offsetof(struct gd_core_policy, workers) },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "core", keys, field);
}

/* The bounds are those of --duration and --frequency. */
static void read_window(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	uint64_t *ns = field;
	gd_policy_read_duration(reader, node, field);
	if (node->kind == GD_NODE_TEXT && (*ns < NS_PER_S / 10 || *ns > 600 * NS_PER_S))
		gd_policy_reader_error(reader, node, "duration: %.40s is not from 100ms to 10m",
		                       node->text);
}

static void read_frequency(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	uint64_t *hz = field;
	gd_policy_read_count(reader, node, field);
	if (node->kind == GD_NODE_TEXT && *hz > 1000)
		gd_policy_reader_error(reader, node, "frequency: %.40s is not from 1 to 1000 samples "
		                       "in a second", node->text);
}

static void read_samples(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "duration", read_window, offsetof(struct gd_samples_policy, duration_ns) },
		{ "frequency", read_frequency, offsetof(struct gd_samples_policy, frequency_hz) },
		{ "syscalls", gd_policy_read_bool, offsetof(struct gd_samples_policy, syscalls) },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "samples", keys, field);
}

static void read_fleet(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "size", gd_policy_read_count, 0 },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, node, "fleet", keys, field);
}

void gd_policy_read_host(struct gd_policy_reader *reader, const struct gd_node *root)
{
	static const struct gd_policy_key keys[] = {
		{ "services", NULL, 0 },
		{ "rules", NULL, 0 },
		{ "budget", read_host_budget, offsetof(struct gd_policy, budget) },
		{ "upload", read_upload, offsetof(struct gd_policy, upload) },
		{ "retention", read_retention, offsetof(struct gd_policy, retention) },
		{ "core", read_core, offsetof(struct gd_policy, core) },
		{ "samples", read_samples, offsetof(struct gd_policy, samples) },
		{ "hook", read_hook, offsetof(struct gd_policy, hook) },
		{ "fleet", read_fleet, offsetof(struct gd_policy, fleet_size) },
		{ NULL, NULL, 0 },
	};
	(void)gd_policy_reader_map(reader, root, "a policy", keys, reader->policy);
}
