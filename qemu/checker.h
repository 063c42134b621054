/*
 * checker - whether a disk in some crash state has a known group to boot.
 *
 *	checker_open -> crash_walk with checker_check, as often as one likes -> checker_close
 *
 * For a disk it asks the bootloader's view (boot_view.h) what would be started, and reads seals
 * and images as abide does. A state is good if
 *
 *	- the group that would be started is known: each of its slots is sealed, with one artifact,
 *	  the signed header that proves it is there, and so is every byte of the sealed image;
 *	- so is every other group that the bootloader might start, now or at a later boot;
 *	- no slot anywhere says it is sealed and is not;
 *	- where the bootloader has lost its state and guesses, what it would load is a whole image;
 *	- where the device mounts a FAT, all of that is so after `fsck.fat -a`, too (mend.h).
 */
#ifndef ABIDE_QEMU_CHECKER_H
#define ABIDE_QEMU_CHECKER_H

#include "qemu/boot_view.h"
#include "qemu/crash.h"

#define CHECKER_SLOTS_MAX 4u

struct checker;

/* A slot of each group: the partition CLASS-GROUP; or a file on the FAT partition "esp" that lies
 * there in one piece. */
struct checker_slot {
	const char *class;
	const char *file[GROUP_COUNT]; /* NULL: a partition */
};

/* images: a folder with the images of every release that may be on the disk. factory: the disk as
 * it was made. slots: ended by class NULL, borrowed; the first one holds the kernel. log: what will be
 * walked through; in any order, with any of it missing. */
int checker_open(const struct boot_view *view, const char *images, const char *factory,
	const struct checker_slot slots[], const struct write_log *log, struct checker **ret,
	struct err *err);
void checker_close(struct checker **checker);

/* Where a slot lies on the factory disk. */
int checker_find(const struct checker *checker, const struct checker_slot *slot, enum group group,
	struct rawspan *ret, struct err *err);

/* FAIL_DRIFT: the state is not good, and why. `arg` is a struct checker. */
int checker_check(
	struct crash_disk *disk, const struct crash_state *state, void *arg, struct err *err);

/* From one whole state to the next, what the bootloader knows has changed. */
struct checker_change {
	size_t entry; /* of the write log, that changed it */
	struct boot_choice choice; /* as it is from there on */
};
#define CHECKER_CHANGES_MAX 64u

struct checker_result {
	size_t starts[GROUP_COUNT]; /* in so many states this group would be started */
	size_t guesses; /* of them without the bootloader's state */
	size_t mended; /* so often fsck.fat was run: the FAT differed from those before */
	size_t change_count;
	struct checker_change changes[CHECKER_CHANGES_MAX]; /* the first ones */
};

const struct checker_result *checker_result(const struct checker *checker);

#endif
