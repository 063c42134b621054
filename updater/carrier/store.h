/*
 * store - how and where in this bundle each chunk's bytes are kept. Neither signed nor trusted:
 * read by the carrier only; the worst a wrong store does is produce bytes whose digest is wrong.
 *
 * Format, little-endian:
 *
 *	offset  size
 *	     0     8  magic "ABIDESTO"
 *	     8     4  format, 1
 *	    12     4  chunk count n, as in the index
 *	    16   4*n  per chunk: encoding in the high 8 bits, stored length in the low 24
 *
 * Stored chunks lie end to end in CLASS.data, in index order; their lengths add up to its size.
 *
 *	ZERO  all bytes zero                        stored length 0
 *	SAME  as an earlier chunk of this image     stored length 0; which one: the first with the
 *	                                            same length and digest in the index
 *	RAW   the bytes themselves                  stored length = the index's length
 *	ZSTD  one zstd frame (RFC 8878)             1..length-1
 *
 * The carrier is never asked for ZERO or SAME chunks by our installer, which knows both from the
 * index (a repeat is copied from the slot); asked all the same it answers ZERO with zeros, and
 * refuses SAME, because it keeps no old bytes.
 */
#ifndef ABIDE_UPDATER_CARRIER_STORE_H
#define ABIDE_UPDATER_CARRIER_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/index.h"
#include "updater/mem.h"

#define STORE_FORMAT     1u
#define STORE_HEADER_LEN 16u
#define STORE_RECORD_LEN 4u

enum store_encoding {
	STORE_ZERO = 0,
	STORE_SAME = 1,
	STORE_RAW = 2,
	STORE_ZSTD = 3,
};

struct store; /* opaque: owns its bytes */

/* Takes `bytes` (left empty) on success; checked record by record against the index. */
int store_parse(
	struct bytes *bytes, const struct index *index, struct store **ret, struct err *err);
void store_free(struct store **store);
enum store_encoding store_encoding(const struct store *store, uint32_t i);
uint32_t store_length(const struct store *store, uint32_t i); /* stored bytes */
uint64_t store_data_size(const struct store *store); /* size of CLASS.data */

/* Writing (host). */
int store_encode(const enum store_encoding *encodings, const uint32_t *lengths, uint32_t count,
	struct bytes *ret, struct err *err);

#endif
