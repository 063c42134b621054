/*
 * mapping - a whole file as bytes in memory: to be read, or to be written without the file changing.
 */
#ifndef ABIDE_QEMU_MAPPING_H
#define ABIDE_QEMU_MAPPING_H

#include <stdint.h>

#include "updater/err.h"

struct mapping {
	uint8_t *bytes;
	uint64_t len; /* 0: an empty file, whose bytes are NULL */
};

/* Fills in a zeroed struct. */
int mapping_open(const char *path, struct mapping *ret, struct err *err);
/* What is written stays in memory, and only the pages that were written take any. */
int mapping_open_copy(const char *path, struct mapping *ret, struct err *err);
/* Also of one that was not opened. */
void mapping_close(struct mapping *mapping);

#endif
