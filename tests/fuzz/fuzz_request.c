/*
 * What a reader may ask for: whatever passes the checks is on the list, ends within its struct, and
 * leads nowhere but down.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(const char *path)
{
	static const char *const tops[] = { "/proc/", "/sys/devices/system/cpu/" };
	if (gd_request_file(path) == GD_REQUEST_NO && !gd_request_link(path) &&
	    !gd_request_list(path))
		return;
	if (strstr(path, "..") != NULL || strstr(path, "//") != NULL ||
	    strncmp(path, "root/", 5) == 0 || strncmp(path, "cwd/", 4) == 0 ||
	    strncmp(path, "exe/", 4) == 0 || strstr(path, "mem") == path)
		abort();
	if (path[0] == '/' && strncmp(path, tops[0], strlen(tops[0])) != 0 &&
	    strncmp(path, tops[1], strlen(tops[1])) != 0)
		abort();
}

static void check_group(const struct gd_request_group *group)
{
	if (!gd_request_group(group))
		return;
	if (strncmp(group->mount, "/sys/fs/cgroup", 14) != 0 || strstr(group->mount, "..") != NULL ||
	    group->relative[0] == '/' || strcmp(group->relative, "..") == 0 ||
	    strstr(group->relative, "/../") != NULL || strncmp(group->relative, "../", 3) == 0 ||
	    strchr(group->name, '/') != NULL)
		abort();
}

/* Many at once: none reaches beyond the message, and they come to an end. */
static void check_many(const char *body, size_t len)
{
	const char *at = body;
	size_t left = len;
	struct gd_request_count count = { { 0 } };
	uint16_t type;
	const void *part;
	size_t n;
	for (size_t i = 0; gd_request_next_part(&at, &left, i, &type, &part, &n, NULL) == 1; i++) {
		if ((const char *)part < body || n > len ||
		    (size_t)((const char *)part - body) > len - n || i >= GD_REQUEST_MANY_MAX)
			abort();
		if (gd_request_check(GD_ASKER_COLLECTOR, &count, type, part, n, NULL) < 0)
			continue;
		if (type <= GD_REQUEST_LIST)
			check_path(((const struct gd_request_path *)part)->path);
		if (type == GD_REQUEST_GROUP)
			check_group(part);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static union {
		struct gd_request_subject subject;
		struct gd_request_path path;
		struct gd_request_group group;
		uint64_t align;
		char bytes[16384];
	} body;
	struct gd_request_count count = { { 0 } };
	if (size < 2)
		return 0;
	uint16_t type = data[0] % (GD_REQUESTS + 1);
	enum gd_asker asker = (enum gd_asker)(data[1] % (GD_ASKER_DONE + 1));
	size_t n = size - 2 < sizeof(body) ? size - 2 : sizeof(body);
	memset(&body, 0, sizeof(body));
	memcpy(body.bytes, data + 2, n);
	/* As it came, and then in the size its type has, so that the fields are seen as well. */
	(void)gd_request_check(asker, &count, type, &body, n, NULL);
	check_many(body.bytes, n);
	if (type == 0 || type >= GD_REQUESTS ||
	    gd_request_check(asker, &count, type, &body, gd_requests[type].size, NULL) < 0)
		return 0;
	if (type <= GD_REQUEST_LIST)
		check_path(body.path.path);
	if (type == GD_REQUEST_GROUP)
		check_group(&body.group);
	return 0;
}
