/*
 * ring - memory that installer and carrier share: plain chunks on their way, without a pipe's copies.
 *
 *	installer:  ring_new -> (hands ring.fd to the carrier) -> ring_take -> ring_finish
 *	carrier:    ring_map -> ring_give -> (message.h says where the bytes lie)
 *
 * RING_BATCHES batches of RING_BATCH bytes, filled in turn; a chunk lies within one. The carrier may
 * fill one batch at the start, and as many more as it was given room for: RING_BATCHES - 1 at first,
 * one each time the installer has begun with the next (the message TAKEN).
 *
 * Its size is sealed, and the installer cannot write to it. What it holds may change at any moment,
 * whoever looks: the installer copies a chunk once, and digests and uses its private copy.
 */
#ifndef ABIDE_UPDATER_CARRIER_RING_H
#define ABIDE_UPDATER_CARRIER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/index.h"

#define RING_BATCHES 3u
#define RING_BATCH   (2u * INDEX_CHUNK_MAX) /* holds any chunk */
#define RING_SIZE    (RING_BATCHES * RING_BATCH)

/* ---- the installer's end ---- */

struct ring {
	int fd; /* -1: handed over */
	const uint8_t *bytes; /* RING_SIZE; read only */
	uint32_t batch; /* the one that chunks are taken from */
};

int ring_new(struct ring *ret, struct err *err);
void ring_finish(struct ring *ring);
/* Copies the `len` bytes at `offset`, which the carrier says: false if they are not where the next
 * chunk may lie. *ret_next: they are the first of the next batch; the one before is taken. */
bool ring_take(struct ring *ring, uint32_t offset, uint32_t len, uint8_t *to, bool *ret_next);

/* ---- the carrier's ---- */

struct ring_room {
	uint8_t *bytes; /* RING_SIZE, mapped; never unmapped: the process ends */
	uint32_t batch;
	uint32_t used; /* bytes of it */
	uint32_t free; /* batches that may be filled next */
};

int ring_map(int fd, struct ring_room *ret, struct err *err);
/* Around memory of RING_SIZE bytes that is mapped already. */
struct ring_room ring_room(uint8_t *bytes);
/* Where the next `len` bytes (<= RING_BATCH) go; false: not before there is room. */
bool ring_give(struct ring_room *room, uint32_t len, uint32_t *ret_offset);
/* They are there. */
void ring_given(struct ring_room *room, uint32_t len);
/* The installer has taken a batch; false: none is out. */
bool ring_taken(struct ring_room *room);

#endif
