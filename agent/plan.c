#include "agent/plan.h"

#include <errno.h>
#include <string.h>

static const char *const profile_names[] = {
	[GD_PROFILE_LIGHT] = "light",
	[GD_PROFILE_STANDARD] = "standard",
	[GD_PROFILE_FULL] = "full",
};

int gd_plan_parse_profile(const char *text, enum gd_profile *ret, struct gd_error *err)
{
	for (size_t i = 0; i < sizeof(profile_names) / sizeof(*profile_names); i++) {
		if (strcmp(text, profile_names[i]) != 0)
			continue;
		*ret = (enum gd_profile)i;
		return 0;
	}
	return gd_fail(err, -EINVAL, "unknown profile \"%s\"; there are light, standard and full",
	               text);
}

/* Is `name` (n bytes) one of the comma-separated words of list? */
static bool listed(const char *list, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = list; p != NULL; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	}
	return false;
}

static const struct gd_collector *find(const char *name, size_t n)
{
	for (const struct gd_collector *const *c = gd_collectors; *c != NULL; c++)
		if (strlen((*c)->name) == n && strncmp((*c)->name, name, n) == 0)
			return *c;
	return NULL;
}

static int check_names(const char *option, const char *list, struct gd_error *err)
{
	for (const char *p = list; p != NULL; p = strchr(p, ',')) {
		p += *p == ',';
		size_t n = strcspn(p, ",");
		if (find(p, n) != NULL)
			continue;
		GD_BUF struct gd_buf known = GD_BUF_INIT(256);
		for (const struct gd_collector *const *c = gd_collectors; *c != NULL; c++)
			gd_buf_printf(&known, "%s%s", known.len > 0 ? ", " : "", (*c)->name);
		return gd_fail(err, -EINVAL, "%s: there is no collector \"%.*s\"; there are %s",
		               option, (int)(n < 32 ? n : 32), p, gd_buf_str(&known));
	}
	return 0;
}

int gd_plan_make(enum gd_profile profile, const char *only, const char *skip, struct gd_plan *ret,
                 struct gd_error *err)
{
	int r = check_names("--only", only, err);
	if (r == 0)
		r = check_names("--skip", skip, err);
	if (r < 0)
		return r;

	struct gd_plan plan = { .profile = profile_names[profile],
		                .window = { .duration_ns = GD_WINDOW_DURATION_NS,
		                            .frequency_hz = GD_WINDOW_FREQUENCY_HZ },
		                .debug_port = { .trace_ns = GD_PLAN_TRACE_NS } };
	for (const struct gd_collector *const *c = gd_collectors; *c != NULL; c++) {
		bool named = only != NULL && listed(only, (*c)->name);
		bool wanted = only != NULL ? named : (*c)->profile <= profile;
		if (!wanted || (skip != NULL && listed(skip, (*c)->name)))
			continue;
		if (plan.n == GD_PLAN_MAX)
			return gd_fail(err, -E2BIG, "more than %d collectors", GD_PLAN_MAX);
		plan.list[plan.n++] = (struct gd_plan_item){ .collector = *c, .named = named };
	}
	if (plan.n == 0)
		return gd_fail(err, -EINVAL, "--only and --skip leave nothing to collect");
	*ret = plan;
	return 0;
}

int gd_plan_add(struct gd_plan *plan, const char *name, struct gd_error *err)
{
	const struct gd_collector *collector = find(name, strlen(name));
	for (size_t i = 0; i < plan->n; i++) {
		if (plan->list[i].collector == collector) {
			plan->list[i].named = true;
			return 0;
		}
	}
	if (collector == NULL || plan->n == GD_PLAN_MAX)
		return gd_fail(err, -EINVAL, "collector %s cannot be added", name);
	plan->list[plan->n++] = (struct gd_plan_item){ .collector = collector, .named = true };
	return 0;
}

bool gd_plan_has(const struct gd_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->n; i++)
		if (strcmp(plan->list[i].collector->name, name) == 0)
			return true;
	return false;
}

size_t gd_plan_windowed(const struct gd_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->list[i].collector->windowed)
			return i;
	return SIZE_MAX;
}

size_t gd_plan_apart(const struct gd_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++)
		if (plan->list[i].collector->apart)
			return i;
	return SIZE_MAX;
}

void gd_plan_put(const struct gd_plan *plan, struct gd_json *json)
{
	gd_json_array(json, "collectors");
	for (size_t i = 0; i < plan->n; i++)
		gd_json_string(json, NULL, plan->list[i].collector->name);
	gd_json_array_end(json);
	bool sampled = gd_plan_windowed(plan) != SIZE_MAX;
	bool apart = gd_plan_apart(plan) != SIZE_MAX;
	if (sampled || apart) {
		gd_json_object(json, "window");
		gd_json_i64(json, "duration_ns", plan->window.duration_ns);
		if (sampled) {
			gd_json_u64(json, "frequency_hz", plan->window.frequency_hz);
			gd_json_bool(json, "syscalls", plan->window.syscalls);
		}
		gd_json_object_end(json);
	}
	if (apart) {
		gd_json_object(json, "debug_port");
		gd_json_u64(json, "port", plan->debug_port.port);
		gd_json_i64(json, "trace_ns", plan->debug_port.trace_ns);
		gd_json_object_end(json);
	}
}
