/*
 * span - a part of a block device as a block device: a partition of a disk that is only a file.
 */
#ifndef ABIDE_IMAGE_SPAN_H
#define ABIDE_IMAGE_SPAN_H

#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/err.h"

/* Borrows `whole`. `name` is for messages. FAIL_SPACE if it is not within `whole`. */
int span_open(struct blockdev *whole, const char *name, uint64_t start, uint64_t size,
	struct blockdev **ret, struct err *err);

#endif
