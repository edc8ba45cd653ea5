/*
 * The page is made of the files flame* beside this one, which are compiled in, and one JSON document.  All
 * that is foreign is in the document; the page's script puts it on the screen as text, never as HTML,
 * and a policy in its head forbids every other script and all network.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/json.h"
#include "report/flame.h"

#define JSON_MAX (512U << 20)

/* A text that ends with a NUL, of whole files; `make` knows which files this one depends on. */
#define FILE_BYTES(file) ".incbin \"" file "\"\n"
#define ASSET(name, files)                                                                         \
	__asm__(".pushsection .rodata\n"                                                           \
	        ".global " #name "\n"                                                              \
	        ".type " #name ", @object\n" #name ":\n" files                                    \
	        ".byte 0\n"                                                                        \
	        ".size " #name ", . - " #name "\n"                                                 \
	        ".popsection\n");                                                                  \
	extern const char name[] __attribute__((visibility("hidden")))

ASSET(gd_flame_asset_html, FILE_BYTES("report/flame.html"));
ASSET(gd_flame_asset_css, FILE_BYTES("report/flame.css"));
/* One script, so that one hash covers it. */
ASSET(gd_flame_asset_js, FILE_BYTES("report/flame_tree.js") FILE_BYTES("report/flame_look.js")
      FILE_BYTES("report/flame.js"));

/* --- the document -------------------------------------------------------------------------- */

static void put_table(struct gd_json *json, const char *key, const struct gd_tuples *table)
{
	gd_json_array(json, key);
	for (uint32_t i = 0; i < table->n; i++)
		for (uint32_t k = 0; k < table->width; k++)
			gd_json_i64(json, NULL, (int64_t)gd_tuples_at(table, i)[k]);
	gd_json_array_end(json);
}

static void put_type(struct gd_json *json, const char *key, const struct gd_flame_type *type)
{
	gd_json_array(json, key);
	gd_json_string(json, NULL, type->type);
	gd_json_string(json, NULL, type->unit);
	gd_json_array_end(json);
}

static void put_flame(struct gd_json *json, const struct gd_flame *f)
{
	gd_json_array(json, "types");
	for (uint32_t i = 0; i < f->n_types; i++)
		put_type(json, NULL, &f->types[i]);
	gd_json_array_end(json);
	gd_json_u64(json, "default", f->default_type);
	put_type(json, "period_type", &f->period_type);
	gd_json_i64(json, "period", f->period);
	gd_json_i64(json, "duration_ns", f->duration_ns);
	gd_json_bool(json, "derived", f->classes_derived);
	gd_json_u64(json, "bad", f->bad);
	gd_json_u64(json, "cut", f->cut);
	gd_json_array(json, "texts");
	for (uint32_t i = 0; i < f->texts.n; i++)
		gd_json_string(json, NULL, gd_flame_text(f, i));
	gd_json_array_end(json);
	put_table(json, "frames", &f->frames);
	put_table(json, "nodes", &f->nodes);
	put_table(json, "classes", &f->classes);
	put_table(json, "states", &f->states);
	put_table(json, "threads", &f->threads);
	put_table(json, "goroutines", &f->goroutines);
	put_table(json, "labels", &f->labels);
	put_table(json, "sets", &f->sets);
	put_table(json, "rows", &f->rows);
	gd_json_array(json, "values");
	for (size_t i = 0; i < (size_t)f->rows.n * f->n_types; i++)
		gd_json_i64(json, NULL, f->values[i]);
	gd_json_array_end(json);
}

static void put_row(struct gd_json *json, const struct gd_artifact_row *row)
{
	gd_json_string(json, "artifact", row->name);
	gd_json_string(json, "grade", gd_grade_name(row->outcome.grade));
	gd_json_string(json, "why", row->outcome.why.msg);
}

/* 0, or why it could not be read, which is in the document as well. */
static int put_profile(struct gd_json *json, const struct gd_reader *reader,
                       const struct gd_artifact_row *row, struct gd_error *err)
{
	GD_FLAME struct gd_flame flame = { 0 };
	int r = gd_flame_read(reader, row->name, &flame, err);
	gd_json_object(json, NULL);
	put_row(json, row);
	if (r < 0)
		gd_json_string(json, "error", err->msg);
	else
		put_flame(json, &flame);
	gd_json_object_end(json);
	return r;
}

static void put_capture(struct gd_json *json, const struct gd_reader *reader)
{
	const struct gd_snapshot *s = &reader->snapshot;
	char when[GD_CLOCK_TEXT];
	gd_json_object(json, "capture");
	gd_json_string(json, "id", s->id);
	gd_json_string(json, "digest", reader->manifest_digest);
	gd_json_string(json, "service", s->comm);
	gd_json_i64(json, "pid", s->pid);
	gd_json_string(json, "host", s->hostname);
	gd_json_string(json, "exe", s->exe);
	gd_json_string(json, "go", s->go_version);
	gd_json_string(json, "started", s->started.realtime_ns != 0
	                                        ? gd_clock_text(when, s->started.realtime_ns)
	                                        : NULL);
	gd_json_i64(json, "took_ns", s->ended.monotonic_ns - s->started.monotonic_ns);
	gd_json_string(json, "trigger", s->trigger);
	gd_json_string(json, "reason", s->reason);
	gd_json_string(json, "complaint", gd_reader_complaint(reader));
	gd_json_object_end(json);
}

/* *n_unreadable of them are not in it; err then says why the first is not. */
static void put_profiles(struct gd_json *json, const struct gd_reader *reader,
                         const struct gd_flame_profiles *profiles, size_t *n_unreadable,
                         struct gd_error *err)
{
	*n_unreadable = 0;
	gd_json_array(json, "profiles");
	for (size_t i = 0; i < profiles->n; i++) {
		struct gd_error why = { 0 };
		if (put_profile(json, reader, profiles->list[i], &why) == 0)
			continue;
		if ((*n_unreadable)++ == 0 && err != NULL)
			*err = why;
	}
	gd_json_array_end(json);
	gd_json_array(json, "absent");
	for (size_t i = 0; i < profiles->n_absent; i++) {
		gd_json_object(json, NULL);
		put_row(json, profiles->absent[i]);
		gd_json_object_end(json);
	}
	gd_json_array_end(json);
}

/* --- the page ------------------------------------------------------------------------------ */

/* What CSP calls a hash: only the script that we compiled in may run. */
static void put_policy(FILE *out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned char text[4 * EVP_MAX_MD_SIZE / 3 + 8] = "";
	unsigned n = 0;
	if (EVP_Digest(gd_flame_asset_js, strlen(gd_flame_asset_js), digest, &n, EVP_sha256(),
	               NULL) == 1)
		(void)EVP_EncodeBlock(text, digest, (int)n);
	(void)fprintf(out, "'sha256-%s'", text);
}

/* JSON has "<" only within strings, where it may be written in another way: so the document cannot end
 * the element that it is in, nor begin a comment. */
static void put_document(const struct gd_buf *json, FILE *out)
{
	size_t from = 0;
	for (size_t i = 0; i < json->len; i++) {
		if (json->data[i] != '<')
			continue;
		(void)fwrite(json->data + from, 1, i - from, out);
		(void)fputs("\\u003c", out);
		from = i + 1;
	}
	(void)fwrite(json->data + from, 1, json->len - from, out);
}

static void put_part(const char *name, const struct gd_buf *json, FILE *out)
{
	if (strncmp(name, "policy", 6) == 0)
		put_policy(out);
	else if (strncmp(name, "style", 5) == 0)
		(void)fputs(gd_flame_asset_css, out);
	else if (strncmp(name, "script", 6) == 0)
		(void)fputs(gd_flame_asset_js, out);
	else
		put_document(json, out);
}

static void put_page(const struct gd_buf *json, FILE *out)
{
	const char *at = gd_flame_asset_html;
	const char *mark;
	while ((mark = strchr(at, '@')) != NULL) {
		const char *end = strchr(mark + 1, '@');
		if (end == NULL)
			break;
		(void)fwrite(at, 1, (size_t)(mark - at), out);
		put_part(mark + 1, json, out);
		at = end + 1;
	}
	(void)fputs(at, out);
}

static int choose(const struct gd_reader *reader, const char *artifact,
                  struct gd_flame_profiles *ret, struct gd_error *err)
{
	gd_flame_profiles(reader, ret);
	if (artifact != NULL) {
		const struct gd_artifact_row *row = gd_reader_artifact(reader, artifact);
		*ret = (struct gd_flame_profiles){ .list = { row }, .n = row != NULL };
		if (row == NULL)
			return gd_fail(err, -ENOENT, "there is no artifact \"%s\"", artifact);
	}
	return ret->n > 0 ? 0 : gd_fail(err, -ENOENT, "the archive has no profile");
}

int gd_flame_page(const struct gd_reader *reader, const char *artifact, FILE *out,
                  size_t *n_unreadable, struct gd_error *err)
{
	GD_BUF struct gd_buf text = GD_BUF_INIT(JSON_MAX);
	struct gd_json json = GD_JSON_INIT(&text);
	struct gd_flame_profiles profiles;
	struct gd_error why = { 0 };
	size_t unreadable;
	int r = choose(reader, artifact, &profiles, err);
	if (r < 0)
		return r;
	gd_json_object(&json, NULL);
	gd_json_string(&json, "godiag", GD_VERSION);
	put_capture(&json, reader);
	put_profiles(&json, reader, &profiles, &unreadable, &why);
	gd_json_object_end(&json);
	if (unreadable == profiles.n) {
		if (err != NULL)
			*err = why;
		return why.code;
	}
	r = gd_buf_check(&text, "the page", err);
	if (r < 0)
		return r;
	put_page(&text, out);
	*n_unreadable = unreadable;
	return 0;
}
