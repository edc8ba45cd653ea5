#include "report/syscalls.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "report/scan.h"

#define FILE_BYTES_MAX (1u << 20)

static void read_one(struct gd_scan *scan, struct gd_syscall *ret)
{
	struct gd_scan_text key;
	int64_t number = 0;
	gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "number")) {
			number = gd_scan_i64(scan);
		} else if (gd_scan_is(&key, "n")) {
			ret->n = gd_scan_i64(scan);
		} else if (gd_scan_is(&key, "name")) {
			struct gd_scan_text name = gd_scan_string(scan);
			(void)snprintf(ret->name, sizeof(ret->name), "%.*s",
			               (int)(name.n < sizeof(ret->name) ? name.n : sizeof(ret->name)),
			               name.n > 0 ? name.at : "");
		} else {
			gd_scan_skip(scan);
		}
	}
	if (ret->name[0] == '\0')
		(void)snprintf(ret->name, sizeof(ret->name), "#%" PRId64, number);
}

static void read_counts(struct gd_scan *scan, struct gd_syscalls *ret)
{
	gd_scan_array(scan);
	while (gd_scan_item(scan)) {
		struct gd_syscall one = { .n = 0 };
		read_one(scan, &one);
		if (ret->n < GD_SYSCALLS_MAX && one.n > 0)
			ret->list[ret->n++] = one;
	}
}

static void read_syscalls(struct gd_scan *scan, struct gd_syscalls *ret)
{
	struct gd_scan_text key;
	gd_scan_object(scan);
	while (gd_scan_key(scan, &key)) {
		if (gd_scan_is(&key, "all"))
			ret->all = gd_scan_i64(scan);
		else if (gd_scan_is(&key, "counts"))
			read_counts(scan, ret);
		else
			gd_scan_skip(scan);
	}
}

void gd_syscalls_read(const struct gd_reader *reader, struct gd_syscalls *ret)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(FILE_BYTES_MAX);
	struct gd_scan_text key;
	struct gd_syscalls syscalls = { .n = 0 };
	*ret = syscalls;
	if (gd_reader_artifact(reader, "samples.json") == NULL ||
	    gd_reader_load(reader, "samples.json", &text, NULL) < 0)
		return;
	struct gd_scan scan = gd_scan_of(text.data, text.len);
	gd_scan_object(&scan);
	while (gd_scan_key(&scan, &key)) {
		if (gd_scan_is(&key, "syscalls"))
			read_syscalls(&scan, &syscalls);
		else
			gd_scan_skip(&scan);
	}
	if (!scan.bad && syscalls.all > 0)
		*ret = syscalls;
}
