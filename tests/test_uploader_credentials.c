#include "uploader/credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static void forget_all(void)
{
	static const char *const names[] = { "CREDENTIALS_DIRECTORY", "AWS_ACCESS_KEY_ID",
		                             "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		                             "AWS_REGION", "AWS_ENDPOINT_URL" };
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)unsetenv(names[i]);
}

static void directory_with(const char *name, const char *content)
{
	char path[300];
	forget_all();
	(void)mkdir(test_path("credentials"), 0700);
	(void)setenv("CREDENTIALS_DIRECTORY", test_path("credentials"), 1);
	(void)snprintf(path, sizeof(path), "credentials/%s", name);
	(void)test_file(path, content, strlen(content));
}

static void the_environment_will_do(void **state)
{
	(void)state;
	GD_CREDENTIALS struct gd_credentials c = { .pages = NULL };
	struct gd_error err = { 0 };
	forget_all();
	assert_fails(gd_credentials_load(&c, &err), -ENOKEY, &err);
	assert_contains(err.msg, "AWS_ACCESS_KEY_ID");
	(void)setenv("AWS_ACCESS_KEY_ID", "key", 1);
	assert_fails(gd_credentials_load(&c, &err), -ENOKEY, &err);
	assert_contains(err.msg, "AWS_SECRET_ACCESS_KEY");
	(void)setenv("AWS_SECRET_ACCESS_KEY", "very secret", 1);
	assert_ok(gd_credentials_load(&c, &err), &err);
	assert_string_equal(c.access_key, "key");
	assert_string_equal(c.secret_key, "very secret");
	assert_null(c.session_token);
}

static void systemd_comes_first_in_any_of_its_forms(void **state)
{
	(void)state;
	static const struct {
		const char *file, *content, *token;
	} forms[] = {
		{ "s3", "# ours\nAWS_ACCESS_KEY_ID=k1\r\nAWS_SECRET_ACCESS_KEY = s=1/+ \n"
		        "AWS_REGION=eu-west-1\n", NULL },
		{ "aws-credentials", "[default]\naws_access_key_id = k1\n"
		                     "aws_secret_access_key = s=1/+\naws_session_token=tok\n"
		                     "output = json", "tok" },
	};
	for (size_t i = 0; i < 2; i++) {
		GD_CREDENTIALS struct gd_credentials c = { .pages = NULL };
		struct gd_error err = { 0 };
		directory_with(forms[i].file, forms[i].content);
		(void)setenv("AWS_ACCESS_KEY_ID", "other", 1);
		(void)setenv("AWS_SECRET_ACCESS_KEY", "other", 1);
		(void)setenv("AWS_SESSION_TOKEN", "other", 1);
		assert_ok(gd_credentials_load(&c, &err), &err);
		assert_string_equal(c.access_key, "k1");
		assert_string_equal(c.secret_key, "s=1/+");
		if (forms[i].token == NULL)
			assert_null(c.session_token); /* not half from the environment */
		else
			assert_string_equal(c.session_token, forms[i].token);
		if (i == 0)
			assert_string_equal(getenv("AWS_REGION"), "eu-west-1");
		(void)unlink(test_path(i == 0 ? "credentials/s3" : "credentials/aws-credentials"));
	}
	GD_CREDENTIALS struct gd_credentials c = { .pages = NULL };
	struct gd_error err = { 0 };
	directory_with("aws_access_key_id", "k2\n");
	directory_with("aws_secret_access_key", "s2\n");
	assert_ok(gd_credentials_load(&c, &err), &err);
	assert_string_equal(c.access_key, "k2");
	assert_string_equal(c.secret_key, "s2");
}

static void an_empty_file_leaves_it_to_the_environment(void **state)
{
	(void)state;
	GD_CREDENTIALS struct gd_credentials c = { .pages = NULL };
	struct gd_error err = { 0 };
	directory_with("s3", "\n");
	assert_fails(gd_credentials_load(&c, &err), -ENOKEY, &err);
	(void)setenv("AWS_ACCESS_KEY_ID", "key", 1);
	(void)setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	assert_ok(gd_credentials_load(&c, &err), &err);
}

static void errors_name_the_line_and_never_what_it_says(void **state)
{
	(void)state;
	struct gd_credentials c;
	struct gd_error err = { 0 };
	directory_with("s3", "AWS_ACCESS_KEY_ID=k\nhunter2hunter2\n");
	assert_fails(gd_credentials_load(&c, &err), -EINVAL, &err);
	assert_contains(err.msg, "line 2");
	assert_null(strstr(err.msg, "hunter2"));
	directory_with("s3", "AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=hunter2\x01\n");
	assert_fails(gd_credentials_load(&c, &err), -EINVAL, &err);
	assert_null(strstr(err.msg, "hunter2"));
	char large[20000];
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	directory_with("s3", large);
	assert_fails(gd_credentials_load(&c, &err), -EINVAL, &err);
	(void)setenv("CREDENTIALS_DIRECTORY", "/nonexistent", 1);
	assert_fails(gd_credentials_load(&c, &err), -ENOENT, &err);
}

/* How often these bytes occur in the memory of this process that was allocated. */
static unsigned count_in_memory(const char *needle, size_t n)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	FILE *memory = fopen("/proc/self/mem", "re");
	char line[600];
	unsigned found = 0;
	assert_true(maps != NULL && memory != NULL);
	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned long start;
		unsigned long end;
		char rights[8];
		if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) != 3 || rights[1] != 'w' ||
		    strstr(line, "[stack") != NULL || end - start > (64UL << 20))
			continue;
		char *copy = malloc(end - start);
		assert_non_null(copy);
		size_t got = 0;
		if (fseek(memory, (long)start, SEEK_SET) == 0)
			got = fread(copy, 1, end - start, memory);
		for (char *p = copy; (p = memmem(p, got - (size_t)(p - copy), needle, n)) != NULL;
		     p++)
			found++;
		explicit_bzero(copy, got);
		free(copy);
	}
	(void)fclose(maps);
	(void)fclose(memory);
	return found;
}

static void released_they_are_gone_from_memory(void **state)
{
	(void)state;
	struct gd_credentials c;
	struct gd_error err = { 0 };
	char needle[20];
	/* put together here, so that the program's own constants are no find */
	for (unsigned i = 0; i < sizeof(needle); i++)
		needle[i] = (char)('A' + (i * 7 + 3) % 26);
	char content[120];
	(void)snprintf(content, sizeof(content),
	               "AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=%.20s\n", needle);
	directory_with("s3", content);
	explicit_bzero(content, sizeof(content));
	assert_ok(gd_credentials_load(&c, &err), &err);
	assert_int_equal(count_in_memory(needle, sizeof(needle)), 1); /* locked, and nowhere else */
	gd_credentials_deinit(&c);
	assert_int_equal(count_in_memory(needle, sizeof(needle)), 0);
}

static void the_environment_forgets(void **state)
{
	(void)state;
	forget_all();
	(void)setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	(void)setenv("AWS_SESSION_TOKEN", "token", 1);
	const char *value = getenv("AWS_SECRET_ACCESS_KEY");
	gd_credentials_forget_environment();
	assert_null(getenv("AWS_SECRET_ACCESS_KEY"));
	assert_null(getenv("AWS_SESSION_TOKEN"));
	assert_int_equal(value[0], '\0');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_environment_will_do),
		test_case(systemd_comes_first_in_any_of_its_forms),
		test_case(an_empty_file_leaves_it_to_the_environment),
		test_case(errors_name_the_line_and_never_what_it_says),
		test_case(released_they_are_gone_from_memory),
		test_case(the_environment_forgets),
	};
	return test_run(tests);
}
