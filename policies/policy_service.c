/*
 * The list `services`: a name, what matches, where its own metrics are.
 */
#include <string.h>
#include <stdlib.h>

#include "base/text.h"
#include "policies/match.h"
#include "policies/policy_reader.h"

#define HISTOGRAM "http_request_duration_seconds"
#define TRACE_NS UINT64_C(1000000000)
#define TRACE_MIN_NS UINT64_C(10000000)
#define TRACE_MAX_NS UINT64_C(60000000000)
#define COMM_MAX 15 /* what the kernel keeps of a name */

static bool has_wildcard(const char *glob)
{
	return strpbrk(glob, "*?[") != NULL;
}

/* Without a suffix it would never match; nearly always a service is meant. */
static void read_unit(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	gd_policy_read_glob(reader, node, field);
	if (node->kind == GD_NODE_TEXT && node->text[0] != '\0' && !has_wildcard(node->text) &&
	    strchr(node->text, '.') == NULL)
		gd_policy_reader_error(reader, node,
		                       "unit: \"%.60s\" has no suffix; did you mean "
		                       "\"%.60s.service\"?",
		                       node->text, node->text);
}

static void read_path(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	gd_policy_read_glob(reader, node, field);
	if (node->kind == GD_NODE_TEXT && node->text[0] != '\0' &&
	    strchr("/*?[", node->text[0]) == NULL)
		gd_policy_reader_error(reader, node,
		                       "%s: \"%.60s\" is a path and begins with / or *; did you mean "
		                       "\"*/%.60s\"?",
		                       node->key, node->text, node->text);
}

static void read_comm(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	gd_policy_read_glob(reader, node, field);
	if (node->kind == GD_NODE_TEXT && !has_wildcard(node->text) &&
	    strchr(node->text, '\\') == NULL && strlen(node->text) > COMM_MAX)
		gd_policy_reader_error(reader, node,
		                       "comm: the kernel keeps %d bytes of a name; write "
		                       "\"%.15s\", or use exe",
		                       COMM_MAX, node->text);
}

static void read_container(struct gd_policy_reader *reader, const struct gd_node *node,
                           void *field)
{
	gd_policy_read_glob(reader, node, field);
	if (node->kind != GD_NODE_TEXT || node->text[0] == '\0')
		return;
	bool hex = strspn(node->text, "0123456789abcdef") == strlen(node->text);
	size_t n = strlen(node->text);
	if ((hex && (n < 12 || n > 64)) || (!hex && strpbrk(node->text, "-_*?[") == NULL))
		gd_policy_reader_error(reader, node,
		                       "container: \"%.60s\" is neither 12 to 64 hex digits of a "
		                       "container id nor a pattern for a pod's uid",
		                       node->text);
}

static void read_port(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a TCP port");
	const char *end;
	uint64_t port;
	if (text == NULL)
		return;
	if (!gd_text_u64(text, &end, 10, &port) || *end != '\0' || port == 0 || port > UINT16_MAX)
		gd_policy_reader_error(reader, node,
		                       "listen: \"%.60s\" is not a TCP port; write 1 to 65535", text);
	else
		*(uint16_t *)field = (uint16_t)port;
}

static void read_uid(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	const char *text = gd_policy_reader_text(reader, node, "a user id");
	const char *end;
	uint64_t uid;
	if (text == NULL)
		return;
	/* the last one means "no user" to the kernel */
	if (!gd_text_u64(text, &end, 10, &uid) || *end != '\0' || uid >= UINT32_MAX)
		gd_policy_reader_error(reader, node,
		                       "uid: \"%.60s\" is not a user id; write the number", text);
	else
		*(int64_t *)field = (int64_t)uid;
}

static bool is_match_all(const char *glob)
{
	return glob == NULL || strspn(glob, "*") == strlen(glob);
}

static bool is_empty_match(const struct gd_match *m)
{
	return is_match_all(m->unit) && is_match_all(m->exe) && is_match_all(m->comm) &&
	       is_match_all(m->cmdline) && is_match_all(m->cgroup) &&
	       is_match_all(m->container) && m->listen == 0 && m->uid < 0;
}

static void read_match(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "unit", read_unit, offsetof(struct gd_match, unit) },
		{ "exe", read_path, offsetof(struct gd_match, exe) },
		{ "comm", read_comm, offsetof(struct gd_match, comm) },
		{ "cmdline", gd_policy_read_glob, offsetof(struct gd_match, cmdline) },
		{ "cgroup", read_path, offsetof(struct gd_match, cgroup) },
		{ "container", read_container, offsetof(struct gd_match, container) },
		{ "listen", read_port, offsetof(struct gd_match, listen) },
		{ "uid", read_uid, offsetof(struct gd_match, uid) },
		{ NULL, NULL, 0 },
	};
	size_t before = reader->findings->n_errors;
	if (gd_policy_reader_map(reader, node, "a match", keys, field) && is_empty_match(field) &&
	    reader->findings->n_errors == before)
		gd_policy_reader_error(reader, node, "this match would take every process");
}

/* A URL, or {url, histogram}. */
static void read_scrape(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "url", gd_policy_read_url, offsetof(struct gd_service, scrape) },
		{ "histogram", gd_policy_read_text, offsetof(struct gd_service, scrape_histogram) },
		{ NULL, NULL, 0 },
	};
	struct gd_service *service = field;
	if (node->kind == GD_NODE_TEXT)
		gd_policy_read_url(reader, node, &service->scrape);
	else if (gd_policy_reader_map(reader, node, "scrape", keys, service) &&
	         gd_node_get(node, "url") == NULL)
		gd_policy_reader_error(reader, node, "scrape has no url");
	if (service->scrape_histogram == NULL) {
		service->scrape_histogram = strdup(HISTOGRAM);
		reader->no_memory |= service->scrape_histogram == NULL;
	}
}

static void read_debug_port_number(struct gd_policy_reader *reader, const struct gd_node *node,
                                   void *field)
{
	struct gd_debug_port_policy *to = field;
	const char *text = gd_policy_reader_text(reader, node, "a TCP port, any or off");
	const char *end;
	uint64_t port = 0;
	if (text == NULL)
		return;
	to->wanted = strcmp(text, "off") != 0;
	if (!to->wanted || strcmp(text, "any") == 0)
		return;
	if (!gd_text_u64(text, &end, 10, &port) || *end != '\0' || port == 0 || port > UINT16_MAX)
		gd_policy_reader_error(reader, node, "debug_port: \"%.60s\" is not a TCP port; write 1 to "
		                       "65535, any or off", text);
	else
		to->port = (uint16_t)port;
}

static void read_trace(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	uint64_t *ns = field;
	gd_policy_read_duration(reader, node, field);
	if (node->kind == GD_NODE_TEXT && *ns != 0 && (*ns < TRACE_MIN_NS || *ns > TRACE_MAX_NS))
		gd_policy_reader_error(reader, node, "trace: %.40s is not from 10ms to 1m, or 0",
		                       node->text);
}

/* A port, any or off; or {port, trace}. */
static void read_debug_port(struct gd_policy_reader *reader, const struct gd_node *node, void *field)
{
	static const struct gd_policy_key keys[] = {
		{ "port", read_debug_port_number, 0 },
		{ "trace", read_trace, offsetof(struct gd_debug_port_policy, trace_ns) },
		{ NULL, NULL, 0 },
	};
	if (node->kind == GD_NODE_TEXT)
		read_debug_port_number(reader, node, field);
	else if (gd_policy_reader_map(reader, node, "debug_port", keys, field) &&
	         gd_node_get(node, "port") == NULL)
		gd_policy_reader_error(reader, node, "debug_port has no port: a number, or any");
}

static const struct gd_service *same_name(const struct gd_policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return &policy->services[i];
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_match(const struct gd_match *a, const struct gd_match *b)
{
	return same_text(a->unit, b->unit) && same_text(a->exe, b->exe) &&
	       same_text(a->comm, b->comm) && same_text(a->cmdline, b->cmdline) &&
	       same_text(a->cgroup, b->cgroup) && same_text(a->container, b->container) &&
	       a->listen == b->listen && a->uid == b->uid;
}

/* The first service that matches has the process, so a second one like it never has any. */
static void warn_of_shadow(struct gd_policy_reader *reader, const struct gd_node *match,
                           const struct gd_service *service)
{
	const struct gd_policy *policy = reader->policy;
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct gd_service *other = &policy->services[i];
		if (!same_match(&other->match, &service->match))
			continue;
		gd_policy_reader_warn(reader, match,
		                      "\"%s\" never has a process: \"%s\" at %s:%u:%u takes the "
		                      "same",
		                      service->name, other->name, other->at.file, other->at.line,
		                      other->at.column);
		return;
	}
}

/* Adds a service also when something in it is wrong: rules that name it are right. */
static void read_service(struct gd_policy_reader *reader, const struct gd_node *node,
                         struct gd_service *service)
{
	static const struct gd_policy_key keys[] = {
		{ "name", gd_policy_read_name, offsetof(struct gd_service, name) },
		{ "match", read_match, offsetof(struct gd_service, match) },
		{ "scrape", read_scrape, 0 },
		{ "debug_port", read_debug_port, offsetof(struct gd_service, debug_port) },
		{ NULL, NULL, 0 },
	};
	bool whole = gd_policy_reader_map(reader, node, "a service", keys, service);
	const struct gd_node *name = gd_node_get(node, "name");
	if (name != NULL) {
		service->at.line = name->line;
		service->at.column = name->column;
	} else if (whole) {
		gd_policy_reader_error(reader, node, "a service has no name");
	}
	const struct gd_node *match = gd_node_get(node, "match");
	if (match != NULL && !is_empty_match(&service->match))
		warn_of_shadow(reader, match, service);
	else if (whole && match == NULL)
		gd_policy_reader_error(reader, node,
		                       "service \"%s\" has no match, such as match: "
		                       "{unit: checkout.service}",
		                       service->name);
	const struct gd_service *other = same_name(reader->policy, service->name);
	if (name != NULL && service->name[0] != '\0' && other != NULL)
		gd_policy_reader_error(reader, name,
		                       "two services are named \"%s\"; the first is at %s:%u:%u",
		                       service->name, other->at.file, other->at.line,
		                       other->at.column);
}

void gd_policy_read_services(struct gd_policy_reader *reader, const struct gd_node *node)
{
	struct gd_policy *policy = reader->policy;
	if (node->kind != GD_NODE_LIST) {
		gd_policy_reader_error(reader, node, "services: expected a list, found %s",
		                       gd_node_kind_name(node));
		return;
	}
	for (const struct gd_node *item = node->first; item != NULL; item = item->next) {
		if (policy->n_services == GD_POLICY_SERVICES_MAX) {
			gd_policy_reader_error(reader, item, "more than %d services",
			                       GD_POLICY_SERVICES_MAX);
			return;
		}
		struct gd_service *list = realloc(
			policy->services, (policy->n_services + 1) * sizeof(*policy->services));
		if (list == NULL) {
			reader->no_memory = true;
			return;
		}
		policy->services = list;
		struct gd_service *service = &list[policy->n_services];
		*service = (struct gd_service){
			.match = { .uid = -1 },
			.debug_port = { .trace_ns = TRACE_NS },
			.at = { .file = reader->file, .line = item->line, .column = item->column },
		};
		read_service(reader, item, service);
		policy->n_services++;
	}
}
