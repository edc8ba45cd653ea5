#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define NS_PER_S UINT64_C(1000000000)

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit durations[] = {
	{ "ns", 1 },          { "us", 1000 },          { "ms", 1000000 },
	{ "s", NS_PER_S },    { "m", 60 * NS_PER_S },  { "h", 3600 * NS_PER_S },
	{ "d", 86400 * NS_PER_S },
};

static const struct unit sizes[] = {
	{ "", 1 },
	{ "B", 1 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "TiB", UINT64_C(1) << 40 },
	{ "KB", 1000 },
	{ "kB", 1000 },
	{ "MB", 1000000 },
	{ "GB", 1000000000 },
	{ "TB", UINT64_C(1000000000000) },
};

static const struct unit *find(const struct unit *units, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(units[i].name) == len && strncmp(units[i].name, name, len) == 0)
			return &units[i];
	return NULL;
}

/* ".25" at *p as a fraction of one, 0 when there is none; -EINVAL for a lone dot. */
static int parse_fraction(const char **p, double *ret)
{
	double value = 0;
	double digit = 0.1;
	const char *s = *p;
	if (*s == '.') {
		if (!isdigit((unsigned char)*++s))
			return -EINVAL;
		for (; isdigit((unsigned char)*s); s++, digit /= 10)
			value += (*s - '0') * digit;
	}
	*p = s;
	*ret = value;
	return 0;
}

/* One "<number><unit>", moves *p behind it.  Not by strtod: it takes "0x10" and "1e3" as well. */
static int parse_one(const char **p, const struct unit *units, size_t n, uint64_t *ret)
{
	const char *s = *p;
	uint64_t value;
	double fraction;
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	if (!gd_text_u64(s, &s, 10, &value))
		return -ERANGE;
	if (parse_fraction(&s, &fraction) < 0)
		return -EINVAL;
	while (*s == ' ')
		s++;
	const char *name = s;
	while (isalpha((unsigned char)*s))
		s++;
	const struct unit *unit = find(units, n, name, (size_t)(s - name));
	if (unit == NULL)
		return -EINVAL;
	uint64_t rest = (uint64_t)(fraction * (double)unit->factor + 0.5);
	if (__builtin_mul_overflow(value, unit->factor, &value) ||
	    __builtin_add_overflow(value, rest, &value) || value > INT64_MAX)
		return -ERANGE;
	*ret = value;
	*p = s;
	return 0;
}

int gd_units_parse_duration(const char *text, uint64_t *ret_ns, struct gd_error *err)
{
	uint64_t total = 0;
	const char *p = text;
	if (strcmp(text, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	do {
		uint64_t part;
		int r = parse_one(&p, durations, sizeof(durations) / sizeof(*durations), &part);
		if (r == 0 && (__builtin_add_overflow(total, part, &total) || total > INT64_MAX))
			r = -ERANGE;
		if (r == -ERANGE)
			return gd_fail(err, r, "\"%s\" is longer than 292 years", text);
		if (r < 0)
			return gd_fail(err, r,
			               "\"%s\" is not a duration; write a number and ns, us, ms, s, m, h "
			               "or d, such as 250ms or 1m30s",
			               text);
	} while (*p != '\0');
	*ret_ns = total;
	return 0;
}

int gd_units_parse_bytes(const char *text, uint64_t *ret_bytes, struct gd_error *err)
{
	const char *p = text;
	uint64_t bytes;
	int r = parse_one(&p, sizes, sizeof(sizes) / sizeof(*sizes), &bytes);
	if (r == -ERANGE)
		return gd_fail(err, r, "\"%s\" is more than 8 EiB", text);
	if (r == 0 && *p != '\0')
		r = -EINVAL;
	if (r < 0)
		return gd_fail(err, r,
		               "\"%s\" is not a size; write a number and B, KiB, MiB, GiB, TiB (or KB, "
		               "MB, GB, TB), such as 5GiB",
		               text);
	*ret_bytes = bytes;
	return 0;
}

const char *gd_units_duration(char to[GD_UNITS_TEXT], uint64_t ns)
{
	double v = (double)ns;
	if (ns < 1000)
		(void)snprintf(to, GD_UNITS_TEXT, "%" PRIu64 " ns", ns);
	else if (v < 999.5e3)
		(void)snprintf(to, GD_UNITS_TEXT, "%.3g us", v / 1e3);
	else if (v < 999.5e6)
		(void)snprintf(to, GD_UNITS_TEXT, "%.3g ms", v / 1e6);
	else if (v < 60e9)
		(void)snprintf(to, GD_UNITS_TEXT, "%.3g s", v / 1e9);
	else if (v < 3600e9)
		(void)snprintf(to, GD_UNITS_TEXT, "%" PRIu64 " m %02" PRIu64 " s", ns / NS_PER_S / 60,
		               ns / NS_PER_S % 60);
	else
		(void)snprintf(to, GD_UNITS_TEXT, "%" PRIu64 " h %02" PRIu64 " m",
		               ns / NS_PER_S / 3600, ns / NS_PER_S / 60 % 60);
	return to;
}

const char *gd_units_bytes(char to[GD_UNITS_TEXT], uint64_t bytes)
{
	static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	if (bytes < 1024) {
		(void)snprintf(to, GD_UNITS_TEXT, "%" PRIu64 " B", bytes);
		return to;
	}
	double v = (double)bytes / 1024;
	size_t i = 0;
	while (v >= 1023.5 && i + 1 < sizeof(names) / sizeof(*names)) {
		v /= 1024;
		i++;
	}
	(void)snprintf(to, GD_UNITS_TEXT, v < 99.95 ? "%.1f %s" : "%.0f %s", v, names[i]);
	return to;
}
