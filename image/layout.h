/*
 * layout - what a factory disk looks like: an INI file with a section for the disk, one for the
 * bootloader and one for each partition, in the order they lie on the disk.
 *
 *	layout_read -> layout_place (the target's size is known) -> layout_free
 *
 * The layout-*.ini beside this show every key. Unknown sections and keys, repeated keys and bad values
 * are FAIL_USAGE with file and line. Nothing but values; no device is opened here.
 */
#ifndef ABIDE_IMAGE_LAYOUT_H
#define ABIDE_IMAGE_LAYOUT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/group.h"
#include "updater/manifest.h"

#define LAYOUT_PARTITIONS_MAX 32u
#define LAYOUT_NAME_MAX       36u /* of a GPT partition */
#define LAYOUT_UUID_LEN       36u
#define LAYOUT_PATH_MAX       64u /* of a file on the ESP */
#define LAYOUT_ALIGN          (UINT64_C(1) << 20) /* of every partition's begin and size */

#define LAYOUT_FILES_MAX 8u

enum layout_loader {
	LAYOUT_GRUB = 1,
	LAYOUT_UBOOT,
	LAYOUT_SYSTEMD_BOOT,
	LAYOUT_EFI,
};

enum layout_type {
	LAYOUT_ESP = 1,
	LAYOUT_SLOT,
	LAYOUT_DATA,
	LAYOUT_BOOT,
	LAYOUT_RAW,
};

struct layout_partition {
	char name[LAYOUT_NAME_MAX + 1];
	char uuid[LAYOUT_UUID_LEN + 1]; /* of the partition; given, or derived */
	char fs_uuid[LAYOUT_UUID_LEN + 1]; /* of the file system made in it; derived */
	enum layout_type type;
	bool rest; /* its size is what the others leave */
	uint64_t size; /* bytes; of `rest` set by layout_place() */
	uint64_t start; /* bytes; set by layout_place() */
	char class[MANIFEST_CLASS_MAX + 1]; /* of a slot */
	enum group group; /* of a slot */
	char path[LAYOUT_PATH_MAX + 1]; /* of a slot that is a file on the ESP */
};

struct layout {
	char path[PATH_MAX];
	uint64_t size; /* bytes, of the disk */
	char uuid[LAYOUT_UUID_LEN + 1]; /* of the disk */
	enum layout_loader loader; /* by its section; paths are relative to the layout file */
	char grub_config[PATH_MAX]; /* grub.cfg */
	char grub_site[PATH_MAX]; /* site.cfg, read by it; "" if not set */
	char uboot_script[PATH_MAX]; /* boot.cmd */
	char uboot_site[PATH_MAX]; /* sourced by it; "" if not set */
	char uboot_environment[PATH_MAX]; /* the device's fw_env.config */
	char uboot_program[PATH_MAX]; /* U-Boot itself; "" if the board has it elsewhere */
	uint64_t uboot_offset; /* bytes, of it on the disk */
	char uboot_defaults[PATH_MAX]; /* NAME=VALUE lines for it; "" if not set */
	char loader_conf[PATH_MAX]; /* systemd-boot: loader.conf */
	char group_file[GROUP_COUNT][PATH_MAX]; /* systemd-boot: GROUP.conf; efi: GROUP.cmdline */
	char start[PATH_MAX]; /* systemd-boot, efi: abide-start.efi */
	size_t count;
	struct layout_partition partitions[LAYOUT_PARTITIONS_MAX];
	size_t file_count;
	struct layout_partition files[LAYOUT_FILES_MAX]; /* slots that are files on the ESP */
};

int layout_read(const char *path, struct layout **ret, struct err *err);
/* For layout_read(): whether the partitions and files make a disk; derives the UUIDs that the file does
 * not name, and places all of it. */
int layout_check(struct layout *layout, struct err *err);
void layout_free(struct layout **layout);

/* Puts the partitions on a disk of `size` bytes, which becomes the layout's: they begin at
 * LAYOUT_ALIGN, follow each other and leave LAYOUT_ALIGN at the end. FAIL_SPACE by how many bytes
 * it is too small. */
int layout_place(struct layout *layout, uint64_t size, struct err *err);

/* NULL if there is none. A slot is a partition or a file on the ESP. */
const struct layout_partition *layout_esp(const struct layout *layout);
const struct layout_partition *layout_boot(const struct layout *layout);
const struct layout_partition *layout_raw(const struct layout *layout, const char *name);
const struct layout_partition *layout_slot(
	const struct layout *layout, const char *class, enum group group);

#endif
