/*
 * crash - what a device's disk may hold after a power cut, from the log of its writes.
 *
 *	write_log_open -> crash_walk -> (your check, thousands of times)
 *
 * After a cut the disk holds everything that was flushed, and of the writes after the last flush
 * any subset, in any order, each torn at any sector. A write that is durable itself (WRITE_LOG_FUA) is not
 * lost any more once the next one begins. crash_walk() visits, for every entry of the log:
 *
 *	whole     every write up to this one
 *	torn      this write cut off at each sector (of a long one, at some), those before it whole
 *	alone     this write, those pending before it lost: the most that reordering can do to it
 *	without   everything but one of those pending before it (unless they are very many)
 *	dropped   only what was flushed
 *	shuffled  random subsets of the pending writes, in random order, torn at random sectors
 *
 * The states are made in memory, on two copies of the disk, by applying and taking back. So that a
 * check need not read whole images each time, `watch` keeps count of how much of a place differs
 * from given bytes.
 */
#ifndef ABIDE_QEMU_CRASH_H
#define ABIDE_QEMU_CRASH_H

#include "qemu/rawdisk.h"
#include "qemu/write_log.h"

/* A disk in one crash state. */
struct crash_disk;

const struct rawdisk *crash_raw(const struct crash_disk *disk);
/* Whether the disk holds the bytes of `image` from `start` on. The first time it compares all of
 * it, later it knows. `image` has to stay where it is. FAIL_SPACE: past the end, or too many. */
int crash_holds(struct crash_disk *disk, uint64_t start, const uint8_t *image, uint64_t len,
	bool *ret, struct err *err);

struct crash_limits {
	unsigned int seed;
	unsigned int
		tears; /* of one write at most: its first and last sectors, random ones between */
	unsigned int shuffles; /* after each write */
};

struct crash_state {
	size_t entry; /* of the log, from 0: the last one that was written, or begun */
	bool whole;
	const char *how; /* "whole", "torn after 3 of 8 sectors", ... */
};

/* Fails: the walk ends with that. */
typedef int crash_check(
	struct crash_disk *disk, const struct crash_state *state, void *arg, struct err *err);

/* `base` is the disk's image before the log began. *ret_states: how many there were. */
int crash_walk(const char *base, const struct write_log *log, const struct crash_limits *limits,
	crash_check *check, void *arg, size_t *ret_states, struct err *err);

/* The disk after the first `entries` of the log, the last of them cut off after `sectors` (0: it is
 * whole), as a new sparse file: to be booted. */
int crash_write_image(const char *base, const struct write_log *log, size_t entries,
	uint64_t sectors, const char *path, struct err *err);

#endif
