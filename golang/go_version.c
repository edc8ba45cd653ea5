#include "golang/go_version.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

static bool take_number(const char **p, int *ret)
{
	uint64_t value;
	if (!gd_text_u64(*p, p, 10, &value) || value > 9999)
		return false;
	*ret = (int)value;
	return true;
}

int gd_go_version_parse(const char *text, struct gd_go_version *ret, struct gd_error *err)
{
	struct gd_go_version version = { 0 };
	const char *p = text;
	/* "devel go1.21-abc Mon Jan..." and before that "devel +abc Mon Jan..." */
	if (strncmp(p, "devel ", 6) == 0) {
		version.devel = true;
		p += 6;
	}
	if (version.devel && *p == '+') {
		*ret = version;
		return 0;
	}
	if (strncmp(p, "go1", 3) != 0)
		goto bad;
	p += 3;
	if (*p == '.') {
		p++;
		if (!take_number(&p, &version.minor))
			goto bad;
		if (*p == '.') {
			p++;
			if (!take_number(&p, &version.patch))
				goto bad;
		}
	}
	/* " X:a,b", "-X:a,b" from 1.26 on, a vendor's "-microsoft" or " (Red Hat 1.21.4-1.el9)" */
	version.experiment = strstr(p, " X:") != NULL || strstr(p, "-X:") != NULL;
	bool release = *p == '\0' || strncmp(p, " X:", 3) == 0 || strncmp(p, "-X:", 3) == 0;
	if (!release && *p != ' ' && *p != '-' && *p != '+' && strncmp(p, "rc", 2) != 0 &&
	    strncmp(p, "beta", 4) != 0)
		goto bad;
	version.devel = version.devel || !release;
	*ret = version;
	return 0;
bad:;
	char shown[64];
	gd_text_escape(shown, sizeof(shown), text, strnlen(text, sizeof(shown)));
	return gd_fail(err, -EBADMSG, "\"%s\" is no Go version", shown);
}
