#include "tests/truth.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { ROWS_MAX = 128 };

/* One line of the index. */
struct row {
	char name[128];  /* of the test */
	char release[32], variant[16];
	char rest[PATH_MAX]; /* path, or the reason */
	bool built;
};

static struct row rows[ROWS_MAX];
static struct truth current;

static size_t read_rows(const char *victim)
{
	struct gd_error err = { 0 };
	GD_BUF struct gd_buf index = GD_BUF_INIT(1 << 20);
	char file[64];
	size_t n = 0;
	(void)snprintf(file, sizeof(file), "%s.index", victim);
	if (gd_io_read_file_at(AT_FDCWD, victim_path(file), &index, &err) < 0) {
		(void)snprintf(rows[0].name, sizeof(rows[0].name), "%s", victim);
		(void)snprintf(rows[0].rest, sizeof(rows[0].rest), "%s", err.msg);
		return 1;
	}
	(void)gd_buf_str(&index);
	char *rest = index.data;
	for (char *line; (line = strsep(&rest, "\n")) != NULL && n < ROWS_MAX;) {
		struct row *row = &rows[n];
		char what[16];
		if (sscanf(line, "%15s %31s %15s %4095[^\n]", what, row->release, row->variant,
		           row->rest) != 4)
			continue;
		char name[sizeof(row->name)];
		row->built = strcmp(what, "built") == 0;
		(void)snprintf(name, sizeof(name), "%.32s_go%s_%s", victim, row->release,
		               row->variant);
		memcpy(row->name, name, sizeof(name));
		n++;
	}
	return n;
}

int truth_run(const char *file, const char *victim, void (*check)(void **state))
{
	return truth_run_with(file, victim, check, truth_after);
}

int truth_run_with(const char *file, const char *victim, void (*check)(void **state),
                   int (*after)(void **state))
{
	static struct CMUnitTest tests[ROWS_MAX];
	size_t n = read_rows(victim);
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){
			.name = rows[i].name,
			.test_func = check,
			.setup_func = test_before,
			.teardown_func = after,
			.initial_state = &rows[i],
		};
	return test_run_n(file, tests, n);
}

static void open_target(struct truth *t, pid_t pid)
{
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n_tids = 0;
	assert_ok(gd_target_open(pid, &t->target, &err), &err);
	assert_ok(gd_target_threads(t->target, &tids, &n_tids, &err), &err);
	assert_ok(gd_go_open(t->target->memory, &t->target->maps, tids, n_tids, &t->go, &err),
	          &err);
	if (t->go->note[0] != '\0')
		print_message("# %s\n", t->go->note);
}

size_t truth_paths(const char *victim, const char *variant, struct truth_path *ret, size_t max)
{
	size_t n = read_rows(victim);
	size_t found = 0;
	for (size_t i = 0; i < n && found < max; i++) {
		if (!rows[i].built || strcmp(rows[i].variant, variant) != 0)
			continue;
		memcpy(ret[found].release, rows[i].release, sizeof(ret->release));
		memcpy(ret[found].path, rows[i].rest, sizeof(ret->path));
		found++;
	}
	return found;
}

const char *truth_path_of(void *const *state)
{
	const struct row *row = *state;
	if (!row->built)
		test_skip("%s", row->rest);
	return row->rest;
}

static size_t running_threads(struct gd_target *target)
{
	GD_FREE pid_t *tids = NULL;
	size_t n = 0, running = 0;
	struct gd_error err = { 0 };
	assert_ok(gd_target_threads(target, &tids, &n, &err), &err);
	for (size_t i = 0; i < n; i++) {
		char path[64];
		struct gd_stat stat;
		GD_BUF struct gd_buf text = GD_BUF_INIT(4096);
		(void)snprintf(path, sizeof(path), "task/%d/stat", (int)tids[i]);
		if (gd_target_read_file(target, path, &text, NULL) == 0 &&
		    gd_stat_parse(text.data, text.len, &stat, NULL) == 0)
			running += stat.state == 'R';
	}
	return running;
}

/*
 * On a busy machine the thread that said "ready" may still be on its way out of write(2).  At rest is
 * when nobody has run for a while; who never rests is let go after 5 s.
 */
static void wait_for_rest(struct gd_target *target)
{
	for (int tries = 0, quiet = 0; tries < 500 && quiet < 5; tries++) {
		(void)usleep(10000);
		quiet = running_threads(target) == 0 ? quiet + 1 : 0;
	}
}

struct truth *truth_begin(void *const *state, const char *argument)
{
	const struct row *row = *state;
	struct truth *t = &current;
	truth_end();
	(void)truth_path_of(state);
	memcpy(t->release, row->release, sizeof(t->release));
	memcpy(t->variant, row->variant, sizeof(t->variant));
	t->victim = victim_start(row->rest, argument, NULL);
	t->port = (unsigned)strtoul(t->victim->ready, NULL, 10);
	open_target(t, t->victim->pid);
	wait_for_rest(t->target);
	return t;
}

struct truth *truth_attach(pid_t pid, const char *name)
{
	struct truth *t = &current;
	truth_end();
	(void)snprintf(t->release, sizeof(t->release), "%s", name);
	open_target(t, pid);
	return t;
}

void truth_collect(struct truth *t, const struct gd_collector *collector)
{
	struct gd_collect c = { .target = t->target, .go = t->go };
	kept_deinit(&t->kept);
	kept_init(&t->kept);
	c.sink = &t->kept.sink;
	t->outcome = collector->collect(&c);
	for (size_t i = 0; i < t->kept.n; i++)
		if (t->kept.list[i].open)
			fail_msg("artifact %s was left open", t->kept.list[i].name);
}

const char *truth_text(const struct truth *t, const char *artifact)
{
	const struct kept_artifact *a = kept_find(&t->kept, artifact);
	if (a == NULL) {
		fail_msg("%s %s: no artifact %s", t->release, t->variant, artifact);
		return "";
	}
	if (a->absent)
		fail_msg("%s %s: %s is %s: %s", t->release, t->variant, artifact,
		         gd_grade_name(a->outcome.grade), a->outcome.why.msg);
	return a->bytes.len > 0 ? a->bytes.data : "";
}

void truth_end(void)
{
	struct truth *t = &current;
	kept_deinit(&t->kept);
	gd_go_close(t->go);
	gd_target_close(t->target);
	victim_stop(t->victim);
	memset(t, 0, sizeof(*t));
}

int truth_after(void **state)
{
	truth_end();
	return test_after(state);
}
