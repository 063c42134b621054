/*
 * boot_view - what a bootloader finds on a disk and would do with it, from the disk's bytes alone.
 *
 * One for each bootloader, named in its device's row (vm_device.h). The checker (checker.h) asks it
 * about thousands of crash states, so it reads what the bootloader reads, the way it reads it, and
 * nothing else. It may use what the hook has that is pure: the parser of its variables and
 * bootloader-hooks/model.h.
 *
 * A view goes the whole way from the firmware to the choice: partition table, file system, the
 * bootloader's own files (compared with the factory's: nothing of ours ever changes them), its
 * state. What is behind the choice, the group's images, is the checker's.
 */
#ifndef ABIDE_QEMU_BOOT_VIEW_H
#define ABIDE_QEMU_BOOT_VIEW_H

#include "bootloader-hooks/bootloader.h"
#include "qemu/rawdisk.h"

struct boot_choice {
	/* No copy of its state is usable. It starts, of `order`, the first whose image begins like
	 * one; nothing but the image's first block can tell it that one is half written. */
	bool guesses;
	/* Unless it guesses: the state as it read it. Whatever boot_group_bootable() says of it may
	 * be started at this boot or a later one. */
	struct boot_state state;
	enum group order[GROUP_COUNT]; /* it starts the first; the next if that does not load */
	size_t count;
};

struct boot_view {
	const char *name;
	/* FAIL_DRIFT: the device would not get as far as starting anything, and why. */
	int (*choose)(const struct rawdisk *disk, const struct rawdisk *factory,
		struct boot_choice *ret, struct err *err);
	const char *fat; /* the partition that the device has checked and mounts; NULL: none */
	/* So many bytes behind the disk, in one file with it, are the firmware's flash; 0: none. */
	uint64_t flash;
};

/* For views: that the bootloader's own files on a FAT partition are the factory's. */
int boot_view_check_files(const struct rawspan *fat, const struct rawdisk *factory,
	const char *partition, const char *const files[], size_t count, struct err *err);

extern const struct boot_view BOOT_VIEW_EFI;
extern const struct boot_view BOOT_VIEW_GRUB;
extern const struct boot_view BOOT_VIEW_SYSTEMD_BOOT;
extern const struct boot_view BOOT_VIEW_UBOOT; /* U-Boot's own environment */
extern const struct boot_view BOOT_VIEW_UBOOT_RAW; /* abide_store=raw */

#endif
