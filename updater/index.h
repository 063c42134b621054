/*
 * index - the list of an image's chunks, as they will be on the device.
 *
 * The bytes are covered by the manifest's signature (its size and SHA-256 stand there): parse them
 * only after index_parse()'s caller has compared the digest. Records are read in place, so an index
 * costs its file's size in memory and nothing more.
 *
 * Format, little-endian:
 *
 *	offset  size
 *	     0     8  magic "ABIDEIDX"
 *	     8     4  format, 1
 *	    12     4  chunk count n
 *	    16     8  image length in bytes
 *	    24  20*n  per chunk, in image order: length (4), first 16 bytes of its SHA-256
 *
 * The lengths are 1..INDEX_CHUNK_MAX each and add up to the image length; nothing follows.
 */
#ifndef ABIDE_UPDATER_INDEX_H
#define ABIDE_UPDATER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/mem.h"

#define INDEX_FORMAT     1u
#define INDEX_HEADER_LEN 24u
#define INDEX_RECORD_LEN 20u
#define INDEX_DIGEST_LEN 16u
#define INDEX_CHUNK_MAX  (256u << 10) /* bytes in one chunk */
#define INDEX_CHUNKS_MAX (16u << 20) /* chunks in one image: bounds an index to 320 MiB */
#define INDEX_SIZE_MAX   ((uint64_t)INDEX_HEADER_LEN + (uint64_t)INDEX_RECORD_LEN * INDEX_CHUNKS_MAX)

struct index; /* opaque: owns its bytes */

/* Takes `bytes` (left empty) on success. `image_size` is the manifest's. Fails: FAIL_UNTRUSTED. */
int index_parse(struct bytes *bytes, uint64_t image_size, struct index **ret, struct err *err);
void index_free(struct index **index);

uint32_t index_count(const struct index *index);
uint64_t index_image_size(const struct index *index);
const struct bytes *index_bytes(const struct index *index);
/* i < index_count() */
uint32_t index_length(const struct index *index, uint32_t i);
const uint8_t *index_digest(const struct index *index, uint32_t i); /* INDEX_DIGEST_LEN bytes */
/* True if a chunk's full digest begins with the index's. */
bool index_matches(const struct index *index, uint32_t i, const struct digest *digest);

/* Writing (host): header and records into a buffer that grows; finish fills in the counts, gives
 * the bytes away and leaves the builder for index_builder_free() only. */
struct index_builder;
int index_builder_new(struct index_builder **ret, struct err *err);
void index_builder_free(struct index_builder **builder);
int index_builder_add(struct index_builder *builder, uint32_t length, const struct digest *digest,
	struct err *err);
int index_builder_finish(struct index_builder *builder, struct bytes *ret, struct err *err);

#endif
