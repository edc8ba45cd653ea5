#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/exit.h"
#include "agent/upload.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/archive.h"
#include "cli/cli.h"
#include "uploader/backoff.h"
#include "uploader/uploader.h"

#define NAME "godiag upload"

struct request {
	const char *spool, *to;
	uint64_t bytes_per_s;
	uint64_t wait_ns; /* go on trying for so long */
	struct gd_upload_options process;
};

static void usage(FILE *out)
{
	(void)fputs(
		"usage: " NAME " --spool DIR --to URL [--rate BYTES] [--wait TIME]\n"
		"       godiag-upload [--agent SOCKET]\n"
		"Upload what is in a spool that no agent has open, crashes first; each archive is\n"
		"verified at its place and then kept in DIR/done until godiag prune.\n"
		"Without --spool: the uploader process, which gets archives from the agent.\n\n"
		"  --to URL        file:///DIR, s3://BUCKET/PREFIX, http(s)://HOST/BUCKET/PREFIX\n"
		"  --rate BYTES    at most so many per second (20MiB)\n"
		"  --wait TIME     go on trying for so long (10m); default: each archive once\n"
		"  --agent SOCKET  default: " GD_CLI_RUN_DIR "/upload\n"
		"  --no-jail       keep the process's rights (for debugging)\n\n"
		"Exit status: 0 all uploaded, 6 something was not, 3 no permission, 1 usage.\n",
		out);
}

/* 0, or the exit status. */
static int parse_option(int option, const char *value, struct request *request)
{
	struct gd_error err;
	int r = 0;
	switch (option) {
	case 'S':
		request->spool = value;
		break;
	case 't':
		request->to = value;
		break;
	case 'a':
		request->process.agent_socket = value;
		break;
	case 'r':
		r = gd_units_parse_bytes(value, &request->bytes_per_s, &err);
		break;
	case 'w':
		r = gd_units_parse_duration(value, &request->wait_ns, &err);
		break;
	case 'n':
		request->process.jail = false;
		break;
	default:
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	return r < 0 ? gd_cli_fail(GD_EXIT_USAGE, NAME, &err) : 0;
}

static void say(const struct gd_spool_recovery *found)
{
	if (found->adopted + found->quarantined + found->lost > 0 || found->rebuilt)
		(void)fprintf(stderr,
		              NAME ": the spool was mended: %u adopted, %u put into quarantine, "
		              "%u gone%s\n",
		              found->adopted, found->quarantined, found->lost,
		              found->rebuilt ? ", journal written anew" : "");
}

/* One attempt.  0: done; else negative, and trouble. */
static int upload_one(struct gd_spool *spool, const struct gd_spool_item *item,
                      const struct request *request, const struct gd_credentials *credentials,
                      struct gd_upload_trouble *trouble, struct gd_error *err)
{
	const struct gd_transfer_options options = { .bytes_per_s = request->bytes_per_s };
	struct gd_uploaded done = { .location = "" };
	GD_CLOSE int fd = -1;
	*trouble = (struct gd_upload_trouble){ .permanent = true };
	int r = gd_spool_open_item(spool, item->id, &fd, err);
	if (r == 0)
		r = gd_uploader_put_fd(fd, item->name, request->to, credentials, &options, &done,
		                       trouble, err);
	if (r == 0)
		r = gd_spool_uploaded(spool, item->id, done.location, err);
	if (r == 0)
		(void)printf("%s\n", done.location);
	else
		(void)gd_spool_failed(spool, item->id, err->msg, NULL);
	return r;
}

static void wait_ns(uint64_t ns)
{
	const struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000),
		                       .tv_nsec = (long)(ns % 1000000000) };
	(void)nanosleep(&wait, NULL);
}

/*
 * Until nothing is left, or time is up.  Without --wait every archive gets one attempt (attempts are
 * what gd_spool_next orders by, so one with more than at the start has had its turn).
 */
static int upload_all(struct gd_spool *spool, const struct request *request,
                      const struct gd_credentials *credentials)
{
	struct gd_backoff backoff;
	struct gd_spool_item item;
	struct gd_spool_stats stats;
	int64_t end = gd_clock_monotonic_ns() + (int64_t)request->wait_ns;
	gd_backoff_init(&backoff, 0, 0);
	gd_spool_stats(spool, &stats);
	unsigned left = stats.ready; /* attempts, without --wait */
	while (gd_spool_next(spool, NULL, &item)) {
		struct gd_upload_trouble trouble;
		struct gd_error err = { 0 };
		if (request->wait_ns == 0 && left-- == 0)
			break;
		if (upload_one(spool, &item, request, credentials, &trouble, &err) == 0) {
			gd_backoff_succeeded(&backoff);
			continue;
		}
		(void)gd_cli_fail(0, NAME, &err);
		uint64_t wait = gd_backoff_failed(&backoff, trouble.permanent,
		                                  trouble.retry_after_ns);
		if (request->wait_ns == 0) {
			if (gd_backoff_is_open(&backoff))
				break;
			continue;
		}
		if (gd_clock_monotonic_ns() + (int64_t)wait >= end)
			break;
		wait_ns(wait);
	}
	gd_spool_stats(spool, &stats);
	if (stats.ready == 0)
		return GD_EXIT_COMPLETE;
	(void)fprintf(stderr, NAME ": %u archives were not uploaded and stay in %s\n", stats.ready,
	              gd_spool_ready(spool));
	return GD_EXIT_NOT_UPLOADED;
}

static int upload_spool(const struct request *request)
{
	GD_CREDENTIALS struct gd_credentials credentials = { .pages = NULL };
	struct gd_spool *spool = NULL;
	struct gd_spool_recovery found;
	struct gd_error err;
	int r = 0;
	if (strncmp(request->to, "file://", 7) != 0)
		r = gd_credentials_load(&credentials, &err);
	if (r == 0)
		r = gd_uploader_check_url(request->to, &err);
	if (r < 0)
		return gd_cli_fail(GD_EXIT_USAGE, NAME, &err);
	r = gd_spool_open(request->spool, &spool, &found, &err);
	if (r < 0)
		return gd_cli_fail(gd_cli_archive_status(r), NAME, &err);
	say(&found);
	int status = upload_all(spool, request, credentials.pages != NULL ? &credentials : NULL);
	gd_spool_close(spool);
	return status;
}

int gd_cli_upload(int argc, char **argv)
{
	static const struct option options[] = {
		{ "spool", required_argument, NULL, 'S' }, { "to", required_argument, NULL, 't' },
		{ "agent", required_argument, NULL, 'a' }, { "rate", required_argument, NULL, 'r' },
		{ "wait", required_argument, NULL, 'w' },  { "no-jail", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
	};
	struct request request = { .process = { .jail = true } };
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
	if (optind != argc || (request.spool == NULL) != (request.to == NULL)) {
		usage(stderr);
		return GD_EXIT_USAGE;
	}
	gd_log_set_level(GD_LOG_INFO);
	if (request.spool != NULL)
		return upload_spool(&request);
	int status = gd_upload_main(&request.process);
	_exit(status); /* what libraries do at exit was not thought of when the jail was built */
}
