/*
 * slot - find and open the partition a configuration names, and refuse what is not ours to write
 * (wraps libblkid).
 *
 *	slot_resolve -> slot_check_target (before writing) -> slot_open -> blockdev_close
 */
#ifndef ABIDE_UPDATER_SLOT_H
#define ABIDE_UPDATER_SLOT_H

#include <limits.h>
#include <stdbool.h>

#include "updater/blockdev.h"
#include "updater/err.h"

/* A path as it is; LABEL=, PARTLABEL=, UUID=, PARTUUID= through libblkid. FAIL_IO if there is no
 * such device. */
int slot_resolve(const char *device, char ret_path[static PATH_MAX], struct err *err);
/* Read only, direct. */
int slot_open(const char *path, struct blockdev **ret, struct err *err);
/* For writing: exclusive, direct. FAIL_STATE if the device is mounted, holds the running root, or
 * is in use (saying where); FAIL_REFUSED if it holds what is plainly not an image of ours: a
 * partition table, swap, LUKS, LVM, RAID, ZFS (unless it carries an abide seal). */
int slot_open_target(const char *path, struct blockdev **ret, struct err *err);
/* Whether the running root file system is on this device (by device number). */
bool slot_is_running(const char *path);
/* Whether two paths lead to one device or file. False if either cannot be found. */
bool slot_is_same(const char *path, const char *other);

#endif
