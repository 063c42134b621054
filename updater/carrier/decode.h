/*
 * decode - a stored chunk's plain bytes (wraps libzstd).
 *
 * Exactly one zstd frame (RFC 8878), without a dictionary, that yields exactly the length the index
 * says: more, less or anything after it is FAIL_UNTRUSTED. The output buffer is never overrun,
 * whatever the input says; nothing is allocated per chunk.
 */
#ifndef ABIDE_UPDATER_CARRIER_DECODE_H
#define ABIDE_UPDATER_CARRIER_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

struct decoder;

int decoder_new(struct decoder **ret, struct err *err);
void decoder_free(struct decoder **decoder);
int decoder_zstd(struct decoder *decoder, const uint8_t *in, size_t in_len, uint8_t *out,
	size_t out_len, struct err *err);

#endif
