/*
 * Prints what the agent says of itself.  The JSON comes from our own agent, but holds names that
 * processes chose: everything printed is escaped.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/control.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/cli.h"
#include "policies/metric.h"

#define NAME "godiag status"
#define STATUS_MAX (16u << 20)
#define PROCESSES_SHOWN 20

static void usage(FILE *out)
{
	(void)fputs("usage: " NAME " [--json] [--run DIR]\n"
	            "What the agent watches, what its rules did, what waits for upload, and what is\n"
	            "wrong.\n\n"
	            "Exit status: 0 all well, 4 there are problems, 1 usage, 2 no agent runs,\n"
	            "3 no permission.\n",
	            out);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text != NULL ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void put(const char *text)
{
	char line[1024];
	gd_text_escape(line, sizeof(line), text, strlen(text));
	(void)fputs(line, stdout);
}

static void print_problems(const json_t *problems)
{
	size_t i;
	json_t *problem;
	json_array_foreach(problems, i, problem) {
		(void)fputs(i == 0 ? "problems   " : "           ", stdout);
		put(json_string_value(problem) != NULL ? json_string_value(problem) : "");
		(void)putchar('\n');
	}
}

static void print_host(const json_t *host)
{
	size_t i;
	json_t *check;
	json_array_foreach(host, i, check) {
		(void)fputs(i == 0 ? "host       " : "           ", stdout);
		put(text_of(check, "check"));
		(void)fputs(": ", stdout);
		put(text_of(check, "detail"));
		(void)fputs("; lost: ", stdout);
		put(text_of(check, "lost"));
		(void)putchar('\n');
	}
}

/* A handful of numbers that say how a process does. */
static void print_metrics(const json_t *metrics)
{
	static const enum gd_metric shown[] = { GD_METRIC_CPU, GD_METRIC_RSS,
		                                GD_METRIC_GO_GOROUTINES, GD_METRIC_GO_GC_PAUSE_P99,
		                                GD_METRIC_HTTP_P99 };
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++) {
		const json_t *value = json_object_get(metrics, gd_metrics[shown[i]].name);
		char text[GD_METRIC_TEXT];
		if (json_is_number(value))
			(void)printf("  %s %s", gd_metrics[shown[i]].name,
			             gd_metric_text(text, shown[i], json_number_value(value)));
	}
}

static void print_watched(const json_t *watched)
{
	size_t i;
	json_t *process;
	json_array_foreach(watched, i, process) {
		if (i == PROCESSES_SHOWN) {
			(void)printf("           and %zu more\n", json_array_size(watched) - i);
			return;
		}
		(void)printf("%s %7lld ", i == 0 ? "watched   " : "          ",
		             number_of(process, "pid"));
		put(text_of(process, "comm"));
		(void)fputs("  ", stdout);
		put(text_of(process, "service"));
		print_metrics(json_object_get(process, "metrics"));
		(void)putchar('\n');
	}
}

static void print_rules(const json_t *rules)
{
	size_t i;
	json_t *rule;
	json_array_foreach(rules, i, rule) {
		const char *verdict;
		json_t *count;
		(void)fputs(i == 0 ? "rules      " : "           ", stdout);
		put(text_of(rule, "name"));
		(void)printf(" (");
		put(text_of(rule, "service"));
		(void)printf("): %s", json_is_true(json_object_get(rule, "disabled"))
		                              ? "disabled itself"
		                              : text_of(rule, "state"));
		json_object_foreach(json_object_get(rule, "triggers"), verdict, count)
			(void)printf(", %lld %s", (long long)json_integer_value(count), verdict);
		(void)putchar('\n');
	}
}

static void print_spool(const json_t *spool, const char *upload_to)
{
	char ready[GD_UNITS_TEXT];
	char done[GD_UNITS_TEXT];
	char left[GD_UNITS_TEXT];
	(void)printf("spool      %lld waiting (%s), %lld uploaded and kept (%s), %s free; to ",
	             number_of(spool, "ready"),
	             gd_units_bytes(ready, (uint64_t)number_of(spool, "ready_bytes")),
	             number_of(spool, "done"),
	             gd_units_bytes(done, (uint64_t)number_of(spool, "done_bytes")),
	             gd_units_bytes(left, (uint64_t)number_of(spool, "fs_free_bytes")));
	put(upload_to[0] != '\0' ? upload_to : "nowhere (policy has no upload:)");
	(void)putchar('\n');
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(spool, "failing"), i, item) {
		(void)fputs("           ", stdout);
		put(text_of(item, "id"));
		(void)printf(": %lld failed uploads: ", number_of(item, "attempts"));
		put(text_of(item, "error"));
		(void)putchar('\n');
	}
}

static void print_captures(const json_t *captures)
{
	size_t i;
	json_t *capture;
	json_array_foreach(captures, i, capture) {
		(void)fputs(i == 0 ? "captures   " : "           ", stdout);
		put(text_of(capture, "id"));
		(void)printf("  %-9s ", text_of(capture, "state"));
		put(text_of(capture, "rule")[0] != '\0' ? text_of(capture, "rule")
		                                        : text_of(capture, "trigger"));
		(void)fputs(": ", stdout);
		put(text_of(capture, "reason"));
		if (text_of(capture, "error")[0] != '\0') {
			(void)fputs("; ", stdout);
			put(text_of(capture, "error"));
		}
		(void)putchar('\n');
	}
}

static void print(const json_t *status)
{
	char up[GD_UNITS_TEXT];
	(void)printf("godiagd    %s, pid %lld, up %s, hook %s, uploader %s\n",
	             text_of(status, "version"), number_of(status, "pid"),
	             gd_units_duration(up, (uint64_t)number_of(status, "up_s") * 1000000000u),
	             json_is_true(json_object_get(status, "hook")) ? "connected" : "not there",
	             json_is_true(json_object_get(status, "uploader")) ? "connected" : "not there");
	(void)printf("policy     %.19s", text_of(status, "policy"));
	size_t i;
	json_t *file;
	json_array_foreach(json_object_get(status, "policy_files"), i, file) {
		(void)fputs(i == 0 ? "  " : ", ", stdout);
		put(json_string_value(file));
	}
	(void)putchar('\n');
	print_problems(json_object_get(status, "problems"));
	print_host(json_object_get(status, "host"));
	print_watched(json_object_get(status, "watched"));
	print_rules(json_object_get(status, "rules"));
	print_spool(json_object_get(status, "spool"), text_of(status, "upload_to"));
	print_captures(json_object_get(status, "captures"));
}

static int ask(const char *run, struct gd_buf *text, struct gd_error *err)
{
	char path[600];
	GD_CLOSE int fd = -1;
	(void)snprintf(path, sizeof(path), "%s/control", run);
	int r = gd_control_connect(path, &fd, err);
	return r < 0 ? r : gd_control_ask_status(fd, text, err);
}

int gd_cli_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "run", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *run = GD_CLI_RUN_DIR;
	bool json = false;
	int option;
	while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		if (option == 'j') {
			json = true;
		} else if (option == 'r') {
			run = optarg;
		} else {
			usage(option == 'h' ? stdout : stderr);
			return option == 'h' ? GD_EXIT_COMPLETE : GD_EXIT_USAGE;
		}
	}
	GD_BUF struct gd_buf text = GD_BUF_INIT(STATUS_MAX);
	struct gd_error err = { 0 };
	int r = ask(run, &text, &err);
	if (r < 0)
		return gd_cli_fail(r == -EACCES ? GD_EXIT_PERMISSION : GD_EXIT_GONE, NAME, &err);
	json_error_t why;
	json_t *status = json_loadb(text.data, text.len, 0, &why);
	if (status == NULL) {
		(void)gd_fail(&err, -EBADMSG, "the agent's answer: %s", why.text);
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	}
	if (json)
		(void)fputs(gd_buf_str(&text), stdout);
	else
		print(status);
	int exit = json_array_size(json_object_get(status, "problems")) > 0 ? GD_EXIT_PARTIAL
	                                                                     : GD_EXIT_COMPLETE;
	json_decref(status);
	return exit;
}
