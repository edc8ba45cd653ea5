#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "report/flame.h"
#include "tests/profiles.h"

static struct gd_flame parse(struct profile *made)
{
	struct gd_flame f = { 0 };
	struct gd_error err = { 0 };
	assert_ok(gd_flame_parse("cpu.pb.gz", made->bytes.data, made->bytes.len, &f, &err), &err);
	gd_buf_deinit(&made->bytes);
	return f;
}

static struct gd_flame parse_shop(void)
{
	struct profile made = profile_shop();
	return parse(&made);
}

/* What a writer writes, sorted by line; freed by the caller. */
static char *folded(const struct gd_flame *f, uint32_t type)
{
	char *text = NULL;
	size_t n = 0;
	struct gd_error err = { 0 };
	FILE *out = open_memstream(&text, &n);
	assert_non_null(out);
	assert_ok(gd_flame_folded(f, type, out, &err), &err);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void folded_has_class_thread_and_marks(void **state)
{
	(void)state;
	GD_FLAME struct gd_flame f = parse_shop();
	char *text = folded(&f, 0);
	assert_string_equal(text, "user;shop;main.run;main.serve;main.parse_[i] 50\n"
	                          "malloc;shop;main.run;main.serve;runtime.mallocgc 20\n"
	                          "kernel;shop;main.run;syscall.write;ksys_write_[k] 12\n"
	                          "gc background;shop;runtime.gcBgMarkWorker 6\n"
	                          "user;shop;libc.so.6+0x29d90 4\n"
	                          "[unknown];[unknown];[lost] 8\n");
	free(text);
	text = folded(&f, 1);
	assert_contains(text, "main.parse_[i] 500000000\n");
	free(text);
}

static void names_cannot_break_a_folded_line(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count" };
	struct profile made = profile_begin(types, 2);
	const struct profile_line lines[] = { { "a;b\nc 12", NULL, 1 } };
	const struct profile_label labels[] = { { "thread", "x;y\nz", 0 }, { "class", "p;q", 0 } };
	uint64_t at = profile_location(&made, 0, 1, lines, 1);
	profile_sample(&made, &at, 1, 3, 3, labels, 2);
	GD_FLAME struct gd_flame f = parse(&made);
	char *text = folded(&f, 0);
	assert_string_equal(text, "p:q;x:y\\x0az;a:b\\x0ac 12 3\n");
	free(text);
}

static void a_profile_without_class_or_thread_has_only_frames(void **state)
{
	(void)state;
	static const char *const types[] = { "alloc_space", "bytes", "inuse_space", "bytes" };
	struct profile made = profile_begin(types, 4);
	uint64_t at = profile_location(&made, 0, 1, &(struct profile_line){ "f", "f.go", 7 }, 1);
	profile_sample(&made, &at, 1, 100, 64, NULL, 0);
	profile_sample(&made, &at, 1, 100, 0, NULL, 0);
	GD_FLAME struct gd_flame f = parse(&made);
	assert_int_equal(f.default_type, 1);
	assert_false(f.classes_derived);
	char *text = folded(&f, f.default_type);
	assert_string_equal(text, "f 64\n");
	free(text);
	text = folded(&f, 0);
	assert_string_equal(text, "f 200\n");
	free(text);
}

static void classes_are_derived_where_there_are_none(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count", "cpu", "nanoseconds" };
	static const struct {
		const char *function, *class;
	} known[] = {
		{ "runtime.gcBgMarkWorker.func2", "gc background" },
		{ "runtime.gcAssistAlloc1", "gc assist" },
		{ "runtime.bgsweep", "sweep" },
		{ "runtime.findRunnable", "scheduler" },
		{ "runtime.newstack", "stack growth" },
		{ "runtime.mallocgcSmallScanNoHeader", "malloc" },
		{ "main.main", "user" },
	};
	struct profile made = profile_begin(types, 4);
	uint64_t leaf = profile_location(&made, 0, 1, &(struct profile_line){ "leaf", NULL, 1 }, 1);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		const struct profile_line line = { known[i].function, NULL, 1 };
		uint64_t stack[] = { leaf, profile_location(&made, 0, 1, &line, 1) };
		profile_sample(&made, stack, 2, 1, 1, NULL, 0);
	}
	GD_FLAME struct gd_flame f = parse(&made);
	assert_true(f.classes_derived);
	assert_int_equal(f.rows.n, 7);
	for (uint32_t i = 0; i < f.rows.n; i++) {
		uint32_t class = (uint32_t)gd_tuples_at(&f.rows, i)[GD_FLAME_ROW_CLASS];
		assert_string_equal(gd_flame_text(&f, *gd_tuples_at(&f.classes, class)),
		                    known[i].class);
	}
}

static void labels_of_the_program_are_kept(void **state)
{
	(void)state;
	GD_FLAME struct gd_flame f = parse_shop();
	bool found = false;
	for (uint32_t i = 1; i < f.labels.n; i++) {
		const uint64_t *l = gd_tuples_at(&f.labels, i);
		found |= strcmp(gd_flame_text(&f, l[GD_FLAME_LABEL_KEY]), "handler") == 0 &&
		         strcmp(gd_flame_text(&f, l[GD_FLAME_LABEL_TEXT]), "/order") == 0;
	}
	assert_true(found);
	assert_int_equal(f.threads.n, 3);    /* unknown and two */
	assert_int_equal(f.goroutines.n, 4); /* none and three */
	assert_int_equal(f.duration_ns, 10000000000);
}

static void types_are_found_by_name(void **state)
{
	(void)state;
	GD_FLAME struct gd_flame f = parse_shop();
	struct gd_error err = { 0 };
	uint32_t type = 9;
	assert_ok(gd_flame_type(&f, "samples", &type, &err), &err);
	assert_int_equal(type, 0);
	assert_ok(gd_flame_type(&f, NULL, &type, &err), &err);
	assert_int_equal(type, 1);
	assert_fails(gd_flame_type(&f, "inuse_space", &type, &err), -ENOENT, &err);
	assert_contains(err.msg, "samples, cpu");
	assert_int_equal(gd_flame_type_in(&f, "count"), 0);
	assert_int_equal(gd_flame_type_in(&f, "bytes"), 1);
}

/* The sum of a profile's weights; stacks are walked and must lead to frames that exist. */
static int64_t weigh(json_t *profile, size_t n_frames)
{
	json_t *stack, *weight, *frame;
	size_t i, k;
	int64_t sum = 0;
	json_t *samples = json_object_get(profile, "samples");
	assert_int_equal(json_array_size(samples),
	                 json_array_size(json_object_get(profile, "weights")));
	json_array_foreach(json_object_get(profile, "weights"), i, weight)
		sum += json_integer_value(weight);
	json_array_foreach(samples, i, stack)
		json_array_foreach(stack, k, frame)
			assert_in_range(json_integer_value(frame), 1, n_frames - 1);
	return sum;
}

static void speedscope_has_a_profile_for_each_thread(void **state)
{
	(void)state;
	GD_FLAME struct gd_flame f = parse_shop();
	struct gd_error err = { 0 };
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	assert_ok(gd_flame_speedscope(&f, 1, "shop", out, &err), &err);
	assert_int_equal(fclose(out), 0);
	json_t *json = json_loadb(text, n, 0, NULL);
	assert_non_null(json);
	json_t *frames = json_object_get(json_object_get(json, "shared"), "frames");
	json_t *profiles = json_object_get(json, "profiles");
	static const struct {
		const char *name;
		int64_t ns;
	} want[] = { { "shop/71", 560000000 }, { "shop/72", 360000000 }, { "cpu", 80000000 } };
	assert_int_equal(json_array_size(profiles), 3);
	for (size_t i = 0; i < 3; i++) {
		json_t *p = json_array_get(profiles, i);
		assert_string_equal(json_string_value(json_object_get(p, "name")), want[i].name);
		assert_string_equal(json_string_value(json_object_get(p, "unit")), "nanoseconds");
		assert_string_equal(json_string_value(json_object_get(p, "type")), "sampled");
		assert_int_equal(weigh(p, json_array_size(frames)), want[i].ns);
		assert_int_equal(json_integer_value(json_object_get(p, "endValue")), want[i].ns);
	}
	/* outermost first */
	json_t *stack = json_array_get(json_object_get(json_array_get(profiles, 0), "samples"), 0);
	json_t *first = json_array_get(frames, (size_t)json_integer_value(json_array_get(stack, 0)));
	assert_string_equal(json_string_value(json_object_get(first, "name")), "main.run");
	assert_string_equal(json_string_value(json_object_get(first, "file")), "/src/main.go");
	assert_int_equal(json_integer_value(json_object_get(first, "line")), 10);
	json_decref(json);
	free(text);
}

static void deep_stacks_say_that_they_were_cut(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count" };
	struct profile made = profile_begin(types, 2);
	uint64_t ids[GD_PPROF_READ_DEPTH + 1];
	uint64_t one = profile_location(&made, 0, 1, &(struct profile_line){ "f", NULL, 1 }, 1);
	for (size_t i = 0; i < GD_PPROF_READ_DEPTH + 1; i++)
		ids[i] = one;
	profile_sample(&made, ids, GD_PPROF_READ_DEPTH + 1, 2, 2, NULL, 0);
	GD_FLAME struct gd_flame f = parse(&made);
	assert_int_equal(f.cut, 1);
	char *text = folded(&f, 0);
	assert_true(strncmp(text, "[cut];f;f;", 10) == 0);
	free(text);
}

static void values_saturate(void **state)
{
	(void)state;
	static const char *const types[] = { "samples", "count", "cpu", "nanoseconds" };
	struct profile made = profile_begin(types, 4);
	uint64_t one = profile_location(&made, 0, 1, &(struct profile_line){ "f", NULL, 1 }, 1);
	profile_sample(&made, &one, 1, INT64_MAX, INT64_MIN, NULL, 0);
	profile_sample(&made, &one, 1, INT64_MAX, INT64_MIN, NULL, 0);
	GD_FLAME struct gd_flame f = parse(&made);
	assert_true(f.values[0] == INT64_MAX);
	assert_true(f.values[1] == INT64_MIN);
	char *text = folded(&f, 1); /* less than nothing is nothing */
	assert_string_equal(text, "");
	free(text);
}

static void damage_is_an_error_and_never_a_crash(void **state)
{
	(void)state;
	struct profile made = profile_shop();
	struct gd_flame f;
	for (size_t cut = 0; cut < made.bytes.len; cut++) {
		struct gd_error err = { 0 };
		if (gd_flame_parse("x", made.bytes.data, cut, &f, &err) == 0)
			gd_flame_deinit(&f);
		else
			assert_true(err.msg[0] != '\0');
	}
	for (size_t i = 0; i < made.bytes.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			made.bytes.data[i] = (char)(made.bytes.data[i] ^ 1 << bit);
			if (gd_flame_parse("x", made.bytes.data, made.bytes.len, &f, NULL) == 0)
				gd_flame_deinit(&f);
			made.bytes.data[i] = (char)(made.bytes.data[i] ^ 1 << bit);
		}
	}
	gd_buf_deinit(&made.bytes);
}

static void profiles_of_an_archive_come_in_their_order(void **state)
{
	(void)state;
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const struct made made[] = {
		{ "goroutine.pb.gz", "x", "goroutines", "g", 1, false },
		{ "heap.pb.gz", "x", "heap", "h", 1, false },
		{ "heap.txt", "x", "heap", "h", 1, false },
		{ "strange.pb.gz", "x", "samples", "s", 1, false },
		{ "block.pb.gz", "x", "block", NULL, 0, false },
		{ "cpu.pb.gz", "x", "samples", "c", 1, false },
		{ "image/heap.pb.gz", "x", "heap", "i", 1, false },
	};
	static const char *const want[] = { "cpu.pb.gz", "image/heap.pb.gz", "goroutine.pb.gz",
		                            "strange.pb.gz" };
	struct gd_sealed sealed = archive_make("a.tar", made, 7);
	struct gd_flame_profiles p;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	gd_flame_profiles(&reader, &p);
	assert_int_equal(p.n, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(p.list[i]->name, want[i]);
	assert_int_equal(p.n_absent, 1);
	assert_string_equal(p.absent[0]->name, "block.pb.gz");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(folded_has_class_thread_and_marks),
		test_case(names_cannot_break_a_folded_line),
		test_case(a_profile_without_class_or_thread_has_only_frames),
		test_case(classes_are_derived_where_there_are_none),
		test_case(labels_of_the_program_are_kept),
		test_case(types_are_found_by_name),
		test_case(speedscope_has_a_profile_for_each_thread),
		test_case(deep_stacks_say_that_they_were_cut),
		test_case(values_saturate),
		test_case(damage_is_an_error_and_never_a_crash),
		test_case(profiles_of_an_archive_come_in_their_order),
	};
	return test_run(tests);
}
