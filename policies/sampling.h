#pragma once
/*
 * Choices that must come out the same every time: which hosts of a fleet do a capture, and by how
 * much a schedule is put off.  A stable hash of names; no secret, no state, no clock.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of n texts (NULL counts as ""), each kept apart from the next; the same on every machine. */
uint64_t gd_sampling_hash(uint64_t seed, const char *const *texts, size_t n);

/*
 * Whether `host` is one of the k of n that act on `key`.  Each host decides alone, so k holds on
 * average over many hosts, not exactly; n 0 or k >= n: always.
 */
bool gd_sampling_chosen(const char *host, const char *const *key, size_t n_key, uint64_t k,
                        uint64_t n);
