#include "report/flame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "golang/class.h"
#include "report/words.h"

#define WORDS_MAX (64U << 20)
#define TEXT_MAX 4096 /* bytes of one name that are kept */
#define TEXTS_MAX (1U << 20)
#define NODES_MAX (1U << 22)
#define ROWS_MAX (1U << 20)
#define WALK_MAX (UINT64_C(1) << 28) /* frames of all samples: a second or so of work each 2^26 */
#define FRAMES_MAX 8192              /* of one sample, with inlined ones */

static const char cut_name[] = "[cut]";
static const char lost_name[] = "[lost]";

/* What is needed only while a profile is added up. */
struct reading {
	struct gd_pprof_read p;
	struct gd_flame *flame;
	uint32_t *text_of;      /* string of the profile -> text + 1; 0: not yet */
	uint32_t *frame_of;     /* line of the profile -> frame + 1 */
	uint32_t *bare_of;      /* location without lines -> frame + 1 */
	bool has_class, is_cpu; /* is_cpu: classes make sense */
	size_t cap_values;      /* rows that values have room for */
	uint64_t walked;
	uint32_t frames[FRAMES_MAX]; /* of the sample in hand, innermost first */
	struct gd_pprof_read_sample sample;
};

static void end_reading(struct reading **reading)
{
	struct reading *r = *reading;
	if (r == NULL)
		return;
	gd_pprof_read_deinit(&r->p);
	free(r->text_of);
	free(r->frame_of);
	free(r->bare_of);
	free(r);
}

void gd_flame_deinit(struct gd_flame *f)
{
	gd_tuples_deinit(&f->texts);
	gd_tuples_deinit(&f->frames);
	gd_tuples_deinit(&f->nodes);
	gd_tuples_deinit(&f->classes);
	gd_tuples_deinit(&f->threads);
	gd_tuples_deinit(&f->goroutines);
	gd_tuples_deinit(&f->states);
	gd_tuples_deinit(&f->labels);
	gd_tuples_deinit(&f->sets);
	gd_tuples_deinit(&f->rows);
	gd_words_destroy(f->words);
	free(f->values);
	*f = (struct gd_flame){ 0 };
}

const char *gd_flame_text(const struct gd_flame *f, uint64_t text)
{
	const char *word = "";
	if (text < f->texts.n)
		memcpy(&word, gd_tuples_at(&f->texts, (uint32_t)text), sizeof(word));
	return word;
}

/* --- texts --------------------------------------------------------------------------------- */

static uint32_t keep_text(struct gd_flame *f, const char *at, size_t n)
{
	errno = 0;
	const char *word = gd_words_keep(f->words, at, n < TEXT_MAX ? n : TEXT_MAX);
	if (word != NULL)
		return gd_tuples_keep(&f->texts, (uint64_t[]){ (uintptr_t)word });
	f->texts.failed = errno == ENOMEM ? -ENOMEM : -E2BIG; /* no memory, or the words' ceiling */
	return 0;
}

static uint32_t text_of(struct reading *r, uint32_t string)
{
	if (r->text_of[string] == 0) {
		const struct gd_pprof_text *text = &r->p.strings[string];
		r->text_of[string] = keep_text(r->flame, text->at, text->n) + 1;
	}
	return r->text_of[string] - 1;
}

static const char *string_of(struct reading *r, uint32_t string)
{
	return gd_flame_text(r->flame, text_of(r, string));
}

/* --- frames -------------------------------------------------------------------------------- */

static uint32_t keep_frame(struct reading *r, uint32_t name, uint32_t file, int64_t line,
                           uint32_t marks)
{
	uint64_t row[] = { name, file, line > 0 ? (uint64_t)line : 0, marks };
	return gd_tuples_keep(&r->flame->frames, row);
}

/* A location of which only the address is known: "libc.so.6+0x29d90". */
static uint32_t bare_frame(struct reading *r, uint32_t location)
{
	const struct gd_pprof_read_location *l = &r->p.locations[location];
	const struct gd_pprof_read_mapping *m = &r->p.mappings[l->mapping];
	GD_BUF struct gd_buf name = GD_BUF_INIT(TEXT_MAX + 32);
	uint32_t file = text_of(r, m->file);
	const char *path = gd_flame_text(r->flame, file);
	const char *slash = strrchr(path, '/');
	uint64_t address = l->address;
	if (path[0] != '\0') {
		gd_buf_puts(&name, slash != NULL && slash[1] != '\0' ? slash + 1 : path);
		gd_buf_putc(&name, '+');
		address = address - m->start + m->offset;
	}
	gd_text_put_hex(&name, address);
	const char *text = gd_buf_str(&name);
	if (name.failed != 0)
		r->flame->texts.failed = name.failed;
	uint32_t marks = GD_FLAME_UNKNOWN | (gd_pprof_read_in_kernel(&r->p, l) ? GD_FLAME_KERNEL : 0);
	return keep_frame(r, keep_text(r->flame, text, strlen(text)), file, 0, marks);
}

static uint32_t frame_of(struct reading *r, const struct gd_pprof_read_location *l, uint32_t i)
{
	uint32_t *known = &r->frame_of[l->first_line + i];
	if (*known == 0) {
		const struct gd_pprof_read_line *line = &r->p.lines[l->first_line + i];
		const struct gd_pprof_read_function *function = &r->p.functions[line->function];
		const char *name = string_of(r, function->name);
		uint32_t marks = i + 1 < l->n_lines ? GD_FLAME_INLINED : 0;
		if (strcmp(name, lost_name) == 0)
			marks |= GD_FLAME_LOST;
		else if (gd_pprof_read_in_kernel(&r->p, l))
			marks |= GD_FLAME_KERNEL;
		*known = keep_frame(r, text_of(r, function->name), text_of(r, function->file),
		                    line->line, marks) + 1;
	}
	return *known - 1;
}

/* Innermost first; returns their number. */
static size_t gather_frames(struct reading *r)
{
	const struct gd_pprof_read_sample *s = &r->sample;
	size_t n = 0;
	bool cut = false;
	for (uint32_t i = 0; i < s->n_locations && !cut; i++) {
		const struct gd_pprof_read_location *l = &r->p.locations[s->locations[i]];
		cut = n + l->n_lines + 2 > FRAMES_MAX;
		for (uint32_t line = 0; line < l->n_lines && !cut; line++)
			r->frames[n++] = frame_of(r, l, line);
		if (l->n_lines > 0 || cut)
			continue;
		uint32_t *known = &r->bare_of[s->locations[i]];
		if (*known == 0)
			*known = bare_frame(r, s->locations[i]) + 1;
		r->frames[n++] = *known - 1;
	}
	if (cut || s->n_deeper > 0) {
		r->flame->cut++;
		r->frames[n++] = keep_frame(r, keep_text(r->flame, cut_name, strlen(cut_name)), 0,
		                            0, GD_FLAME_UNKNOWN);
	}
	return n;
}

/* --- samples ------------------------------------------------------------------------------- */

static uint32_t derive_class(struct reading *r, size_t n)
{
	struct gd_flame *f = r->flame;
	uint32_t signs = 0;
	for (size_t i = 0; i < n; i++)
		signs |= gd_go_class_signs(gd_flame_text(f, gd_tuples_at(&f->frames, r->frames[i])
		                                                [GD_FLAME_FRAME_NAME]));
	bool in_kernel = n > 0 && (gd_tuples_at(&f->frames, r->frames[0])[GD_FLAME_FRAME_MARKS] &
	                           GD_FLAME_KERNEL) != 0;
	const char *class = gd_go_class_name(gd_go_class_of(signs, in_kernel));
	return keep_text(f, class, strlen(class));
}

struct labels {
	uint32_t class, thread_name, state, goroutine_name; /* texts */
	uint64_t tid, goroutine;
	uint32_t set;
};

static void take_label(struct reading *r, const struct gd_pprof_read_label *l,
                       struct labels *labels)
{
	const struct gd_pprof_read *p = &r->p;
	uint64_t number = (uint64_t)l->number;
	if (gd_pprof_read_is(p, l->key, "class")) {
		labels->class = text_of(r, l->text);
	} else if (gd_pprof_read_is(p, l->key, "thread")) {
		labels->thread_name = text_of(r, l->text);
	} else if (gd_pprof_read_is(p, l->key, "state")) {
		labels->state = text_of(r, l->text);
	} else if (gd_pprof_read_is(p, l->key, "tid")) {
		labels->tid = number;
	} else if (gd_pprof_read_is(p, l->key, "goroutine")) {
		labels->goroutine = number;
		labels->goroutine_name = text_of(r, l->text);
	} else {
		uint64_t label[] = { text_of(r, l->key), text_of(r, l->text),
			             l->text == 0 ? number : 0, text_of(r, l->unit) };
		uint64_t set[] = { labels->set, gd_tuples_keep(&r->flame->labels, label) };
		labels->set = gd_tuples_keep(&r->flame->sets, set);
	}
}

static int add_values(struct reading *r, uint32_t row, struct gd_error *err)
{
	struct gd_flame *f = r->flame;
	if (f->rows.cap > r->cap_values) {
		int64_t *values = realloc(f->values, (size_t)f->rows.cap * f->n_types * sizeof(*values));
		if (values == NULL)
			return gd_fail_errno(err, -ENOMEM, "%s", r->p.what);
		memset(values + r->cap_values * f->n_types, 0,
		       (f->rows.cap - r->cap_values) * f->n_types * sizeof(*values));
		f->values = values;
		r->cap_values = f->rows.cap;
	}
	int64_t *to = f->values + (size_t)row * f->n_types;
	for (uint32_t i = 0; i < f->n_types; i++)
		if (__builtin_add_overflow(to[i], r->sample.values[i], &to[i]))
			to[i] = r->sample.values[i] < 0 ? INT64_MIN : INT64_MAX;
	return 0;
}

static int take_sample(struct reading *r, struct gd_error *err)
{
	struct gd_flame *f = r->flame;
	struct labels l = { 0 };
	for (uint32_t i = 0; i < r->sample.n_labels; i++)
		take_label(r, &r->sample.labels[i], &l);
	size_t n = gather_frames(r);
	r->walked += n;
	if (r->walked > WALK_MAX)
		return gd_fail(err, -E2BIG, "%s: more than %" PRIu64 " frames", r->p.what, WALK_MAX);
	if (!r->has_class && r->is_cpu)
		l.class = derive_class(r, n);
	uint32_t node = 0;
	for (size_t i = n; i-- > 0;)
		node = gd_tuples_keep(&f->nodes, (uint64_t[]){ node, r->frames[i] });
	uint64_t row[] = {
		[GD_FLAME_ROW_NODE] = node,
		[GD_FLAME_ROW_CLASS] = gd_tuples_keep(&f->classes, (uint64_t[]){ l.class }),
		[GD_FLAME_ROW_THREAD] =
			gd_tuples_keep(&f->threads, (uint64_t[]){ l.thread_name, l.tid }),
		[GD_FLAME_ROW_GOROUTINE] = gd_tuples_keep(
			&f->goroutines, (uint64_t[]){ l.goroutine, l.goroutine_name }),
		[GD_FLAME_ROW_STATE] = gd_tuples_keep(&f->states, (uint64_t[]){ l.state }),
		[GD_FLAME_ROW_SET] = l.set,
	};
	uint32_t at = gd_tuples_keep(&f->rows, row);
	return f->rows.failed != 0 ? 0 : add_values(r, at, err);
}

/* --- the whole ----------------------------------------------------------------------------- */

static void begin_tables(struct gd_flame *f)
{
	const uint64_t nothing[GD_TUPLES_WIDTH_MAX] = { 0 };
	f->texts = GD_TUPLES_INIT(1, TEXTS_MAX);
	f->frames = GD_TUPLES_INIT(4, TEXTS_MAX);
	f->nodes = GD_TUPLES_INIT(2, NODES_MAX);
	f->classes = GD_TUPLES_INIT(1, 256);
	f->threads = GD_TUPLES_INIT(2, 1U << 17);
	f->goroutines = GD_TUPLES_INIT(2, ROWS_MAX);
	f->states = GD_TUPLES_INIT(1, 256);
	f->labels = GD_TUPLES_INIT(4, ROWS_MAX);
	f->sets = GD_TUPLES_INIT(2, ROWS_MAX);
	f->rows = GD_TUPLES_INIT(6, ROWS_MAX);
	(void)keep_text(f, "", 0);
	(void)gd_tuples_keep(&f->frames, nothing);
	(void)gd_tuples_keep(&f->classes, nothing);
	(void)gd_tuples_keep(&f->threads, nothing);
	(void)gd_tuples_keep(&f->goroutines, nothing);
	(void)gd_tuples_keep(&f->states, nothing);
	(void)gd_tuples_keep(&f->labels, nothing);
	(void)gd_tuples_keep(&f->sets, nothing);
	/* A parent that no other node has. */
	(void)gd_tuples_keep(&f->nodes, (uint64_t[]){ UINT64_MAX, 0 });
}

static int check_tables(const struct gd_flame *f, const char *what, struct gd_error *err)
{
	const struct {
		const struct gd_tuples *table;
		const char *of;
	} all[] = {
		{ &f->texts, "names" },           { &f->frames, "frames" },
		{ &f->nodes, "nodes of stacks" }, { &f->classes, "classes" },
		{ &f->threads, "threads" },       { &f->goroutines, "goroutines" },
		{ &f->states, "states" },         { &f->labels, "labels" },
		{ &f->sets, "sets of labels" },   { &f->rows, "different samples" },
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		int r = gd_tuples_check(all[i].table, all[i].of, err);
		if (r < 0)
			return gd_error_wrap(err, r, "%s", what);
	}
	return 0;
}

static struct gd_flame_type type_of(struct reading *r, const struct gd_pprof_read_type *type)
{
	return (struct gd_flame_type){ string_of(r, type->type), string_of(r, type->unit) };
}

static void take_head(struct reading *r)
{
	struct gd_flame *f = r->flame;
	f->n_types = r->p.n_types;
	f->default_type = r->p.default_type;
	for (uint32_t i = 0; i < f->n_types; i++) {
		f->types[i] = type_of(r, &r->p.types[i]);
		r->is_cpu |= strcmp(f->types[i].type, "cpu") == 0;
	}
	f->period_type = type_of(r, &r->p.period_type);
	f->period = r->p.period;
	f->time_ns = r->p.time_ns;
	f->duration_ns = r->p.duration_ns > 0 ? r->p.duration_ns : 0;
}

/* Is there a sample that says itself what class it has? */
static bool find_class(struct reading *r)
{
	struct gd_bytes cursor = gd_pprof_read_samples(&r->p);
	uint64_t bad = 0;
	while (gd_pprof_read_next(&r->p, &cursor, &r->sample, &bad))
		for (uint32_t i = 0; i < r->sample.n_labels; i++)
			if (gd_pprof_read_is(&r->p, r->sample.labels[i].key, "class"))
				return true;
	return false;
}

static int begin_reading(struct reading *r, const char *artifact, const void *profile, size_t n,
                         struct gd_error *err)
{
	int code = gd_pprof_read_init(&r->p, artifact, profile, n, err);
	if (code == 0)
		code = gd_words_create(WORDS_MAX, &r->flame->words, err);
	if (code < 0)
		return code;
	r->text_of = calloc(r->p.n_strings, sizeof(*r->text_of));
	r->frame_of = calloc((size_t)r->p.n_lines + 1, sizeof(*r->frame_of));
	r->bare_of = calloc(r->p.n_locations, sizeof(*r->bare_of));
	if (r->text_of == NULL || r->frame_of == NULL || r->bare_of == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", artifact);
	begin_tables(r->flame);
	take_head(r);
	r->has_class = find_class(r);
	r->flame->classes_derived = !r->has_class && r->is_cpu;
	return check_tables(r->flame, artifact, err); /* row 0 of each is there */
}

int gd_flame_parse(const char *artifact, const void *profile, size_t n, struct gd_flame *ret,
                   struct gd_error *err)
{
	GD_FLAME struct gd_flame flame = { 0 };
	GD_CLEANUP(end_reading) struct reading *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return gd_fail_errno(err, -ENOMEM, "%s", artifact);
	r->flame = &flame;
	int code = begin_reading(r, artifact, profile, n, err);
	struct gd_bytes cursor = gd_pprof_read_samples(&r->p);
	while (code == 0 && gd_pprof_read_next(&r->p, &cursor, &r->sample, &flame.bad))
		code = take_sample(r, err);
	if (code == 0)
		code = check_tables(&flame, artifact, err);
	if (code < 0)
		return code;
	*ret = flame;
	flame = (struct gd_flame){ 0 };
	return 0;
}

int gd_flame_read(const struct gd_reader *reader, const char *artifact, struct gd_flame *ret,
                  struct gd_error *err)
{
	GD_BUF struct gd_buf profile = GD_BUF_INIT(GD_PPROF_READ_BYTES);
	int r = gd_pprof_read_unpack(reader, artifact, &profile, err);
	return r < 0 ? r : gd_flame_parse(artifact, profile.data, profile.len, ret, err);
}

int gd_flame_type(const struct gd_flame *f, const char *name, uint32_t *ret, struct gd_error *err)
{
	char known[160] = "";
	for (uint32_t i = 0; i < f->n_types; i++) {
		if (name == NULL || strcmp(f->types[i].type, name) == 0) {
			*ret = name == NULL ? f->default_type : i;
			return 0;
		}
		size_t at = strlen(known);
		(void)snprintf(known + at, sizeof(known) - at, "%s%s", i > 0 ? ", " : "",
		               f->types[i].type);
	}
	return gd_fail(err, -ENOENT, "no type \"%s\" (there are: %s)", name, known);
}

uint32_t gd_flame_type_in(const struct gd_flame *f, const char *unit)
{
	for (uint32_t i = 0; i < f->n_types; i++)
		if (strcmp(f->types[i].unit, unit) == 0)
			return i;
	return f->default_type;
}

void gd_flame_put_thread(const struct gd_flame *f, uint32_t thread, struct gd_buf *out)
{
	const uint64_t *row = gd_tuples_at(&f->threads, thread);
	const char *name = gd_flame_text(f, row[GD_FLAME_THREAD_NAME]);
	gd_text_put_escaped(out, name, strlen(name));
	if (row[GD_FLAME_THREAD_TID] != 0) {
		gd_buf_putc(out, '/');
		gd_text_put_u64(out, row[GD_FLAME_THREAD_TID]);
	}
}
