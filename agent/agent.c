/*
 * Start: policy, state, sockets, watcher, loop.  Each second: watchdog, schedules, what is overdue.
 *
 * What can go wrong, and what then: a bad policy at the start ends us with every finding (exit 1), at
 * a reload the old one stays; state that cannot be opened ends us; a watcher that dies is started
 * again, ever more slowly; hook and uploader come and go as they like; a capture that crashes has
 * failed.  SIGTERM lets the running capture seal what it has, a second one does not wait.
 */
#include "agent/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "agent/footprint.h"
#include "agent/host.h"
#include "agent/role.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/units.h"

#define SECOND INT64_C(1000000000)
#define PRUNE_EVERY_NS (60 * SECOND)
#define CLOCK_JUMP_NS (2 * SECOND) /* less is what NTP does */
#define CLOCK_SHOWN_NS (86400 * SECOND)

/* --- commands, signals, time ---------------------------------------------------------------------- */

static int on_command(void *arg, enum gd_control_type type, const char *name, char text[248])
{
	struct gd_agent *agent = arg;
	struct gd_error err = { 0 };
	int r = 0;
	if (type == GD_CONTROL_RELOAD) {
		r = gd_agent_reload(agent, &err);
		(void)snprintf(text, 248, "%s", "policy reloaded");
	} else if (type == GD_CONTROL_ENABLE) {
		r = gd_admission_enable(agent->admission, name[0] != '\0' ? name : NULL, &err);
		(void)snprintf(text, 248, "%s", "armed again");
	} else {
		gd_agent_prune(agent);
		(void)snprintf(text, 248, "%s", "retention applied");
	}
	if (r < 0)
		(void)snprintf(text, 248, "%s", err.msg);
	return r;
}

static void capture_queued_pid(struct gd_agent *agent, const struct signalfd_siginfo *info)
{
	if (info->ssi_code != SI_QUEUE || info->ssi_int <= 0 ||
	    (info->ssi_uid != 0 && info->ssi_uid != (uint32_t)geteuid())) {
		gd_log(GD_LOG_WARNING, "SIGUSR2 wants a queued pid (kill -s USR2 -q PID), from root");
		return;
	}
	struct gd_control_capture request = { .pid = info->ssi_int, .profile = GD_PROFILE_STANDARD };
	struct gd_control_verdict verdict;
	(void)snprintf(request.trigger, sizeof(request.trigger), "signal");
	(void)snprintf(request.reason, sizeof(request.reason), "SIGUSR2 from pid %u", info->ssi_pid);
	gd_agent_control_capture(agent, &request, 0, &verdict);
}

static void stop(struct gd_agent *agent)
{
	agent->stopping = true;
	agent->stop_signals++;
	(void)gd_notify_send("STOPPING=1", NULL);
	if (agent->run.pid != 0)
		gd_run_cancel(&agent->run, agent->stop_signals > 1);
}

static void on_signal(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_error err;
	struct signalfd_siginfo info;
	if (read(agent->signals.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGHUP:
		(void)gd_notify_send("RELOADING=1", NULL);
		(void)gd_agent_reload(agent, &err);
		(void)gd_notify_send("READY=1", NULL);
		break;
	case SIGUSR1:
		gd_agent_capture_all(agent);
		break;
	case SIGUSR2:
		capture_queued_pid(agent, &info);
		break;
	default:
		stop(agent);
	}
}

/* Limits do not mind (see admission.h), but times in archives and object names do. */
static void watch_clock(struct gd_agent *agent, const struct gd_clock *now)
{
	int64_t offset = now->realtime_ns - now->boottime_ns;
	int64_t jump = offset - agent->clock_offset_ns;
	char text[GD_UNITS_TEXT];
	if (agent->clock_offset_ns != 0 && jump < -CLOCK_JUMP_NS) {
		(void)snprintf(agent->clock_problem, sizeof(agent->clock_problem),
		               "the clock was set back by %s: captures before and after do not sort",
		               gd_units_duration(text, (uint64_t)-jump));
		agent->clock_jumped_ns = now->boottime_ns;
		gd_log(GD_LOG_WARNING, "%s", agent->clock_problem);
	}
	if (now->boottime_ns - agent->clock_jumped_ns > CLOCK_SHOWN_NS)
		agent->clock_problem[0] = '\0';
	agent->clock_offset_ns = offset;
}

static void on_second(void *arg)
{
	struct gd_agent *agent = arg;
	uint64_t expirations;
	struct gd_clock clock = gd_clock_now();
	int64_t now = clock.boottime_ns;
	watch_clock(agent, &clock);
	(void)!read(agent->timer.fd, &expirations, sizeof(expirations));
	(void)gd_notify_send("WATCHDOG=1", NULL);
	gd_agent_log_refusals(agent);
	gd_agent_end_late_run(agent, clock.monotonic_ns);
	gd_agent_tend_watcher(agent, now);
	gd_agent_capture_wanted(agent);
	if (now - agent->pruned_ns >= PRUNE_EVERY_NS)
		gd_agent_prune(agent);
}

/* --- start and end -------------------------------------------------------------------------------- */

static int open_timer(struct gd_agent *agent, struct gd_error *err)
{
	struct itimerspec each = { .it_interval = { .tv_sec = 1 }, .it_value = { .tv_sec = 1 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0 || timerfd_settime(fd, 0, &each, NULL) < 0)
		return gd_fail_errno(err, -errno, "timerfd");
	agent->timer = (struct gd_loop_source){ fd, on_second, agent };
	return gd_loop_add(&agent->loop, &agent->timer, err);
}

static int open_signals(struct gd_agent *agent, struct gd_error *err)
{
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigaddset(&set, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return gd_fail_errno(err, -errno, "signalfd");
	agent->signals = (struct gd_loop_source){ fd, on_signal, agent };
	return gd_loop_add(&agent->loop, &agent->signals, err);
}

static int make_dir(const char *path, mode_t mode, struct gd_error *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return gd_fail_errno(err, -errno, "%s", path);
	return 0;
}

static int open_sockets(struct gd_agent *agent, struct gd_error *err)
{
	static const struct gd_control_ops ops = { gd_agent_status, gd_agent_control_capture,
		                                   on_command };
	char path[600];
	(void)snprintf(path, sizeof(path), "%s/control", agent->options->run);
	/* Searchable for the roles' users; each socket has its own rights. */
	int r = make_dir(agent->options->run, 0755, err);
	if (r == 0)
		r = gd_control_create(&agent->loop, path, "godiag", &ops, agent, &agent->control,
		                      err);
	if (r == 0)
		r = gd_agent_open_peers(agent, err);
	return r;
}

static int open_state(struct gd_agent *agent, struct gd_error *err)
{
	char spool[600];
	char host[GD_HOST_ID_SIZE];
	char note[248] = "";
	struct gd_spool_recovery recovery = { 0 };
	gd_host_id(host);
	agent->seed = gd_host_seed(host);
	(void)snprintf(spool, sizeof(spool), "%s/spool", agent->options->state);
	int r = make_dir(agent->options->state, 0700, err);
	gd_spool_examine_by(gd_upload_examine); /* what was left there is foreign */
	if (r == 0)
		r = gd_spool_open(spool, &agent->spool, &recovery, err);
	if (r == 0)
		r = gd_admission_open(agent->options->state, host, &agent->admission, note, err);
	if (r < 0)
		return r;
	gd_admission_policy(agent->admission, agent->policy);
	if (recovery.adopted + recovery.quarantined + recovery.aborted + recovery.lost > 0 ||
	    recovery.rebuilt)
		(void)snprintf(agent->state_note, sizeof(agent->state_note),
		               "spool mended: %u adopted, %u quarantined, %u begun and never sealed, "
		               "%u missing%s%s%.100s",
		               recovery.adopted, recovery.quarantined, recovery.aborted,
		               recovery.lost, recovery.rebuilt ? ", journal rebuilt" : "",
		               note[0] != '\0' ? "; " : "", note);
	else
		(void)snprintf(agent->state_note, sizeof(agent->state_note), "%s", note);
	if (agent->state_note[0] != '\0')
		gd_log(GD_LOG_WARNING, "%s", agent->state_note);
	return 0;
}

/* Before we have no network any more; who starts without needs a restart to have one. */
static int start_connector(struct gd_agent *agent, struct gd_error *err)
{
	for (size_t i = 0; i < agent->policy->n_services; i++)
		if (agent->policy->services[i].debug_port.wanted)
			return gd_connector_start(&agent->connector, err);
	return 0;
}

static int begin(struct gd_agent *agent, struct gd_error *err)
{
	int r = gd_agent_load_policy(agent, &agent->policy, err);
	if (r == -EINVAL) /* each finding was logged */
		return gd_fail(err, r, "%s: no policy to start with", agent->options->config);
	if (r == 0)
		r = gd_engine_create(agent->policy, gd_agent_fired, agent, &agent->engine, err);
	if (r == 0)
		r = gd_loop_init(&agent->loop, err);
	if (r == 0)
		r = open_signals(agent, err);
	if (r == 0)
		r = open_timer(agent, err);
	/* Sockets are given to groups, which may want a capability that nothing later wants. */
	if (r == 0)
		r = open_sockets(agent, err);
	if (r == 0)
		r = start_connector(agent, err);
	if (r == 0)
		r = gd_role_enter(GD_ROLE_BROKER, NULL, 0, NULL, err);
	if (r == 0)
		r = open_state(agent, err);
	return r;
}

static void close_source(struct gd_loop_source *source)
{
	if (source->fd >= 0)
		(void)close(source->fd);
	source->fd = -1;
}

static void end(struct gd_agent *agent)
{
	gd_agent_stop_watcher(agent);
	gd_agent_drop_hook(agent);
	gd_agent_drop_upload(agent);
	gd_connector_stop(&agent->connector);
	gd_control_destroy(agent->control);
	close_source(&agent->hook_listener);
	close_source(&agent->upload_listener);
	close_source(&agent->timer);
	close_source(&agent->signals);
	gd_loop_deinit(&agent->loop);
	gd_watched_deinit(&agent->watched);
	gd_engine_destroy(agent->engine);
	gd_admission_close(agent->admission);
	gd_spool_close(agent->spool);
	gd_policy_free(agent->policy);
	free(agent);
}

static enum gd_exit exit_of(int code)
{
	if (code == -EACCES || code == -EPERM)
		return GD_EXIT_PERMISSION;
	if (code == -ENOSPC || code == -EROFS || code == -ENOMEM)
		return GD_EXIT_SPACE;
	return GD_EXIT_USAGE;
}

int gd_agent_main(const struct gd_agent_options *options)
{
	struct gd_error err = { 0 };
	struct gd_agent *agent = calloc(1, sizeof(*agent));
	if (agent == NULL)
		return GD_EXIT_SPACE;
	agent->options = options;
	agent->loop = GD_LOOP_INIT;
	agent->run = GD_RUN_INIT;
	agent->connector = GD_CONNECTOR_INIT;
	agent->started_ns = gd_clock_now().boottime_ns;
	agent->signals.fd = agent->timer.fd = -1;
	agent->hook_listener.fd = agent->upload_listener.fd = -1;
	int r = begin(agent, &err);
	if (r == 0) {
		gd_agent_start_watcher(agent);
		gd_agent_prune(agent);
		gd_log(GD_LOG_INFO, "godiagd " GD_VERSION " watches by policy %s", agent->policy->digest);
		gd_footprint_shrink();
		(void)gd_notify_send("READY=1", NULL);
		while (r == 0 && !(agent->stopping && agent->run.pid == 0))
			r = gd_loop_turn(&agent->loop, &err);
	}
	if (r < 0)
		gd_log(GD_LOG_ERROR, "%s", err.msg);
	end(agent);
	return r < 0 ? (int)exit_of(r) : GD_EXIT_COMPLETE;
}
