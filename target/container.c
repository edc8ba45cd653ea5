#include "target/container.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

#define ID_LEN 64

struct text {
	const char *s;
	size_t n;
};

/* Cuts everything up to the next `sep` off `rest`; false when nothing was left. */
static bool next_part(struct text *rest, char sep, struct text *part)
{
	if (rest->s == NULL)
		return false;
	const char *at = rest->n > 0 ? memchr(rest->s, sep, rest->n) : NULL;
	if (at == NULL) {
		*part = *rest;
		*rest = (struct text){ NULL, 0 };
		return true;
	}
	*part = (struct text){ rest->s, (size_t)(at - rest->s) };
	*rest = (struct text){ at + 1, rest->n - part->n - 1 };
	return true;
}

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

static bool has(struct text t, const char *word)
{
	return t.n > 0 && memmem(t.s, t.n, word, strlen(word)) != NULL;
}

/* The runtime by what stands before the id in the component, or by the directory above. */
static const char *runtime_of(struct text prefix, struct text parent)
{
	static const struct {
		const char *word, *runtime;
	} known[] = {
		{ "cri-containerd", "containerd" }, { "nerdctl", "containerd" },
		{ "crio", "cri-o" },                { "libpod", "podman" },
		{ "docker", "docker" },
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (has(prefix, known[i].word) || (prefix.n == 0 && has(parent, known[i].word)))
			return known[i].runtime;
	return "";
}

/* "<id>", "docker-<id>.scope", "kubepods-x.slice:cri-containerd:<id>", "libpod-<id>", ... */
static void look_for_id(struct text part, struct text parent, struct gd_container *ret)
{
	static const char scope[] = ".scope";
	size_t suffix = sizeof(scope) - 1;
	if (part.n > suffix && memcmp(part.s + part.n - suffix, scope, suffix) == 0)
		part.n -= suffix;
	if (part.n < ID_LEN || !is_hex(part.s + part.n - ID_LEN, ID_LEN))
		return;
	struct text prefix = { part.s, part.n - ID_LEN };
	if (prefix.n > 0 && prefix.s[prefix.n - 1] != '-' && prefix.s[prefix.n - 1] != ':')
		return;
	/* The monitor beside a container carries the container's id, but is not in it. */
	if (has(prefix, "conmon"))
		return;
	memcpy(ret->id, part.s + part.n - ID_LEN, ID_LEN);
	ret->id[ID_LEN] = '\0';
	const char *runtime = runtime_of(prefix, parent);
	memcpy(ret->runtime, runtime, strlen(runtime) + 1);
}

/* 8-4-4-4-12 hex with '-' (cgroupfs driver) or '_' (systemd driver) between the groups. */
static bool is_uuid(const char *s)
{
	for (size_t i = 0; i < 36; i++) {
		bool gap = i == 8 || i == 13 || i == 18 || i == 23;
		if (gap ? s[i] != '-' && s[i] != '_' : !is_hex(s + i, 1))
			return false;
	}
	return true;
}

static void look_for_pod(struct text part, struct gd_container *ret)
{
	for (size_t i = 0; i + 3 <= part.n; i++) {
		const char *uid = part.s + i + 3;
		size_t left = part.n - i - 3;
		if (memcmp(part.s + i, "pod", 3) != 0)
			continue;
		if (left >= 36 && is_uuid(uid)) {
			for (size_t k = 0; k < 36; k++)
				ret->pod_uid[k] = uid[k] == '_' ? '-' : uid[k];
			ret->pod_uid[36] = '\0';
		} else if (left >= 32 && is_hex(uid, 32)) {
			memcpy(ret->pod_uid, uid, 32);
			ret->pod_uid[32] = '\0';
		}
	}
}

/* How telling a path is: the unified hierarchy, the memory controller, any; the root is not. */
static int worth(struct text controllers, struct text path)
{
	if (path.n <= 1)
		return 1;
	if (controllers.n == 0)
		return 4;
	return has(controllers, "memory") ? 3 : 2;
}

void gd_container_parse_cgroup(const char *text, size_t len, struct gd_container *ret)
{
	struct text lines = { len > 0 ? text : NULL, len };
	struct text line;
	int best = 0;
	while (next_part(&lines, '\n', &line)) {
		struct text id;
		struct text controllers;
		/* "hierarchy:controllers:path"; the path may hold colons. */
		if (!next_part(&line, ':', &id) || !next_part(&line, ':', &controllers) ||
		    line.s == NULL)
			continue;
		if (worth(controllers, line) > best) {
			best = worth(controllers, line);
			gd_text_escape(ret->cgroup, sizeof(ret->cgroup), line.s, line.n);
		}
		struct text part;
		struct text parent = { NULL, 0 };
		while (next_part(&line, '/', &part)) {
			look_for_id(part, parent, ret);
			look_for_pod(part, ret);
			parent = part;
		}
	}
}

int32_t gd_container_parse_nspid(const char *status, size_t len)
{
	struct text lines = { len > 0 ? status : NULL, len };
	struct text line;
	while (next_part(&lines, '\n', &line)) {
		static const char key[] = "NSpid:";
		if (line.n < sizeof(key) || memcmp(line.s, key, sizeof(key) - 1) != 0)
			continue;
		int64_t value = 0;
		for (size_t i = sizeof(key) - 1; i < line.n; i++) {
			if (line.s[i] == '\t' || line.s[i] == ' ')
				value = 0;
			else if (line.s[i] >= '0' && line.s[i] <= '9')
				value = value * 10 + (line.s[i] - '0');
			else
				return 0;
			if (value > INT32_MAX)
				return 0;
		}
		return (int32_t)value;
	}
	return 0;
}

int gd_container_read(struct gd_target *target, struct gd_container *ret, struct gd_error *err)
{
	struct gd_container found = { 0 };
	/* Twelve v1 hierarchies with the longest of paths. */
	GD_BUF struct gd_buf text = GD_BUF_INIT(64u << 10);
	int r = gd_target_read_file(target, "cgroup", &text, err);
	if (r < 0)
		return r;
	gd_container_parse_cgroup(text.data, text.len, &found);
	gd_buf_reset(&text);
	r = gd_target_read_file(target, "status", &text, err);
	if (r < 0)
		return r;
	found.innermost_pid = gd_container_parse_nspid(text.data, text.len);
	*ret = found;
	return 0;
}
