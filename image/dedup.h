/*
 * dedup - which chunks of an image were there before: by length and the digest's first 16 bytes,
 * as the index has them (store.h, SAME).
 */
#ifndef ABIDE_IMAGE_DEDUP_H
#define ABIDE_IMAGE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/err.h"

struct dedup;

int dedup_new(struct dedup **ret, struct err *err);
void dedup_free(struct dedup **dedup);
/* The chunk by its length (>= 1) and the first INDEX_DIGEST_LEN bytes of its digest; `place` is
 * what the caller keeps with it. */
bool dedup_find(
	const struct dedup *dedup, uint32_t length, const uint8_t *digest, uint64_t *ret_place);
/* Not there yet. */
int dedup_add(struct dedup *dedup, uint32_t length, const uint8_t *digest, uint64_t place,
	struct err *err);

#endif
