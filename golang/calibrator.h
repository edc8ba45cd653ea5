#pragma once
/*
 * What the parts of calibrate.c share.  Each field that proves itself has a function fits_x(at):
 * "could x lie at this offset?".  It is asked first where the layout has x, and only when that is
 * refuted elsewhere, nearest first.  What proves nothing at the moment (no thread runs a goroutine,
 * no collection has ended) is open and stays as it is.
 *
 * The target runs meanwhile, so no test wants all of its samples to fit.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "golang/calibrate.h"
#include "golang/shapes.h"

/* Bytes read of a g, m or p (everything calibrated lies in them), and how many of these. */
#define GD_SAMPLE_BYTES 640
#define GD_SAMPLES_MAX 256

struct gd_sample {
	uint64_t addr;
	uint8_t bytes[GD_SAMPLE_BYTES]; /* zero behind what was readable */
};

struct gd_samples {
	struct gd_sample *at; /* room for GD_SAMPLES_MAX */
	size_t n;
};

/* Fields of a struct from one offset on, up to where the next such line of it begins. */
struct gd_move {
	const char *type;
	int32_t from; /* as the layout came */
	int32_t by;
};

struct gd_calibrator {
	const struct gd_calibrate_input *input;
	struct gd_layout layout; /* with what is known so far */
	struct gd_calibration *ret;
	struct gd_move moves[16];
	size_t n_moves;
	struct gd_samples gs; /* the first is the first of allgs */
	struct gd_samples ms; /* along alllink; the first is the newest thread */
	struct gd_samples ps;
	struct gd_samples spare;
};

/* 0 outside of what was read. */
static inline uint64_t gd_sample_word(const struct gd_sample *sample, int32_t at)
{
	return at >= 0 && at + 8 <= GD_SAMPLE_BYTES ? gd_load_u64(sample->bytes + at) : 0;
}

static inline uint32_t gd_sample_half(const struct gd_sample *sample, int32_t at)
{
	return at >= 0 && at + 4 <= GD_SAMPLE_BYTES ? gd_load_u32(sample->bytes + at) : 0;
}

/* Whether sample i holds the same word as one before it. */
bool gd_sample_repeated(const struct gd_samples *list, size_t i, int32_t at);
/* The sample of that address, or NULL. */
const struct gd_sample *gd_sample_find(const struct gd_samples *list, uint64_t addr);

/* Reads what lies at addr into list; false when nothing can be there. */
bool gd_calibrator_take(struct gd_calibrator *c, struct gd_samples *list, uint64_t addr);
/* The elements of a slice of pointers: the first 64, and three times as many of the others, evenly
 * spread. */
void gd_calibrator_take_slice(struct gd_calibrator *c, struct gd_samples *list, uint64_t slice);

/* Of so many samples that could tell so many fit: nine of ten prove, less than half refute. */
enum gd_shape gd_calibrator_verdict(size_t fit, size_t of);

typedef enum gd_shape gd_calibrator_fits_fn(const struct gd_calibrator *c, int32_t at);

/* The offset nearest to `now` that fits, `now` first; -1 when none does, or none is asked because
 * `now` is open. */
int32_t gd_calibrator_search(const struct gd_calibrator *c, gd_calibrator_fits_fn *fits,
                             int32_t now, int32_t low, int32_t high);
/* Notes how a field came out (-1: not at all) and puts it there; returns how far it moved. */
int32_t gd_calibrator_settle(struct gd_calibrator *c, const char *name, int32_t *field,
                             int32_t found);
/* All fields of that struct from that offset on go along, up to where the next such line begins. */
void gd_calibrator_move(struct gd_calibrator *c, const char *type, int32_t from, int32_t by);

/* The parts: g (-EBADMSG when there are none), then m and p. */
int gd_calibrator_goroutines(struct gd_calibrator *c, struct gd_error *err);
void gd_calibrator_threads(struct gd_calibrator *c);
