/*
 * seal - the record at a slot's end that says which artifact the slot holds.
 *
 *	| image | free | header copy | seal block 0 | seal block 1 |
 *	                               MEM_BLOCK      MEM_BLOCK    <- end of the slot
 *
 * The two seal blocks are written in turn; the one with the higher generation and a valid checksum
 * counts. All fields and the checksum lie in the first 512 bytes of a block: one sector, so that a
 * torn write leaves the old block's bytes or a block whose checksum is wrong, never a mix that
 * counts. Both blocks invalid: the slot is plainly nothing (SEAL_NONE).
 *
 *	seal_read -> seal_write(writing) -> ... -> seal_write_header -> seal_write(sealed)
 *
 * seal_write() flushes before it returns. It never touches the block that counts at the moment.
 *
 * A seal is not signed: whoever can write the device can forge one. It is authority only for where
 * to look; the header copy's signature and the image's digest are what prove a slot (readback.h).
 *
 * The format of a block is in seal.c.
 */
#ifndef ABIDE_UPDATER_SEAL_H
#define ABIDE_UPDATER_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/header.h"
#include "updater/manifest.h"

#define SEAL_SPACE        (2u * MEM_BLOCK) /* bytes at the slot's end */
#define SEAL_REJECTED_MAX 4u

enum seal_state {
	SEAL_NONE, /* no valid seal: nothing known */
	SEAL_WRITING, /* an install began and did not end */
	SEAL_SEALED, /* the whole image was read back and matched */
};

struct seal {
	enum seal_state state;
	uint64_t generation;
	struct digest artifact; /* SHA-256 of the manifest */
	char class[MANIFEST_CLASS_MAX +
		   1]; /* the image's class: a slot sealed under another is foreign */
	struct digest image; /* SHA-256 of the image */
	uint64_t image_size; /* bytes */
	uint64_t header_offset; /* of the header copy; 0 while writing */
	uint32_t header_len; /* bytes */
	struct digest header; /* SHA-256 of the header copy */
	uint64_t mark; /* while writing: the image is flushed up to here */
	uint32_t rejected_count;
	struct digest
		rejected[SEAL_REJECTED_MAX]; /* builds that failed their trial here, newest first */
};

/* A slot too small for a seal is FAIL_SPACE. SEAL_NONE is a success. */
int seal_read(struct blockdev *dev, struct seal *ret, struct err *err);
/* Writes the block that does not count, with seal->generation set to the next one (also in *seal),
 * and flushes. A cut during it leaves the previous seal in force. */
int seal_write(struct blockdev *dev, struct seal *seal, struct err *err);
/* Puts the header copy in its place below the seal blocks (no flush: seal_write does it) and
 * fills seal's header_* fields. FAIL_SPACE if it would overlap the image. */
int seal_write_header(
	struct blockdev *dev, struct seal *seal, const struct bytes *header, struct err *err);
/* Reads the header copy and compares its digest (FAIL_DRIFT). For SEAL_SEALED only. */
int seal_read_header(
	struct blockdev *dev, const struct seal *seal, struct header *ret, struct err *err);
/* Adds to `rejected` unless it is there; the oldest drops out. */
void seal_reject(struct seal *seal, const struct digest *artifact);
bool seal_rejects(const struct seal *seal, const struct digest *artifact);
/* Before a rejected build is tried again where it lies: the bootloader's `bad` goes with the flip,
 * so the seal has to say it from then on. Writes the seal unless it says so already. */
int seal_keep_rejected(struct blockdev *dev, struct seal *seal, struct err *err);
/* The bytes a slot needs for an image: image rounded up, header rounded up, seal blocks. */
uint64_t seal_needed(uint64_t image_size, uint64_t header_len);

#endif
