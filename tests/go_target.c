#include "tests/go_target.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

void go_target_fail(const struct go_target *go, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fail_msg("go%s %s: %s", go->release, go->variant, text);
}

void go_target_ok(const struct go_target *go, long r, const struct gd_error *err, const char *file,
                  int line)
{
	if (r >= 0)
		return;
	go_target_fail(go, "%s:%d: %ld (%s)", file, line, r, err->msg);
}

static void run(struct go_target *go, const char *path, void (*check)(struct go_target *go))
{
	struct gd_error err = { 0 };
	char text[48];
	(void)snprintf(text, sizeof(text), "go%s", go->release);
	go_assert_ok(go, gd_go_version_parse(text, &go->version, &err), &err);
	go->victim = victim_start(path, NULL);
	go_assert_ok(go, gd_target_open(go->victim->pid, &go->target, &err), &err);
	go_assert_ok(go, gd_modules_find(go->target->memory, &go->target->maps, &go->modules, &err),
	             &err);
	go_assert_ok(go, gd_modules_complete(&go->modules, go->target->memory, go->version.minor,
	                                     go->version.patch, &err), &err);
	check(go);
	gd_modules_deinit(&go->modules);
	gd_target_close(go->target);
	victim_stop(go->victim);
}

void go_target_each(const char *name, void (*check)(struct go_target *go))
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf index = GD_BUF_INIT(1 << 20);
	char file[128];
	unsigned built = 0;
	(void)snprintf(file, sizeof(file), "%s.index", name);
	if (gd_io_read_file_at(AT_FDCWD, victim_path(file), &index, &err) < 0)
		test_skip("no Go victims: %s", err.msg);
	(void)gd_buf_str(&index);
	char *rest = index.data;
	for (char *line; (line = strsep(&rest, "\n")) != NULL && line[0] != '\0';) {
		struct go_target go = { 0 };
		char path[4096];
		if (sscanf(line, "built %31s %15s %4095s", go.release, go.variant, path) == 3) {
			built++;
			print_message("# go%s %s\n", go.release, go.variant);
			run(&go, path, check);
		} else {
			print_message("# not covered: %s\n", line);
		}
	}
	if (built == 0)
		test_skip("no Go victim was built: %.200s", index.len > 0 ? index.data : "");
}
