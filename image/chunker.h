/*
 * chunker - where an image is cut into chunks.
 *
 * Cut points depend on the bytes near them, not on their offset: when bytes are inserted or
 * removed, chunks before and after the change stay the same, and a device that holds them need not
 * fetch them again.
 *
 *	chunker_init -> { chunker_cut on what follows }*
 *
 * chunker_cut() is a pure function of the bytes it is given and of where blocks begin. It looks at most CHUNKER_WINDOW bytes
 * ahead, so it must be given that many, or all that are left of the image: then how the image was
 * read does not change where it is cut.
 *
 * Three rules, in this order:
 *  1. A run of CHUNKER_ZERO_MIN or more zero bytes is chunks of its own, as long as the index
 *     allows (INDEX_CHUNK_MAX). It is stored as nothing at all.
 *  2. Where a block of MEM_BLOCK bytes ends in CHUNKER_END_ZEROS zeros and the next one does not begin
 *     with as many, a file has ended in a file system that keeps files in blocks: a cut, so that no
 *     chunk holds the end of one file and the beginning of another, which change apart.
 *  3. Otherwise a gear hash over the last bytes decides, FastCDC's way: no cut in the first
 *     CHUNKER_MIN bytes, unlikely before CHUNKER_NORMAL, likely after it, certain at CHUNKER_MAX.
 *
 * Two builds that should share chunks must use the same numbers and the same table, so neither is
 * an option. Changing them is harmless but for one large update; devices do not know them.
 *
 * Source: W. Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
 * Deduplication", USENIX ATC 2016 (normalised chunking, level 2), and "The Design of Fast
 * Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 2020 (two
 * bytes a step).
 */
#ifndef ABIDE_IMAGE_CHUNKER_H
#define ABIDE_IMAGE_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

#include "updater/index.h"

#define CHUNKER_MIN      (4u << 10)
#define CHUNKER_NORMAL   (16u << 10)
#define CHUNKER_MAX      (64u << 10)
#define CHUNKER_ZERO_MIN (16u << 10)
#define CHUNKER_WINDOW   INDEX_CHUNK_MAX

#define CHUNKER_END_ZEROS 8u

struct chunker {
	uint64_t gear[256];
	uint64_t gear_shifted[256]; /* gear << 1, for the first of two bytes */
};

/* Fills the gear table: splitmix64 from the fixed seed in chunker.c. */
void chunker_init(struct chunker *chunker);
/* Bytes of the first chunk of `data`, which lies at `offset` of the image; len >= 1, see above. Never 0,
 * never past len. */
uint32_t chunker_cut(
	const struct chunker *chunker, const uint8_t *data, size_t len, uint64_t offset);

#endif
