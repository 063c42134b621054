/*
 * similar - which chunks of an image have bytes in common with others: what a patch is made against.
 *
 * Every so many bytes of the image, where a rolling hash over the last SIMILAR_WINDOW of them says
 * so, their hash is remembered with the chunk they lie in. Bytes that appear in both are hashed at
 * the same places, wherever they stand. similar_choose() covers the hashes of new bytes with as few
 * bytes of old chunks as it can: the chunk that adds most for its length first.
 *
 *	similar_new -> similar_add (each chunk, ascending) -> { similar_choose }* -> similar_free
 *
 * similar_choose() may run in several threads, each with a `struct similar_room` of its own. Its
 * result depends on nothing but its arguments. Memory: about a quarter of the image up to 1 GiB,
 * 256 MiB beyond.
 *
 * Source of the rolling hash: R. Karp and M. Rabin, "Efficient randomized pattern-matching
 * algorithms", IBM Journal of Research and Development, 1987; of choosing by gain for length: the
 * greedy method for weighted set cover, V. Chvatal, 1979.
 */
#ifndef ABIDE_IMAGE_SIMILAR_H
#define ABIDE_IMAGE_SIMILAR_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/index.h"

#define SIMILAR_WINDOW 32u

struct similar;

/* Borrows the index of the image. */
int similar_new(const struct index *index, struct similar **ret, struct err *err);
void similar_free(struct similar **similar);
/* `data` begins with chunk i and may go on with what follows it: a window reaches over its end. */
void similar_add(struct similar *similar, uint32_t i, const uint8_t *data, size_t len);

struct similar_room;
int similar_room_new(const struct similar *similar, struct similar_room **ret, struct err *err);
void similar_room_free(struct similar_room **room);
/* Chunks thought to be near, by where they lie: they count a little even if no hash is shared. */
void similar_hint(struct similar_room *room, uint32_t i);
/* Up to `cap` chunks of at most `budget` bytes in all, ascending; returns how many. Takes the hints.
 * `len` is at most SIMILAR_DATA_MAX. */
#define SIMILAR_DATA_MAX (1u << 20)
size_t similar_choose(struct similar_room *room, const uint8_t *data, size_t len, uint64_t budget,
	uint32_t *ret, size_t cap);

#endif
