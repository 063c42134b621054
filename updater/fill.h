/*
 * fill - bring one slot to an image: keep what is right in it, write the rest.
 *
 *	fill_check -> fill_write
 *
 * Between the two nothing else may write the slot: it is open exclusively. Each chunk's digest is
 * taken over a private copy before the chunk is committed to the writer; what lies in the slot in
 * the end is proven by readback, not here.
 */
#ifndef ABIDE_UPDATER_FILL_H
#define ABIDE_UPDATER_FILL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/carrier.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/plan.h"
#include "updater/seal.h"

struct fill {
	struct blockdev *slot;
	const char *class;
	const struct index *index;
	struct plan_image *plan; /* chunks that are not where they should be: planned anew */
	struct blockdev *const *seeds; /* by the plan's numbers, for reading; NULL if it has none */
	struct carrier *carrier; /* at CLASS.data; used only if something is to be fetched */
	const struct carrier_base
		*base; /* of a delta: what its patches are made against; or NULL */
	struct seal *seal; /* `writing`, in force; its mark is advanced */
	uint64_t mark_interval; /* bytes between two marks; 0: 64 MiB */
	/* All of the image up to `mark` is flushed, but for its first block, which will be `first`;
	 * or NULL. */
	int (*flushed)(void *arg, const uint8_t *first, uint64_t mark, struct err *err);
	void (*progress)(void *arg, bool checking, uint64_t done, uint64_t total); /* or NULL */
	void *arg;
	const volatile sig_atomic_t *interrupted; /* or NULL */
	uint64_t written; /* out: bytes of image written */
	bool source_failed; /* out: it was the source that failed: another one may do */
};

/* Reads the chunks planned as in place or reused and compares their digests: one that differs, or
 * cannot be read from a seed, is fetched. Writes nothing. */
int fill_check(struct fill *fill, struct err *err);
/* Writes the image. FAIL_UNTRUSTED if bytes from the carrier are not what the index says,
 * FAIL_DRIFT if those of a seed are not any more. */
int fill_write(struct fill *fill, struct err *err);

#endif
