/*
 * header - the signed part of a bundle, verbatim: manifest, signature and every index.
 *
 * It is what a slot keeps next to its seal, so that a slot can prove itself and be exported to a
 * bundle with the same signature. The framing is only a container: what comes out is as untrusted
 * as any bundle until signature_verify() and the digests say otherwise.
 *
 * Format, little-endian:
 *
 *	     0     8  magic "ABIDEHDR"
 *	     8     4  format, 1
 *	    12     4  index count n (1..MANIFEST_IMAGES_MAX)
 *	    16     4  manifest length
 *	    20     4  signature length
 *	    24   8*n  length of each index
 *	  then the manifest, the signature and the indexes, end to end; nothing follows
 */
#ifndef ABIDE_UPDATER_HEADER_H
#define ABIDE_UPDATER_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/manifest.h"
#include "updater/mem.h"

struct header {
	struct bytes manifest;
	struct bytes signature;
	size_t index_count;
	struct bytes index[MANIFEST_IMAGES_MAX];
};

void header_finish(struct header *header);
/* Bytes that header_encode() will write. */
uint64_t header_size(uint64_t manifest_len, uint64_t signature_len, const uint64_t *index_len,
	size_t index_count);
/* Only borrows; `ret` owns a copy. */
int header_encode(const struct bytes *manifest, const struct bytes *signature,
	const struct bytes *const index[], size_t index_count, struct bytes *ret, struct err *err);
int header_parse(const void *data, size_t len, struct header *ret, struct err *err);

#endif
