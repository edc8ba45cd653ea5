#include "tests/archives.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report/heap.h"
#include "tests/profiles.h"

enum { EMPTY, OBJECTS, SPACE, COUNT, BYTES, MAIN_LEAK, STORE_PUT, MAKE_SLICE, LEAK_GO, STORE_GO };
static const char *const strings[] = { "", "inuse_objects", "inuse_space", "count", "bytes",
	                               "main.leak", "main.(*Store).Put", "runtime.makeslice",
	                               "/src/leak.go", "/src/store.go" };

static void put_sample(struct gd_buf *out, struct gd_buf *message, const uint64_t *locations,
                       size_t n, uint64_t objects, uint64_t bytes, bool packed)
{
	GD_BUF struct gd_buf list = GD_BUF_INIT(4096);
	for (size_t i = 0; i < n; i++) {
		if (packed)
			profile_put_varint(&list, locations[i]);
		else
			profile_put_number(message, 1, locations[i]);
	}
	if (packed)
		profile_put_message(message, 1, &list);
	uint64_t values[4] = { 9, 9999999, objects, bytes };
	for (size_t i = 0; i < 4; i++) {
		if (packed)
			profile_put_varint(&list, values[i]);
		else
			profile_put_number(message, 2, values[i]);
	}
	if (packed)
		profile_put_message(message, 2, &list);
	profile_put_message(out, 2, message);
}

static struct gd_buf make_profile(void)
{
	struct gd_buf out = GD_BUF_INIT(1 << 20);
	GD_BUF struct gd_buf message = GD_BUF_INIT(4096);
	GD_BUF struct gd_buf line = GD_BUF_INIT(4096);
	static const uint64_t types[4] = { COUNT, BYTES, OBJECTS, SPACE };
	static const uint64_t names[4] = { 0, MAIN_LEAK, STORE_PUT, MAKE_SLICE };
	for (int i = 0; i < 4; i++) {
		profile_put_number(&message, 1, types[i]);
		profile_put_number(&message, 2, BYTES);
		profile_put_message(&out, 1, &message);
	}
	/* makeslice <- leak:12; makeslice <- leak:12 <- Put; Put:7 with leak:20 inlined into it */
	put_sample(&out, &message, (const uint64_t[]){ 3, 1 }, 2, 10, 1000, true);
	put_sample(&out, &message, (const uint64_t[]){ 3, 1, 2 }, 3, 5, 500, false);
	put_sample(&out, &message, (const uint64_t[]){ 4 }, 1, 1, 4000, true);
	put_sample(&out, &message, (const uint64_t[]){ 3 }, 1, 1, 16, true);
	for (uint64_t id = 1; id <= 3; id++) {
		profile_put_number(&line, 1, id);
		profile_put_number(&line, 2, id == 1 ? 12 : 7);
		profile_put_number(&message, 1, id);
		profile_put_message(&message, 4, &line);
		profile_put_message(&out, 4, &message);
	}
	profile_put_number(&message, 1, 4);
	profile_put_number(&line, 1, 1);
	profile_put_number(&line, 2, 20);
	profile_put_message(&message, 4, &line);
	profile_put_number(&line, 1, 2);
	profile_put_number(&line, 2, 7);
	profile_put_message(&message, 4, &line);
	profile_put_message(&out, 4, &message);
	for (uint64_t id = 1; id <= 3; id++) {
		profile_put_number(&message, 1, id);
		profile_put_number(&message, 2, names[id]);
		profile_put_number(&message, 4, id == 2 ? STORE_GO : LEAK_GO);
		profile_put_message(&out, 5, &message);
	}
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		profile_put_bytes(&out, 6, strings[i], strlen(strings[i]));
	return out;
}

static void look(const struct gd_sites *heap)
{
	assert_int_equal(heap->value, 5516);
	assert_int_equal(heap->count, 17);
	assert_int_equal(heap->n, 3);
	assert_string_equal(heap->list[0].frame.function, "main.leak");
	assert_int_equal(heap->list[0].frame.line, 20);
	assert_int_equal(heap->list[0].value, 4000);
	assert_string_equal(heap->list[1].frame.function, "main.leak");
	assert_string_equal(heap->list[1].frame.file, "/src/leak.go");
	assert_int_equal(heap->list[1].frame.line, 12);
	assert_int_equal(heap->list[1].value, 1500);
	assert_int_equal(heap->list[1].count, 15);
	assert_string_equal(heap->list[2].frame.function, "runtime.makeslice");
}

static void sites_are_the_innermost_functions_of_the_program(void **state)
{
	(void)state;
	GD_BUF struct gd_buf profile = make_profile();
	struct gd_sites heap;
	struct gd_error err = { 0 };
	assert_ok(gd_heap_parse(profile.data, profile.len, &heap, &err), &err);
	look(&heap);
	gd_sites_deinit(&heap);
}

static void it_is_read_from_an_archive(void **state)
{
	(void)state;
	GD_BUF struct gd_buf profile = make_profile();
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const char *plain = test_file("heap.pb", profile.data, profile.len);
	(void)archive_run("gzip -k '%s'", plain);
	GD_BUF struct gd_buf packed = archive_read(test_path("heap.pb.gz"));
	const struct made made[] = { { "heap.pb.gz", "application/x", "heap", packed.data, packed.len,
		                       false } };
	struct gd_sealed sealed = archive_make("a.tar", made, 1);
	struct gd_sites heap;
	struct gd_error err = { 0 };
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	assert_ok(gd_heap_read(&reader, &heap, &err), &err);
	look(&heap);
	gd_sites_deinit(&heap);
}

static void damage_is_an_error_and_never_a_crash(void **state)
{
	(void)state;
	GD_BUF struct gd_buf profile = make_profile();
	struct gd_sites heap;
	for (size_t cut = 0; cut < profile.len; cut++) {
		struct gd_error err = { 0 };
		if (gd_heap_parse(profile.data, cut, &heap, &err) == 0)
			gd_sites_deinit(&heap);
		else
			assert_true(err.msg[0] != '\0');
	}
	for (size_t i = 0; i < profile.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			profile.data[i] = (char)(profile.data[i] ^ 1 << bit);
			if (gd_heap_parse(profile.data, profile.len, &heap, NULL) == 0)
				gd_sites_deinit(&heap);
			profile.data[i] = (char)(profile.data[i] ^ 1 << bit);
		}
	}
}

static void other_profiles_are_refused(void **state)
{
	(void)state;
	struct gd_sites heap;
	struct gd_error err = { 0 };
	assert_fails(gd_heap_parse("", 0, &heap, &err), -EBADMSG, &err);
	assert_fails(gd_heap_parse("\xff\xff\xff", 3, &heap, &err), -EBADMSG, &err);
	/* a location that claims id 2^40 */
	static const char huge[] = "\x22\x07\x08\x80\x80\x80\x80\x80\x20";
	assert_fails(gd_heap_parse(huge, sizeof(huge) - 1, &heap, &err), -E2BIG, &err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(sites_are_the_innermost_functions_of_the_program),
		test_case(it_is_read_from_an_archive),
		test_case(damage_is_an_error_and_never_a_crash),
		test_case(other_profiles_are_refused),
	};
	return test_run(tests);
}
