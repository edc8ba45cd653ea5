#include "policies/sampling.h"

/* FNV-1a; the mixing at the end because its high bits hardly depend on the last bytes. */
static uint64_t put(uint64_t h, const char *text)
{
	for (const char *p = text != NULL ? text : ""; *p != '\0'; p++)
		h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	/* A byte that no text has, so that "a","bc" is not "ab","c". */
	return (h ^ 0x100) * UINT64_C(0x100000001b3);
}

/* Stafford's variant 13 of the finalizer of MurmurHash3. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

uint64_t gd_sampling_hash(uint64_t seed, const char *const *texts, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ mix(seed);
	for (size_t i = 0; i < n; i++)
		h = put(h, texts[i]);
	return mix(h);
}

bool gd_sampling_chosen(const char *host, const char *const *key, size_t n_key, uint64_t k,
                        uint64_t n)
{
	if (n == 0 || k >= n)
		return true;
	uint64_t seed = gd_sampling_hash(0, &host, 1);
	/* The remainder's bias is below n / 2^64. */
	return gd_sampling_hash(seed, key, n_key) % n < k;
}
