/*
 * godiag check: what is wrong with a policy, and in words what it would do.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/exit.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/check_replay.h"
#include "cli/cli.h"
#include "policies/finding.h"
#include "policies/policy.h"
#include "policies/policy_words.h"
#include "uploader/uploader.h"

#define NAME "godiag check"

static void usage(FILE *out)
{
	(void)fputs("usage: " NAME " [PATH] [--explain] [--json]\n"
	            "       " NAME " [PATH] --replay FILE [--service NAME] [--host ID]\n"
	            "Check a policy (a file, or a directory with policy.yaml and policy.d/), and name\n"
	            "file, line and column of everything that is wrong.\n\n"
	            "  PATH       default " GD_CLI_CONFIG "\n"
	            "  --explain  also say in words what each rule does\n"
	            "  --replay   when each rule would have fired on recorded metrics, and whether it\n"
	            "             would have been admitted: timeline.jsonl of an archive, or - for\n"
	            "             stdin; see godiag-policy(5)\n"
	            "  --service  whose samples these are, where the recording does not say\n"
	            "  --host     decide samples of the fleet as that machine id does\n"
	            "  --json     one JSON object\n\n"
	            "Exit status: 0 the agent would take it, 1 it would not, 3 no permission.\n",
	            out);
}

static void cleanup_policy(struct gd_policy **policy)
{
	gd_policy_free(*policy);
}

/* What only the uploader can tell; it has no line, because a drop-in may have set it. */
static void check_upload(const struct gd_policy *policy, struct gd_findings *findings)
{
	struct gd_error err = { 0 };
	if (policy->upload != NULL && gd_uploader_check_url(policy->upload, &err) < 0)
		gd_findings_add(findings, GD_SEVERITY_ERROR, policy->files[0], 0, 0, "upload: %s",
		                err.msg);
}

static void print_findings(const struct gd_findings *findings)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	for (size_t i = 0; i < findings->n; i++)
		gd_finding_put(&findings->list[i], &text);
	(void)fputs(gd_buf_str(&text), stdout);
	if (findings->n_errors > findings->n)
		(void)printf("... and more: %zu errors in all\n", findings->n_errors);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_summary(const char *path, const struct gd_policy *policy)
{
	char name[1000];
	gd_text_escape(name, sizeof(name), path, strlen(path));
	(void)printf("%s: %zu service%s, %zu rule%s, %s\n", name, policy->n_services,
	             plural(policy->n_services), policy->n_rules, plural(policy->n_rules),
	             policy->digest);
}

/* Names in one column as wide as the widest of them. */
static void print_explanation(const struct gd_policy *policy)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(8 << 20);
	size_t width = 4;
	for (size_t i = 0; i < policy->n_services; i++)
		width = strlen(policy->services[i].name) > width ? strlen(policy->services[i].name)
		                                                 : width;
	for (size_t i = 0; i < policy->n_rules; i++)
		width = strlen(policy->rules[i].name) > width ? strlen(policy->rules[i].name)
		                                              : width;
	unsigned indent = (unsigned)width + 4;
	gd_buf_printf(&text, "\nhost\n%*s", (int)indent, "");
	gd_policy_words_host(policy, indent, &text);
	if (policy->n_services > 0)
		gd_buf_puts(&text, "\nservices\n");
	for (size_t i = 0; i < policy->n_services; i++) {
		gd_buf_printf(&text, "  %-*s  ", (int)width, policy->services[i].name);
		gd_policy_words_service(&policy->services[i], indent, &text);
	}
	if (policy->n_rules > 0)
		gd_buf_puts(&text, "\nrules\n");
	for (size_t i = 0; i < policy->n_rules; i++) {
		gd_buf_printf(&text, "  %-*s  ", (int)width, policy->rules[i].name);
		gd_policy_words_rule(policy, &policy->rules[i], indent, &text);
	}
	(void)fputs(gd_buf_str(&text), stdout);
}

static void print_json(const char *path, const struct gd_policy *policy,
                       const struct gd_findings *findings)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(1 << 20);
	struct gd_json json = GD_JSON_INIT(&text);
	gd_json_object(&json, NULL);
	gd_json_string(&json, "path", path);
	gd_json_bool(&json, "ok", policy != NULL && findings->n_errors == 0);
	gd_json_string(&json, "digest", policy != NULL ? policy->digest : NULL);
	gd_json_u64(&json, "services", policy != NULL ? policy->n_services : 0);
	gd_json_u64(&json, "rules", policy != NULL ? policy->n_rules : 0);
	gd_json_u64(&json, "errors", findings->n_errors);
	gd_json_array(&json, "findings");
	for (size_t i = 0; i < findings->n; i++) {
		const struct gd_finding *f = &findings->list[i];
		gd_json_object(&json, NULL);
		gd_json_string(&json, "severity",
		               f->severity == GD_SEVERITY_ERROR ? "error" : "warning");
		gd_json_string(&json, "file", f->file);
		gd_json_u64(&json, "line", f->line);
		gd_json_u64(&json, "column", f->column);
		gd_json_string(&json, "text", f->text);
		gd_json_object_end(&json);
	}
	gd_json_array_end(&json);
	gd_json_object_end(&json);
	(void)puts(gd_buf_str(&text));
}

struct wish {
	const char *path;
	bool explain, json;
	struct gd_cli_replay replay; /* its file NULL: none */
};

static int check(const struct wish *wish)
{
	GD_CLEANUP(cleanup_policy) struct gd_policy *policy = NULL;
	GD_CLEANUP(gd_findings_deinit) struct gd_findings findings = { 0 };
	struct gd_error err = { 0 };
	int r = gd_policy_load(wish->path, &policy, &findings, &err);
	if (r < 0 && r != -EINVAL)
		return gd_cli_fail(r == -EACCES || r == -EPERM ? GD_EXIT_PERMISSION : GD_EXIT_USAGE,
		                   NAME, &err);
	if (r == 0)
		check_upload(policy, &findings);
	if (wish->json) {
		print_json(wish->path, policy, &findings);
	} else {
		print_findings(&findings);
		if (findings.n_errors == 0 && policy != NULL)
			print_summary(wish->path, policy);
		if (wish->explain && policy != NULL)
			print_explanation(policy);
	}
	if (findings.n_errors > 0)
		return GD_EXIT_USAGE;
	return wish->replay.file != NULL ? gd_cli_check_replay(policy, &wish->replay)
	                                 : GD_EXIT_COMPLETE;
}

int gd_cli_check(int argc, char **argv)
{
	static const struct option options[] = {
		{ "explain", no_argument, NULL, 'e' },
		{ "host", required_argument, NULL, 'H' },
		{ "json", no_argument, NULL, 'j' },
		{ "replay", required_argument, NULL, 'r' },
		{ "service", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct wish wish = { .path = GD_CLI_CONFIG };
	int option;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'e':
			wish.explain = true;
			break;
		case 'j':
			wish.json = true;
			break;
		case 'r':
			wish.replay.file = optarg;
			break;
		case 's':
			wish.replay.service = optarg;
			break;
		case 'H':
			wish.replay.host = optarg;
			break;
		case 'h':
			usage(stdout);
			return GD_EXIT_COMPLETE;
		default:
			usage(stderr);
			return GD_EXIT_USAGE;
		}
	}
	bool at_odds = wish.replay.file != NULL ? wish.json
	                                        : wish.replay.service != NULL ||
	                                                  wish.replay.host != NULL;
	if (argc - optind > 1 || at_odds) {
		(void)fputs(argc - optind > 1 ? NAME ": one PATH at a time\n"
		            : wish.json       ? NAME ": --replay prints lines, not --json\n"
		                              : NAME ": --service and --host go with --replay\n",
		            stderr);
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	if (optind < argc)
		wish.path = argv[optind];
	return check(&wish);
}
