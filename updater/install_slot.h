/*
 * install_slot - one slot's part of an install, from whatever is there to sealed. For install.c,
 * which has the story; all of an install's state is one struct.
 *
 *	install_plan_slot -> (abide plan)
 *	install_bring_slot -> proofs[class]
 */
#ifndef ABIDE_UPDATER_INSTALL_SLOT_H
#define ABIDE_UPDATER_INSTALL_SLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/artifact.h"
#include "updater/install.h"
#include "updater/readback.h"
#include "updater/seeds.h"

/* One install under way. The target's slots are open, exclusively, from the policy's look at them
 * until the end. */
struct install {
	struct device *device;
	const struct install_options *options;
	struct device_view view;
	struct artifact artifact;
	struct bytes header; /* for the slots */
	struct blockdev *slots[MANIFEST_IMAGES_MAX]; /* by class */
	struct seeds seeds;
	struct readback *readback; /* of the slot that is being written */
	struct readback_proof *proofs[MANIFEST_IMAGES_MAX]; /* by class */
	enum install_phase phase;
	const char *class; /* at work on */
	bool source_failed; /* another source may do */
	struct install_result result;
};

/* The artifact's image of a class, and its number in the manifest's order; ret_i may be NULL. */
const struct manifest_image *install_image(const struct install *in, size_t class, size_t *ret_i);
/* The seal says that this artifact is in the slot, whole or begun. */
bool install_holds(const struct install *in, const struct seal *seal);
/* Where the bytes come from; `seal` is the slot's. */
int install_plan_slot(const struct install *in, size_t class, const struct seal *seal,
	struct plan_image **ret, struct err *err);
/* Proves the slot, in proofs[class]. */
int install_read_back(struct install *in, size_t class, struct err *err);
/* From whatever is there to a sealed slot. `old` is the seal it had when the install began, *seal
 * the one that is in force and becomes the new one. */
int install_bring_slot(struct install *in, size_t class, const struct seal *old, struct seal *seal,
	struct err *err);

#endif
