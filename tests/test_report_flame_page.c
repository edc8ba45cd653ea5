/*
 * The page: that nothing foreign breaks out of it, and, in a real browser, what a person does with it.
 */
#include "tests/archives.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "report/flame.h"
#include "tests/profiles.h"

static char *write_page(const struct made *made, size_t n, size_t *n_unreadable)
{
	GD_READER struct gd_reader reader = GD_READER_INIT;
	struct gd_sealed sealed = archive_make("a.tar", made, n);
	struct gd_error err = { 0 };
	char *text = NULL;
	size_t len = 0;
	assert_ok(gd_reader_open(sealed.path, &reader, &err), &err);
	FILE *out = open_memstream(&text, &len);
	assert_non_null(out);
	assert_ok(gd_flame_page(&reader, NULL, out, n_unreadable, &err), &err);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(unlink(sealed.path), 0);
	return text;
}

/* A page with that profile as cpu.pb.gz, in the test's directory. */
static const char *page_of(struct profile *profile)
{
	GD_BUF struct gd_buf gz = profile_gzip(profile);
	const struct made made[] = {
		{ "cpu.pb.gz", "x", "samples", gz.data, gz.len, false },
		{ "heap.pb.gz", "x", "heap", NULL, 0, false },
	};
	size_t n_unreadable = 9;
	GD_FREE char *text = write_page(made, 2, &n_unreadable);
	assert_int_equal(n_unreadable, 0);
	return test_file("page.html", text, strlen(text));
}

/* What tests/flame_browser.py prints for these steps. */
static const char *browse(const char *page, const char *steps)
{
	char *said = archive_run("command -v python3 >/dev/null || { echo no python3; echo 77; exit 0; }; "
	                         "python3 tests/flame_browser.py '%s' %s; code=$?; "
	                         "[ $code = 0 ] || echo $code; [ $code = 77 ] || exit $code",
	                         page, steps);
	char *end = strrchr(said, '\n');
	if (end - said >= 3 && strncmp(end - 3, "\n77", 3) == 0) {
		end[-3] = '\0';
		test_skip("%s", said);
	}
	return said;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;
	for (; (text = strstr(text, what)) != NULL; text += strlen(what))
		n++;
	return n;
}

static struct profile hostile(void)
{
	static const char *const types[] = { "samples", "count", "cpu", "nanoseconds" };
	static const char *const names[] = {
		"</script><script>window.broken=1</script>",
		"<!--<script>",
		"\"];window.broken=1;//",
		"a\342\200\250b",               /* U+2028, a line's end to old JavaScript */
		"bad \xff\xfe\xc0\x80 utf-8",
		"<img src=x onerror=window.broken=1>",
		"@script@ @policy@ \\u003c/script>",
		"__proto__",
		"constructor",
		"",
	};
	struct profile p = profile_begin(types, 4);
	uint64_t mapping = profile_mapping(&p, "/x");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct profile_line line = { names[i], names[i], -5 };
		const struct profile_label labels[] = { { "class", names[i], 0 },
			                                { "thread", names[i], 0 },
			                                { "__proto__", names[i], 0 },
			                                { names[i], NULL, INT64_MIN } };
		uint64_t at = profile_location(&p, mapping, 1, &line, 1);
		profile_sample(&p, &at, 1, 10, 10, labels, 4);
	}
	return p;
}

static void no_name_ends_the_document(void **state)
{
	(void)state;
	struct profile plain = profile_shop();
	struct profile bad = hostile();
	GD_BUF struct gd_buf before = archive_read(page_of(&plain));
	GD_BUF struct gd_buf after = archive_read(page_of(&bad));
	const char *a = gd_buf_str(&before);
	const char *b = gd_buf_str(&after);
	assert_int_equal(count(a, "</script>"), 2);
	/* Everything that is markup is ours: there is exactly as much of it as without bad names. */
	assert_int_equal(count(b, "<"), count(a, "<"));
	assert_int_equal(count(b, "</script>"), 2);
	assert_contains(b, "\\u003c/script>");
}

static void the_page_asks_nothing_of_any_network(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	GD_BUF struct gd_buf page = archive_read(page_of(&shop));
	const char *text = gd_buf_str(&page);
	assert_null(strstr(text, "http://"));
	assert_null(strstr(text, "https://"));
	assert_null(strstr(text, "fetch("));
	assert_contains(text, "default-src 'none'; script-src 'sha256-");
	assert_null(strstr(text, "'sha256-'"));
	assert_null(strstr(text, "@policy@"));
	assert_null(strstr(text, "@document@"));
}

static void hostile_names_are_only_text_in_a_browser(void **state)
{
	(void)state;
	struct profile bad = hostile();
	const char *said = browse(page_of(&bad),
	                          "'load=group=label:constructor' 'eval=godiag.view().boxes > 10' "
	                          "'load=' 'eval=godiag.view().total' 'eval=window.broken === undefined' "
	                          "'eval=document.scripts.length' 'eval=document.images.length' "
	                          "'eval=godiag.view().drawn' 'key=c' 'key=g' 'key=g' "
	                          "'eval=godiag.view().drawn.length > 9' "
	                          "'press=#side-toggle' 'hover=</script><script>window.broken=1</script>' "
	                          "'eval=document.querySelector(\"#tip h3\").textContent' "
	                          "'eval=window.broken === undefined'");
	assert_contains(said, "true\n100\ntrue\n2\n0\n");
	assert_contains(said, "</script><script>window.broken=1</script>");
	assert_contains(said, "a\\u2028b");
	assert_contains(said, "bad \\ufffd");
	assert_contains(said, "true\n\"</script><script>window.broken=1</script>");
	assert_contains(said, "requests 0 errors 0\n");
	assert_int_equal(count(said, "true"), 4);
}

static void search_zoom_and_reset_work(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	const char *said = browse(
		page_of(&shop),
		"'eval=[godiag.view().total, godiag.view().zoom]' "
		/* a key, typing, the share */
		"'key=/' 'type=main.serve' 'eval=document.querySelector(\"#matched\").textContent' "
		"'key=Enter' 'eval=godiag.view().focus' "
		"'key=Escape' 'eval=document.querySelector(\"#matched\").textContent' "
		/* by file, and by a regular expression */
		"'key=/' 'type=parse.go' 'eval=document.querySelector(\"#matched\").textContent' 'key=Escape' "
		"'key=/' 'type=/^ksys_|mallocgc$/' 'eval=document.querySelector(\"#matched\").textContent' "
		"'key=Escape' "
		/* a click zooms, the address bar knows, a reload comes back to it */
		"'click=main.serve' 'eval=[godiag.view().zoom, Math.abs(godiag.box(\"main.serve\").w - "
		"document.querySelector(\"#graph\").clientWidth + 28) < 1]' "
		"'eval=godiag.box(\"[lost]\")' "
		"'load=profile=cpu.pb.gz&zoom=main.run&zoom=main.serve' 'eval=godiag.view().zoom' "
		"'key=Backspace' 'eval=godiag.view().zoom' 'key=0' 'eval=godiag.view().zoom' "
		/* the keyboard alone */
		"'key=ArrowDown' 'key=ArrowDown' 'key=ArrowRight' 'eval=godiag.view().focus' "
		"'key=Enter' 'eval=godiag.view().zoom' 'key=Escape' 'eval=godiag.view().zoom' "
		/* somebody edits the address */
		"'eval=(location.hash = \"search=mallocgc\", 0)' "
		"'eval=document.querySelector(\"#matched\").textContent'");
	assert_contains(said, "[1000000000, \"all\"]\n"
	                      "\"70.0 % in 1 function\"\n\"main.serve\"\n\"\"\n"
	                      "\"50.0 % in 1 function\"\n"
	                      "\"32.0 % in 2 functions\"\n"
	                      "[\"main.serve\", true]\nnull\n"
	                      "\"main.serve\"\n\"main.run\"\n\"all\"\n"
	                      "\"syscall.write\"\n\"syscall.write\"\n\"all\"\n"
	                      "0\n\"20.0 % in 1 function\"\n"
	                      "requests 0 errors 0\n");
}

static void groups_filters_and_values_work(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	const char *said = browse(
		page_of(&shop),
		"'press=#types button:first-child' 'eval=godiag.view().total' "
		"'key=c' 'eval=[\"user\", \"malloc\", \"kernel\", \"gc background\"].map((n) => !!godiag.box(n))' "
		"'load=group=thread' 'eval=[\"shop/71\", \"shop/72\"].map((n) => !!godiag.box(n))' "
		"'load=group=goroutine' 'eval=[\"goroutine 18\", \"none\"].map((n) => !!godiag.box(n))' "
		"'load=group=label:handler' 'eval=[\"/order\", \"(no handler)\"].map((n) => !!godiag.box(n))' "
		"'load=thread=shop/72' 'eval=godiag.view().total' "
		"'load=goroutine=goroutine%2018' 'eval=godiag.view().total' "
		/* a class is hidden by its chip: the largest is user */
		"'load=' 'press=#legend .chip' 'eval=godiag.view().total' "
		"'load=inverted=1' 'eval=[!!godiag.box(\"main.parse\"), godiag.view().drawn[1]]' "
		"'load=' 'hover=main.serve' 'eval=document.querySelector(\"#tip\").innerText' "
		"'hover=main.parse' 'eval=document.querySelector(\"#tip .tag\").textContent' "
		"'eval=[...document.querySelectorAll(\".pill\")].map((e) => e.textContent)' "
		"'eval=document.querySelector(\"header\").innerText' "
		"'eval=document.querySelectorAll(\"#tabs button:disabled\").length' "
		"'press=#side-toggle' 'eval=document.querySelector(\"#functions tr\").title' "
		"'key=d' 'eval=document.documentElement.dataset.theme'");
	assert_contains(said, "100\n[true, true, true, true]\n[true, true]\n[true, true]\n[true, true]\n"
	                      "360000000\n520000000\n460000000\n[true, \"main.parse\"]\n");
	assert_contains(said, "/src/main.go:20");
	assert_contains(said, "/src/main.go:25");
	assert_contains(said, "\"inlined\"\n[\"complete\", \"8 lost, 8.0 %\"]\n");
	assert_contains(said, "pid 4711");
	assert_contains(said, "10.0 s window");
	assert_contains(said, "1\n\"main.parse\"\n\"dark\"\nrequests 0 errors 0\n");
}

static void parked_threads_are_told_from_blocked_ones(void **state)
{
	(void)state;
	static const char *const types[] = { "switches", "count", "offcpu", "nanoseconds" };
	static const struct {
		const char *function, *state;
		int64_t ns;
	} all[] = {
		{ "[runtime parking]", "blocked", 700 },
		{ "main.read", "blocked", 200 },
		{ "main.spin", "preempted", 90 },
		{ "[lost]", NULL, 10 },
	};
	struct profile p = profile_begin(types, 4);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		const struct profile_line line = { all[i].function, NULL, 1 };
		const struct profile_label label = { "state", all[i].state, 0 };
		uint64_t at = profile_location(&p, 0, 1, &line, 1);
		profile_sample(&p, &at, 1, 1, all[i].ns, &label, all[i].state != NULL);
	}
	const char *said = browse(page_of(&p),
	                          "'eval=[...document.querySelectorAll(\"#legend .chip\")]"
	                          ".map((e) => e.textContent)' "
	                          "'press=#legend .chip' 'eval=godiag.view().total' "
	                          "'load=group=state' 'eval=!!godiag.box(\"parked\")'");
	assert_contains(said, "[\"parked70.0 %\", \"blocked20.0 %\", \"preempted9.0 %\", \"lost1.0 %\"]\n"
	                      "300\ntrue\nrequests 0 errors 0\n");
}

static void one_bad_profile_does_not_hide_the_others(void **state)
{
	(void)state;
	struct profile shop = profile_shop();
	GD_BUF struct gd_buf gz = profile_gzip(&shop);
	const struct made made[] = {
		{ "cpu.pb.gz", "x", "samples", gz.data, gz.len, false },
		{ "heap.pb.gz", "x", "heap", "not a gzip file", 15, false },
	};
	size_t n_unreadable = 0;
	GD_FREE char *text = write_page(made, 2, &n_unreadable);
	assert_int_equal(n_unreadable, 1);
	assert_contains(text, "\"error\":\"heap.pb.gz: damaged gzip\"");
	const char *said = browse(test_file("page.html", text, strlen(text)),
	                          "'key=p' 'eval=document.querySelector(\"#empty\").textContent' "
	                          "'eval=document.querySelector(\".pill\").textContent' "
	                          "'key=t' 'key=p' 'eval=godiag.view().total'");
	assert_contains(said, "heap.pb.gz could not be read: heap.pb.gz: damaged gzip\"\n\"unreadable\"\n1000000000\n"
	                      "requests 0 errors 0\n");
}

static void without_a_profile_there_is_no_page(void **state)
{
	(void)state;
	GD_READER struct gd_reader reader = GD_READER_INIT;
	const struct made made[] = { { "proc/status", "text/plain", "proc", "x", 1, false },
		                     { "heap.pb.gz", "x", "heap", "nothing", 7, false } };
	struct gd_sealed none = archive_make("none.tar", made, 1);
	struct gd_sealed bad = archive_make("bad.tar", made, 2);
	struct gd_error err = { 0 };
	size_t n = 0;
	FILE *out = fopen("/dev/null", "w");
	assert_non_null(out);
	assert_ok(gd_reader_open(none.path, &reader, &err), &err);
	assert_fails(gd_flame_page(&reader, NULL, out, &n, &err), -ENOENT, &err);
	assert_fails(gd_flame_page(&reader, "cpu.pb.gz", out, &n, &err), -ENOENT, &err);
	gd_reader_close(&reader);
	assert_ok(gd_reader_open(bad.path, &reader, &err), &err);
	assert_fails(gd_flame_page(&reader, NULL, out, &n, &err), -EBADMSG, &err);
	assert_int_equal(fclose(out), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(no_name_ends_the_document),
		test_case(the_page_asks_nothing_of_any_network),
		test_case(hostile_names_are_only_text_in_a_browser),
		test_case(search_zoom_and_reset_work),
		test_case(groups_filters_and_values_work),
		test_case(parked_threads_are_told_from_blocked_ones),
		test_case(one_bad_profile_does_not_hide_the_others),
		test_case(without_a_profile_there_is_no_page),
	};
	return test_run(tests);
}
