#pragma once
/*
 * Inside of policies/policy*.c: from nodes of a document to fields of struct gd_policy.  A table of
 * keys says what a map may hold; each value is read by a function that either sets its field or
 * adds a finding and leaves it alone, so reading always goes on.
 */
#include "policies/document.h"
#include "policies/policy.h"

struct gd_policy_reader {
	struct gd_policy *policy;
	struct gd_findings *findings;
	const char *file;     /* the one being read; lives as long as the policy */
	bool incomplete;      /* a file could not be read: names may be missing through no fault */
	bool no_memory;
};

typedef void gd_policy_read_fn(struct gd_policy_reader *reader, const struct gd_node *node,
                               void *field);

struct gd_policy_key {
	const char *name;
	gd_policy_read_fn *read; /* NULL: known, the caller looks at it himself */
	size_t offset;           /* of the field in `to` */
};

/* Adds an error at a value, at its key, or a warning at a value. */
void gd_policy_reader_error(struct gd_policy_reader *reader, const struct gd_node *at,
                            const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void gd_policy_reader_error_at_key(struct gd_policy_reader *reader, const struct gd_node *at,
                                   const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void gd_policy_reader_warn(struct gd_policy_reader *reader, const struct gd_node *at,
                           const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Reads a map by its table (its last row has no name).  `what`: "a rule", for messages.  False: it is
 * no map, or has a key which is unknown or empty, and that was said: then it is not for the caller
 * to complain of what is missing. */
bool gd_policy_reader_map(struct gd_policy_reader *reader, const struct gd_node *node,
                          const char *what, const struct gd_policy_key *keys, void *to);

/* The node's text, or NULL after adding an error: `what` was expected. */
const char *gd_policy_reader_text(struct gd_policy_reader *reader, const struct gd_node *node,
                                  const char *what);

/* {metric, above|below}; false: errors were added. */
bool gd_policy_reader_condition(struct gd_policy_reader *reader, const struct gd_node *node,
                                struct gd_condition *ret);

/* Values, each with the type of its field. */
gd_policy_read_fn gd_policy_read_name;       /* char[GD_POLICY_NAME_MAX] */
gd_policy_read_fn gd_policy_read_text;       /* char *: printable, at most 1023 bytes */
gd_policy_read_fn gd_policy_read_glob;       /* char *: a text and a good pattern */
gd_policy_read_fn gd_policy_read_url;        /* char *: http:// or https:// */
gd_policy_read_fn gd_policy_read_duration;   /* uint64_t ns */
gd_policy_read_fn gd_policy_read_bytes;      /* uint64_t */
gd_policy_read_fn gd_policy_read_count;      /* uint64_t, at least 1 */
gd_policy_read_fn gd_policy_read_bandwidth;  /* uint64_t: "20MiB/s" */
gd_policy_read_fn gd_policy_read_ratio;      /* double: "15%", below 100 % */
gd_policy_read_fn gd_policy_read_bool;       /* bool */
gd_policy_read_fn gd_policy_read_counts;     /* struct gd_rate: "5/24h" or none */
gd_policy_read_fn gd_policy_read_bytes_rate; /* struct gd_rate: "2GiB/24h" or none */
gd_policy_read_fn gd_policy_read_time_rate;  /* struct gd_rate: "1s/24h" or none */

/* Items of the lists `services` and `rules`, and the values of the other top-level keys. */
void gd_policy_read_services(struct gd_policy_reader *reader, const struct gd_node *node);
void gd_policy_read_rules(struct gd_policy_reader *reader, const struct gd_node *node);
void gd_policy_read_host(struct gd_policy_reader *reader, const struct gd_node *root);

/* What one rule may cap of its own. */
void gd_policy_read_rule_budget(struct gd_policy_reader *reader, const struct gd_node *node,
                                void *field);
