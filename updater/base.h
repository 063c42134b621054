/*
 * base - chunks of a delta's base, for the carrier, which cannot open a slot: what the running group
 * holds, by the index in its seal.
 *
 *	base_open -> (base_carrier, while the carrier works) -> base_close
 *
 * Every chunk is compared with the base's signed index before it is handed out. So the carrier gets
 * bytes of a release, which any carrier has seen when it was installed here, and never anything
 * that this device wrote into its slot; and a delta is never applied to what is not its base.
 */
#ifndef ABIDE_UPDATER_BASE_H
#define ABIDE_UPDATER_BASE_H

#include "updater/blockdev.h"
#include "updater/carrier.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"

struct base;

/* Borrows the slot, takes the index (left NULL) of the image in it. */
int base_open(struct blockdev *slot, struct index **index, struct base **ret, struct err *err);
void base_close(struct base **base);
/* Valid until base_close(). A chunk that differs from the index, or cannot be read, is FAIL_DRIFT. */
const struct carrier_base *base_carrier(const struct base *base);
/* The carrier asked for a chunk that is not what the index says. */
bool base_drifted(const struct base *base);

#endif
