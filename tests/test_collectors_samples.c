/*
 * Samples of programs whose call chains are known, in every release and variant: whatever a frame
 * pointer gets wrong, callers are right, and stacks reach their roots.
 */
#include "collectors/collector.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/go_target.h"
#include "tests/kept.h"
#include "tests/pprof_lines.h"
#include "tests/test.h"

#define MS INT64_C(1000000)

/* Who calls whom in tests/victims/busy; a caller may be one of several. */
static const struct {
	const char *function;
	const char *callers[4];
} known[] = {
	{ "main.shaStep", { "main.goSha" } },
	{ "main.leafCaller", { "main.goLeaf", "main.goCalledByC", "main._cgoexp", "_cgoexp" } },
	{ "main.leaf", { "main.leafCaller", "main.deep", "main.labelledStep" } },
	{ "main.deep", { "main.deep", "main.goDeep" } },
	{ "main.inlinedInner", { "main.inlinedOuter" } },
	{ "main.inlinedOuter", { "main.inliner" } },
	{ "main.inliner", { "main.goInlined" } },
	{ "main.clockStep", { "main.goVdso" } },
	{ "main.allocStep", { "main.goAlloc" } },
	{ "main.pingStep", { "main.goPing" } },
	{ "main.readStep", { "main.goSyscall" } },
	{ "main.growStep", { "main.growStep", "main.grown" } },
	{ "main.labelledStep", { "main.goLabelled" } },
	{ "main.cgoStep", { "main.goCgo" } },
	{ "main.callbackStep", { "main.goCallback" } },
	{ "crypto/sha256.Sum256", { "main.shaStep" } },
	{ "syscall.read", { "syscall.Read" } },
	{ "main._Cfunc_c_step", { "main.cgoStep" } },
	{ "main._Cfunc_c_calls_go", { "main.callbackStep" } },
};

/* Where a stack of a Go program may begin. */
static const char *const roots[] = {
	"main.go", "main.grown", "runtime.main", "runtime.mcall", "runtime.mstart", "runtime.bg",
	"runtime.gcBgMarkWorker", "runtime.forcegchelper", "runtime.runfinq", "runtime.rt0_go",
	"runtime.ensureSigM", "runtime.morestack", "runtime.gcenable", "runtime.runCleanups",
	"runtime.(*", "runtime.gcBgMarkStartWorkers", "runtime.goexit",
};

/* Newest first. */
static const char *const releases[] = { "1.27.4", "1.27.3", "1.26.11", "1.25.14", "1.24.13", "1.22.12",
	                                "1.19.13" };

struct totals {
	uint64_t samples, rooted, wrong;
	unsigned shown;
};

static struct totals totals;
static unsigned covered; /* releases and variants with enough samples */

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Without "_[i]", "_[k]". */
static bool is_function(const char *frame, const char *function)
{
	size_t n = strlen(function);
	return strncmp(frame, function, n) == 0 && (frame[n] == '\0' || frame[n] == '_');
}

static bool is_caller(const char *frame, const char *const callers[4])
{
	for (size_t i = 0; i < 4 && callers[i] != NULL; i++)
		if (begins_with(frame, callers[i]))
			return true;
	return false;
}

/* 0, or the frame whose caller is wrong. */
static size_t wrong_caller(char *const *frames, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			if (is_function(frames[i], known[k].function) &&
			    !is_caller(frames[i - 1], known[k].callers))
				return i;
	return 0;
}

static bool is_rooted(const char *frame)
{
	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
		if (begins_with(frame, roots[i]))
			return true;
	return false;
}

/* "class;thread;frame;...;frame COUNT", taken apart. */
static void check_line(const struct go_target *go, char *line)
{
	char *frames[600];
	size_t n = 0;
	char whole[400];
	(void)snprintf(whole, sizeof(whole), "%s", line);
	char *space = strrchr(line, ' ');
	assert_non_null(space);
	*space = '\0';
	uint64_t count = strtoull(space + 1, NULL, 10);
	char *saved = NULL;
	for (char *word = strtok_r(line, ";", &saved); word != NULL && n < 600;
	     word = strtok_r(NULL, ";", &saved))
		frames[n++] = word;
	assert_true(n >= 3 && count > 0);
	totals.samples += count;
	if (strcmp(frames[0], "lost") == 0) {
		totals.rooted += count;
		return;
	}
	bool rooted = is_rooted(frames[2]);
	totals.rooted += rooted ? count : 0;
	if (!rooted && totals.shown++ < 5)
		print_error("go%s %s: no root: %s\n", go->release, go->variant, whole);
	size_t wrong = wrong_caller(frames + 2, n - 2);
	if (wrong == 0)
		return;
	totals.wrong += count;
	print_error("go%s %s: the caller of %s is %s; innermost %s; %s\n", go->release, go->variant,
	            frames[2 + wrong], frames[1 + wrong], frames[n - 1], whole);
}

static void check_folded(const struct go_target *go, const struct kept_artifact *folded)
{
	char *saved = NULL;
	memset(&totals, 0, sizeof(totals));
	for (char *line = strtok_r(folded->bytes.data, "\n", &saved); line != NULL;
	     line = strtok_r(NULL, "\n", &saved))
		check_line(go, line);
	if (totals.wrong > 0)
		go_target_fail(go, "%lu callers are wrong", (unsigned long)totals.wrong);
	if (totals.samples < 100) {
		print_message("# go%s %s: the machine is too busy: only %lu samples\n", go->release,
		              go->variant, (unsigned long)totals.samples);
		return;
	}
	covered++;
	if (totals.rooted * 100 < totals.samples * 99)
		go_target_fail(go, "only %lu of %lu stacks reach a root",
		               (unsigned long)totals.rooted, (unsigned long)totals.samples);
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value))
		fail_msg("samples.json: %s is no number", key);
	return (uint64_t)json_integer_value(value);
}

/*
 * In code of Go's own the register says whose it is.  (Of goSha, whose assembly has the register for
 * itself while the collector moves its stack all the time, often nobody knows: then nothing is said.)
 */
static void check_goroutines(const struct go_target *go, const char *lines)
{
	uint64_t all = 0, with = 0;
	for (const char *at = lines; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *end = at + strcspn(at, "\n");
		const char *found = strstr(at, "main.goLeaf");
		if (found == NULL || found > end)
			continue;
		const char *goid = strstr(at, "goroutine=");
		all++;
		with += goid != NULL && goid < end;
	}
	if (strstr(lines, "main.goLabelled") != NULL &&
	    (strstr(lines, "handler=checkout") == NULL || strstr(lines, "tenant=acme") == NULL))
		go_target_fail(go, "the labels of goLabelled are missing");
	if (all >= 20 && with * 100 < all * 90)
		go_target_fail(go, "of %lu stacks of goLeaf %lu have a goroutine", (unsigned long)all,
		               (unsigned long)with);
}

/* Threads were away: preempted, for there are more of them than CPUs, and for want of work. */
static void check_away(const struct go_target *go, const struct kept_artifact *away)
{
	GD_BUF struct gd_buf lines = GD_BUF_INIT(256 << 20);
	const struct pprof_view view = { .without = NULL };
	if (away->absent)
		return; /* not to be had here, and said so */
	pprof_lines(away->bytes.data, away->bytes.len, &view, &lines);
	const char *text = gd_buf_str(&lines);
	assert_contains(text, "switches/count offcpu/nanoseconds");
	if (strstr(text, "state=preempted") == NULL && strstr(text, "state=blocked") == NULL)
		go_target_fail(go, "no thread was away: %.300s", text);
}

static void collect_and_check(struct go_target *go)
{
	static struct kept kept;
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	struct gd_collect c = { .target = go->target, .sink = &kept.sink,
		                .window = { .duration_ns = 700 * MS, .frequency_hz = 997 } };
	kept_init(&kept);
	go_assert_ok(go, gd_target_threads(go->target, &tids, &n, &err), &err);
	go_assert_ok(go, gd_go_open(go->target->memory, &go->target->maps, tids, n, &c.go, &err), &err);
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	if (outcome.grade == GD_GRADE_SKIPPED) {
		gd_go_close(c.go);
		kept_deinit(&kept);
		free(tids);
		test_skip("%s", outcome.why.msg);
	}
	/* On a busy machine some may be lost: then it is said, and counted. */
	if (outcome.grade != GD_GRADE_COMPLETE && outcome.why.code != -ENOBUFS)
		go_target_fail(go, "%s: %s", gd_grade_name(outcome.grade), outcome.why.msg);
	const struct kept_artifact *profile = kept_find(&kept, "cpu.pb.gz");
	const struct kept_artifact *folded = kept_find(&kept, "cpu.folded");
	const struct kept_artifact *facts = kept_find(&kept, "samples.json");
	assert_true(profile != NULL && folded != NULL && facts != NULL);
	GD_BUF struct gd_buf lines = GD_BUF_INIT(256 << 20);
	const struct pprof_view view = { .without = NULL };
	pprof_lines(profile->bytes.data, profile->bytes.len, &view, &lines);
	assert_contains(gd_buf_str(&lines), "samples/count cpu/nanoseconds");
	check_goroutines(go, gd_buf_str(&lines));
	check_folded(go, folded);
	const struct kept_artifact *away = kept_find(&kept, "offcpu.pb.gz");
	assert_non_null(away);
	check_away(go, away);
	json_error_t problem;
	json_t *json = json_loadb(facts->bytes.data, facts->bytes.len, 0, &problem);
	assert_non_null(json);
	/* What could not be folded for want of room would be a difference. */
	assert_int_equal(number(json, "samples") + number(json, "lost"), totals.samples);
	const json_t *unwound = json_object_get(json, "unwound");
	uint64_t whole = number(unwound, "root") + number(unwound, "stack_switch");
	if (number(json, "samples") >= 100 && whole * 100 < number(json, "samples") * 99)
		go_target_fail(go, "unwound: %s", facts->bytes.data);
	json_decref(json);
	gd_go_close(c.go);
	kept_deinit(&kept);
}

static void callers_are_right_and_roots_are_reached(void **state)
{
	(void)state;
	go_target_each("busy", collect_and_check);
	if (covered == 0)
		test_skip("the machine is too busy for samples of any release");
}

/* ---- rings that overflow ---------------------------------------------------------------------- */

/* The reader of records sleeps when it has begun: rings run full, in the middle and at the end. */
static void be_late(void *arg)
{
	(void)arg;
	usleep(1500000);
}

static pid_t start_spinner(void)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (volatile uint64_t n = 0;; n++)
			;
	}
	return pid;
}

static void what_did_not_fit_is_said_and_counted(void **state)
{
	(void)state;
	static struct kept kept;
	struct gd_error err = { 0 };
	const struct pprof_view view = { .without = NULL };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(256 << 20);
	struct gd_collect c = { .sink = &kept.sink,
		                .window = { .duration_ns = 1000 * MS, .frequency_hz = 1000,
		                            .begun = be_late } };
	pid_t pid = start_spinner();
	kept_init(&kept);
	assert_ok(gd_target_open(pid, &c.target, &err), &err);
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	struct rusage used = { .ru_utime = { 0 } };
	(void)kill(pid, SIGKILL);
	(void)wait4(pid, NULL, 0, &used);
	gd_target_close(c.target);
	if (outcome.grade == GD_GRADE_SKIPPED) {
		kept_deinit(&kept);
		test_skip("%s", outcome.why.msg);
	}
	const struct kept_artifact *cpu = kept_find(&kept, "cpu.pb.gz");
	const struct kept_artifact *folded = kept_find(&kept, "cpu.folded");
	const struct kept_artifact *facts = kept_find(&kept, "samples.json");
	assert_true(cpu != NULL && folded != NULL && facts != NULL);
	json_t *json = json_loadb(facts->bytes.data, facts->bytes.len, 0, NULL);
	assert_non_null(json);
	uint64_t lost = number(json, "lost"), taken = number(json, "samples");
	json_decref(json);
	pprof_lines(cpu->bytes.data, cpu->bytes.len, &view, &lines);
	print_message("# %lu samples taken, %lu lost: %s\n", (unsigned long)taken,
	              (unsigned long)lost, outcome.why.msg);
	/* A ring of a mebibyte holds 126 of the samples, and in a second of CPU time there are 1,000. */
	bool enough = lost > 0 || used.ru_utime.tv_sec > 0;
	if (enough) {
		assert_true(lost > 0);
		assert_int_equal(outcome.grade, GD_GRADE_PARTIAL);
		assert_int_equal(outcome.why.code, -ENOBUFS);
		assert_int_equal(cpu->outcome.grade, GD_GRADE_PARTIAL);
		assert_contains(gd_buf_str(&lines), "[lost]");
		assert_contains(folded->bytes.data, "lost;[unknown];[lost] ");
		const char *line = strstr(folded->bytes.data, ";[lost] ");
		assert_true(line != NULL && strtoull(line + 8, NULL, 10) == lost);
	}
	kept_deinit(&kept);
	if (!enough) {
		gd_buf_deinit(&lines);
		test_skip("the machine is too busy: %lu samples", (unsigned long)taken);
	}
}

/* Two processes (the target is one) which hand a byte to each other: a switch and a wake-up each time. */
static pid_t start_ping_pong(void)
{
	int there[2], back[2];
	assert_int_equal(pipe2(there, O_CLOEXEC), 0);
	assert_int_equal(pipe2(back, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		cpu_set_t one;
		char byte = 0;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CPU_ZERO(&one);
		CPU_SET(0, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			_exit(1);
		pid_t other = fork();
		if (other == 0)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		const int *from = other == 0 ? there : back;
		const int *to = other == 0 ? back : there;
		while (write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1)
			;
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		(void)close(there[i]);
		(void)close(back[i]);
	}
	return pid;
}

/* Off-CPU time is given up on then, with its wake-ups; the CPU's is not. */
static void a_host_that_does_nothing_but_switch_is_let_alone(void **state)
{
	(void)state;
	static struct kept kept;
	struct gd_error err = { 0 };
	struct gd_collect c = { .sink = &kept.sink,
		                .window = { .duration_ns = 2500 * MS, .frequency_hz = 99 } };
	pid_t pid = start_ping_pong();
	kept_init(&kept);
	assert_ok(gd_target_open(pid, &c.target, &err), &err);
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	gd_target_close(c.target);
	const struct kept_artifact *facts = kept_find(&kept, "samples.json");
	const struct kept_artifact *away = kept_find(&kept, "offcpu.pb.gz");
	assert_true(facts != NULL && away != NULL);
	if (outcome.grade == GD_GRADE_SKIPPED || away->absent) {
		kept_deinit(&kept);
		test_skip("%s", outcome.why.msg);
	}
	json_t *json = json_loadb(facts->bytes.data, facts->bytes.len, 0, NULL);
	assert_non_null(json);
	const json_t *offcpu = json_object_get(json, "offcpu");
	uint64_t given_up = number(offcpu, "given_up_ns"), records = number(offcpu, "records_of_all");
	uint64_t wakeups = number(offcpu, "wakeups"), every = number(offcpu, "every");
	json_decref(json);
	struct gd_outcome of_away = away->outcome;
	kept_deinit(&kept);
	print_message("# %lu records of switches, %lu wake-ups, every %lu, given up: %s\n",
	              (unsigned long)records, (unsigned long)wakeups, (unsigned long)every,
	              given_up != 0 ? "yes" : "no");
	if (given_up == 0)
		test_skip("the machine is too busy: %lu records of switches", (unsigned long)records);
	assert_int_equal(every, 0);
	assert_int_equal(of_away.grade, GD_GRADE_PARTIAL);
	assert_int_equal(of_away.why.code, -EBUSY);
	/* What came until the reader looked, a tenth of a second later, and no more. */
	assert_true(records + wakeups < 1000000);
}

/* ---- C that uses the frame pointer's register for its data --------------------------------------- */

/*
 * Nothing in a sample of such code leads to the goroutine's stack.  C's own frames are right, and then the
 * stack ends, or goes on with the right callers: those of smashStepA are in c_smash_a, of B in b.
 */
static void check_smashed(const char *line, struct totals *t)
{
	static const char *const kind[2][2] = { { ";c_smash_a", "main.smashStepA;" },
		                                { ";c_smash_b", "main.smashStepB;" } };
	const char *inner = strstr(line, "_Cfunc_c_smashes;c_smashes;c_smash_");
	const char *asmcgocall = strstr(line, ";runtime.asmcgocall;");
	uint64_t count = strtoull(strrchr(line, ' '), NULL, 10);
	bool b = strstr(line, kind[1][0]) != NULL;
	/* A handler has a stack of its own: of the one below only the innermost frame is known. */
	if ((!b && strstr(line, kind[0][0]) == NULL) || strstr(line, "igtramp") != NULL)
		return;
	/* "class;thread;c_smash_a;..."; so, too, while the handler returns: there the stack must end. */
	const char *second = strchr(line, ';');
	second = second != NULL ? strchr(second + 1, ';') : NULL;
	if (strstr(line, "_sigreturn_[k]") != NULL && second == strstr(line, kind[b][0]))
		return;
	t->samples += count;
	if (inner == NULL || asmcgocall == NULL || asmcgocall > inner) {
		fail_msg("C's own frames are wrong: %s", line);
		return;
	}
	bool ends = second == asmcgocall;
	t->rooted += ends ? 0 : count;
	if (!ends && (strstr(line, kind[b][1]) == NULL || strstr(line, kind[!b][1]) != NULL ||
	              strstr(line, ";main.smash;") == NULL ||
	              strstr(line, ";main._Cfunc_c_smashes;runtime.cgocall;") == NULL))
		fail_msg("callers are wrong: %s", line);
}

static struct totals check_folded_smashed(const struct kept_artifact *folded)
{
	struct totals t = { .samples = 0 };
	char *saved = NULL;
	for (char *line = strtok_r(folded->bytes.data, "\n", &saved); line != NULL;
	     line = strtok_r(NULL, "\n", &saved))
		check_smashed(line, &t);
	return t;
}

/* Calls that are over at once, or that last ("held"). */
static struct totals collect_smashed(const char *path, const char *how)
{
	static struct kept kept;
	struct totals t = { .samples = 0 };
	struct gd_error err = { 0 };
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	struct victim *victim = victim_start(path, how, NULL);
	struct gd_collect c = { .sink = &kept.sink,
		                .window = { .duration_ns = 1500 * MS, .frequency_hz = 997 } };
	kept_init(&kept);
	assert_ok(gd_target_open(victim->pid, &c.target, &err), &err);
	assert_ok(gd_target_threads(c.target, &tids, &n, &err), &err);
	assert_ok(gd_go_open(c.target->memory, &c.target->maps, tids, n, &c.go, &err), &err);
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	const struct kept_artifact *folded = kept_find(&kept, "cpu.folded");
	if (outcome.grade != GD_GRADE_SKIPPED && folded != NULL)
		t = check_folded_smashed(folded);
	gd_go_close(c.go);
	gd_target_close(c.target);
	kept_deinit(&kept);
	victim_stop(victim);
	return t;
}

static void c_that_uses_the_frame_pointer_has_no_wrong_callers(void **state)
{
	(void)state;
	covered = 0;
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
		struct gd_error why = { 0 };
		const char *path = victim_go_if_built("busy", releases[i], "cgo", &why);
		if (path == NULL)
			continue;
		struct totals quick = collect_smashed(path, "smash");
		struct totals held = collect_smashed(path, "held");
		print_message("# go%s: of %lu samples in short calls of C %lu go on in Go, of %lu in long "
		              "ones %lu\n", releases[i], (unsigned long)quick.samples,
		              (unsigned long)quick.rooted, (unsigned long)held.samples,
		              (unsigned long)held.rooted);
		/* On a machine that is too busy we look too late for any of them. */
		covered += quick.samples >= 50 && held.samples >= 50 && held.rooted > 0;
	}
	if (covered == 0)
		test_skip("no release with cgo, or the machine is too busy for samples");
}

/* ---- against Go's own profiler ---------------------------------------------------------------- */

/*
 * Not goDeep, whose root is beyond what Go's profiler keeps of a stack, nor goAlloc, which sleeps all the
 * time: Go's timers look at a thread only in the kernel's tick, and miss what runs between two.
 */
static const char *const kinds[] = { "main.goSha", "main.goLeaf", "main.goInlined",
	                             "main.goLabelled" };
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* CPU time by the goroutine's function: "{labels} frame <- frame : SAMPLES NANOSECONDS" each. */
static double add_up(const char *lines, double shares[KINDS])
{
	double all = 0;
	memset(shares, 0, KINDS * sizeof(shares[0]));
	for (const char *at = lines; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
		const char *end = at + strcspn(at, "\n");
		const char *space = end;
		while (space > at && space[-1] != ' ')
			space--;
		double ns = strtod(space, NULL);
		for (size_t i = 0; i < KINDS; i++) {
			const char *found = strstr(at, kinds[i]);
			if (found == NULL || found >= end)
				continue;
			shares[i] += ns;
			all += ns;
		}
	}
	for (size_t i = 0; i < KINDS && all > 0; i++)
		shares[i] /= all;
	return all / 1e9;
}

static const char *newest(void)
{
	for (size_t i = 0; i < sizeof(releases) / sizeof(releases[0]); i++) {
		struct gd_error why = { 0 };
		const char *path = victim_go_if_built("busy", releases[i], "plain", &why);
		if (path != NULL)
			return path;
	}
	test_skip("no victim `busy` was built by any Go release");
}

/* Both look at the same twenty seconds: 4,000 samples of Go's, some 40,000 of ours. */
static void shares_are_those_of_go_s_own_profiler(void **state)
{
	(void)state;
	static struct kept kept;
	struct gd_error err = { 0 };
	double ours[KINDS], theirs[KINDS], seconds = 0;
	const struct pprof_view view = { .without = NULL };
	GD_BUF struct gd_buf lines = GD_BUF_INIT(256 << 20);
	GD_BUF struct gd_buf profile = GD_BUF_INIT(64 << 20);
	GD_FREE pid_t *tids = NULL;
	size_t n = 0;
	assert_int_equal(setenv("BUSY_PROFILE", test_path("cpu"), 1), 0);
	struct victim *victim = victim_start(newest(), "sha", "leaf", "inlined", "labelled", NULL);
	struct gd_collect c = { .sink = &kept.sink,
		                .window = { .duration_ns = 20000 * MS, .frequency_hz = 997 } };
	kept_init(&kept);
	assert_ok(gd_target_open(victim->pid, &c.target, &err), &err);
	assert_ok(gd_target_threads(c.target, &tids, &n, &err), &err);
	assert_ok(gd_go_open(c.target->memory, &c.target->maps, tids, n, &c.go, &err), &err);
	victim_tell(victim, "p");
	assert_string_equal(victim_line(victim), "profiling");
	struct gd_outcome outcome = gd_collector_samples.collect(&c);
	victim_tell(victim, "s");
	assert_string_equal(victim_line(victim), "profiled");
	bool skipped = outcome.grade == GD_GRADE_SKIPPED;
	if (!skipped) {
		const struct kept_artifact *cpu = kept_find(&kept, "cpu.pb.gz");
		assert_non_null(cpu);
		pprof_lines(cpu->bytes.data, cpu->bytes.len, &view, &lines);
		(void)add_up(gd_buf_str(&lines), ours);
		assert_ok(gd_io_read_file_at(AT_FDCWD, test_path("cpu"), &profile, &err), &err);
		gd_buf_reset(&lines);
		pprof_lines(profile.data, profile.len, &view, &lines);
		seconds = add_up(gd_buf_str(&lines), theirs);
	}
	gd_go_close(c.go);
	gd_target_close(c.target);
	kept_deinit(&kept);
	/* A skip leaves without coming back. */
	gd_buf_deinit(&lines);
	gd_buf_deinit(&profile);
	free(tids);
	tids = NULL;
	if (skipped)
		test_skip("%s", outcome.why.msg);
	/* 3,000 samples of Go's: a share of a fifth is then right to 0.7 points. */
	if (seconds < 30)
		test_skip("the machine is too busy: the victim got %.0f s of CPU in 20", seconds);
	bool equal = true;
	for (size_t i = 0; i < KINDS; i++) {
		print_message("# %-14s %.1f %% of ours, %.1f %% of Go's\n", kinds[i], 100 * ours[i],
		              100 * theirs[i]);
		equal = equal && ours[i] - theirs[i] < 0.02 && theirs[i] - ours[i] < 0.02;
	}
	assert_true(equal);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(callers_are_right_and_roots_are_reached),
		test_case(what_did_not_fit_is_said_and_counted),
		test_case(a_host_that_does_nothing_but_switch_is_let_alone),
		test_case(c_that_uses_the_frame_pointer_has_no_wrong_callers),
		test_case(shares_are_those_of_go_s_own_profiler),
	};
	return test_run(tests);
}
