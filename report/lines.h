#pragma once
/* Lines for a terminal: cut to its width, coloured when it is one.  Texts come escaped. */
#include <stdbool.h>
#include <stdio.h>

enum gd_style { GD_STYLE_PLAIN, GD_STYLE_BOLD, GD_STYLE_DIM, GD_STYLE_RED, GD_STYLE_YELLOW };

struct gd_lines {
	FILE *out;
	bool color;
	unsigned width; /* 0: as long as it is */
};

void gd_lines_put(const struct gd_lines *lines, enum gd_style style, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
