#pragma once
/*
 * The records of admission.journal, one kind after the other:
 *
 *	V 1                                              version, first of all
 *	B boot boottime realtime                         what follows was written in this boot
 *	A boottime realtime id rule service pid start fingerprint starts_at     admitted
 *	E boottime id outcome bytes pause_ns             ended
 *	S id times                                       seen again, in all
 *	C rule verdict=times ...                         decisions, in all
 *	F rule times                                     failures in a row
 *	D rule why                                       disabled; "" why: enabled again
 *
 * Words are apart by one blank; "-" is an empty word, bytes that are not plain are %xx.  Records
 * say what is so, not what changed, so a record read twice does no harm.
 */
#include <stdint.h>

#include "policies/admission.h"
#include "policies/admission_history.h"

#define GD_ADMISSION_VERSION 1
#define GD_ADMISSION_BOOT 40

enum gd_admission_kind {
	GD_ADMISSION_IS_VERSION,
	GD_ADMISSION_IS_BOOT,
	GD_ADMISSION_IS_ADMITTED,
	GD_ADMISSION_IS_ENDED,
	GD_ADMISSION_IS_AGAIN,
	GD_ADMISSION_IS_COUNT,
	GD_ADMISSION_IS_FAILURES,
	GD_ADMISSION_IS_DISABLED,
	GD_ADMISSION_KINDS,
};

struct gd_admission_record {
	enum gd_admission_kind kind;
	uint64_t n;                          /* VERSION, FAILURES */
	char boot[GD_ADMISSION_BOOT];        /* BOOT */
	int64_t boottime_ns, realtime_ns;    /* BOOT; ENDED: boottime_ns */
	struct gd_admission_capture capture; /* ADMITTED, ENDED, AGAIN: the fields named above */
	struct gd_admission_count count;     /* COUNT, FAILURES, DISABLED: rule and more */
};

/* Appends its line to a journal's lines. */
void gd_admission_record_put(const struct gd_admission_record *record, struct gd_buf *lines);

/* Reads one record and takes its text apart in place; -EBADMSG: it makes no sense. */
int gd_admission_record_parse(char *text, struct gd_admission_record *ret, struct gd_error *err);
