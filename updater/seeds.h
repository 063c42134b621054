/*
 * seeds - what this device has already: the slots whose chunks may be reused, found by the index in
 * each seal's header copy. Nothing is scanned.
 *
 *	seeds_open -> seeds_add (each image) -> (fill, with seeds.slots) -> seeds_close
 *
 * The running group's slots are opened for reading only. Any doubt about a seed, from a missing seal
 * to a signature, costs bytes to fetch and nothing else, so that it is no error.
 */
#ifndef ABIDE_UPDATER_SEEDS_H
#define ABIDE_UPDATER_SEEDS_H

#include "updater/base.h"
#include "updater/blockdev.h"
#include "updater/device.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/plan.h"

struct seeds {
	struct blockdev *slots[PLAN_SEEDS_MAX]; /* by the plan's number; NULL: no seed */
};

void seeds_open(const struct device *device, const struct device_view *view, struct seeds *ret);
void seeds_close(struct seeds *seeds);

/* The index of the image that a sealed slot holds, from its own header, proven; NULL if it cannot
 * be had. */
struct index *seeds_index(const struct device *device, struct blockdev *slot,
	const struct seal *seal, const char *class);
/* Adds to the plan of an image of this class: the running slot of the same class, those of the
 * others, then what the target has (`old`, or NULL). One index at a time is in memory. */
int seeds_add(const struct seeds *seeds, const struct device *device,
	const struct device_view *view, size_t class, const struct index *index,
	const struct index *old, struct plan_image *plan, struct err *err);

/* What a delta's patches for this class are made against: the running group's image. NULL if that
 * cannot be had; then chunks that need it fail. */
int seeds_base(const struct seeds *seeds, const struct device *device,
	const struct device_view *view, size_t class, struct base **ret, struct err *err);

#endif
