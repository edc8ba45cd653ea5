#include "report/instant.h"

#include <stdio.h>

const char *gd_instant_name(const struct gd_reader *reader, const char *name, char to[208])
{
	(void)snprintf(to, 208, "image/%s", name);
	const struct gd_artifact_row *row = gd_reader_artifact(reader, to);
	return row != NULL && row->digest[0] != '\0' ? to : name;
}
