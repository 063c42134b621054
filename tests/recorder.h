/*
 * recorder - block devices in memory that remember every write and flush, and replay them up to a
 * power cut.
 *
 *	recorder_new -> recorder_add* -> recorder_open -> (the code under test) -> recorder_crashes
 *	             -> recorder_free
 *
 * All devices of a recorder share one log, so that what was written to the slot before the
 * bootloader's state is known. A flush is of one device and says nothing of another.
 *
 * A crash state is what the media may hold after a power cut: everything flushed, and of the
 * writes (and zeroings) after it any subset, in any order, each torn at any sector (blockdev.h).
 * recorder_crashes() visits, for the start and after every event of the log:
 *
 *	whole     every write so far
 *	dropped   only what was flushed
 *	torn      the last write cut off at each sector, what was pending before it whole or dropped
 *	shuffled  seeded random subsets of the pending writes, in random order, torn at random sectors
 *
 * The check gets each as a recorder of its own, to open devices on and to run the code again.
 *
 * For tests: runs out of memory with abort().
 */
#ifndef ABIDE_TESTS_RECORDER_H
#define ABIDE_TESTS_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/blockdev.h"

#define RECORDER_DEVICES_MAX 8u
#define RECORDER_SECTOR      512u
#define RECORDER_ANY         RECORDER_DEVICES_MAX /* instead of a device: whichever */

struct recorder;

enum recorder_op {
	RECORDER_READ,
	RECORDER_WRITE,
	RECORDER_FLUSH,
	RECORDER_ZERO,
};

struct recorder *recorder_new(void);
void recorder_free(struct recorder **rec);

/* Adds a device with `size` bytes of `content` (zeros if NULL) and returns its number, from 0.
 * direct: like BLOCKDEV_DIRECT, an unaligned access fails. */
unsigned int recorder_add(
	struct recorder *rec, const char *name, size_t size, const void *content, bool direct);

/* As blockdev_open: as often as one likes; blockdev_close() it before recorder_free(). */
struct blockdev *recorder_open(struct recorder *rec, unsigned int device);

/* What the program would read. May be changed by a test: that is not logged. */
uint8_t *recorder_content(struct recorder *rec, unsigned int device);
size_t recorder_size(const struct recorder *rec, unsigned int device);

/* Since the start or the last recorder_forget(); `device` may be RECORDER_ANY. */
size_t recorder_count(const struct recorder *rec, enum recorder_op op, unsigned int device);
/* The log's number of writes and flushes. */
size_t recorder_events(const struct recorder *rec);
/* Takes the content as it is for the flushed start, with an empty log and counts from 0. */
void recorder_forget(struct recorder *rec);

/* The device cannot zero by itself: blockdev_zero() is never done. */
void recorder_cannot_zero(struct recorder *rec, unsigned int device);

/* The nth (from 1) such operation from now fails with EIO, once. A write that fails has written
 * its first half, zeroing likewise; a flush that fails has flushed nothing. n = 0: none. */
void recorder_fail(struct recorder *rec, enum recorder_op op, unsigned int device, size_t n);

struct recorder_limits {
	unsigned int seed;
	unsigned int shuffles; /* shuffled states per event */
	unsigned int tears; /* tears of a write at most: the first, the last, random ones between */
};

/* `after` is the check's to use; `what` describes the state for messages. */
typedef void recorder_check(struct recorder *after, const char *what, void *arg);

/* Visits the crash states of the log and returns how many there were. */
size_t recorder_crashes(const struct recorder *rec, const struct recorder_limits *limits,
	recorder_check *check, void *arg);

/* A recorder with the same devices and content, and an empty log. */
struct recorder *recorder_copy(const struct recorder *rec);

#endif
