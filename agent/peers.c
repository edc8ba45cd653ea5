/*
 * Hook and uploader as the broker sees them: processes of their own that connect, one of each, and
 * come and go as they like.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"


void gd_agent_drop_hook(struct gd_agent *agent)
{
	if (agent->hook == NULL)
		return;
	gd_loop_remove(&agent->loop, &agent->hook_source);
	gd_hook_peer_destroy(agent->hook);
	agent->hook = NULL;
}

void gd_agent_drop_upload(struct gd_agent *agent)
{
	if (agent->upload == NULL)
		return;
	gd_loop_remove(&agent->loop, &agent->upload_source);
	gd_upload_peer_destroy(agent->upload);
	agent->upload = NULL;
}

static void on_hook(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_error err = { 0 };
	if (gd_hook_peer_handle(agent->hook, &err) == 0)
		return;
	gd_log(GD_LOG_WARNING, "the hook hung up: %s", err.msg);
	gd_agent_drop_hook(agent);
}

static void on_upload(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_error err = { 0 };
	if (gd_upload_peer_handle(agent->upload, &err) == 0)
		return;
	gd_log(GD_LOG_WARNING, "the uploader hung up: %s", err.msg);
	gd_agent_drop_upload(agent);
}

static void on_hook_operation(void *arg, const char *id, struct gd_hook_operation *ret)
{
	struct gd_agent *agent = arg;
	const struct gd_operation *o = gd_operations_find(&agent->operations, id);
	*ret = (struct gd_hook_operation){ .known = o != NULL, .exit = -1 };
	if (o == NULL)
		return;
	(void)snprintf(ret->state, sizeof(ret->state), "%s", gd_operation_state_names[o->state]);
	memcpy(ret->digest, o->digest, sizeof(ret->digest));
	if (o->state > GD_OPERATION_RUNNING)
		ret->exit = (int32_t)o->exit;
}

static void on_hook_http(void *arg, uint32_t service, double p99_s)
{
	struct gd_agent *agent = arg;
	if (agent->watcher != NULL && service < agent->policy->n_services)
		gd_watcher_http(agent->watcher, service, p99_s);
}

/* Root, ourselves, or the account made for that role. */
static bool may_be(uint32_t uid, const char *user)
{
	if (uid == 0 || uid == (uint32_t)geteuid())
		return true;
	const struct passwd *entry = getpwnam(user);
	return entry != NULL && entry->pw_uid == uid;
}

static int accept_role(const struct gd_loop_source *listener, const char *user)
{
	uint32_t uid;
	int32_t pid;
	int fd = gd_loop_accept(listener->fd, &uid, &pid, NULL);
	if (fd >= 0 && !may_be(uid, user)) {
		gd_log(GD_LOG_WARNING, "uid %u (pid %d) is not %s: hung up", uid, pid, user);
		(void)close(fd);
		return -EPERM;
	}
	return fd;
}

static void on_hook_connect(void *arg)
{
	static const struct gd_hook_ops ops = { gd_agent_hook_trigger, on_hook_operation,
		                                gd_agent_metrics, on_hook_http };
	struct gd_agent *agent = arg;
	struct gd_error err;
	int fd = accept_role(&agent->hook_listener, "godiag-hook");
	if (fd < 0)
		return;
	gd_agent_drop_hook(agent); /* a new one means that the old one was restarted */
	int r = gd_hook_peer_create(fd, agent->policy, &ops, agent, &agent->hook, &err);
	if (r == 0) {
		agent->hook_source = (struct gd_loop_source){ gd_hook_peer_fd(agent->hook), on_hook,
			                                      agent };
		r = gd_loop_add(&agent->loop, &agent->hook_source, &err);
	}
	if (r < 0) {
		gd_log(GD_LOG_ERROR, "hook: %s", err.msg);
		gd_agent_drop_hook(agent);
	}
}

static void on_upload_connect(void *arg)
{
	struct gd_agent *agent = arg;
	struct gd_error err;
	int fd = accept_role(&agent->upload_listener, "godiag-upload");
	if (fd < 0)
		return;
	gd_agent_drop_upload(agent);
	int r = gd_upload_peer_create(fd, agent->spool, agent->policy, &agent->upload, &err);
	if (r == 0) {
		agent->upload_source = (struct gd_loop_source){ gd_upload_peer_fd(agent->upload),
			                                        on_upload, agent };
		r = gd_loop_add(&agent->loop, &agent->upload_source, &err);
	}
	if (r < 0) {
		gd_log(GD_LOG_ERROR, "uploader: %s", err.msg);
		gd_agent_drop_upload(agent);
	}
}


static int open_role_socket(struct gd_agent *agent, struct gd_loop_source *source, const char *name,
                            const char *group, void (*ready)(void *arg), struct gd_error *err)
{
	char path[600];
	(void)snprintf(path, sizeof(path), "%s/%s", agent->options->run, name);
	int fd = gd_loop_listen(path, group, err);
	if (fd < 0)
		return fd;
	*source = (struct gd_loop_source){ fd, ready, agent };
	return gd_loop_add(&agent->loop, source, err);
}

int gd_agent_open_peers(struct gd_agent *agent, struct gd_error *err)
{
	int r = open_role_socket(agent, &agent->hook_listener, "hook", "godiag-hook",
	                         on_hook_connect, err);
	if (r == 0)
		r = open_role_socket(agent, &agent->upload_listener, "upload", "godiag-upload",
		                     on_upload_connect, err);
	return r;
}
