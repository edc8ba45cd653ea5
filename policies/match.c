#include "policies/match.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONTAINER_PREFIX 12

/* One "[a-z]" at p, which is known to be closed; *end behind it. */
static bool in_class(const char *p, char c, const char **end)
{
	bool found = false;
	const char *first = ++p;
	bool negated = *p == '!' || *p == '^';
	if (negated)
		first = ++p;
	for (; *p != ']' || p == first; p++) {
		unsigned char low = (unsigned char)*p;
		unsigned char high = low;
		if (p[1] == '-' && p[2] != ']') {
			high = (unsigned char)p[2];
			p += 2;
		}
		found |= low <= (unsigned char)c && (unsigned char)c <= high;
	}
	*end = p + 1;
	return found != negated;
}

/* Whether one pattern element takes c; *end behind the element.  Not for '*'. */
static bool takes(const char *p, char c, const char **end)
{
	if (*p == '[')
		return in_class(p, c, end);
	if (*p == '?') {
		*end = p + 1;
		return true;
	}
	if (*p == '\\')
		p++;
	*end = p + 1;
	return *p == c;
}

/*
 * Not fnmatch: that one is exponential in the number of stars, minds the locale, and the texts come
 * from whoever names a process.  Only the last star is ever retried, which suffices.
 */
bool gd_match_glob(const char *pattern, const char *text)
{
	const char *star = NULL; /* behind the last one */
	const char *retry = NULL;
	while (*text != '\0' || *pattern != '\0') {
		const char *end;
		if (*pattern == '*') {
			star = ++pattern;
			retry = text;
		} else if (*text != '\0' && *pattern != '\0' && takes(pattern, *text, &end)) {
			pattern = end;
			text++;
		} else if (star != NULL && *retry != '\0') {
			pattern = star;
			text = ++retry;
		} else {
			return false;
		}
	}
	return true;
}

int gd_match_glob_check(const char *pattern, struct gd_error *err)
{
	for (const char *p = pattern; *p != '\0'; p++) {
		if (*p == '\\') {
			if (*++p == '\0')
				return gd_fail(err, -EINVAL, "\"%.60s\" ends with a lone \\",
				               pattern);
			continue;
		}
		if (*p != '[')
			continue;
		const char *first = p[1] == '!' || p[1] == '^' ? p + 2 : p + 1;
		const char *close = *first != '\0' ? strchr(first + 1, ']') : NULL;
		if (close == NULL)
			return gd_fail(err, -EINVAL, "\"%.60s\": [ without ]; a [ itself is written \\[",
			               pattern);
		p = close;
	}
	return 0;
}

unsigned gd_match_needs(const struct gd_policy *policy)
{
	unsigned needs = 0;
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct gd_match *m = &policy->services[i].match;
		needs |= (m->unit != NULL ? GD_FACT_UNIT : 0) | (m->exe != NULL ? GD_FACT_EXE : 0) |
		         (m->comm != NULL ? GD_FACT_COMM : 0) |
		         (m->cmdline != NULL ? GD_FACT_CMDLINE : 0) |
		         (m->cgroup != NULL ? GD_FACT_CGROUP : 0) |
		         (m->container != NULL ? GD_FACT_CONTAINER : 0) |
		         (m->listen != 0 ? GD_FACT_LISTEN : 0) | (m->uid >= 0 ? GD_FACT_UID : 0);
	}
	return needs;
}

/* What is not known matches no pattern, not even "*". */
static bool glob_holds(const char *pattern, const char *text)
{
	return pattern == NULL || (text != NULL && text[0] != '\0' && gd_match_glob(pattern, text));
}

/* Digits begin a container id; they, as anything else, may also be a pattern for the pod's uid (which
 * has no dashes in static pods). */
static bool container_holds(const char *wanted, const struct gd_facts *facts)
{
	if (wanted == NULL)
		return true;
	size_t n = strlen(wanted);
	if (n >= CONTAINER_PREFIX && strspn(wanted, "0123456789abcdef") == n &&
	    facts->container != NULL && strncmp(facts->container, wanted, n) == 0)
		return true;
	return glob_holds(wanted, facts->pod_uid);
}

static bool listen_holds(uint16_t port, const struct gd_facts *facts)
{
	if (port == 0)
		return true;
	for (size_t i = 0; i < facts->n_ports; i++)
		if (facts->ports[i] == port)
			return true;
	return false;
}

static bool holds(const struct gd_match *m, const struct gd_facts *facts)
{
	return (m->uid < 0 || m->uid == facts->uid) && glob_holds(m->comm, facts->comm) &&
	       glob_holds(m->unit, facts->unit) && glob_holds(m->cgroup, facts->cgroup) &&
	       container_holds(m->container, facts) && glob_holds(m->exe, facts->exe) &&
	       glob_holds(m->cmdline, facts->cmdline) && listen_holds(m->listen, facts);
}

int gd_match_find(const struct gd_policy *policy, const struct gd_facts *facts)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (holds(&policy->services[i].match, facts))
			return (int)i;
	return -1;
}

/* What systemd calls cgroups after, slices left out: everything below one unit belongs to it. */
static bool is_unit(const char *name, size_t n)
{
	static const char *const suffixes[] = { ".service", ".scope", ".socket", ".mount", ".swap" };
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		size_t n_suffix = strlen(suffixes[i]);
		if (n > n_suffix && memcmp(name + n - n_suffix, suffixes[i], n_suffix) == 0)
			return true;
	}
	return false;
}

/* The user manager is a service itself; what runs below it has units of its own. */
static bool is_user_manager(const char *name, size_t n)
{
	return n > 5 && memcmp(name, "user@", 5) == 0;
}

void gd_match_unit_of_cgroup(const char *cgroup, char *to, size_t size)
{
	const char *found = "";
	size_t n_found = 0;
	for (const char *p = cgroup; *p != '\0';) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		if (is_unit(p, n)) {
			found = p;
			n_found = n;
			if (!is_user_manager(p, n))
				break;
		}
		p += n;
	}
	if (size > 0)
		(void)snprintf(to, size, "%.*s", (int)(n_found < 4096 ? n_found : 0), found);
}
