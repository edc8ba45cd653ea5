/*
 * Looks a release up in the generated table.  The table is ascending, so the newest release that is
 * not newer than the wanted one is both the exact row, when there is one, and else the best guess to
 * start a calibration from.
 */
#include "golang/layout.h"

#include <errno.h>
#include <stddef.h>

#include "golang/layout_table.h"

/* Also the oldest whose pclntab we read; layouts before it were never measured. */
#define OLDEST_MINOR 18

static bool newer(const struct layout_release *release, const struct gd_go_version *version)
{
	if (release->minor != version->minor)
		return release->minor > version->minor;
	return release->patch > version->patch;
}

int gd_layout_of(const struct gd_go_version *version, struct gd_layout *ret, struct gd_error *err)
{
	const struct layout_release *found = NULL;
	size_t n = sizeof(layout_releases) / sizeof(layout_releases[0]);

	if (version->minor < OLDEST_MINOR)
		return gd_fail(err, -ENOTSUP, "Go 1.%d: godiag reads Go 1.%d and newer",
		               version->minor, OLDEST_MINOR);
	for (size_t i = 0; i < n && !newer(&layout_releases[i], version); i++)
		found = &layout_releases[i];
	if (found == NULL)
		return gd_fail(err, -ENOTSUP, "Go 1.%d.%d: no layout is known", version->minor,
		               version->patch);
	bool exact = found->minor == version->minor && found->patch == version->patch &&
	             !version->devel && !version->experiment;
	*ret = layout_rows[found->row];
	ret->trust = exact ? GD_LAYOUT_EXACT : GD_LAYOUT_CALIBRATED;
	return 0;
}
