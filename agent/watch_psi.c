#include "agent/watch_psi.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/watch_file.h"
#include "base/text.h"

#define NONE UINT64_MAX
#define SPACING_NS 900000000 /* a little less than the tick, which jitters */

int gd_watch_psi_open(int dir_fd, const char *suffix, struct gd_watch_psi *ret)
{
	static const char *const names[] = { "cpu", "memory", "io" };
	int fds[GD_WATCH_PSI_KINDS];
	bool any = false;
	for (int i = 0; i < GD_WATCH_PSI_KINDS; i++) {
		char path[32];
		(void)snprintf(path, sizeof(path), "%s%s", names[i], suffix);
		fds[i] = gd_watch_file_open(dir_fd, path);
		any = any || fds[i] >= 0;
	}
	if (!any)
		return -ENOENT;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->fds, fds, sizeof(fds));
	return 0;
}

void gd_watch_psi_close(struct gd_watch_psi *psi)
{
	for (int i = 0; i < GD_WATCH_PSI_KINDS; i++)
		gd_watch_file_close(&psi->fds[i]);
}

static uint64_t total_of(const char *text, const char *word)
{
	size_t n = strlen(word);
	for (const char *line = text; line != NULL && *line != '\0';) {
		const char *end = strchr(line, '\n');
		const char *total = strstr(line, " total=");
		uint64_t us;
		if (strncmp(line, word, n) == 0 && line[n] == ' ' && total != NULL &&
		    (end == NULL || total < end) && gd_text_u64(total + 7, NULL, 10, &us))
			return us;
		line = end != NULL ? end + 1 : NULL;
	}
	return NONE;
}

void gd_watch_psi_parse(const char *text, uint64_t *some_us, uint64_t *full_us)
{
	*some_us = total_of(text, "some");
	*full_us = total_of(text, "full");
}

void gd_watch_psi_read(struct gd_watch_psi *psi, int64_t monotonic_ns)
{
	/* One that came too soon after another is the first to go: the ring holds its window. */
	unsigned last = (psi->next + GD_WATCH_PSI_READINGS - 1) % GD_WATCH_PSI_READINGS;
	unsigned other = (psi->next + GD_WATCH_PSI_READINGS - 2) % GD_WATCH_PSI_READINGS;
	bool too_soon = psi->n > 1 && psi->ring[last].at_ns - psi->ring[other].at_ns < SPACING_NS;
	if (too_soon) {
		psi->next = last;
		psi->n--;
	}
	struct gd_watch_psi_reading *to = &psi->ring[psi->next];
	to->at_ns = monotonic_ns;
	for (int i = 0; i < GD_WATCH_PSI_KINDS; i++) {
		char text[256];
		to->some_us[i] = to->full_us[i] = NONE;
		/* cgroup.pressure=0 turns it off: the read fails with EOPNOTSUPP. */
		if (gd_watch_file_again(psi->fds[i], text, sizeof(text)) > 0)
			gd_watch_psi_parse(text, &to->some_us[i], &to->full_us[i]);
	}
	psi->next = (psi->next + 1) % GD_WATCH_PSI_READINGS;
	if (psi->n < GD_WATCH_PSI_READINGS)
		psi->n++;
}

static void put_part(double *value, uint64_t before_us, uint64_t now_us, int64_t window_ns)
{
	if (before_us == NONE || now_us == NONE || now_us < before_us)
		return;
	double part = (double)(now_us - before_us) * 1e3 / (double)window_ns;
	*value = part > 1 ? 1 : part; /* the two clocks are not read at one instant */
}

void gd_watch_psi_values(const struct gd_watch_psi *psi, double values[GD_METRICS])
{
	static const enum gd_metric some[] = { GD_METRIC_PSI_CPU_SOME, GD_METRIC_PSI_MEMORY_SOME,
		                               GD_METRIC_PSI_IO_SOME };
	static const enum gd_metric full[] = { GD_METRIC_PSI_CPU_FULL, GD_METRIC_PSI_MEMORY_FULL,
		                               GD_METRIC_PSI_IO_FULL };
	if (psi->n < 2)
		return;
	unsigned at = (psi->next + GD_WATCH_PSI_READINGS - 1) % GD_WATCH_PSI_READINGS;
	const struct gd_watch_psi_reading *now = &psi->ring[at];
	const struct gd_watch_psi_reading *before = now;
	/* The oldest that is within the window and half a tick; at least the one before. */
	for (unsigned i = 1; i < psi->n; i++) {
		at = (at + GD_WATCH_PSI_READINGS - 1) % GD_WATCH_PSI_READINGS;
		if (i > 1 && now->at_ns - psi->ring[at].at_ns >
		                     GD_WATCH_PSI_WINDOW_NS + SPACING_NS / 2)
			break;
		before = &psi->ring[at];
	}
	int64_t window_ns = now->at_ns - before->at_ns;
	for (int i = 0; window_ns > 0 && i < GD_WATCH_PSI_KINDS; i++) {
		put_part(&values[some[i]], before->some_us[i], now->some_us[i], window_ns);
		put_part(&values[full[i]], before->full_us[i], now->full_us[i], window_ns);
	}
}
