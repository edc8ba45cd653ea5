#include "report/lines.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* Bytes of the first `columns` characters; what is beyond ASCII is taken as one column each. */
static size_t cut(const char *s, unsigned columns)
{
	size_t i = 0;
	unsigned seen = 0;
	while (s[i] != '\0') {
		bool begins = ((unsigned char)s[i] & 0xc0) != 0x80;
		if (begins && seen == columns)
			break;
		seen += begins;
		i++;
	}
	return i;
}

void gd_lines_put(const struct gd_lines *lines, enum gd_style style, const char *fmt, ...)
{
	static const char *const codes[] = {
		[GD_STYLE_PLAIN] = "",
		[GD_STYLE_BOLD] = "\033[1m",
		[GD_STYLE_DIM] = "\033[2m",
		[GD_STYLE_RED] = "\033[1;31m",
		[GD_STYLE_YELLOW] = "\033[33m",
	};
	char text[4096];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (lines->width > 0 && text[cut(text, lines->width)] != '\0')
		(void)strcpy(text + cut(text, lines->width - 1), "~");
	bool color = lines->color && style != GD_STYLE_PLAIN && text[0] != '\0';
	(void)fprintf(lines->out, "%s%s%s\n", color ? codes[style] : "", text,
	              color ? "\033[0m" : "");
}
