/*
 * uboot_disk - what U-Boot finds on a factory disk: the boot script, compiled, in the partition of
 * type boot (FAT), and both copies of its environment, which say: group a is confirmed, group b is
 * nothing.
 *
 * Where the copies lie says the device's own fw_env.config: /dev/disk/by-partlabel/NAME is that
 * partition, any other device the whole disk, in front of the first partition. U-Boot itself goes there,
 * too, if the layout names it: many boards have it elsewhere.
 */
#ifndef ABIDE_IMAGE_UBOOT_DISK_H
#define ABIDE_IMAGE_UBOOT_DISK_H

#include <time.h>

#include "image/layout.h"
#include "updater/err.h"

/* `work`: a folder for scratch files, which the caller removes. */
int uboot_disk_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err);

#endif
