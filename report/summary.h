#pragma once
/*
 * Everything `godiag show` tells about an archive, gathered before a word is printed: the text and
 * the JSON form say the same.
 */
#include "report/cpu.h"
#include "report/facts.h"
#include "report/groups.h"
#include "report/heap.h"
#include "report/timeline.h"

struct gd_warning {
	char kind[24];  /* "goroutines-blocked", for programs */
	char text[360]; /* one sentence for people; foreign bytes are escaped */
};

#define GD_WARNINGS_MAX 24

struct gd_summary {
	const struct gd_reader *reader; /* borrowed */
	struct gd_facts facts;
	struct gd_groups groups;
	struct gd_error groups_error; /* code 0: groups are there */
	struct gd_sites heap;
	struct gd_error heap_error;
	struct gd_cpu cpu;
	struct gd_error cpu_error;
	struct gd_timeline_moves moves; /* before the trigger */
	struct gd_error moves_error;
	struct gd_warning warnings[GD_WARNINGS_MAX]; /* worst first */
	size_t n_warnings;
	size_t by_grade[4]; /* artifacts */
};

int gd_summary_read(const struct gd_reader *reader, struct gd_summary *ret, struct gd_error *err);
void gd_summary_deinit(struct gd_summary *summary);

/* "12,345" */
#define GD_SUMMARY_NUMBER 32
const char *gd_summary_number(char to[GD_SUMMARY_NUMBER], uint64_t value);

/* "main.go:12", the last component of a path; escaped. */
void gd_summary_place(char *to, size_t size, const struct gd_group_frame *frame);
