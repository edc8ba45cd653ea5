#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/exit.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "uploader/retention.h"

#define NAME "godiag prune"
#define SPOOL "/var/lib/godiag/spool"

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " [--spool DIR] [--age TIME] [--count N] [--bytes BYTES]\n"
		"                    [--total BYTES] [--free PERCENT] [--all] [--dry-run]\n"
		"Delete archives of a spool that no agent has open (an agent prunes by its policy).\n\n"
		"  --spool DIR     default: " SPOOL "\n"
		"  --age TIME      uploaded ones older than that (30d is 720h)\n"
		"  --count N       all uploaded ones but the newest N\n"
		"  --bytes BYTES   the oldest uploaded ones, until so many bytes are left\n"
		"  --total BYTES   whatever it takes to keep the spool within that: uploaded ones\n"
		"                  first, then never uploaded ones, crashes last\n"
		"  --free PERCENT  the same, to keep that much of the file system free\n"
		"  --all           age, count and bytes hold for never uploaded ones as well\n"
		"  --dry-run       only say what would be deleted\n\n"
		"Exit status: 0, 3 no permission, 1 usage or the spool cannot be used.\n",
		out);
}

struct request {
	const char *spool;
	struct gd_spool_keep keep;
	bool dry_run;
};

/* From 1: in the limits 0 means none, which nobody means who writes --count 0. */
static int parse_number(const char *text, uint64_t max, uint64_t *ret, struct gd_error *err)
{
	const char *end;
	if (!gd_text_u64(text, &end, 10, ret) || *end != '\0' || *ret > max || *ret == 0)
		return gd_fail(err, -EINVAL, "\"%.40s\" is no number from 1 to %" PRIu64, text,
		               max);
	return 0;
}

/* 0, or the exit status. */
static int parse_option(int option, const char *value, struct request *request)
{
	struct gd_error err;
	uint64_t percent = 0;
	int r = 0;
	switch (option) {
	case 'S':
		request->spool = value;
		break;
	case 'a':
		r = gd_units_parse_duration(value, &request->keep.age_ns, &err);
		break;
	case 'c':
		r = parse_number(value, UINT32_MAX, &request->keep.count, &err);
		break;
	case 'b':
		r = gd_units_parse_bytes(value, &request->keep.bytes, &err);
		break;
	case 't':
		r = gd_units_parse_bytes(value, &request->keep.spool_bytes, &err);
		break;
	case 'f':
		r = parse_number(value, 100, &percent, &err);
		request->keep.free_ratio = (double)percent / 100;
		break;
	case 'A':
		request->keep.local = true;
		break;
	case 'n':
		request->dry_run = true;
		break;
	default:
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	return r < 0 ? gd_cli_fail(GD_EXIT_USAGE, NAME, &err) : 0;
}

static int foretell(const struct gd_spool *spool, const struct request *request)
{
	const struct gd_spool_item *items;
	struct gd_spool_stats stats;
	struct gd_error err;
	size_t n = gd_spool_items(spool, &items);
	GD_FREE struct gd_retention_choice *chosen = calloc(n + 1, sizeof(*chosen));
	GD_FREE bool *gone = calloc(n + 1, sizeof(*gone));
	if (chosen == NULL || gone == NULL) {
		(void)gd_fail_errno(&err, -ENOMEM, "%s", request->spool);
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	}
	gd_spool_stats(spool, &stats);
	const struct gd_retention_space space = { .fs_bytes = stats.fs_bytes,
		                                  .fs_free_bytes = stats.fs_free_bytes,
		                                  .quarantined_bytes = stats.quarantined_bytes };
	size_t m = gd_retention_choose(items, n, &request->keep, &space,
	                               gd_clock_now().realtime_ns, chosen, gone);
	for (size_t i = 0; i < m; i++) {
		char bytes[GD_UNITS_TEXT];
		const char *why = gd_retention_why_texts[chosen[i].why];
		if (chosen[i].item == SIZE_MAX) {
			(void)printf("quarantine  %s  %s\n",
			             gd_units_bytes(bytes, stats.quarantined_bytes), why);
			continue;
		}
		const struct gd_spool_item *item = &items[chosen[i].item];
		(void)printf("%s  %s  %s%s\n", item->name, gd_units_bytes(bytes, item->bytes), why,
		             item->uploaded ? "" : ", never uploaded");
	}
	return GD_EXIT_COMPLETE;
}

static int prune(struct gd_spool *spool, const struct request *request)
{
	struct gd_spool_pruned pruned = { 0 };
	struct gd_error err;
	char bytes[GD_UNITS_TEXT];
	struct gd_clock now = gd_clock_now();
	int r = gd_spool_prune(spool, &request->keep, &now, &pruned, &err);
	(void)printf("%u archives deleted, %s", pruned.n, gd_units_bytes(bytes, pruned.bytes));
	if (pruned.n_unsent > 0)
		(void)printf("; %u of them were never uploaded", pruned.n_unsent);
	(void)putchar('\n');
	return r < 0 ? gd_cli_fail(gd_cli_archive_status(r), NAME, &err) : GD_EXIT_COMPLETE;
}

int gd_cli_prune(int argc, char **argv)
{
	static const struct option options[] = {
		{ "spool", required_argument, NULL, 'S' }, { "age", required_argument, NULL, 'a' },
		{ "count", required_argument, NULL, 'c' }, { "bytes", required_argument, NULL, 'b' },
		{ "total", required_argument, NULL, 't' }, { "free", required_argument, NULL, 'f' },
		{ "all", no_argument, NULL, 'A' },         { "dry-run", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
	};
	struct request request = { .spool = SPOOL };
	struct gd_spool *spool = NULL;
	struct gd_error err;
	int option;
	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h') {
			usage(stdout);
			return GD_EXIT_COMPLETE;
		}
		int status = parse_option(option, optarg, &request);
		if (status != 0)
			return status;
	}
	if (optind != argc) {
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	int r = gd_spool_open(request.spool, &spool, NULL, &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	int status = request.dry_run ? foretell(spool, &request) : prune(spool, &request);
	gd_spool_close(spool);
	return status;
}
