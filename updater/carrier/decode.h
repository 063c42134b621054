/*
 * decode - a stored chunk's plain bytes (wraps libzstd).
 *
 * Exactly one zstd frame (RFC 8878) that yields exactly the length the index says: more, less or
 * anything after it is FAIL_UNTRUSTED. The output buffer is never overrun, whatever the input says.
 * A frame's window is the output and the prefix themselves: none is allocated, however large a
 * window the frame asks for.
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
/* The same for a frame that was made with `prefix` before it: raw bytes, whatever they begin with.
 */
int decoder_zstd_after(struct decoder *decoder, const uint8_t *prefix, size_t prefix_len,
	const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, struct err *err);

#endif
