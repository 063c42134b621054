/*
 * esp - the EFI system partition of a factory disk: GRUB as a program of the firmware, grub.cfg,
 * and the environment that says: group a is confirmed, group b is nothing.
 *
 * Made with mtools and grub-mkimage in a file, at the partition's place. Every byte follows from
 * the layout, the named files, the installed GRUB and `time`.
 */
#ifndef ABIDE_IMAGE_ESP_H
#define ABIDE_IMAGE_ESP_H

#include <time.h>

#include "image/layout.h"
#include "updater/err.h"

/* `work`: a folder for scratch files, which the caller removes. */
int esp_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err);

#endif
