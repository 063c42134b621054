/*
 * sparse - copies of disk images: what is zero becomes a hole.
 */
#ifndef ABIDE_QEMU_SPARSE_H
#define ABIDE_QEMU_SPARSE_H

#include <stdint.h>

#include "updater/err.h"

/* Both replace what is there. Not durable: such a file is made anew when it is needed. */
int sparse_write(const char *to, const uint8_t *data, uint64_t len, struct err *err);
int sparse_copy(const char *from, const char *to, struct err *err);

#endif
