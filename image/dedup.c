#include "image/dedup.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/mem.h"

struct entry {
	uint64_t place;
	uint32_t length; /* 0: free */
	uint8_t digest[INDEX_DIGEST_LEN];
};

/* Open addressing, linear probing, at most half full. The digest is its own hash; who builds a
 * bundle to make it slow wastes their own time. */
struct dedup {
	struct entry *entries;
	size_t mask; /* slots - 1, a power of two */
	size_t used;
};

int dedup_new(struct dedup **ret, struct err *err)
{
	CLEANUP(dedup_free) struct dedup *dedup = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*dedup), &p, err) < 0)
		return -1;
	dedup = p;
	dedup->mask = 4095;
	if (mem_alloc((dedup->mask + 1) * sizeof(struct entry), &p, err) < 0)
		return -1;
	dedup->entries = p;
	*ret = steal_ptr(&dedup);
	return 0;
}

void dedup_free(struct dedup **dedup)
{
	if (!dedup || !*dedup)
		return;
	free((*dedup)->entries);
	free(*dedup);
	*dedup = NULL;
}

/* The entry of this chunk, or the free one where it belongs. */
static struct entry *find(const struct dedup *dedup, uint32_t length, const uint8_t *digest)
{
	size_t at = (size_t)le64_get(digest) & dedup->mask;

	for (;; at = (at + 1) & dedup->mask) {
		struct entry *entry = &dedup->entries[at];

		if (entry->length == 0 ||
			(entry->length == length &&
				memcmp(entry->digest, digest, INDEX_DIGEST_LEN) == 0))
			return entry;
	}
}

bool dedup_find(
	const struct dedup *dedup, uint32_t length, const uint8_t *digest, uint64_t *ret_place)
{
	const struct entry *entry = find(dedup, length, digest);

	if (entry->length == 0)
		return false;
	*ret_place = entry->place;
	return true;
}

static int grow(struct dedup *dedup, struct err *err)
{
	struct dedup larger = {.mask = dedup->mask * 2 + 1, .used = dedup->used};
	void *p = NULL;

	if (mem_alloc((larger.mask + 1) * sizeof(struct entry), &p, err) < 0)
		return -1;
	larger.entries = p;
	for (size_t i = 0; i <= dedup->mask; i++) {
		const struct entry *entry = &dedup->entries[i];

		if (entry->length)
			*find(&larger, entry->length, entry->digest) = *entry;
	}
	free(dedup->entries);
	*dedup = larger;
	return 0;
}

int dedup_add(struct dedup *dedup, uint32_t length, const uint8_t *digest, uint64_t place,
	struct err *err)
{
	struct entry *entry;

	if (2 * (dedup->used + 1) > dedup->mask && grow(dedup, err) < 0)
		return -1;
	entry = find(dedup, length, digest);
	entry->length = length;
	entry->place = place;
	memcpy(entry->digest, digest, INDEX_DIGEST_LEN);
	dedup->used++;
	return 0;
}
