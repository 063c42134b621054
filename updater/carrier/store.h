/*
 * store - how and where in this bundle each chunk's bytes are kept. Neither signed nor trusted:
 * read by the carrier only; the worst a wrong store does is produce bytes whose digest is wrong.
 *
 * Format, little-endian:
 *
 *	offset  size
 *	     0     8  magic "ABIDESTO"
 *	     8     4  format: 1, or 2 for a delta
 *	    12     4  chunk count n, as in the index
 *	    16    32  of a delta only: the artifact id of its base, not all zero
 *	16, 48   4*n  per chunk: encoding in the high 8 bits, stored length in the low 24
 *
 * Stored chunks lie end to end in CLASS.data, in index order; their lengths add up to its size.
 *
 *	ZERO   all bytes zero                        stored length 0
 *	SAME   as an earlier chunk of this image     stored length 0; which one: the first with the
 *	                                             same length and digest in the index
 *	RAW    the bytes themselves                  stored length = the index's length
 *	ZSTD   one zstd frame (RFC 8878)             1..length-1
 *
 * A delta, which is of use only where its base is, has two more:
 *
 *	BASE   as a chunk of any image of the base   stored length 0; which one: by length and digest
 *	PATCH  in a patch (patch.h) with all PATCH   that of the patch at its first chunk, 0 at the
 *	       chunks up to the next patch's first   others; together at most STORE_PATCH_MAX plain
 *	                                             bytes, and stored in fewer
 *
 * Chunks of other encodings may lie between those of one patch; BASE, SAME and ZERO do where
 * abide-image made it.
 *
 * The carrier is never asked for ZERO, SAME or BASE chunks by our installer, which knows all three
 * from indexes (a repeat is copied from the slot, a chunk of the base from the running group);
 * asked all the same it answers ZERO with zeros, and refuses the others, because it has no old
 * bytes.
 */
#ifndef ABIDE_UPDATER_CARRIER_STORE_H
#define ABIDE_UPDATER_CARRIER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/mem.h"

#define STORE_FORMAT       1u
#define STORE_FORMAT_DELTA 2u
#define STORE_HEADER_LEN   16u
#define STORE_BASE_LEN     DIGEST_LEN
#define STORE_RECORD_LEN   4u
#define STORE_PATCH_MAX    (512u << 10) /* plain bytes of one patch's chunks */

enum store_encoding {
	STORE_ZERO = 0,
	STORE_SAME = 1,
	STORE_RAW = 2,
	STORE_ZSTD = 3,
	STORE_BASE = 4,
	STORE_PATCH = 5,
};
#define STORE_ENCODINGS 6u

struct store; /* opaque: owns its bytes */

/* The most bytes that the store of an image with that many chunks can have. */
#define STORE_SIZE_MAX(count)                                                                      \
	(STORE_HEADER_LEN + STORE_BASE_LEN + (uint64_t)STORE_RECORD_LEN * (count))

/* Takes `bytes` (left empty) on success; checked record by record against the index. */
int store_parse(
	struct bytes *bytes, const struct index *index, struct store **ret, struct err *err);
void store_free(struct store **store);
enum store_encoding store_encoding(const struct store *store, uint32_t i);
uint32_t store_length(const struct store *store, uint32_t i); /* stored bytes */
uint64_t store_data_size(const struct store *store); /* size of CLASS.data */
uint64_t store_size(const struct store *store); /* its own bytes */
/* False: it is no delta's. */
bool store_base(const struct store *store, struct digest *ret);

/* Writing (host). */
int store_encode(const enum store_encoding *encodings, const uint32_t *lengths, uint32_t count,
	struct bytes *ret, struct err *err);
int store_encode_delta(const struct digest *base, const enum store_encoding *encodings,
	const uint32_t *lengths, uint32_t count, struct bytes *ret, struct err *err);

#endif
