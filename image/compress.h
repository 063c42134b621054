/*
 * compress - one chunk to one zstd frame (wraps libzstd). Made once per thread and reused.
 *
 * The same bytes at the same level give the same frame with the same version of libzstd, whatever
 * was compressed before.
 *
 * Source: RFC 8878.
 */
#ifndef ABIDE_IMAGE_COMPRESS_H
#define ABIDE_IMAGE_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

#define COMPRESS_LEVEL_DEFAULT 15
#define COMPRESS_LEVEL_PATCH   19 /* of which there is less, for every device of a fleet */
#define COMPRESS_LEVEL_MIN     1
#define COMPRESS_LEVEL_MAX     22

struct compressor;

int compressor_new(int level, struct compressor **ret, struct err *err);
void compressor_free(struct compressor **compressor);
/* len <= INDEX_CHUNK_MAX. The frame goes to ret, which has room for len bytes; *ret_len is 0 if it
 * would not be shorter than the chunk. */
int compressor_run(struct compressor *compressor, const uint8_t *data, size_t len, uint8_t *ret,
	size_t *ret_len, struct err *err);
/* A frame for `data` made with `prefix` before it, as updater/carrier/decode.h takes it: len is at
 * most STORE_PATCH_MAX, prefix_len at most PATCH_PREFIX_MAX. *ret is the compressor's, until the
 * next call. */
int compressor_run_after(struct compressor *compressor, const uint8_t *prefix, size_t prefix_len,
	const uint8_t *data, size_t len, const uint8_t **ret, size_t *ret_len, struct err *err);

#endif
