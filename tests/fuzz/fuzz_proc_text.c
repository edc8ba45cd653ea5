/*
 * The other texts of /proc with foreign words in them: socket tables, cgroup memberships with
 * mountinfo (separated by a NUL), NSpid.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/cgroup.h"
#include "collectors/proc_net.h"
#include "target/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_groups(const char *memberships, const char *mountinfo)
{
	struct gd_cgroup group;
	const char *cursor = NULL;
	for (int i = 0; i < 64; i++) {
		if (!gd_cgroup_next(memberships, mountinfo, &cursor, &group))
			return;
		if (group.path[0] != '/' || strlen(group.relative) > strlen(group.path) ||
		    group.relative[0] == '/')
			abort();
		while (gd_cgroup_up(&group))
			if (group.path[0] != '/')
				abort();
	}
}

static void try_container(const char *text, size_t n)
{
	struct gd_container c = { 0 };
	gd_container_parse_cgroup(text, n, &c);
	if (strspn(c.id, "0123456789abcdef") != strlen(c.id) ||
	    strspn(c.pod_uid, "0123456789abcdef-") != strlen(c.pod_uid) ||
	    (c.id[0] != '\0' && strlen(c.id) != 64))
		abort();
	if (gd_container_parse_nspid(text, n) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gd_proc_net_inet inet;
	struct gd_proc_net_unix local;
	const char *text = (const char *)data;
	(void)gd_proc_net_parse_inet(text, size, false, &inet);
	(void)gd_proc_net_parse_inet(text, size, true, &inet);
	if (gd_proc_net_parse_unix(text, size, &local) && local.path_len > size)
		abort();
	try_container(text, size);

	char *copy = malloc(size + 2);
	if (copy == NULL)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	copy[size + 1] = '\0';
	try_groups(copy, copy + strlen(copy) + 1);
	free(copy);
	return 0;
}
