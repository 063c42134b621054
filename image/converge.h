/*
 * converge - bring a disk, file or block device, to the bytes of an image, writing what differs.
 *
 *	converge_measure -> (make an image of that size) -> converge_run
 *
 * The partition table is taken away before the first write and put back after the last one is
 * flushed: a disk that was cut off in between is plainly nothing, and does not boot half of it.
 */
#ifndef ABIDE_IMAGE_CONVERGE_H
#define ABIDE_IMAGE_CONVERGE_H

#include <signal.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/err.h"

/* How large an image for `path` has to be: a block device's own size, `size` for a file that is to
 * be made or grown. FAIL_SPACE for a smaller device, FAIL_REFUSED for a larger file, which may be
 * something else. Changes nothing. */
int converge_measure(const char *path, uint64_t size, uint64_t *ret_size, struct err *err);

/* Makes `path`, if it is not there, and brings it to the bytes of the file `image`; flushed.
 * FAIL_STATE for a block device that is mounted or in use. interrupted may be NULL. */
int converge_run(const char *path, const char *image, const volatile sig_atomic_t *interrupted,
	uint64_t *ret_written, struct err *err);
/* The same, from one device to another of the same size. */
int converge_devices(struct blockdev *image, struct blockdev *target,
	const volatile sig_atomic_t *interrupted, uint64_t *ret_written, struct err *err);

#endif
