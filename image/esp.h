/*
 * esp - the EFI system partition of a factory disk: what the firmware starts, what that reads, the
 * slots that are files, and the state that says: group a is confirmed, group b is nothing.
 *
 *	GRUB          GRUB as a program of the firmware, grub.cfg, the environment
 *	systemd-boot  abide-start.efi, which starts systemd-boot; loader.conf; group a's entry
 *	efi           abide-start.efi, which starts group a; the command lines for both
 *
 * Made with mtools and grub-mkimage in a file, at the partition's place. Every byte follows from
 * the layout, the named files, the installed GRUB or systemd-boot, and `time`.
 */
#ifndef ABIDE_IMAGE_ESP_H
#define ABIDE_IMAGE_ESP_H

#include <time.h>

#include "image/layout.h"
#include "updater/err.h"

/* `work`: a folder for scratch files, which the caller removes. Slots that are files are taken from
 * there. */
int esp_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err);
/* Where in `work` the content of a slot that is a file is. */
int esp_slot_path(const char *work, const struct layout_partition *file, char ret[static PATH_MAX],
	struct err *err);
/* A file of the ESP of a disk, as the file `to`. */
int esp_take_out(const char *disk, const struct layout *layout, const char *path, const char *to,
	time_t time, struct err *err);

#endif
