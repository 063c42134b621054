/*
 * blockdev - a span of bytes that survives power cuts: a partition, a loop device, a plain file.
 *
 * All durable writes of slots, seals and the bootloader's environment go through this interface,
 * so that a test can record each of them and replay every prefix (tests/recorder.h).
 *
 *	blockdev_open -> blockdev_pread / blockdev_pwrite / blockdev_zero / blockdev_flush
 *	  -> blockdev_close
 *
 * With BLOCKDEV_DIRECT the page cache is bypassed in both directions (O_DIRECT; where the file
 * system has none, the cached pages are dropped before each read). Then buffers must be aligned to
 * MEM_BLOCK, offsets and lengths be multiples of it, and `size` is rounded down to it.
 *
 * Two threads may read, write and zero at the same time, in different places.
 *
 * A write, and zeroing is one, is durable only after a later flush returned 0. Between the two a power cut may leave any
 * of the writes since the last flush whole, torn at a sector of 512 bytes, or undone, in any order.
 */
#ifndef ABIDE_UPDATER_BLOCKDEV_H
#define ABIDE_UPDATER_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

struct blockdev;

struct blockdev_ops {
	int (*pread)(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err);
	int (*pwrite)(
		struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err);
	int (*flush)(struct blockdev *dev, struct err *err);
	/* See blockdev_zero(). NULL: never done. */
	int (*zero)(
		struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err);
	void (*free)(struct blockdev *dev);
};

struct blockdev {
	const struct blockdev_ops *ops;
	const char *name; /* for messages; owned by the implementation */
	uint64_t size; /* bytes */
};

enum blockdev_flags {
	BLOCKDEV_WRITE = 1, /* else read only */
	BLOCKDEV_DIRECT = 2, /* see above */
	BLOCKDEV_EXCLUSIVE = 4, /* a block device: fail with FAIL_STATE if mounted or in use */
};

int blockdev_open(const char *path, unsigned int flags, struct blockdev **ret, struct err *err);
void blockdev_close(struct blockdev **dev);

/* Whole reads and writes: a short one is an error. Past `size` is FAIL_SPACE. */
int blockdev_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err);
int blockdev_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err);
int blockdev_flush(struct blockdev *dev, struct err *err);
/* Has the device zero a span itself, with no bytes sent to it: a flash need not program what is
 * erased. *ret_done false: it has no way to, and whoever wants zeros there writes them. Offset and
 * length are multiples of MEM_BLOCK. */
int blockdev_zero(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err);

#endif
