/*
 * Text of goroutines made up over the module of go_image.h: what no victim can be brought to, above
 * all headers and very deep stacks.  Everything else is compared with Go's own text in
 * truth_goroutines.c.
 */
#include "golang/traceback.h"

#include <stdlib.h>
#include <string.h>

#include "tests/go_image.h"
#include "tests/test.h"

enum {
	MAIN = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_MAIN,
	LEAF = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_LEAF,
	HIDDEN = GO_IMAGE_BASE + GO_IMAGE_TEXT + GO_IMAGE_SCHEDINIT,
};

struct fixture {
	struct go_image image;
	struct gd_go go;
	struct gd_traceback *tb;
	struct gd_frame frames[GD_FRAMES_MAX];
	struct gd_goroutine g;
	struct gd_labels labels;
	struct gd_buf out;
};

static struct fixture *begin(int minor)
{
	struct gd_error err = { 0 };
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	go_image_make(&f->image, minor);
	go_image_load(&f->image);
	f->go.memory = f->image.memory;
	f->go.version.minor = minor;
	f->labels = GD_LABELS_INIT;
	f->out = GD_BUF_INIT(1 << 20);
	assert_ok(gd_modules_find(f->image.memory, &f->image.maps, &f->go.modules, &err), &err);
	assert_ok(gd_modules_complete(&f->go.modules, f->image.memory, minor, 0, &err), &err);
	assert_ok(gd_symbols_create(f->image.memory, &f->go.modules, minor, &f->go.symbols, &err),
	          &err);
	assert_ok(gd_traceback_create(&f->go, &f->tb, &err), &err);
	f->g = (struct gd_goroutine){ .goid = 7, .status = GD_G_WAITING, .frames = f->frames,
		                      .labels = &f->labels };
	return f;
}

static void end(struct fixture *f)
{
	gd_traceback_destroy(f->tb);
	gd_symbols_destroy(f->go.symbols);
	gd_modules_deinit(&f->go.modules);
	go_image_unload(&f->image);
	gd_buf_deinit(&f->out);
	free(f);
}

static void add_frame(struct fixture *f, uint64_t pc)
{
	struct gd_frame *frame = &f->frames[f->g.n_frames++];
	*frame = (struct gd_frame){ .pc = pc, .site = gd_symbols_site(f->go.symbols, pc, false) };
	assert_non_null(frame->site);
	f->g.n_inner = f->g.n_frames;
}

static const char *text(struct fixture *f)
{
	gd_buf_reset(&f->out);
	gd_traceback_put(f->tb, &f->g, &f->out);
	return gd_buf_str(&f->out);
}

static void assert_text(struct fixture *f, const char *expected)
{
	assert_string_equal(text(f), expected);
}

static void inlined_calls_have_three_dots_and_no_offset(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct fixture *f = begin(minor);
		add_frame(f, LEAF + 0x10);
		add_frame(f, HIDDEN + 4);
		add_frame(f, MAIN + 0x30);
		f->g.reason = "chan receive";
		f->g.creator = gd_symbols_site(f->go.symbols, MAIN + 0x80, false);
		f->g.parent_goid = minor < 21 ? 0 : 3;
		assert_text(f, minor < 21 ?
			"goroutine 7 [chan receive]:\n"
			"main.leaf()\n\t/src/main.go:50 +0x10\n"
			"main.inner(...)\n\t/src/inlined.go:20\n"
			"main.outer(...)\n\t/src/inlined.go:30\n"
			"main.main()\n\t/src/main.go:11 +0x30\n"
			"created by main.main\n\t/src/main.go:11 +0x80\n" :
			"goroutine 7 [chan receive]:\n"
			"main.leaf()\n\t/src/main.go:50 +0x10\n"
			"main.inner(...)\n\t/src/inlined.go:20\n"
			"main.outer(...)\n\t/src/inlined.go:30\n"
			"main.main()\n\t/src/main.go:11 +0x30\n"
			"created by main.main in goroutine 3\n\t/src/main.go:11 +0x80\n");
		f->g.goid = 1; /* the first one has no creator to speak of */
		assert_null(strstr(text(f), "created by"));
		end(f);
	}
}

static void a_stack_of_only_hidden_frames_is_shown_whole(void **state)
{
	(void)state;
	for (int minor = 20; minor <= 21; minor++) {
		struct fixture *f = begin(minor);
		add_frame(f, HIDDEN + 4);
		assert_text(f, "goroutine 7 [waiting]:\nruntime.schedinit()\n\t/src/main.go:50 +0x4\n");
		end(f);
	}
}

static void headers_say_what_is_known(void **state)
{
	(void)state;
	struct fixture *f = begin(26);
	f->g.status = GD_G_SYSCALL;
	f->g.wait_ns = INT64_C(59999999999);
	assert_text(f, "goroutine 7 [syscall]:\n");
	f->g.wait_ns = INT64_C(180000000000);
	f->g.locked = true;
	assert_text(f, "goroutine 7 [syscall, 3 minutes, locked to thread]:\n");
	f->g.scan = true;
	f->g.status = GD_G_WAITING;
	f->g.reason = "select (no cases)";
	assert_text(f, "goroutine 7 [select (no cases) (scan), 3 minutes, locked to thread]:\n");
	f->g = (struct gd_goroutine){ .goid = UINT64_MAX, .status = GD_G_LEAKED,
		                      .reason = "chan send" };
	assert_text(f, "goroutine 18446744073709551615 [chan send (leaked)]:\n");
	f->g = (struct gd_goroutine){ .goid = 2, .status = (enum gd_goroutine_status)77 };
	assert_text(f, "goroutine 2 [???]:\n");
	end(f);
}

static void running_and_torn_goroutines_say_so(void **state)
{
	(void)state;
	struct fixture *f = begin(24);
	f->g.status = GD_G_RUNNING;
	f->g.frames_are = GD_FRAMES_NONE;
	assert_text(f, "goroutine 7 [running]:\n"
	               "\tgoroutine running on other thread; stack unavailable\n");
	f->g.frames_are = GD_FRAMES_APPROXIMATE;
	add_frame(f, LEAF + 0x10);
	assert_contains(text(f), "\tgoroutine running on other thread; frames found by searching");
	assert_contains(text(f), "\nmain.leaf()\n");
	f->g.frames_are = GD_FRAMES_TORN;
	assert_contains(text(f), "\tstack changed while it was read");
	end(f);
}

static void put_label(struct fixture *f, const char *key, const char *value)
{
	f->labels.pairs[f->labels.n++] = (struct gd_labels_pair){
		.key = key, .key_len = strlen(key), .value = value, .value_len = strlen(value),
	};
}

/* Without the runtime's own variable the default counts: off until 1.26, on from 1.27. */
static void labels_are_in_the_header_since_1_27(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 27; minor++) {
		struct fixture *f = begin(minor);
		put_label(f, "user", "alice");
		put_label(f, "path", "/a/b.c_9");
		put_label(f, "odd", "a b\t\"\\\x01\x7f\xc3\xa9\xf0\x9f\x98\x80\xff");
		if (minor < 27)
			assert_text(f, "goroutine 7 [waiting]:\n");
		else
			assert_text(f, "goroutine 7 [waiting] {user: alice, path: /a/b.c_9, odd: "
			               "\"a b\\t\\\"\\\\\\x01\\u007f\\u00e9\\U0001f600\\xff\"}:\n");
		end(f);
	}
}

static void labels_can_be_switched_on_and_off_when_linked(void **state)
{
	(void)state;
	static char off[] = "path\tx\nbuild\tDefaultGODEBUG=asynctimerchan=1,tracebacklabels=0\n";
	static char on[] = "build\tDefaultGODEBUG=tracebacklabels=1,x=0\nbuild\tCGO_ENABLED=0\n";
	struct gd_error err = { 0 };
	for (int minor = 26; minor <= 27; minor++) {
		struct fixture *f = begin(minor);
		put_label(f, "k", "v w");
		f->go.build.modinfo = minor == 26 ? on : off;
		gd_traceback_destroy(f->tb);
		assert_ok(gd_traceback_create(&f->go, &f->tb, &err), &err);
		assert_text(f, minor == 26 ? "goroutine 7 [waiting labels:{\"k\": \"v w\"}]:\n" :
		                             "goroutine 7 [waiting]:\n");
		f->go.build.modinfo = NULL;
		end(f);
	}
}

static size_t count(const char *haystack, const char *needle)
{
	size_t n = 0;
	for (const char *p = strstr(haystack, needle); p != NULL; p = strstr(p + 1, needle))
		n++;
	return n;
}

/* From 1.21 on: fifty lines, a note, fifty lines. */
static void deep_stacks_are_elided_in_the_middle_since_1_21(void **state)
{
	(void)state;
	for (int minor = 21; minor <= 27; minor++) {
		struct fixture *f = begin(minor);
		for (int i = 0; i < 100; i++)
			add_frame(f, LEAF + 0x10);
		assert_int_equal(count(text(f), "main.leaf()\n"), 100);
		assert_null(strstr(text(f), "elided"));
		add_frame(f, LEAF + 0x10);
		assert_int_equal(count(text(f), "main.leaf()\n"), 100);
		assert_contains(text(f), "...1 frames elided...\n");
		for (int i = 0; i < 300; i++)
			add_frame(f, HIDDEN + 4); /* not shown, not counted */
		assert_contains(text(f), "...1 frames elided...\n");
		f->g.n_inner = 256; /* and more that were not kept */
		f->g.elided = 1000;
		f->g.elided_lines = 999;
		assert_contains(text(f), "...1000 frames elided...\n");
		assert_int_equal(count(text(f), "main.leaf()\n"), 100);
		end(f);
	}
}

/* Until 1.20: the innermost hundred frames, hidden ones included; a note only at exactly 100 lines. */
static void deep_stacks_are_cut_at_a_hundred_until_1_20(void **state)
{
	(void)state;
	for (int minor = 18; minor <= 20; minor++) {
		struct fixture *f = begin(minor);
		add_frame(f, HIDDEN + 4);
		for (int i = 0; i < 200; i++)
			add_frame(f, LEAF + 0x10);
		assert_int_equal(count(text(f), "main.leaf()\n"), 99);
		assert_null(strstr(text(f), "elided"));
		f->g.n_frames = 0;
		for (int i = 0; i < 200; i++)
			add_frame(f, LEAF + 0x10);
		assert_int_equal(count(text(f), "main.leaf()\n"), 100);
		assert_contains(text(f), "...additional frames elided...\n");
		end(f);
	}
}

static void a_site_tells_how_many_lines_it_makes(void **state)
{
	(void)state;
	struct fixture *f = begin(23);
	const struct gd_site *site = gd_symbols_site(f->go.symbols, MAIN + 0x30, false);
	assert_int_equal(gd_traceback_lines(f->tb, site, false), 3);
	site = gd_symbols_site(f->go.symbols, HIDDEN + 4, false);
	assert_int_equal(gd_traceback_lines(f->tb, site, false), 0);
	end(f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(inlined_calls_have_three_dots_and_no_offset),
		test_case(a_stack_of_only_hidden_frames_is_shown_whole),
		test_case(headers_say_what_is_known),
		test_case(running_and_torn_goroutines_say_so),
		test_case(labels_are_in_the_header_since_1_27),
		test_case(labels_can_be_switched_on_and_off_when_linked),
		test_case(deep_stacks_are_elided_in_the_middle_since_1_21),
		test_case(deep_stacks_are_cut_at_a_hundred_until_1_20),
		test_case(a_site_tells_how_many_lines_it_makes),
	};
	return test_run(tests);
}
