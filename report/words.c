#include "report/words.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (64 * 1024)

struct chunk {
	struct chunk *next;
	char bytes[];
};

struct word {
	uint64_t hash;
	const char *text; /* NULL: free */
	size_t n;
};

struct gd_words {
	struct chunk *chunks;
	size_t used, room; /* in the newest chunk */
	size_t bytes, ceiling;
	struct word *table; /* open addressing, at most half full */
	size_t n, cap;
};

int gd_words_create(size_t ceiling_bytes, struct gd_words **ret, struct gd_error *err)
{
	struct gd_words *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return gd_fail_errno(err, -ENOMEM, "words");
	w->ceiling = ceiling_bytes;
	*ret = w;
	return 0;
}

void gd_words_destroy(struct gd_words *w)
{
	if (w == NULL)
		return;
	while (w->chunks != NULL) {
		struct chunk *next = w->chunks->next;
		free(w->chunks);
		w->chunks = next;
	}
	free(w->table);
	free(w);
}

/* FNV-1a, with a last stir so that the low bits are good. */
static uint64_t hash_of(const char *text, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 29;
}

static int grow(struct gd_words *w)
{
	size_t cap = w->cap > 0 ? 2 * w->cap : 1024;
	struct word *table = calloc(cap, sizeof(*table));
	if (table == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < w->cap; i++) {
		if (w->table[i].text == NULL)
			continue;
		size_t at = w->table[i].hash & (cap - 1);
		while (table[at].text != NULL)
			at = (at + 1) & (cap - 1);
		table[at] = w->table[i];
	}
	free(w->table);
	w->table = table;
	w->cap = cap;
	return 0;
}

static char *room_for(struct gd_words *w, size_t n)
{
	if (n > w->ceiling - w->bytes)
		return NULL;
	if (w->chunks == NULL || n > w->room - w->used) {
		size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
		struct chunk *chunk = malloc(sizeof(*chunk) + size);
		if (chunk == NULL)
			return NULL;
		chunk->next = w->chunks;
		w->chunks = chunk;
		w->room = size;
		w->used = 0;
	}
	char *at = w->chunks->bytes + w->used;
	w->used += n;
	w->bytes += n;
	return at;
}

const char *gd_words_keep(struct gd_words *w, const char *text, size_t n)
{
	if (2 * w->n >= w->cap && grow(w) < 0)
		return NULL;
	uint64_t hash = hash_of(text, n);
	size_t at = hash & (w->cap - 1);
	for (; w->table[at].text != NULL; at = (at + 1) & (w->cap - 1))
		if (w->table[at].hash == hash && w->table[at].n == n &&
		    memcmp(w->table[at].text, text, n) == 0)
			return w->table[at].text;
	char *copy = room_for(w, n + 1);
	if (copy == NULL)
		return NULL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	w->table[at] = (struct word){ .hash = hash, .text = copy, .n = n };
	w->n++;
	return copy;
}
