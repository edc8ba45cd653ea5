/*
 * The child blocks no signals, has no children but its own roles, and answers with one record.
 * What can go wrong: it dies without an answer (its operation has failed, the signal says why), or it
 * hangs (the deadline makes it seal; gd_run_cancel ends it).
 */
#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/role.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/message.h"

#define TIMELINE_TEXT_MAX (4u << 20)

struct answer {
	int32_t exit;
	char path[600];
	char digest[72];
	uint64_t bytes, pause_ns;
	char error[248];
};

struct job {
	const struct gd_operation *operation;
	const struct gd_timeline *timeline;
	const char *ready;
	const struct gd_connector *connector;
	int result_fd;
};

static volatile sig_atomic_t cancelled;

static void on_cancel(int signal_number)
{
	cancelled = signal_number;
}

/* The deadline is an alarm: whatever is read by then gets sealed. */
static void prepare_signals(uint64_t deadline_ns)
{
	struct sigaction action = { .sa_handler = on_cancel };
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGALRM, &action, NULL);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (deadline_ns == 0)
		return;
	struct itimerval timer = {
		.it_value = { .tv_sec = (time_t)(deadline_ns / 1000000000),
		              .tv_usec = (suseconds_t)(deadline_ns % 1000000000 / 1000) },
	};
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* Sockets, journals and their locks are the agent's. */
static void close_others(int keep_fd, int also_fd)
{
	int low = also_fd >= 0 && also_fd < keep_fd ? also_fd : keep_fd;
	int high = also_fd > keep_fd ? also_fd : keep_fd;
	if (low > 3)
		(void)close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0u, 0);
}

static size_t put_labels(const struct gd_operation *o, struct gd_label labels[4])
{
	const struct {
		const char *key, *value;
	} all[4] = {
		{ "rule", o->rule },
		{ "service", o->service },
		{ "fingerprint", o->fingerprint },
		{ "baseline", o->baseline },
	};
	size_t n = 0;
	for (size_t i = 0; i < 4; i++)
		if (all[i].value[0] != '\0')
			/* Labels of options are copied, never written to. */
			labels[n++] = (struct gd_label){ strdup(all[i].key),
				                         strdup(all[i].value) };
	return n;
}

static struct gd_capture_freeze freeze_of(const struct gd_operation_core *core)
{
	return (struct gd_capture_freeze){
		.consistent = core->consistent,
		.thin = core->thin,
		.secret = core->force,
		.lose_huge = core->lose_huge,
		.zero_noscan = core->zero_noscan,
		.max_pause_ns = core->max_pause_ns,
		.workers = core->workers,
		/* Gone by now: then this one is in full. */
		.base_fd = core->base[0] != '\0' ? open(core->base, O_RDONLY | O_CLOEXEC) : -1,
	};
}

/* By the policy, so nobody waits for it: skipped is no shortcoming. */
static int add_debug_port(const struct gd_operation *o, struct gd_plan *plan, struct gd_error *err)
{
	int r = o->debug_port.wanted ? gd_plan_add(plan, gd_collector_debug_port.name, err) : 0;
	size_t item = gd_plan_apart(plan);
	if (item != SIZE_MAX)
		plan->list[item].named = false;
	plan->debug_port.port = o->debug_port.port;
	plan->debug_port.trace_ns = (int64_t)o->debug_port.trace_ns;
	return r;
}

static int run(void *arg)
{
	const struct job *job = arg;
	const struct gd_operation *o = job->operation;
	struct gd_error err = { 0 };
	struct gd_plan plan;
	struct gd_capture_result result;
	struct gd_label labels[4];
	struct gd_attachment attachments[2];
	GD_BUF struct gd_buf timeline = GD_BUF_INIT(TIMELINE_TEXT_MAX);
	size_t n = 0;

	close_others(job->result_fd, job->connector->fd);
	prepare_signals(o->deadline_ns);
	gd_log_set_id(o->id);
	if (gd_plan_make(o->profile, NULL, NULL, &plan, &err) < 0)
		return 1;
	plan.window.duration_ns = o->window_ns;
	plan.window.frequency_hz = o->frequency_hz;
	plan.window.syscalls = o->syscalls;
	if (add_debug_port(o, &plan, &err) < 0)
		return 1;
	if (job->timeline != NULL) {
		gd_timeline_put(job->timeline, &timeline);
		if (gd_buf_check(&timeline, "timeline", &err) == 0)
			attachments[n++] = (struct gd_attachment){
				{ "timeline.jsonl", "application/jsonl", "watcher", 1 },
				timeline.data, timeline.len
			};
	}
	if (o->exit_json[0] != '\0')
		attachments[n++] = (struct gd_attachment){
			{ "exit.json", "application/json", "watcher", 0 },
			o->exit_json, strlen(o->exit_json)
		};
	if (o->core.wanted && gd_plan_add(&plan, "core", &err) < 0)
		return 1;
	struct gd_capture_options options = {
		.pid = o->subject.pid,
		.start_ticks = o->subject.start_ticks,
		.subject = o->comm[0] != '\0' ? o->comm : o->service,
		.attachments = attachments,
		.n_attachments = n,
		.plan = &plan,
		.freeze = freeze_of(&o->core),
		.output_dir = job->ready,
		.id = o->id,
		.trigger = o->trigger,
		.reason = o->reason,
		.labels = labels,
		.n_labels = put_labels(o, labels),
		.cancelled = &cancelled,
		.connector = job->connector,
	};
	struct answer answer = { .exit = (int32_t)gd_capture_run(&options, &result, &err) };
	(void)snprintf(answer.path, sizeof(answer.path), "%.599s", result.sealed.path);
	(void)snprintf(answer.digest, sizeof(answer.digest), "%s", result.sealed.digest);
	answer.bytes = result.sealed.bytes;
	answer.pause_ns = result.snapshot.target_pause_ns;
	if (answer.exit != GD_EXIT_COMPLETE)
		(void)snprintf(answer.error, sizeof(answer.error), "%s", err.msg);
	int r = gd_message_send(job->result_fd, 1, 0, &answer, sizeof(answer), NULL, 0, NULL);
	return r < 0 ? 1 : 0;
}

int gd_run_start(const struct gd_operation *operation, const struct gd_timeline *timeline,
                 const char *ready, const struct gd_connector *connector, struct gd_run *ret,
                 struct gd_error *err)
{
	int pair[2];
	int r = gd_message_pair(pair, err);
	if (r < 0)
		return r;
	struct job job = { operation, timeline, ready, connector, pair[1] };
	struct gd_run started = { .pid_fd = -1, .result_fd = pair[0] };
	r = gd_role_fork(GD_ROLE_BROKER, NULL, 0, run, &job, &started.pid, &started.pid_fd, err);
	(void)close(pair[1]);
	if (r < 0) {
		(void)close(pair[0]);
		return gd_error_wrap(err, r, "starting a capture");
	}
	*ret = started;
	return 0;
}

static enum gd_operation_state state_of(const struct gd_operation *o)
{
	if (o->path[0] == '\0')
		return GD_OPERATION_FAILED;
	return o->exit == GD_EXIT_COMPLETE ? GD_OPERATION_SUCCEEDED : GD_OPERATION_PARTIAL;
}

void gd_run_finish(struct gd_run *run, struct gd_operation *operation)
{
	struct answer answer = { .exit = GD_EXIT_PARTIAL };
	struct gd_message message = { 0 };
	int status = 0;
	/* It has ended, so there is an answer in the socket or there will never be one. */
	int r = gd_message_recv(run->result_fd, &message, &answer, sizeof(answer), NULL);
	(void)waitpid(run->pid, &status, 0);
	if (r == 1 && message.len == sizeof(answer)) {
		answer.path[sizeof(answer.path) - 1] = '\0';
		answer.digest[sizeof(answer.digest) - 1] = '\0';
		answer.error[sizeof(answer.error) - 1] = '\0';
	} else {
		answer = (struct answer){ .exit = GD_EXIT_PARTIAL };
		if (WIFSIGNALED(status))
			(void)snprintf(answer.error, sizeof(answer.error),
			               "the capture process was killed by signal %d (%s)",
			               WTERMSIG(status), strsignal(WTERMSIG(status)));
		else
			(void)snprintf(answer.error, sizeof(answer.error),
			               "the capture process ended without an answer (status %d)",
			               WEXITSTATUS(status));
	}
	gd_message_close_fds(&message);
	operation->exit = (enum gd_exit)answer.exit;
	memcpy(operation->path, answer.path, sizeof(operation->path));
	memcpy(operation->digest, answer.digest, sizeof(operation->digest));
	memcpy(operation->error, answer.error, sizeof(operation->error));
	operation->bytes = answer.bytes;
	operation->pause_ns = answer.pause_ns;
	operation->state = state_of(operation);
	(void)close(run->result_fd);
	if (run->pid_fd >= 0)
		(void)close(run->pid_fd);
	*run = GD_RUN_INIT;
}

void gd_run_cancel(struct gd_run *run, bool at_once)
{
	if (run->pid > 0)
		(void)pidfd_send_signal(run->pid_fd, at_once ? SIGKILL : SIGTERM, NULL, 0);
}
