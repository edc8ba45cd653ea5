#include "policies/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void gd_findings_deinit(struct gd_findings *findings)
{
	free(findings->list);
	*findings = (struct gd_findings){ 0 };
}

void gd_findings_add(struct gd_findings *findings, enum gd_severity severity, const char *file,
                     unsigned line, unsigned column, const char *fmt, ...)
{
	if (severity == GD_SEVERITY_ERROR)
		findings->n_errors++;
	if (findings->n == GD_FINDINGS_MAX)
		return;
	struct gd_finding *list =
		realloc(findings->list, (findings->n + 1) * sizeof(*findings->list));
	if (list == NULL)
		return;
	findings->list = list;
	struct gd_finding *f = &list[findings->n++];
	*f = (struct gd_finding){ .severity = severity, .line = line, .column = column };
	(void)snprintf(f->file, sizeof(f->file), "%s", file);
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
}

static size_t file_number(const char *file, char *const *files)
{
	size_t i = 0;
	while (files != NULL && files[i] != NULL && strcmp(files[i], file) != 0)
		i++;
	return i;
}

static bool is_before(const struct gd_finding *a, const struct gd_finding *b, char *const *files)
{
	size_t file_a = file_number(a->file, files);
	size_t file_b = file_number(b->file, files);
	if (file_a != file_b)
		return file_a < file_b;
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* By insertion: there are a hundred at most, and equals stay in their order. */
void gd_findings_sort(struct gd_findings *findings, char *const *files)
{
	for (size_t i = 1; i < findings->n; i++) {
		struct gd_finding moving = findings->list[i];
		size_t to = i;
		for (; to > 0 && is_before(&moving, &findings->list[to - 1], files); to--)
			findings->list[to] = findings->list[to - 1];
		findings->list[to] = moving;
	}
}

void gd_finding_put(const struct gd_finding *finding, struct gd_buf *to)
{
	gd_text_put_escaped(to, finding->file, strlen(finding->file));
	if (finding->line > 0)
		gd_buf_printf(to, ":%u:%u", finding->line, finding->column);
	gd_buf_puts(to, finding->severity == GD_SEVERITY_ERROR ? ": error: " : ": warning: ");
	gd_text_put_escaped(to, finding->text, strlen(finding->text));
	gd_buf_putc(to, '\n');
}
