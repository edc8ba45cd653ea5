#include "agent/hook_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"

/* ---- writing, in the broker ---- */

static void put_u32(struct gd_buf *to, uint32_t value)
{
	gd_buf_append(to, &value, sizeof(value));
}

/* Length without, text with its NUL: read in place later. */
static void put_text(struct gd_buf *to, const char *text)
{
	size_t n = text != NULL ? strlen(text) : 0;
	put_u32(to, (uint32_t)n);
	gd_buf_append(to, text != NULL ? text : "", n + 1);
}

static bool waits_for_http(const struct gd_policy *policy, size_t service)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		if (rule->service == service &&
		    ((rule->kind == GD_WHEN_METRIC && rule->when.metric == GD_METRIC_HTTP_P99) ||
		     (rule->has_unless && rule->unless.metric == GD_METRIC_HTTP_P99)))
			return true;
	}
	return false;
}

void gd_hook_table_put(const struct gd_policy *policy, struct gd_buf *to)
{
	uint32_t n_rules = 0;
	uint32_t n_labels = 0;
	uint32_t n_scrapes = 0;
	for (size_t i = 0; i < policy->n_rules; i++)
		if (policy->rules[i].kind == GD_WHEN_ALERT) {
			n_rules++;
			n_labels += (uint32_t)policy->rules[i].n_labels;
		}
	for (size_t i = 0; i < policy->n_services; i++)
		n_scrapes += policy->services[i].scrape != NULL;
	put_text(to, policy->hook.listen);
	put_text(to, policy->hook.tokens);
	put_u32(to, n_rules);
	put_u32(to, n_labels);
	put_u32(to, n_scrapes);
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct gd_rule *rule = &policy->rules[i];
		if (rule->kind != GD_WHEN_ALERT)
			continue;
		put_u32(to, (uint32_t)i);
		put_text(to, rule->name);
		put_text(to, policy->services[rule->service].name);
		put_text(to, rule->alert);
		put_u32(to, (uint32_t)rule->n_labels);
		for (size_t k = 0; k < rule->n_labels; k++) {
			put_text(to, rule->labels[k].key);
			put_text(to, rule->labels[k].value);
		}
	}
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct gd_service *service = &policy->services[i];
		if (service->scrape == NULL)
			continue;
		put_u32(to, (uint32_t)i);
		put_text(to, service->scrape);
		put_text(to, service->scrape_histogram);
		put_u32(to, waits_for_http(policy, i));
	}
}

int gd_hook_table_memfd(const void *bytes, size_t n, struct gd_error *err)
{
	GD_CLOSE int fd = memfd_create("godiag-hook", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "memfd_create");
	int r = gd_io_write_all(fd, bytes, n, err);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return gd_fail_errno(err, -errno, "sealing a memfd");
	return gd_steal_fd(&fd);
}

/* ---- reading, in the server ---- */

int gd_hook_table_read(int fd, uint32_t size, uint32_t max, char **ret, struct gd_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return gd_fail_errno(err, -errno, "a passed descriptor");
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)size || size > max)
		return gd_fail(err, -EBADMSG, "a passed file of %lld bytes instead of %u",
		               (long long)st.st_size, size);
	GD_FREE char *bytes = malloc((size_t)size + 1);
	if (bytes == NULL)
		return gd_fail(err, -ENOMEM, "%u bytes", size);
	int r = gd_io_pread_all(fd, bytes, size, 0, err);
	if (r < 0)
		return r;
	bytes[size] = '\0';
	*ret = gd_steal_ptr(&bytes);
	return 0;
}

static const char *take_text(struct gd_bytes *in)
{
	uint32_t n = gd_bytes_u32(in);
	const uint8_t *text = gd_bytes_take(in, (size_t)n + 1);
	if (text == NULL || text[n] != 0 || memchr(text, 0, n) != NULL) {
		in->bad = true;
		return "";
	}
	return (const char *)text;
}

static uint32_t take_count(struct gd_bytes *in, uint32_t max)
{
	uint32_t n = gd_bytes_u32(in);
	if (n > max)
		in->bad = true;
	return in->bad ? 0 : n;
}

static void take_rules(struct gd_bytes *in, struct gd_hook_table *table, size_t labels_left)
{
	struct gd_hook_label *label = table->labels;
	for (size_t i = 0; i < table->n_rules && !in->bad; i++) {
		struct gd_hook_rule *rule = &table->rules[i];
		rule->index = gd_bytes_u32(in);
		rule->name = take_text(in);
		rule->service = take_text(in);
		rule->alert = take_text(in);
		rule->n_labels = take_count(in, GD_POLICY_LABELS_MAX);
		rule->labels = label;
		if (rule->n_labels > labels_left)
			in->bad = true;
		for (size_t k = 0; k < rule->n_labels && !in->bad; k++, label++, labels_left--) {
			label->key = take_text(in);
			label->value = take_text(in);
		}
	}
}

int gd_hook_table_parse(const void *bytes, size_t n, uint32_t generation,
                        struct gd_hook_table **ret, struct gd_error *err)
{
	struct gd_hook_table *table = calloc(1, sizeof(*table));
	if (table == NULL)
		return gd_fail(err, -ENOMEM, "the rules");
	table->bytes = malloc(n + 1);
	if (table->bytes == NULL) {
		gd_hook_table_destroy(table);
		return gd_fail(err, -ENOMEM, "%zu bytes of rules", n);
	}
	if (n > 0)
		memcpy(table->bytes, bytes, n);
	struct gd_bytes in = gd_bytes_of(table->bytes, n);
	table->generation = generation;
	table->listen = take_text(&in);
	table->tokens = take_text(&in);
	table->n_rules = take_count(&in, GD_POLICY_RULES_MAX);
	size_t n_labels = take_count(&in, GD_POLICY_RULES_MAX * GD_POLICY_LABELS_MAX);
	table->n_scrapes = take_count(&in, GD_POLICY_SERVICES_MAX);
	table->rules = calloc(table->n_rules + 1, sizeof(*table->rules));
	table->labels = calloc(n_labels + 1, sizeof(*table->labels));
	table->scrapes = calloc(table->n_scrapes + 1, sizeof(*table->scrapes));
	if (table->rules == NULL || table->labels == NULL || table->scrapes == NULL) {
		gd_hook_table_destroy(table);
		return gd_fail(err, -ENOMEM, "%zu rules", n);
	}
	take_rules(&in, table, n_labels);
	for (size_t i = 0; i < table->n_scrapes && !in.bad; i++) {
		table->scrapes[i].service = take_count(&in, GD_POLICY_SERVICES_MAX - 1);
		table->scrapes[i].url = take_text(&in);
		table->scrapes[i].histogram = take_text(&in);
		table->scrapes[i].fast = take_count(&in, 1) == 1;
	}
	if (in.bad || in.pos != n) {
		gd_hook_table_destroy(table);
		return gd_fail(err, -EBADMSG, "a table of %zu bytes that is none of ours", n);
	}
	*ret = table;
	return 0;
}

void gd_hook_table_destroy(struct gd_hook_table *table)
{
	if (table == NULL)
		return;
	free(table->rules);
	free(table->labels);
	free(table->scrapes);
	free(table->bytes);
	free(table);
}

/* ---- finding ---- */

const struct gd_hook_rule *gd_hook_table_rule(const struct gd_hook_table *table, const char *name)
{
	for (size_t i = 0; i < table->n_rules; i++)
		if (strcmp(table->rules[i].name, name) == 0)
			return &table->rules[i];
	return NULL;
}

static bool has_label(const struct gd_hook_label *labels, size_t n,
                      const struct gd_hook_label *want)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(labels[i].key, want->key) == 0)
			return strcmp(labels[i].value, want->value) == 0;
	return false;
}

const struct gd_hook_rule *gd_hook_table_match(const struct gd_hook_table *table,
                                               const char *alertname,
                                               const struct gd_hook_label *labels,
                                               size_t n_labels, size_t *position)
{
	while (*position < table->n_rules) {
		const struct gd_hook_rule *rule = &table->rules[(*position)++];
		bool all = strcmp(rule->alert, alertname) == 0;
		for (size_t i = 0; i < rule->n_labels && all; i++)
			all = has_label(labels, n_labels, &rule->labels[i]);
		if (all)
			return rule;
	}
	return NULL;
}
