#include "collectors/proc_redact.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/text.h"

/* A range of bytes that is not NUL-terminated. */
struct span {
	const char *s;
	size_t n;
};

static const char *const sensitive_names[] = { "pass",  "pwd",  "secret", "token", "key", "cred",
	                                       "auth", "dsn", "cookie" };

/* Access keys that give themselves away, and how many characters follow at least. */
static const struct {
	const char *prefix;
	size_t least;
} key_prefixes[] = {
	{ "AKIA", 16 },    { "ASIA", 16 },      { "AROA", 16 },    { "AIDA", 16 },
	{ "ghp_", 20 },    { "gho_", 20 },      { "ghu_", 20 },    { "ghs_", 20 },
	{ "ghr_", 20 },    { "github_pat_", 20 }, { "glpat-", 16 }, { "xoxa-", 10 },
	{ "xoxb-", 10 },   { "xoxp-", 10 },     { "xoxr-", 10 },   { "xoxs-", 10 },
	{ "AIza", 30 },    { "sk_live_", 10 },  { "rk_live_", 10 }, { "hvs.", 20 },
	{ "eyJ", 17 }, /* a JWT: base64 of {" and two dots follow */
};

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) != 0 || c == '_' || c == '-' || c == '.';
}

static bool is_sensitive(const char *name, size_t n)
{
	for (size_t w = 0; w < sizeof(sensitive_names) / sizeof(sensitive_names[0]); w++) {
		size_t len = strlen(sensitive_names[w]);
		for (size_t i = 0; i + len <= n; i++)
			if (strncasecmp(name + i, sensitive_names[w], len) == 0)
				return true;
	}
	return false;
}

/*
 * Where the value of the name that ends at `i` begins, or 0 when none does: after '=' or ':' with
 * quotes, brackets and blanks around it, or, for a flag within a longer text ("sh -c '... --token
 * x'"), after blanks.
 */
static size_t value_after(struct span arg, size_t i, bool flag)
{
	bool blank = false;
	for (; i < arg.n; i++) {
		char c = arg.s[i];
		if (c == '=' || c == ':')
			return i + 1;
		if (isspace((unsigned char)c))
			blank = true;
		else if (strchr("\"'`\\])}", c) == NULL)
			break;
	}
	return blank && flag && i < arg.n ? i : 0;
}

/* From where on the argument must not be shown because of a name; arg.n when it may be shown. */
static size_t find_named_value(struct span arg)
{
	for (size_t i = 0; i < arg.n;) {
		if (!is_name_char(arg.s[i])) {
			i++;
			continue;
		}
		size_t from = i;
		while (i < arg.n && is_name_char(arg.s[i]))
			i++;
		if (!is_sensitive(arg.s + from, i - from))
			continue;
		size_t value = value_after(arg, i, arg.s[from] == '-');
		if (value != 0)
			return value;
	}
	return arg.n;
}

/* The first byte of `word` in arg, without regard to case; arg.n when it is not there. */
static size_t find_word(struct span arg, const char *word)
{
	size_t len = strlen(word);
	for (size_t i = 0; i + len <= arg.n; i++)
		if (strncasecmp(arg.s + i, word, len) == 0)
			return i;
	return arg.n;
}

/* From where on nothing may be shown, for any of the reasons that run to the end. */
static size_t find_cut(struct span arg)
{
	size_t cut = find_named_value(arg);
	static const char *const words[] = { "-----BEGIN", "bearer ", "basic " };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t at = find_word(arg, words[i]);
		if (at < cut)
			cut = at;
	}
	return cut;
}

/*
 * User information: everything before the last '@' when a ':' stands before that.  Where it begins
 * is a guess (a password may hold any character), so as little as possible is taken for harmless:
 * the scheme, or a flag's name.
 */
static struct span find_userinfo(struct span arg)
{
	const char *at = arg.n > 0 ? memrchr(arg.s, '@', arg.n) : NULL;
	const char *colon = at != NULL ? memchr(arg.s, ':', (size_t)(at - arg.s)) : NULL;
	if (colon == NULL)
		return (struct span){ NULL, 0 };
	const char *from = arg.s;
	const char *equals = memchr(arg.s, '=', (size_t)(colon - arg.s));
	if (equals != NULL && arg.s[0] == '-')
		from = equals + 1;
	if (at - colon >= 3 && memcmp(colon, "://", 3) == 0)
		from = colon + 3;
	return (struct span){ from, (size_t)(at - from) };
}

static bool is_key_char(char c)
{
	return isalnum((unsigned char)c) != 0 || (c != '\0' && strchr("_-.+/=", c) != NULL);
}

/* Length of a self-revealing key at s, 0 when there is none. */
static size_t key_len(const char *s, size_t n)
{
	for (size_t i = 0; i < sizeof(key_prefixes) / sizeof(key_prefixes[0]); i++) {
		size_t prefix = strlen(key_prefixes[i].prefix);
		if (n < prefix || memcmp(s, key_prefixes[i].prefix, prefix) != 0)
			continue;
		size_t len = prefix;
		while (len < n && is_key_char(s[len]))
			len++;
		if (len - prefix >= key_prefixes[i].least)
			return len;
	}
	return 0;
}

/* Appends the argument with everything suspicious replaced; true when something was. */
static bool put_masked(struct gd_buf *out, struct span arg)
{
	size_t cut = find_cut(arg);
	struct span user = find_userinfo(arg);
	bool masked = cut < arg.n;
	size_t user_from = user.n > 0 ? (size_t)(user.s - arg.s) : 0;
	for (size_t i = 0; i < cut;) {
		/* The key before may have ended in the middle of the user information. */
		bool in_user = i >= user_from && i < user_from + user.n;
		size_t hidden = in_user ? user_from + user.n - i
		                        : key_len(arg.s + i, arg.n - i);
		if (hidden > 0) {
			gd_buf_puts(out, GD_PROC_REDACT_MASK);
			masked = true;
			i += hidden;
		} else {
			gd_buf_putc(out, arg.s[i]);
			i++;
		}
	}
	if (cut < arg.n)
		gd_buf_puts(out, GD_PROC_REDACT_MASK);
	return masked;
}

/* "--password", "-api-key": a flag whose value is the next argument. */
static bool expects_secret(struct span arg)
{
	if (arg.n < 2 || arg.s[0] != '-' || memchr(arg.s, '=', arg.n) != NULL)
		return false;
	return is_sensitive(arg.s, arg.n);
}

int gd_proc_redact_cmdline(const void *cmdline, size_t len,
                           void (*argument)(void *arg, const char *bytes, size_t n), void *arg,
                           struct gd_error *err)
{
	/* Every masked range is at least one byte and becomes eight. */
	GD_BUF struct gd_buf masked = GD_BUF_INIT(len * 8 + 64);
	const char *p = cmdline;
	size_t left = len;
	bool secret_next = false;
	int n_masked = 0;
	while (left > 0) {
		const char *nul = memchr(p, '\0', left);
		struct span one = { p, nul != NULL ? (size_t)(nul - p) : left };
		bool hide = secret_next;
		/* Also when hidden itself: "--auth --password x". */
		secret_next = expects_secret(one);
		gd_buf_reset(&masked);
		if (hide)
			gd_buf_puts(&masked, GD_PROC_REDACT_MASK);
		if (hide || put_masked(&masked, one))
			n_masked++;
		int r = gd_buf_check(&masked, "command line", err);
		if (r < 0)
			return r;
		argument(arg, gd_buf_str(&masked), masked.len);
		left -= one.n + (nul != NULL ? 1 : 0);
		p += one.n + (nul != NULL ? 1 : 0);
	}
	return n_masked;
}

struct line {
	struct gd_buf *text;
	bool started;
};

static void put_word(void *arg, const char *bytes, size_t n)
{
	struct line *line = arg;
	if (line->started)
		gd_buf_putc(line->text, ' ');
	line->started = true;
	gd_text_put_escaped(line->text, bytes, n);
}

int gd_proc_redact_cmdline_text(const void *cmdline, size_t len, char *to, size_t size,
                                struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(len * 32 + 64);
	struct line line = { .text = &text };
	int n_masked = gd_proc_redact_cmdline(cmdline, len, put_word, &line, err);
	int r = n_masked < 0 ? n_masked : gd_buf_check(&text, "command line", err);
	if (r < 0)
		return r;
	if (size == 0)
		return n_masked;
	size_t n = text.len < size ? text.len : size - 1;
	if (n > 0)
		memcpy(to, text.data, n);
	to[n] = '\0';
	if (n < text.len && size > 4)
		memcpy(to + size - 4, "...", 4);
	return n_masked;
}

static bool is_shown(struct span name)
{
	static const char *const shown[] = { "GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS",
		                             "GOTRACEBACK", "TZ", "LANG" };
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		if (name.n == strlen(shown[i]) && memcmp(name.s, shown[i], name.n) == 0)
			return true;
	return false;
}

/* A name of the usual shape.  What else stands before a '=' is data that somebody wrote over the
 * environment (setproctitle does), so it is not shown. */
static bool is_plain_name(struct span name)
{
	if (name.n == 0 || name.n > 128 || isdigit((unsigned char)name.s[0]))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!isalnum((unsigned char)name.s[i]) && name.s[i] != '_')
			return false;
	return key_len(name.s, name.n) == 0;
}

static void put_variable(struct gd_json *json, struct span entry)
{
	const char *equals = entry.n > 0 ? memchr(entry.s, '=', entry.n) : NULL;
	struct span name = { entry.s, equals != NULL ? (size_t)(equals - entry.s) : 0 };
	struct span value = { entry.s, entry.n };
	gd_json_object(json, NULL);
	if (is_plain_name(name)) {
		gd_json_bytes(json, "name", name.s, name.n);
		value = (struct span){ equals + 1, entry.n - name.n - 1 };
	} else {
		gd_json_null(json, "name");
	}
	if (is_shown(name)) {
		/* Of a known shape, yet somebody else's bytes: masked like an argument. */
		GD_BUF struct gd_buf masked = GD_BUF_INIT(value.n * 8 + 64);
		(void)put_masked(&masked, value);
		gd_json_bytes(json, "value", gd_buf_str(&masked), masked.len);
	} else {
		gd_json_u64(json, "value_bytes", value.n);
	}
	gd_json_object_end(json);
	gd_json_line_end(json);
}

void gd_proc_redact_environ(const void *variables, size_t len, struct gd_json *json)
{
	const char *p = variables;
	size_t left = len;
	while (left > 0) {
		const char *nul = memchr(p, '\0', left);
		struct span entry = { p, nul != NULL ? (size_t)(nul - p) : left };
		/* A process that wrote over its environment often leaves only NULs behind. */
		if (entry.n > 0)
			put_variable(json, entry);
		left -= entry.n + (nul != NULL ? 1 : 0);
		p += entry.n + (nul != NULL ? 1 : 0);
	}
}
