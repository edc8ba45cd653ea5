#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "collectors/proc_redact.h"

/* Arguments with '|' where the kernel has NUL, and how they come out, in the same spelling. */
struct pair {
	const char *in, *out;
};

static void with_bars(void *arg, const char *bytes, size_t n)
{
	struct gd_buf *out = arg;
	gd_buf_append(out, bytes, n);
	gd_buf_putc(out, '|');
}

static void expect(const struct pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char in[512];
		GD_BUF struct gd_buf out = GD_BUF_INIT(4096);
		struct gd_error err = { 0 };
		size_t len = strlen(pairs[i].in);
		memcpy(in, pairs[i].in, len + 1);
		for (char *p = in; *p != '\0'; p++)
			if (*p == '|')
				*p = '\0';
		int r = gd_proc_redact_cmdline(in, len, with_bars, &out, &err);
		assert_ok(r, &err);
		assert_string_equal(gd_buf_str(&out), pairs[i].out);
		assert_int_equal(r > 0, strstr(pairs[i].out, "[masked]") != NULL);
	}
}
#define expect_all(pairs) expect(pairs, sizeof(pairs) / sizeof((pairs)[0]))

static void harmless_arguments_stay_as_they_are(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ "/usr/bin/app|", "/usr/bin/app|" },
		{ "app|-c|/etc/app.yaml|--listen=:8080|", "app|-c|/etc/app.yaml|--listen=:8080|" },
		{ "app|--url=https://example.com:8080/a?b=c|",
		  "app|--url=https://example.com:8080/a?b=c|" },
		{ "app||-||--|", "app||-||--|" },
		{ "ssh|git@github.com:org/repo|", "ssh|git@github.com:org/repo|" },
		{ "mail|someone@example.com|", "mail|someone@example.com|" },
		{ "no end", "no end|" },
		{ "eyJshort|AKIA123|sk_live_|", "eyJshort|AKIA123|sk_live_|" },
		{ "app|--basic|x|", "app|--basic|x|" },
	};
	expect_all(pairs);
}

static void values_of_telling_flags_are_masked(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ "a|--password=hunter2|b|", "a|--password=[masked]|b|" },
		{ "a|-token=x|", "a|-token=[masked]|" },
		{ "a|--DB_PASSWD=a=b=c|", "a|--DB_PASSWD=[masked]|" },
		{ "a|--password|hunter2|b|", "a|--password|[masked]|b|" },
		{ "a|-api-key|x|y|", "a|-api-key|[masked]|y|" },
		{ "a|--aws.secretAccessKey|x|", "a|--aws.secretAccessKey|[masked]|" },
		{ "a|--credentials-file|/etc/x|", "a|--credentials-file|[masked]|" },
		{ "a|--auth|--password|x|y|", "a|--auth|[masked]|[masked]|y|" },
		{ "a|--cookie|", "a|--cookie|" },
		{ "a|--dsn=u:p@tcp(h)/d|", "a|--dsn=[masked]|" },
		{ "a|--pwd:x|y|", "a|--pwd:[masked]|[masked]|" },
		{ "a|--password=|", "a|--password=|" },
	};
	expect_all(pairs);
}

static void telling_names_inside_an_argument_cut_it(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ "env|PGPASSWORD=x|psql|", "env|PGPASSWORD=[masked]|psql|" },
		{ "sh|-c|app --token abc --v|", "sh|-c|app --token [masked]|" },
		{ "sh|-c|app --token=abc --v|", "sh|-c|app --token=[masked]|" },
		{ "psql|host=h password=x dbname=d|", "psql|host=h password=[masked]|" },
		{ "curl|-H|Authorization: Bearer x|", "curl|-H|Authorization:[masked]|" },
		{ "curl|-H|X: bearer x|", "curl|-H|X: [masked]|" },
		{ "curl|-b|Cookie: a=b|", "curl|-b|Cookie:[masked]|" },
		{ "curl|http://h/p?a=b&access_token=x&y=z|",
		  "curl|http://h/p?a=b&access_token=[masked]|" },
		{ "app|{\"api_key\": \"x\"}|", "app|{\"api_key\":[masked]|" },
		{ "app|{'password' : 'x'}|", "app|{'password' :[masked]|" },
		{ "app|a[secret]=x|", "app|a[secret]=[masked]|" },
	};
	expect_all(pairs);
}

static void user_information_is_masked(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ "a|postgres://u:p@h:5432/d|", "a|postgres://[masked]@h:5432/d|" },
		{ "a|--db=postgres://u:p@h/d|", "a|--db=postgres://[masked]@h/d|" },
		{ "a|https://t0ken@github.com/x|", "a|https://[masked]@github.com/x|" },
		{ "a|http://u:p/a@ss@h/|", "a|http://[masked]@h/|" },
		{ "a|http://u:p@h1,http://u:p@h2|", "a|http://[masked]@h2|" },
		{ "a|-db=u:p@tcp(h:3306)/d|", "a|-db=[masked]@tcp(h:3306)/d|" },
		{ "a|u:p@tcp(h:3306)/d|", "a|[masked]@tcp(h:3306)/d|" },
	};
	expect_all(pairs);
}

static void keys_that_give_themselves_away_are_masked(void **state)
{
	(void)state;
	static const struct pair pairs[] = {
		{ "a|AKIAIOSFODNN7EXAMPLE|", "a|[masked]|" },
		{ "a|x=AKIAIOSFODNN7EXAMPLE,y|", "a|x=[masked],y|" },
		{ "a|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln|", "a|[masked]|" },
		{ "a|--x=ghp_0123456789abcdefghij0123|", "a|--x=[masked]|" },
		{ "a|xoxb-123456789012|b|", "a|[masked]|b|" },
		{ "a|-----BEGIN RSA PRIVATE KEY-----\nMII|", "a|[masked]|" },
		{ "a|-ghp_0123456789abcdefghij0123=u:pw@h|", "a|-[masked][masked]@h|" },
	};
	expect_all(pairs);
}

static void a_line_for_people_is_escaped_and_cut(void **state)
{
	(void)state;
	char text[64];
	struct gd_error err = { 0 };
	static const char in[] = "app\0--password\0x\0a\x1b[2J\nb\0";
	assert_int_equal(gd_proc_redact_cmdline_text(in, sizeof(in) - 1, text, sizeof(text), &err), 1);
	assert_string_equal(text, "app --password [masked] a\\x1b[2J\\x0ab");
	assert_ok(gd_proc_redact_cmdline_text(in, sizeof(in) - 1, text, 10, &err), &err);
	assert_string_equal(text, "app --...");
	assert_ok(gd_proc_redact_cmdline_text("", 0, text, sizeof(text), &err), &err);
	assert_string_equal(text, "");
}

static void variables_show_values_only_of_the_allowed_names(void **state)
{
	(void)state;
	static const char in[] = "GOGC=100\0PATH=/usr/bin\0AWS_SECRET_ACCESS_KEY=canary\0"
				 "GODEBUG=gctrace=1\0LANG=\0\0no equals sign\0we!rd=canary\0"
				 "AKIAIOSFODNN7EXAMPLE=1\0TZ=u:canary@x\0GOGCX=1";
	GD_BUF struct gd_buf out = GD_BUF_INIT(4096);
	struct gd_json json = GD_JSON_INIT(&out);
	gd_proc_redact_environ(in, sizeof(in) - 1, &json);
	assert_string_equal(gd_buf_str(&out),
	                    "{\"name\":\"GOGC\",\"value\":\"100\"}\n"
	                    "{\"name\":\"PATH\",\"value_bytes\":8}\n"
	                    "{\"name\":\"AWS_SECRET_ACCESS_KEY\",\"value_bytes\":6}\n"
	                    "{\"name\":\"GODEBUG\",\"value\":\"gctrace=1\"}\n"
	                    "{\"name\":\"LANG\",\"value\":\"\"}\n"
	                    "{\"name\":null,\"value_bytes\":14}\n"
	                    "{\"name\":null,\"value_bytes\":12}\n"
	                    "{\"name\":null,\"value_bytes\":22}\n"
	                    "{\"name\":\"TZ\",\"value\":\"[masked]@x\"}\n"
	                    "{\"name\":\"GOGCX\",\"value_bytes\":1}\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(harmless_arguments_stay_as_they_are),
		test_case(values_of_telling_flags_are_masked),
		test_case(telling_names_inside_an_argument_cut_it),
		test_case(user_information_is_masked),
		test_case(keys_that_give_themselves_away_are_masked),
		test_case(a_line_for_people_is_escaped_and_cut),
		test_case(variables_show_values_only_of_the_allowed_names),
	};
	return test_run(tests);
}
