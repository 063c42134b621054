/*
 * patch - chunks that the base does not have, encoded against chunks that it has.
 *
 * A patch holds all PATCH chunks of an image from one that begins it to the next one that does
 * (store.h), in one zstd frame: bytes that changed need what stood around them, and a frame for
 * each chunk would see too little of it. Stored, little-endian:
 *
 *	offset  size
 *	     0     2  number of runs r, at most PATCH_RUNS_MAX; 0: no base is needed
 *	     2   6*r  per run: first chunk (4) and number of chunks (2, at least 1), by the index of
 *	              the base's image of the same class
 *	 2+6*r        one zstd frame: the chunks, end to end. Its prefix (zstd's refPrefix) is the
 *	              runs' bytes, end to end, at most PATCH_PREFIX_MAX
 *
 * Chunks and not bytes of the base: the installer hands out only what it has compared with the
 * base's signed index (see ../base.h).
 *
 *	patch_room_init -> { patch_open -> (the base's bytes into room->prefix) -> patch_decode }*
 *	  -> patch_room_finish
 *
 * Memory is one patch and its prefix: 2 MiB, whatever a bundle says.
 */
#ifndef ABIDE_UPDATER_CARRIER_PATCH_H
#define ABIDE_UPDATER_CARRIER_PATCH_H

#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/decode.h"
#include "updater/carrier/store.h"
#include "updater/err.h"

#define PATCH_HEAD_LEN   2u
#define PATCH_RUN_LEN    6u
#define PATCH_RUNS_MAX   256u
#define PATCH_RUN_MAX    0xffffu /* chunks in one run */
#define PATCH_PREFIX_MAX (1u << 20) /* bytes of the base that a patch is made against */

struct patch_run {
	uint32_t first;
	uint32_t count;
};

/* One run of PATCH_RUN_LEN bytes. FAIL_UNTRUSTED if it has no chunks, or has none after it. */
int patch_parse_run(const uint8_t *bytes, struct patch_run *ret, struct err *err);
void patch_put_run(uint8_t *to, const struct patch_run *run);

/* A stored patch, taken apart; points into it. */
struct patch {
	const uint8_t *runs; /* as stored */
	size_t runs_len; /* bytes */
	const uint8_t *frame;
	size_t frame_len;
};
int patch_open(const uint8_t *stored, size_t len, struct patch *ret, struct err *err);

/* Where one patch at a time is unpacked. */
struct patch_room {
	uint8_t *stored; /* STORE_PATCH_MAX */
	uint8_t *prefix; /* PATCH_PREFIX_MAX */
	uint8_t *plain; /* STORE_PATCH_MAX: the chunks, end to end */
};
int patch_room_init(struct patch_room *ret, struct err *err);
void patch_room_finish(struct patch_room *room);
/* room->plain holds exactly plain_len bytes then. */
int patch_decode(struct decoder *decoder, const struct patch_room *room, const struct patch *patch,
	size_t prefix_len, size_t plain_len, struct err *err);

#endif
