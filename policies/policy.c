/*
 * A policy from its files: every file becomes a document, all services are read before the first
 * rule, so that a rule may stand before its service or in another file.
 */
#include "policies/policy.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policies/document.h"
#include "policies/finding.h"
#include "policies/policy_files.h"
#include "policies/policy_reader.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define DAY_NS (86400 * NS_PER_S)

#define HOOK_LISTEN "unix:/run/godiag-hook/hook.sock"

static void free_service(struct gd_service *s)
{
	free(s->match.unit);
	free(s->match.exe);
	free(s->match.comm);
	free(s->match.cmdline);
	free(s->match.cgroup);
	free(s->match.container);
	free(s->scrape);
	free(s->scrape_histogram);
}

static void free_rule(struct gd_rule *rule)
{
	free(rule->alert);
	for (size_t i = 0; i < rule->n_labels; i++) {
		free(rule->labels[i].key);
		free(rule->labels[i].value);
	}
}

void gd_policy_free(struct gd_policy *policy)
{
	if (policy == NULL)
		return;
	for (size_t i = 0; i < policy->n_services; i++)
		free_service(&policy->services[i]);
	for (size_t i = 0; i < policy->n_rules; i++)
		free_rule(&policy->rules[i]);
	for (char **file = policy->files; file != NULL && *file != NULL; file++)
		free(*file);
	free(policy->files);
	free(policy->services);
	free(policy->rules);
	free(policy->upload);
	free(policy->hook.listen);
	free(policy->hook.tokens);
	free(policy);
}

static void cleanup_policy(struct gd_policy **policy)
{
	gd_policy_free(*policy);
}

const struct gd_rule *gd_policy_rule(const struct gd_policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (strcmp(policy->rules[i].name, name) == 0)
			return &policy->rules[i];
	return NULL;
}

/* Of all files one after another: `cat` and `sha256sum` give the same. */
static bool digest(const struct gd_policy_files *files, char to[72])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; ok && i < files->n; i++)
		ok = EVP_DigestUpdate(md, files->list[i].text.data, files->list[i].text.len) == 1;
	ok = ok && EVP_DigestFinal_ex(md, hash, &n) == 1;
	EVP_MD_CTX_free(md);
	if (!ok)
		return false;
	memcpy(to, "sha256:", 8);
	for (size_t i = 0; i < n; i++)
		(void)snprintf(to + 7 + 2 * i, 3, "%02x", hash[i]);
	return true;
}

/* The defaults of the host; NULL: no memory. */
static struct gd_policy *make_policy(const struct gd_policy_files *files)
{
	GD_CLEANUP(cleanup_policy) struct gd_policy *policy = calloc(1, sizeof(*policy));
	if (policy == NULL)
		return NULL;
	policy->budget = (struct gd_budget){
		.captures = { .n = 20, .window_ns = DAY_NS },
		.pause = { .n = NS_PER_S, .window_ns = DAY_NS },
		.pause_ns = 50 * NS_PER_MS,
		.spool_bytes = UINT64_C(2) << 30,
		.free_ratio = 0.15,
	};
	policy->core.keep_huge = true;
	policy->samples = (struct gd_samples_policy){ .duration_ns = 10 * NS_PER_S,
		                                      .frequency_hz = 99 };
	policy->hook.listen = strdup(HOOK_LISTEN);
	policy->files = malloc((files->n + 1) * sizeof(*policy->files));
	if (policy->files != NULL)
		policy->files[0] = NULL;
	if (policy->hook.listen == NULL || policy->files == NULL)
		return NULL;
	for (size_t i = 0; i < files->n; i++) {
		policy->files[i] = strdup(files->list[i].path);
		policy->files[i + 1] = NULL;
		if (policy->files[i] == NULL)
			return NULL;
	}
	return digest(files, policy->digest) ? gd_steal_ptr(&policy) : NULL;
}

struct documents {
	struct gd_document *list;
	size_t n;
};

static void free_documents(struct documents *documents)
{
	for (size_t i = 0; i < documents->n; i++)
		gd_document_deinit(&documents->list[i]);
	free(documents->list);
}

/* One document for each file; one without a tree for a file that gives none. */
static int parse_files(const struct gd_policy_files *files, struct gd_policy_reader *reader,
                       struct documents *ret, struct gd_error *err)
{
	size_t nodes_left = GD_DOCUMENT_NODES_MAX;
	ret->list = calloc(files->n + 1, sizeof(*ret->list));
	if (ret->list == NULL)
		return gd_fail(err, -ENOMEM, "no memory for a policy");
	ret->n = files->n;
	for (size_t i = 0; i < files->n; i++) {
		struct gd_policy_file *file = &files->list[i];
		int r = file->readable ? 0 : -EINVAL;
		if (r == 0)
			r = gd_document_parse(file->path, gd_buf_str(&file->text), file->text.len,
			                      &nodes_left, &ret->list[i], reader->findings);
		if (r == -ENOMEM)
			return gd_fail(err, -ENOMEM, "no memory for %s", file->path);
		reader->incomplete |= r < 0;
	}
	return 0;
}

/* `read` is given the value of `key` in every file, or its whole tree when there is no key. */
static void each(struct gd_policy_reader *reader, const struct documents *documents,
                 const char *key,
                 void (*read)(struct gd_policy_reader *, const struct gd_node *))
{
	for (size_t i = 0; i < documents->n; i++) {
		const struct gd_node *node = documents->list[i].root;
		if (node != NULL && key != NULL)
			node = gd_node_get(node, key);
		reader->file = reader->policy->files[i];
		if (node != NULL && !gd_node_is_empty(node))
			read(reader, node);
	}
}

static int say_what_is_wrong(const struct gd_findings *findings, const char *path,
                             struct gd_error *err)
{
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	size_t first = 0;
	while (first < findings->n && findings->list[first].severity != GD_SEVERITY_ERROR)
		first++;
	if (first == findings->n)
		return gd_fail(err, -EINVAL, "%s: %zu errors", path, findings->n_errors);
	gd_finding_put(&findings->list[first], &line);
	const char *text = gd_buf_str(&line);
	return gd_fail(err, -EINVAL, "%zu error%s, first %.*s", findings->n_errors,
	               findings->n_errors == 1 ? "" : "s", (int)strcspn(text, "\n"), text);
}

static int load(const char *path, const struct gd_policy_files *files, struct gd_policy **ret,
                struct gd_findings *findings, struct gd_error *err)
{
	GD_CLEANUP(cleanup_policy) struct gd_policy *policy = make_policy(files);
	GD_CLEANUP(free_documents) struct documents documents = { 0 };
	if (policy == NULL)
		return gd_fail(err, -ENOMEM, "%s: no memory", path);
	struct gd_policy_reader reader = {
		.policy = policy, .findings = findings, .incomplete = files->incomplete
	};
	int r = parse_files(files, &reader, &documents, err);
	if (r < 0)
		return r;
	each(&reader, &documents, NULL, gd_policy_read_host);
	each(&reader, &documents, "services", gd_policy_read_services);
	each(&reader, &documents, "rules", gd_policy_read_rules);
	if (reader.no_memory)
		return gd_fail(err, -ENOMEM, "%s: no memory", path);
	gd_findings_sort(findings, policy->files);
	if (findings->n_errors > 0)
		return say_what_is_wrong(findings, path, err);
	*ret = gd_steal_ptr(&policy);
	return 0;
}

int gd_policy_load(const char *path, struct gd_policy **ret, struct gd_findings *findings,
                   struct gd_error *err)
{
	GD_CLEANUP(gd_policy_files_deinit) struct gd_policy_files files = { 0 };
	GD_CLEANUP(gd_findings_deinit) struct gd_findings own = { 0 };
	if (findings == NULL)
		findings = &own;
	int r = gd_policy_files_read(path, &files, findings, err);
	return r < 0 ? r : load(path, &files, ret, findings, err);
}

int gd_policy_parse(const char *file, const char *text, size_t len, struct gd_policy **ret,
                    struct gd_findings *findings, struct gd_error *err)
{
	GD_CLEANUP(gd_findings_deinit) struct gd_findings own = { 0 };
	struct gd_policy_file one = { .text = GD_BUF_INIT(GD_DOCUMENT_BYTES_MAX), .readable = true };
	struct gd_policy_files files = { .list = &one, .n = 1 };
	if (findings == NULL)
		findings = &own;
	(void)snprintf(one.path, sizeof(one.path), "%s", file);
	gd_buf_append(&one.text, text, len);
	int r = gd_buf_check(&one.text, file, err);
	if (r == 0)
		r = load(file, &files, ret, findings, err);
	gd_buf_deinit(&one.text);
	return r;
}
