/*
 * mend - what fsck.fat makes of a crash state, before the device mounts its FAT partition.
 *
 *	mend_open -> mend_state, for as many states as one likes -> mend_close
 *
 * A power cut may leave a FAT that the bootloader still reads well, and that Linux makes read-only at the
 * next change; so the device has it checked first (`fsck.fat -a`), and the cure must not take a
 * group away that the illness has left.
 */
#ifndef ABIDE_QEMU_MEND_H
#define ABIDE_QEMU_MEND_H

#include "qemu/rawdisk.h"
#include "qemu/write_log.h"

#define MEND_SLOTS_MAX 4u

struct mend;

struct mend_place {
	const char *partition;
	/* Files of it that fill whole clusters, as they lie on the factory's disk. Their content, of
	 * which fsck.fat reads nothing, is left out; it writes there: FAIL_DRIFT. */
	const struct rawspan *slots;
	size_t slot_count;
	/* Bytes behind the disk that are no part of it (boot_view.h): taken over as they are. */
	uint64_t flash;
};

/* `log`: what it writes is all that the states will ever differ in; NULL: they may differ anywhere. */
int mend_open(const struct rawdisk *factory, const struct mend_place *place,
	const struct write_log *log, struct mend **ret, struct err *err);
void mend_close(struct mend **mend);

/* Runs `fsck.fat -a` on the partition of a disk made of the factory's. *ret: the disk after it, valid
 * until the next call, with zeros everywhere but in the partition, the table and the flash.
 * *ret_new: false if the partition is as it was at an earlier call with the same `question`, whatever
 * the caller means by it: then nothing is run, and *ret is not set.
 * FAIL_DRIFT: it mended nothing, or not everything. */
int mend_state(struct mend *mend, const struct rawdisk *disk, uint8_t question, struct rawdisk *ret,
	bool *ret_new, struct err *err);

#endif
