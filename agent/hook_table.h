#pragma once
/*
 * What the hook needs to know of a policy: where to listen, which alerts mean which rule, what to
 * scrape.  The broker writes it as one blob into a sealed memfd; the server reads it back and finds
 * rules in it.  No target facts in it.
 */
#include <stdbool.h>
#include <stdint.h>

#include "agent/hook_record.h"
#include "base/buf.h"
#include "policies/policy.h"

struct gd_hook_label {
	const char *key, *value; /* valid UTF-8 is not promised */
};

struct gd_hook_rule {
	uint32_t index; /* in the policy */
	const char *name, *service, *alert;
	const struct gd_hook_label *labels; /* all must be equal */
	size_t n_labels;
};

struct gd_hook_scrape {
	uint32_t service; /* index in the policy */
	const char *url, *histogram;
	bool fast; /* a rule looks at its http_p99 */
};

struct gd_hook_table {
	uint32_t generation;
	const char *listen, *tokens; /* tokens "": not said */
	struct gd_hook_rule *rules;
	size_t n_rules;
	struct gd_hook_scrape *scrapes;
	size_t n_scrapes;
	struct gd_hook_label *labels;
	char *bytes; /* all strings point in here */
};

/* Appends the blob of a policy's hook part. */
void gd_hook_table_put(const struct gd_policy *policy, struct gd_buf *to);

/* -EBADMSG: not a blob of ours.  Copies `bytes`. */
int gd_hook_table_parse(const void *bytes, size_t n, uint32_t generation,
                        struct gd_hook_table **ret, struct gd_error *err);
void gd_hook_table_destroy(struct gd_hook_table *table); /* NULL allowed */

/* NULL when there is none of that name. */
const struct gd_hook_rule *gd_hook_table_rule(const struct gd_hook_table *table, const char *name);

/*
 * The next rule at or after *position that means this alert, NULL when there is no more; advances
 * *position.  Begin with 0.
 */
const struct gd_hook_rule *gd_hook_table_match(const struct gd_hook_table *table,
                                               const char *alertname,
                                               const struct gd_hook_label *labels,
                                               size_t n_labels, size_t *position);

/* A memfd with these bytes that nobody can change any more. */
int gd_hook_table_memfd(const void *bytes, size_t n, struct gd_error *err);
/* Its content (malloc'd) when it is exactly `size` bytes, at most `max`, of a regular file. */
int gd_hook_table_read(int fd, uint32_t size, uint32_t max, char **ret, struct gd_error *err);
