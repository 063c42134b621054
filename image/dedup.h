/*
 * dedup - which chunks of an image were there before: by length and the digest's first 16 bytes,
 * as the index has them (store.h, SAME).
 */
#ifndef ABIDE_IMAGE_DEDUP_H
#define ABIDE_IMAGE_DEDUP_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"

struct dedup;

int dedup_new(struct dedup **ret, struct err *err);
void dedup_free(struct dedup **dedup);
bool dedup_has(const struct dedup *dedup, uint32_t length, const struct digest *digest);
/* Not there yet. */
int dedup_add(struct dedup *dedup, uint32_t length, const struct digest *digest, struct err *err);

#endif
