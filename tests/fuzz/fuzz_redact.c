/*
 * Redaction as a property: however the form, a secret planted in one of the known forms is not in
 * the output.  Input: a byte that selects the form, then four NUL-separated pieces of noise, which
 * go before, into and behind it.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collectors/proc_redact.h"

#define CANARY "Sw0rdf1sh"
#define KEY_ID "AKIAIOSFODNN7EXAMPLE"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct piece {
	const char *s;
	size_t n;
};

static struct piece take(const char **p, const char *end)
{
	struct piece piece = { *p, 0 };
	const char *nul = *p < end ? memchr(*p, '\0', (size_t)(end - *p)) : NULL;
	piece.n = (size_t)((nul != NULL ? nul : end) - *p);
	*p = nul != NULL ? nul + 1 : end;
	return piece;
}

static void put(struct gd_buf *out, struct piece piece)
{
	if (piece.n > 0)
		gd_buf_append(out, piece.s, piece.n);
}

/* As much as may stand in a flag's name. */
static void put_name(struct gd_buf *out, struct piece piece)
{
	for (size_t i = 0; i < piece.n; i++) {
		if (!isalnum((unsigned char)piece.s[i]) && piece.s[i] != '-' && piece.s[i] != '_')
			return;
		gd_buf_putc(out, piece.s[i]);
	}
}

static void plant(struct gd_buf *out, unsigned form, struct piece a, struct piece b)
{
	static const char *const names[] = { "pass", "Secret", "token", "KEY", "cred", "auth",
		                             "dsn", "cookie" };
	const char *name = names[form / 16 % 8];
	switch (form % 9) {
	case 0: /* --x-password-y=.. */
		gd_buf_puts(out, "--");
		put_name(out, a);
		gd_buf_puts(out, name);
		gd_buf_putc(out, '=');
		put(out, b);
		gd_buf_puts(out, CANARY);
		break;
	case 1: /* -x-password-y .. */
		gd_buf_putc(out, '-');
		gd_buf_puts(out, name);
		put_name(out, a);
		gd_buf_putc(out, '\0');
		put(out, b);
		gd_buf_puts(out, CANARY);
		break;
	case 2:
		put(out, a);
		gd_buf_puts(out, "postgres://u:");
		put(out, b);
		gd_buf_puts(out, CANARY "@host");
		break;
	case 3:
		put(out, a);
		gd_buf_puts(out, "u:" CANARY "@tcp(host:3306)/");
		put(out, b);
		break;
	case 4:
		put(out, a);
		gd_buf_puts(out, "eyJhbGciOiJI" CANARY ".eyJzdWIi.c2ln");
		put(out, b);
		break;
	case 5:
		put(out, a);
		gd_buf_puts(out, KEY_ID);
		put(out, b);
		break;
	case 6:
		put(out, a);
		gd_buf_puts(out, "-----BEGIN PRIVATE KEY-----\n" CANARY);
		put(out, b);
		break;
	case 7: /* sh -c '... --token x ...' */
		put(out, a);
		gd_buf_puts(out, " --");
		gd_buf_puts(out, name);
		gd_buf_putc(out, ' ');
		put(out, b);
		gd_buf_puts(out, CANARY);
		break;
	default: /* X_PASSWORD=.., Authorization: .. */
		put_name(out, a);
		gd_buf_puts(out, name);
		gd_buf_puts(out, form & 0x80 ? "=" : ": ");
		put(out, b);
		gd_buf_puts(out, CANARY);
		break;
	}
}

static void collect(void *arg, const char *bytes, size_t n)
{
	struct gd_buf *out = arg;
	gd_buf_append(out, bytes, n);
	gd_buf_putc(out, '\0');
}

static int holds(const char *s, size_t n, const char *word)
{
	return n > 0 && memmem(s, n, word, strlen(word)) != NULL;
}

static void no_canary_in(const struct gd_buf *out)
{
	if (out->failed != 0 || holds(out->data, out->len, CANARY) ||
	    holds(out->data, out->len, KEY_ID))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	const char *end = p + size;
	if (size < 1 || holds(p, size, CANARY) || holds(p, size, KEY_ID))
		return 0;
	unsigned form = *data;
	p++;
	struct piece before = take(&p, end);
	struct piece a = take(&p, end);
	struct piece b = take(&p, end);
	struct piece behind = { p, (size_t)(end - p) };

	GD_BUF struct gd_buf in = GD_BUF_INIT(size * 2 + 256);
	GD_BUF struct gd_buf out = GD_BUF_INIT(size * 64 + 4096);
	put(&in, before);
	gd_buf_putc(&in, '\0');
	plant(&in, form, a, b);
	gd_buf_putc(&in, '\0');
	put(&in, behind);
	if (gd_proc_redact_cmdline(in.data, in.len, collect, &out, NULL) < 0)
		abort();
	no_canary_in(&out);

	char text[512];
	if (gd_proc_redact_cmdline_text(in.data, in.len, text, sizeof(text), NULL) < 0 ||
	    holds(text, strlen(text), CANARY) || holds(text, strlen(text), KEY_ID))
		abort();

	/* As a variable of any name, planted in a value or as a whole. */
	gd_buf_reset(&in);
	put(&in, before);
	gd_buf_puts(&in, "X=" CANARY);
	gd_buf_putc(&in, '\0');
	gd_buf_puts(&in, form & 1 ? "GODEBUG=" : CANARY "!" CANARY);
	plant(&in, form, a, b);
	gd_buf_reset(&out);
	struct gd_json json = GD_JSON_INIT(&out);
	gd_proc_redact_environ(in.data, in.len, &json);
	no_canary_in(&out);
	return 0;
}
