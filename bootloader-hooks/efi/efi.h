/*
 * efi - the firmware's own boot manager: BootOrder, BootNext, an entry for each group (see README.md
 * here for the variables).
 *
 * A group in BootOrder is good. A trial is BootNext alone, which the firmware takes once: so it has
 * one try, and the group behind it is what BootOrder says. Each change of what boots is one write of
 * one variable; what abide has to remember beside (that a group is bad, what was asked for) is in a
 * variable of its own and is written after it.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_EFI_EFI_H
#define ABIDE_BOOTLOADER_HOOKS_EFI_EFI_H

#include <stdbool.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/mem.h"

#define EFI_DEFAULT_VARIABLES "/sys/firmware/efi/efivars"
#define EFI_TRIES_MAX         1u

/* A partition as a device path names it. Sectors are the disk's. */
struct efi_partition {
	uint32_t number; /* from 1 */
	uint64_t start, count; /* sectors */
	uint8_t guid[16]; /* as on the disk */
};

struct efi_options {
	const char *esp; /* where the ESP is mounted: it has abide/GROUP.cmdline */
	const char *variables; /* where efivarfs is mounted */
	enum group booted;
	/* NULL: that of the ESP is looked up. */
	const struct efi_partition *partition;
};

/* Copies what it needs. Succeeds whatever is there: bootloader_read() tells what is wrong. */
int efi_open(const struct efi_options *options, struct bootloader **ret, struct err *err);

/* ---- pure: load options (UEFI 2.10, 3.1.3) ---- */

#define EFI_DESCRIPTION_MAX 64u

/* An option that starts `path` ("/abide/boot-a.efi") of the partition. */
int efi_option_make(const char *description, const struct efi_partition *partition,
	const char *path, const char *cmdline, struct bytes *ret, struct err *err);
/* Its description; characters other than ASCII become '?'. False: it is none. */
bool efi_option_description(const struct bytes *option, char ret[static EFI_DESCRIPTION_MAX]);

/* The partition that a mounted directory lies on. FAIL_BOOT if that is none of a GPT. */
int efi_partition_of(const char *directory, struct efi_partition *ret, struct err *err);
/* The same for partition `number` of a disk, or a file with one. */
int efi_partition_read(
	const char *disk, uint32_t number, struct efi_partition *ret, struct err *err);

/* One start, as boot_model_start() (model.h) has it, but for what a firmware does otherwise: after a
 * trial that does not load it goes on with BootOrder at once, and a bad group is not started again. */
bool efi_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret);

#endif
